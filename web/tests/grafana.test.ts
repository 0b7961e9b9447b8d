import { expect, test } from 'vitest';
// Dashboards in the shapes that people have.
import { HOSTS, OLD } from '../dev/mock_dashboards.mjs';
import type { QueryAnswer, Series } from '../src/lib/api';
import { gridOf } from '../src/lib/chartgrid';
import { contrast, parseColor, readable, toneOf } from '../src/lib/grafana/colors';
import { addPanel, emptyDashboard, movePanel, ordered, panelOf, removePanel, renamePanel, setWide } from '../src/lib/grafana/edit';
import { configOf, mapped, reduce, shown, stepAt } from '../src/lib/grafana/fields';
import { parseDashboard, readFile } from '../src/lib/grafana/files';
import { framesFrom, legendText, seriesFrom, type Answer, type Column, type Frame } from '../src/lib/grafana/frames';
import { interpolate, type Scope } from '../src/lib/grafana/interpolate';
import { whereNotJson, type Json } from '../src/lib/grafana/json';
import { layout, withFixed } from '../src/lib/grafana/layout';
import { askedBy, stepOf } from '../src/lib/grafana/load';
import { markdown } from '../src/lib/grafana/markdown';
import { modernPanel } from '../src/lib/grafana/migrate';
import { readDashboard, safeUrl, type Panel } from '../src/lib/grafana/model';
import { columnsFor, singles } from '../src/lib/grafana/singles';
import { transform } from '../src/lib/grafana/transform';
import { measureOf, unitText } from '../src/lib/grafana/units';
import type { Line } from '../src/parts/Chart.svelte';
import { ALL, askOf, chosen, customOptions, inOrder, optionsFrom, readVariables, valueOf } from '../src/lib/grafana/variables';

const scope = (variables: Scope['variables'] = {}): Scope => ({ variables, from: 1_700_000_000_000, to: 1_700_003_600_000, step: 15_000, scrape: 15_000 });
const one = (value: string, multi = false) => ({ values: [value], text: value, multi });
const panelFrom = (json: Json): Panel => {
  const panel = readDashboard({ panels: [json] }).sections[0]?.panels[0];
  if (!panel) throw new Error('no panel');
  return panel;
};
const answer = (result: Series[], resultType: 'matrix' | 'vector' = 'matrix'): QueryAnswer => ({ data: { resultType, result }, warnings: [], infos: [], tookMs: 1 });
const answersOf = (panel: Panel, ...all: QueryAnswer[]): Answer[] => all.map((given, index) => ({ target: panel.targets[index] ?? panel.targets[0]!, expr: panel.targets[index]?.expr ?? '', answer: given }));
const vector = (...rows: [Record<string, string>, string][]): QueryAnswer => answer(rows.map(([metric, value]) => ({ metric, value: [1000, value] })), 'vector');
const column = (name: string, type: Column['type'], ...values: Column['values']): Column => ({ name, own: name, refId: 'A', type, values });
const frame = (...columns: Column[]): Frame => ({ refId: 'A', name: 'A', columns });
const rowsOf = (frames: Frame[]) => (frames[0]?.columns[0]?.values ?? []).map((_, row) => frames[0]?.columns.map((each) => each.values[row]));
const namesOf = (frames: Frame[]) => frames[0]?.columns.map((each) => each.name);

/* Variables in texts */

test.each([
  ['up{instance="$node"}', 'up{instance="web1:9100"}'],
  ['up{instance="${node}"}', 'up{instance="web1:9100"}'],
  ['up{instance="[[node]]"}', 'up{instance="web1:9100"}'],
  ['up{job=~"$job"}', 'up{job=~"(a\\\\.b|c)"}'],
  ['up{job=~"${job:pipe}"}', 'up{job=~"a.b|c"}'],
  ['up{job=~"${job:regex}"}', 'up{job=~"(a\\.b|c)"}'],
  ['${job:csv}', 'a.b,c'],
  ['${job:doublequote}', '"a.b","c"'],
  ['${job:json}', '["a.b","c"]'],
  ['${job:glob}', '{a.b,c}'],
  ['${job:queryparam}', 'var-job=a.b&var-job=c'],
  ['${job:unheard_of}', '{a.b,c}'],
  ['up{job=~"$all"}', 'up{job=~".+"}'],
  ['up{device=~"$single"}', 'up{device=~"sd\\\\[a\\\\]"}'],
  ['rate(x[$__rate_interval])', 'rate(x[1m])'],
  ['x[$__interval] $__interval_ms $__range $__range_s', 'x[15s] 15000 3600s 3600'],
  ['$__from ${__to:date:seconds}', '1700000000000 1700003600'],
  ['$nobody ${nobody} [[nobody]] 5$', '$nobody ${nobody} [[nobody]] 5$'],
  ['${node.text}', 'web1:9100'],
  ['$constructor ${__proto__}', '$constructor ${__proto__}'],
])('interpolate(%s)', (text, expected) => {
  const variables = { node: one('web1:9100'), job: { values: ['a.b', 'c'], text: 'a.b + c', multi: true }, all: { values: ['x', 'y'], text: 'All', multi: true, all: '.+' }, single: one('sd[a]', true) };
  expect(interpolate(text, scope(variables))).toBe(expected);
});

test('a backslash in a value stays one in the PromQL text', () => expect(interpolate('x{p="$p"}', scope({ p: one('C:\\') }))).toBe('x{p="C:\\\\"}'));

/* Variables */

test.each([
  ['label_values(job)', { kind: 'label_values', label: 'job', match: '' }],
  ['label_values(up{a="x,y", b=~"(1|2)"}, instance)', { kind: 'label_values', label: 'instance', match: 'up{a="x,y", b=~"(1|2)"}' }],
  ['label_values(up, "odd.name")', { kind: 'label_values', label: 'odd.name', match: 'up' }],
  ['label_names()', { kind: 'label_names', match: '' }],
  ['metrics(node_.*)', { kind: 'metrics', regex: 'node_.*' }],
  ['query_result(topk(3, sum by (job) (up)))', { kind: 'query', expr: 'topk(3, sum by (job) (up))' }],
  ['up{job="a"}', { kind: 'series', match: 'up{job="a"}' }],
  ['', undefined],
])('askOf(%s)', (text, expected) => expect(askOf(text)).toEqual(expected));

test.each([
  [['b', 'a', 'b'], '', 0, ['b', 'a']],
  [['b', 'a'], '', 1, ['a', 'b']],
  [['b', 'a'], '', 2, ['b', 'a']],
  [['n10', 'n9'], '', 3, ['n9', 'n10']],
  [['B', 'a'], '', 5, ['a', 'B']],
  [['disk10', 'disk9'], '', 7, ['disk9', 'disk10']],
  [['up{instance="web1:9100"} 1 2', 'other{} 1 2'], '/instance="([^"]+)"/', 1, ['web1:9100']],
  [['web1.x', 'db'], '([^.]*)\\..*', 0, ['web1']],
  [['a', 'b'], '(', 0, ['a', 'b']],
] as [string[], string, number, string[]][])('optionsFrom(%j, %s, %i)', (values, regex, sort, expected) => expect(optionsFrom(values, regex, sort).map((option) => option.value)).toEqual(expected));

test('named groups give text and value apart', () => expect(optionsFrom(['x{name="one",id="1"}'], '/name="(?<text>[^"]+)",id="(?<value>[^"]+)"/', 0)).toEqual([{ text: 'one', value: '1' }]));

test('custom values may have names, and commas', () => expect(customOptions('1m, One : 1,a\\,b,http://x:9')).toEqual([{ text: '1m', value: '1m' }, { text: 'One', value: '1' }, { text: 'a,b', value: 'a,b' }, { text: 'http://x:9', value: 'http://x:9' }]));

test('what is chosen: the address first, then the JSON, then the first', () => {
  const [variable] = readVariables([{ name: 'v', type: 'query', multi: true, includeAll: true, current: { value: ['b'] } }]);
  const options = ['a', 'b'].map((value) => ({ text: value, value }));
  expect(chosen(variable!, options, [])).toEqual(['b']);
  expect(chosen(variable!, options, ['a', 'gone'])).toEqual(['a', 'gone']);
  expect(chosen(variable!, options, ['All'])).toEqual([ALL]);
  expect(chosen({ ...variable!, current: ['gone'] }, options, [])).toEqual(['a']);
  expect(chosen({ ...variable!, multi: false }, options, ['a', 'b'])).toEqual(['a']);
  expect(valueOf(variable!, options, [ALL], 1, (ms) => ms, () => 1)).toMatchObject({ values: ['a', 'b'], multi: true });
});

test('an automatic interval follows the range', () => {
  const [variable] = readVariables([{ name: 'every', type: 'interval', query: '1m,5m', auto: true, auto_count: 30, auto_min: '1m' }]);
  const value = (range: number) => valueOf(variable!, [], ['$__auto_interval_every'], range, (ms) => ms, () => 60_000).values;
  expect(value(3_600_000)).toEqual(['2m']);
  expect(value(60_000)).toEqual(['1m']);
});

test('variables are asked after those they name, whatever their order; a circle does not hang', () => {
  const all = readVariables([{ name: 'c', query: 'x{b="$b"}' }, { name: 'b', query: 'x{a="$a"}' }, { name: 'a', query: 'x' }]);
  const uses = (variable: (typeof all)[number]) => new Set([...variable.query.matchAll(/\$(\w)/g)].map((match) => match[1] ?? ''));
  expect(inOrder(all, uses).map((variable) => variable.name)).toEqual(['a', 'b', 'c']);
  const circle = readVariables([{ name: 'a', query: '$b' }, { name: 'b', query: '$a' }]);
  expect(inOrder(circle, uses).length).toBe(2);
});

test('queries of newer versions and of other sources are told apart', () => {
  const read = readVariables([{ name: 'a', type: 'query', query: { query: 'label_values(up, job)', refId: 'x' } }, { name: 'b', type: 'query', datasource: { type: 'loki' }, query: 'x' }, { name: 'c', type: 'adhoc' }, { name: 'bad name' }, 7, { name: 'a' }]);
  expect(read.map((variable) => [variable.name, variable.kind, variable.query])).toEqual([['a', 'query', 'label_values(up, job)'], ['b', 'unsupported', 'x'], ['c', 'unsupported', '']]);
});

/* Units */

test.each([
  [1536, 'bytes', undefined, '1.5 KiB'], [1500, 'decbytes', undefined, '1.5 kB'], [1.2e6, 'bps', undefined, '1.2 Mb/s'], [0, 'bytes', undefined, '0 B'], [42.25, 'percent', 1, '42.3 %'], [0.4225, 'percentunit', undefined, '42.3 %'],
  [0.0012, 's', undefined, '1.2 ms'], [7200, 's', undefined, '2 h'], [0.5, 'ms', undefined, '500 µs'], [90, 'm', undefined, '1.5 h'], [0, 's', undefined, '0 s'], [1234567, 'short', undefined, '1.23 M'], [6144, 'none', undefined, '6,144'], [3, 'pps', undefined, '3 p/s'],
  [21.5, 'celsius', undefined, '21.5 °C'], [1, 'bool', undefined, 'True'], [0, 'bool_yes_no', undefined, 'No'], [12, 'suffix: pods', undefined, '12  pods'], [5, 'prefix:~', undefined, '~5'], [-3, 'currencyUSD', 2, '-$3.00'], [5, 'furlongs', undefined, '5 furlongs'],
  [NaN, 'bytes', undefined, 'NaN'], [Infinity, 's', undefined, '+Inf'], [255, 'hex', undefined, 'ff'], [1e-4, 'watt', undefined, '100 µW'], [-2048, 'bytes', undefined, '-2 KiB'],
] as [number, string, number | undefined, string][])('unitText(%s, %s, %s) is %s', (value, unit, decimals, expected) => expect(unitText(value, unit, decimals)).toBe(expected));

test('an axis has one unit and round steps in it', () => {
  const axis = measureOf('bytes').axis(3 * 2 ** 30);
  expect(axis.word).toBe('GiB');
  expect(axis.steps).toContain(2 ** 30);
  expect(measureOf('percentunit').axis(1)).toMatchObject({ word: '%', factor: 0.01 });
  expect(measureOf('ms').axis(5000)).toMatchObject({ word: 's', factor: 1000 });
  expect(measureOf('short').axis(500).word).toBe('');
});

/* Colours */

test.each(['green', 'dark-red', '#EAB839', 'rgba(237, 129, 40, 0.89)', '#fff', 'super-light-yellow', '#0A437C'])('%s can be read on both pages', (color) => {
  for (const dark of [false, true]) {
    const shown = parseColor(readable(color, dark, 4.5) ?? '');
    expect(contrast(shown!, dark ? [23, 29, 36] : [245, 247, 249])).toBeGreaterThanOrEqual(4.5);
  }
});

test.each([['green', 'ok'], ['rgba(245, 54, 54, 0.9)', 'critical'], ['#EAB839', 'warning'], ['dark-orange', 'warning'], ['blue', undefined], ['#888', undefined], ['url(javascript:1)', undefined]])('%s says %s', (color, tone) => expect(toneOf(color)).toBe(tone));

/* Fields */

const field = (name: string, more = {}) => ({ name, refId: 'A', type: 'number' as const, ...more });

test('overrides by name, expression, query and type', () => {
  const panel = panelFrom({ type: 'timeseries', fieldConfig: { defaults: { unit: 'short', custom: { lineWidth: 1 } }, overrides: [
    { matcher: { id: 'byName', options: 'a' }, properties: [{ id: 'unit', value: 'bytes' }] }, { matcher: { id: 'byRegexp', options: '/^b/' }, properties: [{ id: 'custom.lineWidth', value: 3 }] },
    { matcher: { id: 'byFrameRefID', options: 'B' }, properties: [{ id: 'decimals', value: 2 }] }, { matcher: { id: 'byType', options: 'string' }, properties: [{ id: 'displayName', value: 'Text' }] }, { matcher: { id: 'byRegexp', options: '(' }, properties: [{ id: 'unit', value: 'never' }] }, null, { matcher: 5 },
  ] } });
  expect(configOf(panel, field('a')).unit).toBe('bytes');
  expect(configOf(panel, field('bc')).custom).toEqual({ lineWidth: 3 });
  expect(configOf(panel, field('x', { refId: 'B' })).decimals).toBe(2);
  expect(configOf(panel, { name: 'x', refId: 'A', type: 'string' }).displayName).toBe('Text');
  expect(configOf(panel, field('z')).unit).toBe('short');
});

test('thresholds, absolute and of the way from min to max', () => {
  const config = (mode: string) => configOf(panelFrom({ type: 'stat', fieldConfig: { defaults: { min: 0, max: 200, thresholds: { mode, steps: [{ color: 'green', value: null }, { color: 'orange', value: 50 }, { color: 'red', value: 90 }] } } } }), field('x'));
  expect(stepAt(config('absolute'), 60)?.color).toBe('orange');
  expect(stepAt(config('percentage'), 60)?.color).toBe('green');
  expect(stepAt(config('percentage'), 190)?.color).toBe('red');
  expect(shown(config('absolute'), 95, false)).toMatchObject({ text: '95', tone: 'critical', color: 'var(--critical)' });
});

test('mappings: value, range, expression, special', () => {
  const config = configOf(panelFrom({ type: 'stat', fieldConfig: { defaults: { mappings: [
    { type: 'value', options: { 0: { text: 'Down', color: 'red' }, 1: { text: 'Up' } } }, { type: 'range', options: { from: 10, to: 20, result: { text: 'some' } } }, { type: 'regex', options: { pattern: '^v(.*)$', result: { text: 'version $1' } } }, { type: 'special', options: { match: 'null+nan', result: { text: 'N/A' } } },
  ] } } }), field('x'));
  expect([0, 1, 15, 30, 'v2', null, NaN].map((value) => mapped(config, value)?.text)).toEqual(['Down', 'Up', 'some', undefined, 'version 2', 'N/A', 'N/A']);
  expect(shown(config, 0, false)).toMatchObject({ text: 'Down', tone: 'critical' });
});

test.each([['lastNotNull', 4], ['last', NaN], ['first', 1], ['min', 1], ['max', 5], ['mean', 3], ['sum', 12], ['count', 5], ['range', 4], ['diff', 3], ['median', 2], ['p99', 5], ['changeCount', 3], ['unheard', 4]])('reduce by %s', (calc, expected) => {
  expect(reduce([[1, 1], [2, 2], [3, 5], [4, 4], [5, NaN]], calc)).toBe(expected);
});
test('nothing reduces to nothing', () => expect([reduce([], 'mean'), reduce([], 'count'), reduce([[1, NaN]], 'mean')]).toEqual([undefined, 0, NaN]));

/* Legends and series */

test('a legend takes labels; what is not there is nothing', () => expect(legendText('{{a}}-{{ b }}-{{c}}', { a: '1', b: '2' })).toBe('1-2-'));

test('series get their names by format, labels or expression', () => {
  const panel = (legendFormat?: string) => panelFrom({ type: 'timeseries', targets: [{ refId: 'A', expr: 'sum(up)', legendFormat }] });
  const names = (format: string | undefined, ...metrics: Record<string, string>[]) => { const it = panel(format); return seriesFrom(it, answersOf(it, answer(metrics.map((metric) => ({ metric, values: [[1, '1']] })))), scope({ n: one('N') })).map((serie) => serie.name); };
  expect(names('x {{i}} $n', { i: '1' })).toEqual(['x 1 N']);
  expect(names('__auto', { i: '1', j: 'a' }, { i: '2', j: 'a' })).toEqual(['1', '2']);
  expect(names(undefined, { __name__: 'up', i: '1' })).toEqual(['up{i="1"}']);
  expect(names(undefined, {})).toEqual(['sum(up)']);
});

test('a field of an override may be named by its labels', () => {
  const panel = panelFrom({ type: 'stat', targets: [{ refId: 'A', expr: 'x' }], fieldConfig: { defaults: { displayName: '${__field.labels.job} here' } } });
  expect(seriesFrom(panel, answersOf(panel, vector([{ job: 'a' }, '1'])), scope())[0]?.name).toBe('a here');
});

test('tables have time, labels and one value for each query', () => {
  const panel = panelFrom({ type: 'table', targets: [{ refId: 'A', expr: 'a', format: 'table', instant: true }, { refId: 'B', expr: 'b', format: 'table', instant: true }] });
  const frames = framesFrom(panel, answersOf(panel, vector([{ i: '1' }, '5'], [{ i: '2' }, '6']), vector([{ i: '1' }, '7'])), scope());
  expect(namesOf(frames)).toEqual(['Time', 'i', 'Value #A']);
  const merged = transform(frames, [{ id: 'merge', options: {} }, { id: 'organize', options: { excludeByName: { Time: true }, renameByName: { 'Value #A': 'first' }, indexByName: { 'Value #B': 0 } } }]);
  expect(namesOf(merged.frames)).toEqual(['Value #B', 'i', 'first']);
  expect(rowsOf(merged.frames)).toEqual([[7, '1', 5], [null, '2', 6]]);
});

/* Transformations */

const A = frame(column('host', 'string', 'a', 'b', 'c'), column('Value', 'number', 3, 1, 2));
test.each([
  ['joinByField', [A, frame(column('host', 'string', 'b', 'd'), column('Value', 'number', 9, 8))], { byField: 'host' }, ['host', 'Value 1', 'Value 2'], [['a', 3, null], ['b', 1, 9], ['c', 2, null], ['d', null, 8]]],
  ['joinByField', [A, frame(column('host', 'string', 'b'), column('Other', 'number', 9))], { byField: 'host', mode: 'inner' }, ['host', 'Value', 'Other'], [['b', 1, 9]]],
  ['filterFieldsByName', [A], { include: { names: ['host'] } }, ['host'], [['a'], ['b'], ['c']]],
  ['filterFieldsByName', [A], { include: { pattern: '/^Val/' } }, ['Value'], [[3], [1], [2]]],
  ['sortBy', [A], { sort: [{ field: 'Value', desc: true }] }, ['host', 'Value'], [['a', 3], ['c', 2], ['b', 1]]],
  ['renameByRegex', [A], { regex: '(.*)ue', renamePattern: '$1id' }, ['host', 'Valid'], [['a', 3], ['b', 1], ['c', 2]]],
  ['reduce', [A], { reducers: ['max', 'mean'] }, ['Field', 'Max', 'Mean'], [['A', 3, 2]]],
  ['limit', [A], { limitField: 1 }, ['host', 'Value'], [['a', 3]]],
  ['groupBy', [frame(column('job', 'string', 'x', 'y', 'x'), column('Value', 'number', 1, 2, 3))], { fields: { job: { operation: 'groupby', aggregations: [] }, Value: { operation: 'aggregate', aggregations: ['sum'] } } }, ['job', 'Value (sum)'], [['x', 4], ['y', 2]]],
  ['filterByValue', [A], { type: 'include', match: 'any', filters: [{ fieldName: 'Value', config: { id: 'greater', options: { value: 1 } } }] }, ['host', 'Value'], [['a', 3], ['c', 2]]],
] as [string, Frame[], Json, string[], unknown[][]][])('transformation %s', (id, frames, options, names, rows) => {
  const done = transform(frames, [{ id, options }]);
  expect(namesOf(done.frames)).toEqual(names);
  expect(rowsOf(done.frames)).toEqual(rows);
});

test('a transformation that is not known is named, and nothing else changes', () => expect(transform([A], [{ id: 'calculateMagic', options: {} }])).toEqual({ frames: [A], unknown: ['calculateMagic'] }));
test('transformations bear nonsense', () => {
  for (const id of ['merge', 'organize', 'filterFieldsByName', 'reduce', 'renameByRegex', 'sortBy', 'groupBy', 'filterByValue', 'seriesToRows', 'joinByField', 'limit', 'filterByRefId', 'toString']) {
    for (const options of [{}, { sort: 5, fields: 'x', filters: [null, 3], regex: '(', byField: {}, reducers: [{}] }]) expect(Array.isArray(transform([A, frame()], [{ id, options }]).frames)).toBe(true);
  }
});

/* Stats */

test('singles are reduced series, or fields that an expression names', () => {
  const made = (json: Json, ...all: QueryAnswer[]) => { const panel = panelFrom(json); return singles(panel, { ...askedBy(panel, { end: 3_600_000, now: 0, ms: 3_600_000, scrape: 15_000, variables: {} }), answers: answersOf(panel, ...all), failures: [] }).values.map(({ name, value }) => [name, value]); };
  expect(made({ type: 'stat', targets: [{ expr: 'x', legendFormat: '{{i}}' }], options: { reduceOptions: { calcs: ['max'] } } }, answer([{ metric: { i: '1' }, values: [[1, '4'], [2, '3']] }]))).toEqual([['1', 4]]);
  expect(made({ type: 'stat', targets: [{ expr: 'x', format: 'table', instant: true }], options: { reduceOptions: { fields: '/^version$/' } } }, vector([{ version: '1.9' }, '1']))).toEqual([['version', '1.9']]);
  expect(made({ type: 'stat', targets: [{ expr: 'x', format: 'table', instant: true }], options: { reduceOptions: { values: true } } }, vector([{ i: 'a' }, '1'], [{ i: 'b' }, '2']))).toEqual([['a', 1], ['b', 2]]);
});

test('three gauges in a wide place stand beside each other', () => expect([columnsFor(3, 600, 120, 1.8), columnsFor(4, 200, 800, 1.8), columnsFor(1, 100, 100, 2)]).toEqual([3, 1, 1]));

/* Old shapes */

test('rows of twelve columns become a grid of twenty-four', () => {
  const model = readDashboard(OLD);
  expect(model.sections.map((section) => [section.title, section.collapsed, section.panels.map((panel) => [panel.kind, panel.x, panel.w, panel.h])])).toEqual([
    ['Now', false, [['gauge', 0, 6, 4], ['stat', 6, 6, 4], ['stat', 12, 12, 4]]],
    ['Graphs', false, [['timeseries', 0, 16, 8], ['table', 16, 8, 8]]],
    ['More', true, [['text', 0, 24, 7]]],
  ]);
});

test('a graph keeps its axes, overrides and thresholds', () => {
  const panel = panelFrom({ type: 'graph', targets: [{ expr: 'x' }], fill: 3, linewidth: 2, stack: true, percentage: true, nullPointMode: 'connected', steppedLine: true, aliasColors: { a: '#fff' }, seriesOverrides: [{ alias: '/out/', transform: 'negative-Y' }, { alias: 'm', yaxis: 2, stack: false }], yaxes: [{ format: 'bytes', min: '0', label: 'size' }, { format: 'percent', max: 100 }], thresholds: [{ value: 5, colorMode: 'critical' }], legend: { show: true, values: true, avg: true, current: true, rightSide: true } });
  expect(panel.kind).toBe('timeseries');
  expect(configOf(panel, field('x'))).toMatchObject({ unit: 'bytes', min: 0, custom: { fillOpacity: 30, lineWidth: 2, spanNulls: true, lineInterpolation: 'stepAfter', axisLabel: 'size', stacking: { mode: 'percent' }, thresholdsStyle: { mode: 'line' } } });
  expect(configOf(panel, field('net out')).custom['transform']).toBe('negative-Y');
  expect(configOf(panel, field('m'))).toMatchObject({ unit: 'percent', max: 100, custom: { axisPlacement: 'right', stacking: { mode: 'none' } } });
  expect(configOf(panel, field('a')).fixedColor).toBe('#fff');
  expect(panel.options['legend']).toMatchObject({ placement: 'right', calcs: ['mean', 'lastNotNull'] });
});

test('a singlestat becomes a stat, with its maps; one with a gauge a gauge', () => {
  const panel = panelFrom({ type: 'singlestat', format: 'percent', valueName: 'avg', colorValue: true, thresholds: '50, 80', colors: ['green', 'orange', 'red'], valueMaps: [{ op: '=', value: 'null', text: 'N/A' }], targets: [{ expr: 'x' }] });
  const config = configOf(panel, field('x'));
  expect([panel.kind, panel.options['colorMode'], config.unit, config.steps.map((step) => step.value)]).toEqual(['stat', 'value', 'percent', [-Infinity, 50, 80]]);
  expect(mapped(config, null)?.text).toBe('N/A');
  expect(panelFrom({ type: 'singlestat', gauge: { show: true, maxValue: 9 } })).toMatchObject({ kind: 'gauge', defaults: { min: 0, max: 9 } });
});

test('gauges of version 6, pies and tables of styles', () => {
  expect(configOf(panelFrom({ type: 'gauge', options: { fieldOptions: { calcs: ['mean'], defaults: { unit: 'bytes', max: 9, thresholds: { mode: 'absolute', steps: [] } } } } }), field('x'))).toMatchObject({ unit: 'bytes', max: 9 });
  expect(panelFrom({ type: 'grafana-piechart-panel', format: 'bytes' })).toMatchObject({ kind: 'bargauge', options: { share: true } });
  const table = panelFrom({ type: 'table', styles: [{ pattern: 'Time', type: 'hidden' }, { pattern: '/.*/', type: 'number', unit: 'bytes', alias: '' }], transform: 'table', targets: [{ expr: 'x' }] });
  expect(configOf(table, field('Time')).custom['hidden']).toBe(true);
  expect([configOf(table, field('Value')).unit, table.targets[0]?.table, table.transformations[0]?.id]).toEqual(['bytes', true, 'merge']);
});

/* The model */

test('a dashboard as people have it is read whole', () => {
  const model = readDashboard(HOSTS);
  expect(model.sections.map((section) => [section.title, section.collapsed, section.panels.length])).toEqual([['Quick look', false, 8], ['CPU, memory, network', false, 4], ['Lists', false, 3], ['For each device: $device', true, 1], ['Not supported', true, 5]]);
  expect(model.variables.map((variable) => [variable.name, variable.kind])).toEqual([['datasource', 'datasource'], ['job', 'query'], ['nodename', 'query'], ['node', 'query'], ['device', 'custom'], ['every', 'interval'], ['extra', 'unsupported']]);
  expect(model.links).toEqual([{ title: 'Exporter', url: 'https://example.org/exporter' }]);
  const bad = model.sections[4]?.panels;
  expect(bad?.find((panel) => panel.type === 'heatmap')?.kind).toBe('unsupported');
  expect(bad?.find((panel) => panel.title === 'Logs per second')?.targets[0]?.foreign).toBe('loki');
  expect(bad?.find((panel) => panel.id === 90)?.problems.length).toBe(5);
});

test('repeated rows and panels are made for each value, and nothing leaves holes', () => {
  const panel = (more: Json) => ({ type: 'timeseries', targets: [], ...more });
  const model = readDashboard({ panels: [panel({ title: 'r', repeat: 'v', maxPerRow: 2, gridPos: { x: 0, y: 0, w: 24, h: 4 } }), panel({ title: 'below', gridPos: { x: 0, y: 1e9, w: 12, h: 4 } }), { type: 'row', title: 'Row $v', repeat: 'v', gridPos: { x: 0, y: 2e9, w: 24, h: 1 }, collapsed: true, panels: [panel({ title: '$v' })] }] });
  const variables = { v: { values: ['a', 'b', 'c'], text: '', multi: true } };
  const { sections } = layout(model.sections, variables);
  expect(sections[0]?.panels.map((one) => [one.title, one.x, one.y, one.w])).toEqual([['r', 0, 0, 12], ['r', 12, 0, 12], ['r', 0, 4, 12], ['below', 12, 4, 12]].map((row) => (row[0] === 'below' ? ['below', 0, 8, 12] : row)));
  expect(sections.slice(1).map((section) => interpolate(section.title, scope(withFixed(variables, section.fixed))))).toEqual(['Row a', 'Row b', 'Row c']);
  expect(new Set(sections.flatMap((section) => [section.key, ...section.panels.map((one) => one.key)])).size).toBe(11);
});

test('no nonsense in a JSON throws', () => {
  let read = 0;
  const odd: unknown[] = [null, 5, 'x', [], {}, [null], [[]], { a: 1 }, true, NaN];
  for (const value of odd) {
    readDashboard(value);
    for (const name of ['title', 'tags', 'panels', 'rows', 'templating', 'links', '__inputs']) readDashboard({ panels: [], [name]: value });
    readDashboard({ templating: { list: [{ name: 'v', query: value, options: value, current: value, regex: value, datasource: value }] } });
    for (const type of ['timeseries', 'graph', 'singlestat', 'stat', 'gauge', 'bargauge', 'table', 'table-old', 'text', 'row', 'piechart', 'grafana-piechart-panel', 'heatmap']) {
      for (const name of ['title', 'gridPos', 'targets', 'fieldConfig', 'options', 'transformations', 'links', 'datasource', 'yaxes', 'seriesOverrides', 'styles', 'thresholds', 'colors', 'legend', 'valueMaps', 'panels', 'columns', 'xaxis', 'gauge']) {
        const json = { type, targets: [{ expr: 'x' }], [name]: value };
        const model = readDashboard({ panels: [json], rows: undefined });
        const panel = model.sections[0]?.panels[0];
        if (!panel) continue;
        read += 1;
        configOf(panel, field('x'));
        layout(model.sections, {});
        const asked = askedBy(panel, { end: undefined, now: 1e12, ms: 3_600_000, scrape: 15_000, variables: {} });
        singles(panel, { ...asked, answers: answersOf(panel, ...panel.targets.map(() => vector([{ a: 'b' }, '1']))), failures: [] });
        transform(framesFrom(panel, [], asked.scope), panel.transformations);
      }
      modernPanel({ type, fieldConfig: value, options: { fieldOptions: value, reduceOptions: value }, mappings: value } as Json);
    }
  }
  expect(read).toBeGreaterThan(1000);
});

test.each([
  ['https://x.org/a?b', 'https://x.org/a?b'], ['/explore?q=up', '/explore?q=up'], ['/d/abc/name?var-x=1', '/dashboards/abc?var-x=1'], ['d/abc', '/dashboards/abc'],
  ['javascript:alert(1)', undefined], [' javascript:alert(1)', undefined], ['java\nscript:alert(1)', undefined], ['//evil.org', undefined], ['/\\evil.org', undefined], ['data:text/html,x', undefined], ['https:', undefined], ['', undefined],
])('safeUrl(%j)', (url, expected) => expect(safeUrl(url)).toBe(expected));

/* Asking */

test('the step is a round one that the panel wants, and the finest of its targets', () => {
  const panel = (json: Json) => panelFrom({ type: 'timeseries', ...json });
  const step = (json: Json, ms = 3_600_000) => stepOf(panel(json), ms, 15_000, { every: one('5m') });
  expect(step({ targets: [{ expr: 'x' }] })).toBe(15_000);
  expect(step({ targets: [{ expr: 'x', interval: '$every' }] })).toBe(300_000);
  expect(step({ targets: [{ expr: 'x', intervalFactor: 2 }] })).toBe(30_000);
  expect(step({ targets: [{ expr: 'x', intervalFactor: 2 }, { expr: 'y', intervalFactor: 1 }] })).toBe(15_000);
  expect(step({ targets: [{ expr: 'x' }], interval: '1m' })).toBe(60_000);
  expect(step({ targets: [{ expr: 'x' }], maxDataPoints: 100 })).toBe(60_000);
  const asked = askedBy(panel({ targets: [{ expr: 'a[$__range]', legendFormat: 'l' }, { expr: 'b', hide: true }, { expr: '' }], timeFrom: '6h', timeShift: '1d' }), { end: undefined, now: 1_700_000_000_000, ms: 3_600_000, scrape: 15_000, variables: {} });
  expect(asked.targets.map((target) => target.expr)).toEqual(['a[21600s]']);
  expect([asked.to - asked.from, 1_700_000_000_000 - asked.to >= 86_400_000]).toEqual([6 * 3_600_000, true]);
});

/* Text */

test('Markdown becomes a tree, HTML stays text', () => {
  const blocks = markdown('# Title\n\nSee **this** and `code`, [there](https://x.org "t") or [not](javascript:alert(1)).\n<b>x</b>\n\n- one\n- *two*\n1. first\n\n```\n<i>\n```\n---');
  expect(blocks.map((block) => block.kind)).toEqual(['heading', 'paragraph', 'list', 'list', 'code', 'rule']);
  const paragraph = blocks[1];
  expect(paragraph?.kind === 'paragraph' && paragraph.inline.filter((piece) => piece.kind === 'link')).toEqual([{ kind: 'link', text: 'there', url: 'https://x.org' }]);
  expect(JSON.stringify(paragraph)).toContain('<b>x</b>');
});

/* Files */

test.each([
  ['{"a": 1}', undefined], ['[1, 2, {"x": [true, null, -1.5e3, "\\u00e9"]}]', undefined], ['', [1, 1]], ['{"a": 1,\n "b" 2}', [2, 6]], ['{\n  "a": [1, 2\n}', [3, 1]], ['[1,]', [1, 4]], ['{"a":1} x', [1, 9]], ['hello', [1, 1]], ['{"a":"b\nc"}', [1, 6]],
])('whereNotJson(%j)', (text, place) => expect(whereNotJson(text)).toEqual(place && { line: place[0], column: place[1] }));

test('a very deep text is no problem', () => expect(whereNotJson('['.repeat(200_000))).toEqual({ line: 1, column: 200_001 }));

test.each([
  ['{"panels": [}', 'This is not JSON: line 1, column 13.'],
  ['[1]', 'This JSON is not a dashboard: it is not an object.'],
  ['{"name": "x"}', 'This JSON is not a dashboard: it has neither panels nor rows.'],
  ['{"apiVersion": "dashboard.grafana.app/v2alpha1", "spec": {"elements": {}}}', 'This dashboard is in Grafana’s format of version 2. Export it from Grafana as a classic dashboard.'],
])('parseDashboard(%s)', (text, said) => expect(parseDashboard(text)).toBe(said));

test('an envelope is opened, a file too big is not even read', async () => {
  expect(parseDashboard('\ufeff{"dashboard": {"title": "x", "panels": []}, "meta": {}}')).toEqual({ title: 'x', panels: [] });
  const file = { size: 50 * 1024 * 1024, text: () => { throw new Error('it was read'); } } as unknown as File;
  expect(await readFile(file)).toBe('This file has 50 MB; the limit is 5 MB.');
});

/* Editing */

test('panels are added, moved, renamed, made wide and removed; what is not known stays', () => {
  const panel = (title: string) => panelOf({ title, queries: [{ expression: 'up' }], unit: 'bytes', stacked: true });
  let made = addPanel(addPanel(addPanel({ ...emptyDashboard('D'), custom: { kept: 1 } }, panel('a')), panel('b')), panel('c'));
  const places = () => ordered(made).map((one) => [one['title'], (one['gridPos'] as Json)['x'], (one['gridPos'] as Json)['y'], (one['gridPos'] as Json)['w']]);
  expect(places()).toEqual([['a', 0, 0, 12], ['b', 12, 0, 12], ['c', 0, 8, 12]]);
  expect(new Set(ordered(made).map((one) => one['id'])).size).toBe(3);
  made = movePanel(made, 2, -1);
  expect(places()).toEqual([['a', 0, 0, 12], ['c', 12, 0, 12], ['b', 0, 8, 12]]);
  made = setWide(made, 1, true);
  expect(places()).toEqual([['a', 0, 0, 12], ['c', 0, 8, 24], ['b', 0, 16, 12]]);
  made = removePanel(renamePanel(made, 0, 'A'), 1);
  expect(places()).toEqual([['A', 0, 0, 12], ['b', 12, 0, 12]]);
  expect(movePanel(made, 0, -1)).toBe(made);
  expect(made['custom']).toEqual({ kept: 1 });
  // What we made, we read.
  const own = readDashboard(made).sections[0]?.panels[0];
  expect([own?.kind, own?.targets[0]?.expr, own?.problems]).toEqual(['timeseries', 'up', []]);
});

/* Stacks */

test('lines of a group stand on each other, those below nought by themselves, shares add up to one', () => {
  const line = (key: string, look: Line['look'], ...values: number[]): Line => ({ name: key, key, points: values.map((value, index) => [index * 1000, value]), ...(look ? { look } : {}) });
  const grid = (lines: Line[], hidden?: Set<string>) => gridOf(lines, { from: 0, to: 1000, step: 1000, stacked: false, hidden });
  const normal = { group: 'A', percent: false };
  const lines = [line('a', { stack: normal }, 1, 2), line('free', undefined, 9, 9), line('b', { stack: normal }, 3, NaN), line('out', { stack: normal, negative: true }, 5, 5), line('c', { stack: normal }, 1, 1)];
  expect(grid(lines).shown).toEqual([[1, 2], [9, 9], [4, null], [-5, -5], [5, 3]]);
  expect(grid(lines).raw[3]).toEqual([5, 5]);
  expect(grid(lines).bands).toEqual([{ series: [3, 1], dir: -1 }, { series: [5, 3], dir: -1 }]);
  expect(grid(lines, new Set(['b'])).shown[4]).toEqual([2, 3]);
  const share = { stack: { group: 'A', percent: true } };
  expect(grid([line('a', share, 1, 0), line('b', share, 3, 0)]).shown).toEqual([[0.25, 0], [1, 0]]);
});

test('what lies below a shut row is not its own', () => {
  const panel = (title: string, y: number) => ({ type: 'stat', title, gridPos: { x: 0, y, w: 6, h: 4 } });
  const { sections } = readDashboard({ panels: [{ type: 'row', title: 'shut', collapsed: true, gridPos: { x: 0, y: 0, w: 24, h: 1 }, panels: [panel('inside', 1)] }, panel('below', 1)] });
  expect(sections.map((one) => [one.title, one.panels.map((inner) => inner.title)])).toEqual([['shut', ['inside']], ['', ['below']]]);
});
