import { expect, test } from 'vitest';
// The made-up server of dev/, whose answers are the fixtures.
import { answer, makeState } from '../dev/mock.mjs';
import { places } from '../src/parts/Chart.svelte';
import type { Alert, RuleAlert, RuleGroup } from '../src/lib/api';
import { join } from '../src/lib/data.svelte';
import { axisScale, duration, seriesName, shortNames, unitOf, value } from '../src/lib/format';
import { finder, fingerprint, matches, parseMatchers, printMatcher } from '../src/lib/labels';
import { linesOf, stats } from '../src/lib/matrix';
import { closest, hintsOf, print, type Node } from '../src/lib/promql';
import { replacement, routeOf } from '../src/lib/router.svelte';
import { comparisonOf } from '../src/lib/threshold';
import { parseDuration, printDuration, stepFor } from '../src/lib/time.svelte';

test.each([
  [0, 'bytes', '0 B'],
  [1536, 'bytes', '1.5 KiB'],
  [1023 * 1024, 'bytes', '1,023 KiB'],
  [2.5e6, 'bits/s', '2.5 Mbit/s'],
  [0.0123, 'seconds', '12.3 ms'],
  [90, 'seconds', '1 min'],
  [12.345, 'percent', '12.3 %'],
  [0.5, 'ratio', '50 %'],
  [NaN, 'none', 'NaN'],
  [-Infinity, 'bytes', '-Inf'],
  [1234567, 'none', '1.235 M'],
] as const)('value(%s, %s) is %s', (number, unit, text) => expect(value(number, unit)).toBe(text));

test.each([
  [4000, '4 s'],
  [14 * 60_000, '14 min'],
  [2 * 3_600_000, '2 h'],
  [2 * 3_600_000 + 600_000, '2 h 10 min'],
  [41 * 86_400_000, '41 d'],
])('duration(%s) is %s', (ms, text) => expect(duration(ms)).toBe(text));

test.each([
  ['rate(node_network_receive_bytes_total[5m])', 'bytes/s'],
  ['node_memory_MemFree_bytes', 'bytes'],
  ['histogram_quantile(0.9, sum by (le) (rate(x_duration_seconds_bucket[5m])))', 'seconds'],
  ['100 * (1 - a / b)', 'percent'],
  ['sum(rate(http_requests_total[5m]))', '/s'],
  ['rate(node_cpu_seconds_total[5m])', 'none'],
  ['a_bytes / b_bytes', 'none'],
  ['scrape_duration_seconds', 'seconds'],
  ['up', 'none'],
])('unitOf(%s) is %s', (expression, unit) => expect(unitOf(expression)).toBe(unit));

test('an axis has one unit, and round steps in it', () => {
  const axis = axisScale('bytes', 300 * 2 ** 20);
  expect(axis.word).toBe('MiB');
  expect(axis.steps).toContain(100 * 2 ** 20);
});

test.each([
  ['5m', 300_000],
  ['1h30m', 5_400_000],
  ['15', 15_000],
  ['', undefined],
  ['-1h', undefined],
  ['1x', undefined],
])('parseDuration(%s) is %s', (text, ms) => expect(parseDuration(text)).toBe(ms));

test('durations print as they parse', () => {
  for (const text of ['5m', '1h30m', '2d', '1s', '1d2h3m4s5ms']) expect(printDuration(parseDuration(text) ?? 0)).toBe(text);
});

test('a step is round and no shorter than a scrape', () => {
  expect(stepFor(3_600_000, 15_000)).toBe(15_000);
  expect(stepFor(86_400_000, 15_000)).toBe(300_000);
  expect(stepFor(300_000, 5000)).toBe(5000);
});

test.each([
  ['{a="b", c=~"d.*"}', ['a="b"', 'c=~"d.*"']],
  ['a!=b', ['a!="b"']],
  ['x="with, comma"', ['x="with, comma"']],
  ['"odd name"!~"y\\"z"', ['odd name!~"y\\"z"']],
])('parseMatchers(%s)', (text, printed) => {
  const parsed = parseMatchers(text);
  expect(typeof parsed === 'string' ? parsed : parsed.map(printMatcher)).toEqual(printed);
});

test('what is no matcher is told', () => expect(parseMatchers('just words here')).toBe('just words here'));

test('matchers are anchored, and an absent label is empty', () => {
  const matcher = (value: string, isRegex: boolean, isEqual = true) => ({ name: 'job', value, isRegex, isEqual });
  expect(matches(matcher('no', true), { job: 'node' })).toBe(false);
  expect(matches(matcher('no.*', true), { job: 'node' })).toBe(true);
  expect(matches(matcher('', false), {})).toBe(true);
  expect(matches(matcher('x', false, false), {})).toBe(true);
  expect(matches(matcher('(', true), { job: '(' })).toBe(false);
});

test('fingerprints are those of Prometheus', () => {
  expect(fingerprint({})).toBe('cbf29ce484222325');

  expect(fingerprint({ a: 'b', c: 'd' })).toBe(fingerprint({ c: 'd', a: 'b' }));
  expect(fingerprint({ a: 'bc' })).not.toBe(fingerprint({ ab: 'c' }));
});

test('the find box takes words and matchers', () => {
  const labels = { job: 'node', instance: 'web1:9100' };
  expect(finder('WEB node')(labels)).toBe(true);
  expect(finder('db')(labels)).toBe(false);
  expect(finder('instance=~"web.*"')(labels)).toBe(true);
  expect(finder('refused')(labels, 'connection refused')).toBe(true);
});

test.each([
  ['up == 0', { left: 'up', above: undefined, limit: 0 }],
  ['100 * (1 - a{x=">"} / b) > 90', { left: '100 * (1 - a{x=">"} / b)', above: true, limit: 90 }],
  ['a < -1.5e3', { left: 'a', above: false, limit: -1500 }],
  ['a > b', undefined],
  ['a > 1 and b < 2', undefined],
  ['absent(up)', undefined],
  ['a > bool 1', undefined],
])('comparisonOf(%s)', (expression, expected) => expect(comparisonOf(expression)).toEqual(expected));

test.each([
  ['/', 'overview', []],
  ['/hosts/web1%3A9100', 'hosts', ['web1:9100']],
  ['/rules/a%2Fb/c', 'rules', ['a/b', 'c']],
  ['/nowhere', 'missing', ['nowhere']],
  ['/hosts/%E0%A4%A', 'hosts', ['%E0%A4%A']],
])('routeOf(%s)', (path, page, parts) => expect(routeOf(path)).toEqual({ page, parts }));

test.each([
  ['/graph', '?g0.expr=up&g0.range_input=2h&g0.tab=1&g1.expr=x', '', '/explore?q=up&q=x&range=2h&view=table'],
  ['/query', '?g0.expr=a%2Bb&g0.end_input=2026-11-23 10:00:00', '', '/explore?q=a%2Bb&end=2026-11-23T10%3A00%3A00Z'],
  ['/', '', '#/alerts?filter=%7Ba%3D%22b%22%7D', '/alerts?find=%7Ba%3D%22b%22%7D'],
  ['/', '', '#/silences/new?filter=%7Ba%3D%22b%22%7D', '/silences/new?filter=%7Ba%3D%22b%22%7D'],
  ['/', '', '#/silences', '/silences'],
  ['/tsdb-status', '', '', '/status/cardinality'],
  ['/config', '', '', '/status/configuration'],
  ['/flags', '', '', '/status/runtime'],
  ['/service-discovery', '', '', '/targets?tab=discovery'],
  ['/targets', '', '', undefined],
])('old address %s%s%s', (path, query, hash, better) => expect(replacement(path, query, hash)).toBe(better));

test('names of series are PromQL, and short names say where they differ', () => {
  expect(seriesName({ __name__: 'up', job: 'a"b' })).toBe('up{job="a\\"b"}');
  expect(seriesName({ __name__: 'my.metric', x: '1' })).toBe('{"my.metric", x="1"}');
  expect(shortNames([{ __name__: 'up', job: 'a', i: '1' }, { __name__: 'up', job: 'a', i: '2' }])).toEqual(['i="1"', 'i="2"']);
});

test('eight lines have eight colours, the same ones each time', () => {
  const keys = Array.from({ length: 20 }, (_, index) => `series ${index}`);
  const all = places(keys);
  expect(new Set(all.slice(0, 8)).size).toBe(8);
  expect(places(keys)).toEqual(all);
  expect(all.slice(8).every((place) => place >= 8)).toBe(true);
});

test('lines come from a matrix, with what is no number kept', () => {
  const lines = linesOf([{ answer: { data: { resultType: 'matrix', result: [{ metric: { a: '1' }, values: [[1, '2'], [2, 'NaN'], [3, '+Inf']] }] }, warnings: [], infos: [], tookMs: 1 } }]);
  expect(lines[0]?.points).toEqual([[1000, 2], [2000, NaN], [3000, Infinity]]);
  expect(stats(lines[0]?.points ?? [])).toEqual({ last: Infinity, min: 2, avg: 2, max: 2 });
});

test('a parsed query prints again', () => {
  const node: Node = { type: 'aggregation', op: 'sum', grouping: ['a'], without: false, param: null, expr: { type: 'call', func: { name: 'rate' }, args: [{ type: 'matrixSelector', name: 'x_total', range: 300_000, offset: 60_000, matchers: [{ name: '__name__', value: 'x_total', type: '=' }, { name: 'job', value: 'b', type: '=~' }], timestamp: null, startOrEnd: null }] } };
  expect(print(node)).toBe('sum by (a) (rate(x_total{job=~"b"}[5m] offset 1m))');
  expect(hintsOf(node, () => 'gauge').map((hint) => hint.key)).toEqual(['hint.rate_gauge']);
  expect(hintsOf(node, () => 'counter')).toEqual([]);
});

test('what is misspelt is close to what exists', () => {
  const names = ['node_cpu_seconds_total', 'node_cpu_info', 'up', 'go_goroutines'];
  expect(closest('node_cpu', names)).toEqual(['node_cpu_info', 'node_cpu_seconds_total']);
  expect(closest('node_cpu_secondstotal', names)[0]).toBe('node_cpu_seconds_total');
  expect(closest('zzz', names)).toEqual([]);
});

test('alerts of the notifier and of the rules are joined', () => {
  const state = makeState('bad');
  const get = <T>(path: string) => (answer(state, 'GET', path, new URLSearchParams()) as [number, unknown])[1] as T;
  const shown = join(get<Alert[]>('/api/v2/alerts'), get<{ data: { alerts: RuleAlert[] } }>('/api/v1/alerts').data.alerts, get<{ data: { groups: RuleGroup[] } }>('/api/v1/rules').data.groups);
  expect(shown.map((alert) => [alert.name, alert.state, alert.labels['instance']])).toEqual([
    ['TargetDown', 'firing', 'app1:8080'],
    ['TargetDown', 'firing', 'db2:9100'],
    ['HighLoad', 'pending', 'web2:9100'],
    ['DiskFull', 'silenced', 'web1:9100'],
  ]);
  expect(shown[3]?.value).toBe('9.1e+01');
  expect(shown[0]?.rule?.query).toBe('up == 0');
  // External labels on the notifier's side do not make two of one.
  const sent = get<Alert[]>('/api/v2/alerts').map((alert) => ({ ...alert, labels: { ...alert.labels, cluster: 'home' } }));
  expect(join(sent, get<{ data: { alerts: RuleAlert[] } }>('/api/v1/alerts').data.alerts, []).length).toBe(4);
});
