/** The variables of a dashboard: what they ask, and what becomes of the answers. */
import { printDuration } from '../time.svelte';
import { regexOf } from './fields';
import type { VariableValue } from './interpolate';
import { isObject, list, number, object, text, texts } from './json';

export type VariableKind = 'query' | 'custom' | 'interval' | 'constant' | 'textbox' | 'datasource' | 'unsupported';

export interface Option {
  text: string;
  value: string;
}

export interface Variable {
  name: string;
  label: string;
  kind: VariableKind;
  /** As the JSON names it. */
  type: string;
  hidden: boolean;
  multi: boolean;
  includeAll: boolean;
  allValue: string | undefined;
  query: string;
  regex: string;
  sort: number;
  /** Asked again when the time range changes. */
  withTime: boolean;
  auto: { count: number; least: string } | undefined;
  /** What the JSON had chosen. */
  current: string[];
  /** Choices that stand in the JSON itself. */
  options: Option[];
}

export const ALL = '$__all';
/** More choices than this are not shown; nobody finds one among them. */
export const MOST_OPTIONS = 2000;

/** `a,b : c,d\,e` as choices. */
export function customOptions(query: string): Option[] {
  return [...query.matchAll(/(?:\\,|[^,])+/g)].flatMap(([piece]) => {
    const bare = piece.replace(/\\,/g, ',').trim();
    const pair = /^(\S(?:.*\S)?)\s+:\s+(\S(?:.*\S)?)$/.exec(bare);
    return bare ? [pair ? { text: pair[1] ?? '', value: pair[2] ?? '' } : { text: bare, value: bare }] : [];
  });
}

/** Newer versions wrap the text of a query. */
function queryText(value: unknown): string {
  if (!isObject(value)) return text(value);
  const plain = text(value['query']) || text(value['expr']) || text(value['seriesQuery']);
  if (plain) return plain;
  const label = text(value['label']);
  return label ? `label_values(${text(value['metric']) ? `${text(value['metric'])}, ` : ''}${label})` : '';
}

export function readVariables(source: unknown[]): Variable[] {
  const seen = new Set<string>();
  return source.filter(isObject).flatMap((json) => {
    const name = text(json['name']);
    const type = text(json['type'], 'query');
    if (!/^\w+$/.test(name) || seen.has(name)) return [];
    seen.add(name);
    const kind: VariableKind = (['query', 'custom', 'interval', 'constant', 'textbox', 'datasource'] as const).find((one) => one === type) ?? 'unsupported';
    const current = object(json['current']);
    const options = list(json['options']).map(object).map((one) => ({ text: text(one['text'], text(one['value'])), value: text(one['value']) })).filter((one) => one.value !== ALL);
    const query = queryText(json['query']) || (kind === 'query' ? queryText(json['definition']) : '');
    const foreign = kind === 'query' && /^(?!.*prometheus)(?!datasource$|$)/i.test(text(object(json['datasource'])['type']));
    return [{
      name, type: foreign ? text(object(json['datasource'])['type']) : type, kind: foreign ? 'unsupported' as const : kind, label: text(json['label']) || name, hidden: number(json['hide']) === 2 || kind === 'constant' || kind === 'datasource', multi: json['multi'] === true, includeAll: json['includeAll'] === true,
      allValue: text(json['allValue']) || undefined, query, regex: text(json['regex']), sort: number(json['sort']) ?? 0, withTime: number(json['refresh']) === 2,
      auto: kind === 'interval' && json['auto'] === true ? { count: number(json['auto_count']) ?? 30, least: text(json['auto_min'], '10s') } : undefined,
      current: texts(current['value']), options,
    }];
  });
}

export type Ask =
  | { kind: 'label_values'; label: string; match: string }
  | { kind: 'label_names'; match: string }
  | { kind: 'metrics'; regex: string }
  | { kind: 'query'; expr: string }
  | { kind: 'series'; match: string };

/** What a query variable asks, its variables filled in. */
export function askOf(query: string): Ask | undefined {
  const bare = query.trim();
  if (!bare) return undefined;
  const call = /^(label_values|label_names|metrics|query_result)\s*\(([\s\S]*)\)\s*;?$/.exec(bare);
  const inside = (call?.[2] ?? '').trim();
  switch (call?.[1]) {
    case 'label_values': {
      const label = /^(?:([\s\S]*\S)\s*,\s*)?("(?:[^"\\]|\\.)+"|[a-zA-Z_]\w*)$/.exec(inside);
      return label ? { kind: 'label_values', label: (label[2] ?? '').replace(/^"|"$/g, ''), match: label[1] ?? '' } : undefined;
    }
    case 'label_names':
      return { kind: 'label_names', match: inside };
    case 'metrics':
      return { kind: 'metrics', regex: inside };
    case 'query_result':
      return { kind: 'query', expr: inside };
    default:
      return { kind: 'series', match: bare };
  }
}

const COLLATOR = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });
const digits = (value: string): number => Number(/(?:^|\D)(\d+)/.exec(value)?.[1] ?? -1);

function sorted(options: Option[], sort: number): Option[] {
  if (sort < 1) return options;
  const plain = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  const way = [plain, (a: string, b: string) => digits(a) - digits(b), (a: string, b: string) => plain(a.toLowerCase(), b.toLowerCase()), (a: string, b: string) => COLLATOR.compare(a, b)][Math.ceil(sort / 2) - 1] ?? plain;
  const out = [...options].sort((a, b) => way(a.text, b.text));
  return sort % 2 ? out : out.reverse();
}

/** Choices from an answer: the regular expression picks its part of each (groups `text` and `value`, or the first), each once, in order. */
export function optionsFrom(values: string[], regex: string, sort: number): Option[] {
  const pattern = regex ? regexOf(regex) : undefined;
  const found = new Map<string, Option>();
  for (const whole of values) {
    if (whole.length > 4000) continue;
    let option: Option = { text: whole, value: whole };
    if (pattern) {
      const match = pattern.exec(whole);
      if (!match) continue;
      const { text: said, value } = match.groups ?? {};
      const first = match[1];
      option = said !== undefined || value !== undefined ? { text: said ?? value ?? '', value: value ?? said ?? '' } : match.length > 1 ? { text: first ?? '', value: first ?? '' } : option;
    }
    if (!found.has(option.value)) found.set(option.value, option);
  }
  return sorted([...found.values()], sort).slice(0, MOST_OPTIONS);
}

/** What is chosen: by the address, else as the JSON had it where that still exists, else the first. */
export function chosen(variable: Variable, options: Option[], asked: string[]): string[] {
  if (variable.kind === 'textbox') return [asked[0] ?? variable.current[0] ?? variable.query];
  const known = (values: string[]) => values.filter((value) => (value === ALL ? variable.includeAll : options.some((option) => option.value === value)));
  // "All" is also called by its name in old addresses.
  const named = asked.map((value) => (value === 'All' && variable.includeAll && !options.some((option) => option.value === 'All') ? ALL : value));
  // What the address asks for stays, also where it is not among the choices: the host may be gone, the past is still there.
  const wanted = named.length ? named.filter((value) => value !== ALL || variable.includeAll) : known(variable.current);
  const first = wanted.length ? wanted : variable.includeAll && !options.length ? [ALL] : options[0] ? [options[0].value] : variable.includeAll ? [ALL] : [];
  if (first.includes(ALL)) return [ALL];
  return variable.multi ? first : first.slice(0, 1);
}

/** As texts are filled with it. */
export function valueOf(variable: Variable, options: Option[], values: string[], range: number, round: (ms: number) => number, parse: (text: string) => number | undefined): VariableValue {
  const multi = variable.multi || variable.includeAll;
  if (values.includes(ALL)) return { values: options.map((option) => option.value), text: 'All', multi, ...(variable.allValue === undefined ? {} : { all: variable.allValue }) };
  const auto = variable.auto;
  const filled = auto ? values.map((value) => (value.startsWith('$__auto_interval') ? printDuration(round(Math.max(range / auto.count, parse(auto.least) ?? 10_000))) : value)) : values;
  return { values: filled, text: values.map((value) => options.find((option) => option.value === value)?.text ?? value).join(' + '), multi };
}

/** In the order in which they may be asked: each after those that its query names. */
export function inOrder(variables: Variable[], uses: (variable: Variable) => Set<string>): Variable[] {
  const out: Variable[] = [];
  const names = new Set(variables.map((variable) => variable.name));
  let rest = variables;
  while (rest.length) {
    const done = new Set(out.map((variable) => variable.name));
    const ready = rest.filter((variable) => [...uses(variable)].every((name) => name === variable.name || !names.has(name) || done.has(name)));
    // A circle has no order: then the one that it has in the JSON.
    const next = ready.length ? ready : rest;
    out.push(...next);
    rest = rest.filter((variable) => !next.includes(variable));
  }
  return out;
}

