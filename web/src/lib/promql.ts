/** Prometheus's `parse_query` tree: from it, the text of each node, and what each does in words. */
import { quote } from './format';
import { AGGREGATIONS, isFunction } from './functions';
import type { Key } from './i18n.svelte';

export interface Node {
  type: string;
  [field: string]: unknown;
}

interface TreeMatcher {
  name: string;
  value: string;
  type: string;
}

const duration = (ms: number): string => {
  if (ms === 0) return '0s';
  let rest = Math.abs(ms);
  let out = ms < 0 ? '-' : '';
  for (const [unit, size] of [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000], ['ms', 1]] as const) {
    const count = Math.floor(rest / size);
    if (count) out += `${count}${unit}`;
    rest -= count * size;
  }
  return out;
};

function at(node: Node): string {
  const timestamp = node['timestamp'];
  const startOrEnd = node['startOrEnd'];
  let out = '';
  if (typeof timestamp === 'number') out += ` @ ${(timestamp / 1000).toFixed(3)}`;
  else if (startOrEnd === 'start' || startOrEnd === 'end') out += ` @ ${startOrEnd}()`;
  const offset = node['offset'];
  if (typeof offset === 'number' && offset !== 0) out += ` offset ${duration(offset)}`;
  return out;
}

function selector(node: Node): string {
  const matchers = (node['matchers'] as TreeMatcher[] | undefined) ?? [];
  const name = String(node['name'] ?? '');
  const parts = matchers.filter((matcher) => !(matcher.name === '__name__' && matcher.type === '=' && matcher.value === name)).map((matcher) => `${matcher.name}${matcher.type}${quote(matcher.value)}`);
  return parts.length ? `${name}{${parts.join(',')}}` : name || '{}';
}

function labels(list: unknown): string {
  return (list as string[] | undefined ?? []).join(', ');
}

export function children(node: Node): Node[] {
  switch (node.type) {
    case 'aggregation':
      return [node['param'], node['expr']].filter(isNode);
    case 'binaryExpr':
      return [node['lhs'], node['rhs']].filter(isNode);
    case 'call':
      return ((node['args'] as unknown[] | undefined) ?? []).filter(isNode);
    case 'subquery':
    case 'parenExpr':
    case 'unaryExpr':
      return [node['expr']].filter(isNode);
    default:
      return [];
  }
}

const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'type' in value;

export function print(node: Node): string {
  const inner = (value: unknown): string => (isNode(value) ? print(value) : '');
  switch (node.type) {
    case 'aggregation': {
      const grouping = (node['grouping'] as string[] | undefined) ?? [];
      const by = node['without'] ? ` without (${labels(grouping)}) ` : grouping.length ? ` by (${labels(grouping)}) ` : '';
      const args = [node['param'], node['expr']].filter(isNode).map(print).join(', ');
      return `${String(node['op'])}${by}(${args})`;
    }
    case 'binaryExpr': {
      const matching = node['matching'] as { card?: string; labels?: string[]; on?: boolean; include?: string[] } | null;
      let how = node['bool'] ? ' bool' : '';
      if (matching) {
        if (matching.on || matching.labels?.length) how += ` ${matching.on ? 'on' : 'ignoring'} (${labels(matching.labels)})`;
        if (matching.card === 'many-to-one') how += ` group_left (${labels(matching.include)})`;
        if (matching.card === 'one-to-many') how += ` group_right (${labels(matching.include)})`;
      }
      return `${inner(node['lhs'])} ${String(node['op'])}${how} ${inner(node['rhs'])}`;
    }
    case 'call':
      return `${String((node['func'] as { name?: string } | undefined)?.name ?? '')}(${children(node).map(print).join(', ')})`;
    case 'matrixSelector':
      return `${selector(node)}[${duration(Number(node['range']))}]${at(node)}`;
    case 'vectorSelector':
      return `${selector(node)}${at(node)}`;
    case 'subquery':
      return `${inner(node['expr'])}[${duration(Number(node['range']))}:${Number(node['step']) ? duration(Number(node['step'])) : ''}]${at(node)}`;
    case 'parenExpr':
      return `(${inner(node['expr'])})`;
    case 'unaryExpr':
      return `${String(node['op'])}${inner(node['expr'])}`;
    case 'stringLiteral':
      return quote(String(node['val']));
    case 'numberLiteral':
      return String(node['val']);
    default:
      return '';
  }
}

/** The node's own part, without what is below it. */
export function head(node: Node): string {
  switch (node.type) {
    case 'aggregation': {
      const grouping = (node['grouping'] as string[] | undefined) ?? [];
      return `${String(node['op'])}${node['without'] ? ` without (${labels(grouping)})` : grouping.length ? ` by (${labels(grouping)})` : ''}`;
    }
    case 'binaryExpr':
      return print({ ...node, lhs: undefined, rhs: undefined }).trim();
    case 'call':
      return `${String((node['func'] as { name?: string } | undefined)?.name ?? '')}()`;
    case 'subquery':
      return print({ ...node, expr: undefined });
    case 'parenExpr':
      return '( )';
    case 'unaryExpr':
      return String(node['op']);
    default:
      return print(node);
  }
}

/** What a node does, as a key of the texts; `undefined` where there is nothing to say. */
export function meaning(node: Node): Key | undefined {
  if (node.type === 'call') {
    const name = (node['func'] as { name?: string } | undefined)?.name ?? '';
    return isFunction(name) ? (`fn.${name}` as Key) : undefined;
  }
  if (node.type === 'aggregation') return AGGREGATIONS.has(String(node['op'])) ? (`fn.${String(node['op'])}` as Key) : undefined;
  if (node.type === 'matrixSelector') return 'node.range';
  if (node.type === 'vectorSelector') return 'node.selector';
  if (node.type === 'subquery') return 'node.subquery';
  if (node.type === 'binaryExpr') return /^(==|!=|>|<|>=|<=)$/.test(String(node['op'])) && !node['bool'] ? 'node.filter' : /^(and|or|unless)$/.test(String(node['op'])) ? 'node.set' : 'node.arithmetic';
  return undefined;
}

/** The labels that a node keeps, if it says so. */
function grouping(node: Node | undefined): string[] | undefined {
  if (node?.type === 'parenExpr') return grouping(children(node)[0]);
  return node?.type === 'aggregation' && !node['without'] ? ((node['grouping'] as string[] | undefined) ?? []) : undefined;
}

/** Hints that need no data but names and types: what is likely not meant. Windows are held against the time between two scrapes. */
export function hintsOf(node: Node, typeOf: (metric: string) => string | undefined, scrapeMs = 0): { key: Key; name: string; window?: string }[] {
  const out: { key: Key; name: string; window?: string }[] = [];
  if (node.type === 'call') {
    const name = (node['func'] as { name?: string } | undefined)?.name ?? '';
    const first = children(node)[0];
    const metric = first?.type === 'matrixSelector' ? String(first['name'] ?? '') : '';
    const type = metric ? (typeOf(metric) ?? typeOf(metric.replace(/_(bucket|sum|count|total)$/, ''))) : undefined;
    if (['rate', 'irate', 'increase'].includes(name) && type === 'gauge') out.push({ key: 'hint.rate_gauge', name: metric });
    if (['delta', 'deriv', 'predict_linear'].includes(name) && type === 'counter') out.push({ key: 'hint.delta_counter', name: metric });
    if (['rate', 'irate', 'increase', 'delta', 'deriv', 'idelta'].includes(name) && first?.type === 'matrixSelector') {
      const range = Number(first['range']);
      if (range > 0 && range < 2 * scrapeMs) out.push({ key: 'hint.short_window', name, window: duration(4 * scrapeMs) });
    }
    if (['rate', 'irate', 'increase'].includes(name) && first?.type === 'subquery' && children(first)[0]?.type === 'aggregation') out.push({ key: 'hint.rate_of_sum', name });
    if (name === 'histogram_quantile' || name === 'histogram_fraction') {
      const kept = grouping(children(node).at(-1));
      const buckets = /_bucket\b/.test(print(node));
      if (buckets && kept && !kept.includes('le')) out.push({ key: 'hint.no_le', name });
    }
  }
  for (const child of children(node)) out.push(...hintsOf(child, typeOf, scrapeMs));
  return out;
}

/** An alerting rule to start from, as its file has it. */
export function ruleText(expression: string): string {
  const indented = expression.trim().split('\n').join('\n          ');
  return `groups:
  - name: mine
    rules:
      - alert: NameMe
        expr: |
          ${indented}
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: "{{ $labels.instance }}: {{ $value }}"
`;
}

/** Edit distance, for "close: ..." where a name does not exist. */
export function closest(name: string, all: string[], most = 3): string[] {
  const wanted = name.toLowerCase();
  const scored: [number, string][] = [];
  for (const one of all) {
    if (Math.abs(one.length - wanted.length) > 14 && !one.includes(wanted)) continue;
    const distance = one.includes(wanted) ? (one.length - wanted.length) / 10 : edits(wanted, one.toLowerCase());
    if (distance <= Math.max(2, wanted.length / 3)) scored.push([distance, one]);
  }
  return scored.sort((a, b) => a[0] - b[0] || a[1].localeCompare(b[1])).slice(0, most).map(([, one]) => one);
}

function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) next[j] = Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length] ?? 0;
}
