/** What completion offers at a place of a PromQL text: where the words come from, which fit best, and what picking one writes. */
import { v1 } from './api';
import { AGGREGATIONS, FUNCTIONS, signature } from './functions';
import type { Key } from './i18n.svelte';
import { labelText, type Context } from './lex';
import { quote } from './format';

export interface Option {
  /** What is matched and shown. */
  text: string;
  /** A word beside it: the type of a metric, `function`, `keyword`. */
  kind: string;
  /** What is written, if not `text`. */
  insert?: string;
  /** How many letters before the end of what is written the cursor goes. */
  back?: number;
  /** What is told of it: a signature or the like, and a sentence, or the key of one. */
  about?: string;
  help?: string;
  helpKey?: Key;
  /** Pulls it up or down among those that fit as well. */
  weight?: number;
  /** Ask again when it was picked: what comes next is known. */
  next?: boolean;
  /** The letters that matched. */
  marks?: number[];
}

/** As many as a list shows; no reader looks further. */
export const SHOWN = 60;
const ASKED = 10_000;
const KEPT_MS = 60_000;

export type Metadata = Record<string, { type: string; help: string }[]>;

interface Answer {
  at: number;
  data: Promise<unknown>;
}
const answers = new Map<string, Answer>();

/** One answer a minute for each question, shared by who asks meanwhile. A question that failed is forgotten. */
function kept<T>(key: string, load: () => Promise<T>): Promise<T> {
  const now = Date.now();
  const known = answers.get(key);
  if (known && now - known.at < KEPT_MS) return known.data as Promise<T>;
  const data = load();
  answers.set(key, { at: now, data });
  if (answers.size > 100) answers.delete(answers.keys().next().value ?? '');
  data.catch(() => answers.get(key)?.data === data && answers.delete(key));
  return data;
}

export const forget = (): void => answers.clear();

export const metricNames = (signal?: AbortSignal): Promise<string[]> => kept('names', () => v1<string[]>('/label/__name__/values', { params: { limit: 100_000 }, signal }));
export const metadata = (signal?: AbortSignal): Promise<Metadata> => kept('metadata', () => v1<Metadata>('/metadata', { signal }));
const labelNames = (matching: string[], signal: AbortSignal) => kept(`labels ${matching.join(' ')}`, () => v1<string[]>('/labels', { params: { 'match[]': matching, limit: ASKED }, signal }));

/** The values of a label; where there are more than one answer holds, those that have `word` in them. */
async function labelValues(label: string, matching: string[], word: string, signal: AbortSignal): Promise<string[]> {
  const ask = (selectors: string[]) => kept(`values ${label} ${selectors.join(' ')}`, () => v1<string[]>(`/label/${encodeURIComponent(label)}/values`, { params: { 'match[]': selectors, limit: ASKED }, signal }));
  const all = await ask(matching);
  if (all.length < ASKED || !word) return all;
  const pattern = `${labelText(label)}=~${quote(`(?i).*${word.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}.*`)}`;
  return ask((matching.length ? matching : ['{}']).map((one) => (one.endsWith('}') ? `${one.slice(0, -1)}${one.endsWith('{}') ? '' : ', '}${pattern}}` : `${one}{${pattern}}`)));
}

/** The type and help of a metric; the series of a histogram or summary have those of the whole. */
export function about(all: Metadata, name: string): { type: string; help: string } | undefined {
  return all[name]?.[0] ?? all[name.replace(/_(bucket|sum|count|total|created)$/, '')]?.[0];
}

/**
 * How well `text` fits what was typed: undefined for not at all, more is better. All letters must come in their order; together, at
 * the beginning, or at the beginning of a word is better than scattered.
 */
export function fit(text: string, typed: string): { score: number; marks: number[] } | undefined {
  if (!typed) return { score: 0, marks: [] };
  const hay = text.toLowerCase();
  const needle = typed.toLowerCase();
  const run = (from: number) => Array.from({ length: needle.length }, (_, index) => from + index);
  if (hay.startsWith(needle)) return { score: 1000 - text.length + (hay === needle ? 500 : 0), marks: run(0) };
  for (let found = hay.indexOf(needle); found >= 0; found = hay.indexOf(needle, found + 1)) {
    if (!/[a-z0-9]/.test(hay[found - 1] ?? '')) return { score: 700 - text.length - found, marks: run(found) };
  }
  const anywhere = hay.indexOf(needle);
  if (anywhere >= 0) return { score: 500 - text.length - anywhere, marks: run(anywhere) };
  // Scattered: `ncs` finds node_cpu_seconds by the first letters of its words, `nodecpu` by pieces.
  const marks: number[] = [];
  let place = 0;
  let breaks = 0;
  for (const letter of needle) {
    let next = hay.indexOf(letter, place);
    if (next < 0) return undefined;
    if (next !== place || !marks.length) {
      for (let word = next; word >= 0; word = hay.indexOf(letter, word + 1)) {
        if (!/[a-z0-9]/.test(hay[word - 1] ?? '') && possible(hay, needle.slice(marks.length + 1), word + 1)) {
          next = word;
          break;
        }
      }
      breaks += /[a-z0-9]/.test(hay[next - 1] ?? '') ? 3 : 1;
    }
    marks.push(next);
    place = next + 1;
  }
  // Letters all over a long name are chance, not what was meant.
  return breaks > needle.length + 1 ? undefined : { score: 200 - breaks * 10 - text.length / 2, marks };
}

function possible(hay: string, needle: string, from: number): boolean {
  let place = from;
  for (const letter of needle) {
    place = hay.indexOf(letter, place) + 1;
    if (place === 0) return false;
  }
  return true;
}

/** The best first, at most `SHOWN`. */
export function best(options: Iterable<Option>, typed: string): Option[] {
  const found: { option: Option; score: number; marks: number[] }[] = [];
  for (const option of options) {
    const match = fit(option.text, typed);
    if (match) found.push({ option, score: match.score + (option.weight ?? 0), marks: match.marks });
  }
  found.sort((a, b) => b.score - a.score || (a.option.text < b.option.text ? -1 : 1));
  return found.slice(0, SHOWN).map(({ option, marks }) => ({ ...option, marks }));
}

const functionOptions: Option[] = [
  ...[...AGGREGATIONS.keys()].map((text): Option => ({ text, kind: 'aggregation', insert: `${text}()`, back: 1, about: signature(text), helpKey: `fn.${text}` as Key, weight: 12 })),
  ...[...FUNCTIONS].map(([text, code]): Option => ({ text, kind: 'function', insert: `${text}()`, back: code ? 1 : 0, about: signature(text), helpKey: `fn.${text}` as Key, weight: 10 })),
];

function words(list: string[]): Option[] {
  return list.map((text): Option => {
    const brackets = ['by', 'without', 'on', 'ignoring', 'group_left', 'group_right'].includes(text);
    const option: Option = { text, kind: 'keyword', insert: brackets ? `${text} ()` : `${text} `, back: brackets ? 1 : 0, weight: 30, next: brackets || text === 'offset' || text === '@' };
    return { ...option, helpKey: `word.${text}` as Key };
  });
}

const plainMetric = /^[a-zA-Z_:][\w:]*$/;
const metricOption = (name: string, all: Metadata | undefined): Option => {
  const known = all && about(all, name);
  return { text: name, kind: known?.type ?? '', ...(known ? { help: known.help } : {}), ...(plainMetric.test(name) ? {} : { insert: `{${quote(name)}}`, back: 1 }) };
};

const UNITS: [string, Key][] = [['m', 'unit.word_m'], ['s', 'unit.word_s'], ['h', 'unit.word_h'], ['d', 'unit.word_d'], ['w', 'unit.word_w'], ['y', 'unit.word_y'], ['ms', 'unit.word_ms']];

function durations(word: string): Option[] {
  const number = /^\d+/.exec(word)?.[0];
  if (number) return UNITS.map(([unit, helpKey], index) => ({ text: `${number}${unit}`, kind: 'duration', helpKey, weight: -index * 20 }));
  return ['5m', '1m', '15m', '30m', '1h', '6h', '1d', '1w'].map((text, index) => ({ text, kind: 'duration', weight: -index }));
}

/** What is matched of what is there: behind a `|` of a pattern the next value begins. */
export const typed = (context: Context): string => (context.what === 'value' && context.regex && context.quoted ? (context.word.split('|').at(-1) ?? '') : context.word);

/** The options at a place, the best first. Throws where the server cannot be asked. */
export async function optionsAt(context: Context, signal: AbortSignal): Promise<Option[]> {
  const { word } = context;
  switch (context.what) {
    case 'nothing':
      return [];
    case 'operand':
    case 'metric': {
      const [names, all] = await Promise.all([metricNames(signal).catch(() => []), metadata(signal).catch(() => undefined)]);
      // Only those that are shown are worth their description.
      const metrics = best(names.map((text) => ({ text, kind: '' })), word).map(({ text }) => ({ ...metricOption(text, all), ...(context.what === 'metric' ? { insert: quote(text).slice(1, -1), back: 0 } : {}) }));
      return best(context.what === 'metric' ? metrics : [...words(context.words), ...functionOptions, ...metrics], word);
    }
    case 'operator':
      return best(words(context.words), word);
    case 'label': {
      const names = await labelNames(context.selectors, signal);
      const all = context.matching ? names : names.filter((name) => name !== '__name__');
      const free = all.filter((name) => !context.used.includes(name));
      return best(free.map((text) => ({ text, kind: 'label', insert: context.matching ? `${labelText(text)}=""` : labelText(text), back: context.matching ? 1 : 0, next: context.matching })), word);
    }
    case 'matcher':
      return ['=', '!=', '=~', '!~'].map((text, index) => ({ text, kind: 'operator', helpKey: `word.${text}` as Key, insert: `${text}""`, back: 1, weight: -index, next: true }));
    case 'value': {
      const { label, selectors, quoted, regex } = context;
      const values = await labelValues(label, selectors, word, signal);
      const escaped = (text: string) => quote(regex ? text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&') : text);
      const part = typed(context);
      const kept = word.slice(0, word.length - part.length);
      return best(values.map((text) => ({ text, kind: 'value', insert: `${quoted ? kept + escaped(text).slice(1, -1) : escaped(text)}` })), part);
    }
    case 'duration':
      return best(durations(word), word);
    case 'moment':
      return best([{ text: 'start()', kind: 'keyword', helpKey: 'word.@start' as Key }, { text: 'end()', kind: 'keyword', helpKey: 'word.@end' as Key }], word);
  }
}

