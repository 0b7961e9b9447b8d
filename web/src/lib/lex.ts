/**
 * PromQL as it is typed: its tokens, for colours, and what may stand at the cursor, for completion. Unfinished text is the normal case
 * here, so nothing is refused; what an expression means, and whether it is one, the server says.
 */
import { AGGREGATIONS, isFunction, KEYWORDS } from './functions';
import { quote } from './format';

export type Kind = 'comment' | 'string' | 'number' | 'duration' | 'metric' | 'label' | 'function' | 'aggregation' | 'keyword' | 'operator' | 'open' | 'close' | 'comma' | 'bad';

export interface Token {
  kind: Kind;
  text: string;
  from: number;
  to: number;
  /** A string without its closing quote. */
  unclosed?: boolean;
  /** The index of the bracket that belongs to this one. */
  partner?: number;
  /** What an opening bracket opens. */
  opens?: 'labels' | 'aggregate' | 'call' | 'group' | 'matchers' | 'window';
}

const SPACE = /\s+/y;
const COMMENT = /#[^\n]*/y;
const DURATION = /(?:\d+(?:ms|[smhdwy]))+(?![\w.])/y;
const NUMBER = /0[xX][\da-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][-+]?\d+)?/y;
const WORD = /[a-zA-Z_:][\w:]*/y;
const OPERATOR = /=~|!~|!=|==|<=|>=|<\/|>\/|[-+*/%^<>=@:]/y;
const CLOSER: Record<string, string> = { '(': ')', '[': ']', '{': '}' };
const GROUPING = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);
const COMPARISONS = new Set(['==', '!=', '<', '<=', '>', '>=']);

function at(pattern: RegExp, text: string, place: number): string | undefined {
  pattern.lastIndex = place;
  return pattern.exec(text)?.[0];
}

/** The end of the string that begins at `place`; a plain one does not go over the end of its line. */
function endOfString(text: string, place: number): { to: number; unclosed: boolean } {
  const mark = text[place];
  for (let index = place + 1; index < text.length; index += 1) {
    const letter = text[index];
    if (letter === mark) return { to: index + 1, unclosed: false };
    if (mark === '`') continue;
    if (letter === '\n') return { to: index, unclosed: true };
    if (letter === '\\') index += 1;
  }
  return { to: text.length, unclosed: true };
}

/** All tokens but white space, in their order. */
export function lex(text: string): Token[] {
  const out: Token[] = [];
  const open: number[] = [];
  let place = 0;
  const put = (kind: Kind, length: number, more: Partial<Token> = {}) => {
    out.push({ kind, text: text.slice(place, place + length), from: place, to: place + length, ...more });
    place += length;
  };
  while (place < text.length) {
    const space = at(SPACE, text, place);
    if (space) {
      place += space.length;
      continue;
    }
    const letter = text[place] ?? '';
    const within = out[open.at(-1) ?? -1];
    if (letter === '#') put('comment', at(COMMENT, text, place)?.length ?? 1);
    else if (letter === '"' || letter === "'" || letter === '`') {
      const { to, unclosed } = endOfString(text, place);
      put('string', to - place, unclosed ? { unclosed } : {});
    } else if (CLOSER[letter]) {
      const opens = letter === '{' ? 'matchers' : letter === '[' ? 'window' : roleOf(out);
      open.push(out.length);
      put('open', 1, { opens });
    } else if (letter === ')' || letter === ']' || letter === '}') {
      const partner = open.at(-1);
      const opener = out[partner ?? -1];
      if (opener && CLOSER[opener.text] === letter) {
        opener.partner = out.length;
        open.pop();
        put('close', 1, { partner: partner as number });
      } else put('bad', 1);
    } else if (letter === ',') put('comma', 1);
    else {
      const duration = at(DURATION, text, place);
      const number = duration ? undefined : at(NUMBER, text, place);
      const word = duration || number ? undefined : at(WORD, text, place);
      if (duration) put('duration', duration.length);
      else if (number) put('number', number.length);
      else if (word && !(word.startsWith(':') && within?.opens === 'window')) put(wordKind(word, within, text.slice(place + word.length)), word.length);
      else {
        const operator = at(OPERATOR, text, place);
        put(operator ? 'operator' : 'bad', operator?.length ?? ((text.codePointAt(place) ?? 0) > 0xffff ? 2 : 1));
      }
    }
  }
  return out;
}

function roleOf(before: Token[]): Token['opens'] {
  const last = before.at(-1);
  if (!last) return 'group';
  if (last.kind === 'keyword' && GROUPING.has(last.text.toLowerCase())) return 'labels';
  if (last.kind === 'aggregation') return 'aggregate';
  if (last.kind === 'function' || last.kind === 'bad') return 'call';
  // `sum by (job) (`: the list of labels stands between.
  const list = last.kind === 'close' ? before[last.partner ?? -1] : undefined;
  if (list?.opens === 'labels' && before[(last.partner ?? 0) - 2]?.kind === 'aggregation') return 'aggregate';
  return 'group';
}

function wordKind(word: string, within: Token | undefined, rest: string): Kind {
  if (within?.opens === 'matchers' || within?.opens === 'labels') return word.includes(':') ? 'bad' : 'label';
  const lower = word.toLowerCase();
  if (lower === 'inf' || lower === 'nan') return 'number';
  if (AGGREGATIONS.has(lower)) return 'aggregation';
  if (KEYWORDS.has(lower)) return 'keyword';
  if (/^\s*\(/.test(rest)) return isFunction(lower) ? 'function' : 'bad';
  return 'metric';
}

/** What a string token says. */
export function unquoted(token: Token): string {
  const inner = token.text.slice(1, token.unclosed ? undefined : -1);
  if (token.text[0] === '`') return inner;
  return inner.replace(/\\(n|t|r|.)/g, (_, escaped: string) => ({ n: '\n', t: '\t', r: '\r' })[escaped] ?? escaped);
}

export interface TextMatcher {
  name: string;
  operator: string;
  value: string;
}

export interface TextSelector {
  metric: string;
  matchers: TextMatcher[];
  /** Where it stands, without a window. */
  from: number;
  to: number;
  /** The place of its opening brace among the tokens. */
  brace?: number;
}

/** What stands in the braces that token `brace` opens; the matcher whose value holds `except` is left out. */
function inBraces(tokens: Token[], brace: number, except = -1): { metric: string; matchers: TextMatcher[] } {
  const matchers: TextMatcher[] = [];
  let metric = '';
  const end = tokens[brace]?.partner ?? tokens.length;
  for (let index = brace + 1; index < end; index += 1) {
    const name = tokens[index];
    if (!name || (name.kind !== 'label' && name.kind !== 'string')) continue;
    const operator = tokens[index + 1];
    const value = tokens[index + 2];
    if (operator?.kind === 'operator' && value?.kind === 'string' && index + 2 < end) {
      if (index + 2 !== except) matchers.push({ name: name.kind === 'string' ? unquoted(name) : name.text, operator: operator.text, value: unquoted(value) });
      index += 2;
    } else if (name.kind === 'string' && index !== except && operator?.kind !== 'operator') metric = unquoted(name);
  }
  return { metric, matchers };
}

/** All selectors of an expression, or those between two tokens. */
export function selectors(tokens: Token[], first = 0, end = tokens.length, except = -1): TextSelector[] {
  const out: TextSelector[] = [];
  for (let index = first; index < end; index += 1) {
    const token = tokens[index];
    if (!token) break;
    const named = token.kind === 'metric';
    const brace = named ? index + 1 : index;
    if (tokens[brace]?.opens === 'matchers' && (named || token.opens === 'matchers')) {
      const { metric, matchers } = inBraces(tokens, brace, except);
      const close = tokens[brace]?.partner;
      out.push({ metric: named ? token.text : metric, matchers, from: token.from, to: tokens[close ?? tokens.length - 1]?.to ?? token.to, brace });
      index = close ?? tokens.length;
    } else if (named) out.push({ metric: token.text, matchers: [], from: token.from, to: token.to });
  }
  return out;
}

const PLAIN_METRIC = /^[a-zA-Z_:][\w:]*$/;
const PLAIN_LABEL = /^[a-zA-Z_]\w*$/;

export const labelText = (name: string): string => (PLAIN_LABEL.test(name) ? name : quote(name));

/** As PromQL writes it. Matchers that ask for nothing yet are left out. `undefined` where nothing is left, which no server takes. */
export function selectorText(selector: { metric: string; matchers: TextMatcher[] }): string | undefined {
  const { metric, matchers } = selector;
  const parts = matchers.filter((one) => one.value !== '' || one.operator.startsWith('!')).map((one) => `${labelText(one.name)}${one.operator}${quote(one.value)}`);
  if (!metric && !matchers.some((one) => one.value !== '' && one.operator.startsWith('='))) return undefined;
  if (metric && !PLAIN_METRIC.test(metric)) return `{${[quote(metric), ...parts].join(', ')}}`;
  return parts.length ? `${metric}{${parts.join(', ')}}` : metric;
}

export type Place =
  | { what: 'nothing' }
  /** A new operand: metrics, functions, aggregations; `words` are keywords that may stand here too. */
  | { what: 'operand'; words: string[] }
  /** Behind an operand: operators and modifiers. */
  | { what: 'operator'; words: string[] }
  | { what: 'metric' }
  | { what: 'label'; selectors: string[]; used: string[]; matching: boolean }
  | { what: 'matcher' }
  | { what: 'value'; label: string; selectors: string[]; quoted: boolean; regex: boolean }
  | { what: 'duration' }
  | { what: 'moment' };

export type Context = Place & {
  /** What is already there of it, from its first letter to the cursor. */
  word: string;
  from: number;
  /** Where what is replaced ends. */
  to: number;
};

const INSIDE = new Set<Kind>(['metric', 'label', 'function', 'aggregation', 'keyword', 'number', 'duration', 'bad']);

/** What may be written at `cursor`. */
export function contextAt(text: string, cursor: number, tokens = lex(text)): Context {
  let index = tokens.findIndex((token) => token.to >= cursor);
  if (index < 0) index = tokens.length;
  const here = tokens[index];
  const inside = here !== undefined && here.from < cursor && (here.kind === 'string' ? cursor < here.to || here.unclosed === true : here.kind === 'comment' || (INSIDE.has(here.kind) && /\w/.test(here.text)));
  // The first token that is not wholly before the cursor, if it is not inside one.
  if (!inside) while (index < tokens.length && (tokens[index]?.from ?? 0) < cursor) index += 1;
  const start = inside ? here.from : cursor;
  const string = inside && here.kind === 'string';
  const from = string ? start + 1 : start;
  const to = inside ? (string ? here.to - (here.unclosed ? 0 : 1) : here.to) : cursor;
  const word = text.slice(from, cursor);
  const found = (place: Place): Context => ({ ...place, word, from, to });
  if (inside && here.kind === 'comment') return found({ what: 'nothing' });

  let around = -1;
  for (let back = index - 1, depth = 0; back >= 0; back -= 1) {
    const token = tokens[back];
    if (token?.kind === 'close') depth += 1;
    else if (token?.kind === 'open' && (depth -= 1) < 0) {
      around = back;
      break;
    }
  }
  const within = tokens[around]?.opens;
  const before = tokens[index - 1];

  if (within === 'matchers') return found(inMatchers(tokens, around, index, string));
  if (within === 'labels') {
    const first = before?.kind === 'open' || before?.kind === 'comma';
    return found(first ? { what: 'label', selectors: groupedSelectors(tokens, around), used: listed(tokens, around, index), matching: false } : { what: 'nothing' });
  }
  if (string) return found({ what: 'nothing' });
  if (within === 'window') return found(before?.kind === 'open' || before?.text === ':' ? { what: 'duration' } : { what: 'nothing' });
  return found(inExpression(tokens, index, inside));
}

function inMatchers(tokens: Token[], brace: number, index: number, string: boolean): Place {
  const before = tokens[index - 1];
  const outside = tokens[brace - 1];
  const named = outside?.kind === 'metric' ? outside.text : '';
  const selector = (except: number): string[] => {
    const { metric, matchers } = inBraces(tokens, brace, except);
    const one = selectorText({ metric: named || metric, matchers });
    return one === undefined ? [] : [one];
  };
  if (before?.kind === 'operator') {
    const name = tokens[index - 2];
    if (name?.kind !== 'label' && name?.kind !== 'string') return { what: 'nothing' };
    return { what: 'value', label: name.kind === 'string' ? unquoted(name) : name.text, selectors: selector(index), quoted: string, regex: before.text.endsWith('~') };
  }
  if (before?.kind === 'label') return { what: 'matcher' };
  if (before?.kind !== 'open' && before?.kind !== 'comma') return { what: 'nothing' };
  // `{"...`: the name of a metric that is no plain word.
  if (string && !named && before.kind === 'open' && tokens[index + 1]?.kind !== 'operator') return { what: 'metric' };
  return { what: 'label', selectors: selector(index), used: inBraces(tokens, brace).matchers.map((one) => one.name), matching: true };
}

/** The labels already in a list, but not the one at `index`. */
function listed(tokens: Token[], opener: number, index: number): string[] {
  return tokens.slice(opener + 1, tokens[opener]?.partner ?? tokens.length).flatMap((token, place) => (token.kind === 'label' && opener + 1 + place !== index ? [token.text] : []));
}

/** The selectors whose labels a list of labels is about. */
function groupedSelectors(tokens: Token[], opener: number): string[] {
  const word = tokens[opener - 1]?.text.toLowerCase();
  const head = tokens[opener - 2];
  let found: TextSelector[] = [];
  if (word === 'by' || word === 'without') {
    if (head?.kind === 'close' && head.partner !== undefined) found = selectors(tokens, head.partner, opener - 2);
    else if (head?.kind === 'aggregation') {
      const body = (tokens[opener]?.partner ?? tokens.length) + 1;
      if (tokens[body]?.kind === 'open') found = selectors(tokens, body, tokens[body]?.partner ?? tokens.length);
    }
  }
  if (!found.length) found = selectors(tokens);
  return [...new Set(found.flatMap((one) => selectorText(one) ?? []))].slice(0, 5);
}

function inExpression(tokens: Token[], index: number, inside: boolean): Place {
  const before = tokens[index - 1];
  const here = inside ? tokens[index] : undefined;
  if (before?.kind === 'keyword' && before.text.toLowerCase() === 'offset') return { what: 'duration' };
  if (before?.text === '-' && tokens[index - 2]?.text.toLowerCase() === 'offset') return { what: 'duration' };
  if (before?.text === '@') return { what: 'moment' };
  if (here?.kind === 'number' || here?.kind === 'duration') return { what: 'nothing' };
  if (before?.kind === 'comment') return inExpression([...tokens.slice(0, index - 1), ...tokens.slice(index)], index - 1, inside);
  if (!before || before.kind === 'open' || before.kind === 'comma') return { what: 'operand', words: [] };
  if (before.kind === 'aggregation') return { what: 'operator', words: ['by', 'without'] };
  if (before.kind === 'operator') return { what: 'operand', words: [...(COMPARISONS.has(before.text) ? ['bool'] : []), 'on', 'ignoring'] };
  if (before.kind === 'keyword') {
    const word = before.text.toLowerCase();
    if (['and', 'or', 'unless', 'atan2'].includes(word)) return { what: 'operand', words: ['on', 'ignoring'] };
    return word === 'bool' ? { what: 'operand', words: ['on', 'ignoring'] } : GROUPING.has(word) && !word.startsWith('group_') ? { what: 'nothing' } : { what: 'operand', words: [] };
  }
  const words = ['and', 'or', 'unless', 'offset', '@'];
  if (before.kind === 'close') {
    const opener = tokens[before.partner ?? -1];
    const word = tokens[(before.partner ?? 0) - 1]?.text.toLowerCase();
    if (opener?.opens === 'labels') {
      // Behind `on (...)` comes an operand, behind `by (...)` the aggregation's own bracket.
      if (word === 'on' || word === 'ignoring') return { what: 'operand', words: ['group_left', 'group_right'] };
      if (word?.startsWith('group_')) return { what: 'operand', words: [] };
      if (tokens[(before.partner ?? 0) - 2]?.kind === 'aggregation') return { what: 'nothing' };
    }
    if (opener?.opens === 'aggregate' && !(tokens[(before.partner ?? 0) - 1]?.kind === 'close')) return { what: 'operator', words: ['by', 'without', 'and', 'or', 'unless'] };
    return { what: 'operator', words: opener?.opens === 'matchers' || opener?.opens === 'window' ? words : words.slice(0, 3) };
  }
  return { what: 'operator', words: before.kind === 'metric' ? words : words.slice(0, 3) };
}

/** The bracket at the cursor (before it, or else behind it) and the one that belongs to it. */
export function bracketsAt(tokens: Token[], cursor: number): [number, number] | undefined {
  const index = [cursor, cursor + 1].map((to) => tokens.findIndex((token) => token.to === to && (token.kind === 'open' || token.kind === 'close'))).find((one) => one >= 0);
  const partner = index === undefined ? undefined : tokens[index]?.partner;
  return index === undefined || partner === undefined ? undefined : [index, partner];
}

/** The place of `line:column` as the server counts (from 1, columns in bytes), as an index into the text. */
export function indexOf(text: string, position: { line: number; column: number }): number {
  const lines = text.split('\n');
  const line = Math.max(0, Math.min(position.line, lines.length) - 1);
  const start = lines.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0);
  let bytes = position.column - 1;
  let index = 0;
  for (const letter of lines[line] ?? '') {
    if (bytes <= 0) break;
    const code = letter.codePointAt(0) ?? 0;
    bytes -= code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    index += letter.length;
  }
  return start + index;
}
