/// Dashboards of the made-up server, kept as the real one keeps them; and one in the shape of the big ones that people use for their hosts:
/// gauges on top, chained variables, rows that are closed, panels on both sides of nought, overrides, tables, what is not supported.
import { createHash } from 'node:crypto';

const source = { type: 'prometheus', uid: '${datasource}' };
const grid = (x, y, w, h) => ({ x, y, w, h });
const target = (expr, legendFormat, more = {}) => ({ refId: 'A', datasource: source, expr, legendFormat, editorMode: 'code', range: true, intervalFactor: 1, ...more });
const lettered = (targets) => targets.map((one, index) => ({ ...one, refId: String.fromCharCode(65 + index) }));
const steps = (...limits) => ({ mode: 'absolute', steps: ['rgba(50, 172, 45, 0.97)', 'rgba(237, 129, 40, 0.89)', 'rgba(245, 54, 54, 0.9)'].slice(0, limits.length + 1).map((color, index) => ({ color, value: index ? limits[index - 1] : null })) });
const color = (name, fixedColor, ...more) => ({ matcher: { id: 'byName', options: name }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor } }, ...more] });
let count = 0;
const panel = (type, title, gridPos, targets, { unit, custom, overrides = [], defaults, options, ...more } = {}) => ({
  id: (count += 1), type, title, gridPos, datasource: source, targets: lettered(targets), description: `What ${title} says.`,
  fieldConfig: { defaults: { unit, color: { mode: 'palette-classic' }, mappings: [], thresholds: steps(), custom: { drawStyle: 'line', lineWidth: 1, fillOpacity: 20, showPoints: 'never', spanNulls: false, stacking: { group: 'A', mode: 'none' }, axisLabel: '', ...custom }, ...defaults }, overrides },
  options: { legend: { calcs: ['mean', 'lastNotNull', 'max'], displayMode: 'table', placement: 'bottom', showLegend: true }, tooltip: { mode: 'multi', sort: 'none' }, ...options }, ...more,
});
const gauge = (title, x, expr, limits = [85, 95]) => panel('gauge', title, grid(x, 1, 4, 4), [target(expr, '', { instant: true, range: false })], { unit: 'percent', defaults: { min: 0, max: 100, decimals: 1, color: { mode: 'thresholds' }, thresholds: steps(...limits), mappings: [{ type: 'special', options: { match: 'null', result: { text: 'N/A' } } }] }, options: { reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false }, showThresholdMarkers: true } });
const stat = (title, x, y, expr, unit, more = {}) => panel('stat', title, grid(x, y, 4, 2), [target(expr, '', { instant: true, range: false })], { unit, defaults: { color: { mode: 'thresholds' }, ...more }, options: { colorMode: 'none', graphMode: 'none', textMode: 'auto', reduceOptions: { calcs: ['lastNotNull'] } } });
const row = (title, y, panels = [], more = {}) => ({ id: (count += 1), type: 'row', title, collapsed: panels.length > 0, gridPos: grid(0, y, 24, 1), panels, ...more });
const HERE = 'instance="$node",job="$job"';

export const HOSTS = {
  title: 'Hosts in full', uid: 'hosts-full', tags: ['linux', 'node'], schemaVersion: 41, graphTooltip: 1, editable: true, time: { from: 'now-24h', to: 'now' },
  links: [{ title: 'Exporter', type: 'link', url: 'https://example.org/exporter', targetBlank: true }, { title: 'bad', type: 'link', url: 'javascript:alert(1)' }],
  templating: {
    list: [
      { name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source', current: {} },
      { name: 'job', label: 'Job', type: 'query', query: { query: 'label_values(node_uname_info, job)', refId: 'x' }, refresh: 1, sort: 1, current: {} },
      { name: 'nodename', label: 'Name', type: 'query', query: 'label_values(node_uname_info{job="$job"}, nodename)', refresh: 1, sort: 1 },
      { name: 'node', label: 'Instance', type: 'query', query: { query: 'query_result(node_uname_info{job="$job",nodename="$nodename"})', refId: 'y' }, regex: '/instance="([^"]+)"/', refresh: 1, sort: 1 },
      { name: 'device', label: 'Device', type: 'custom', query: 'sda,nvme0n1', multi: true, includeAll: true, current: { value: ['$__all'], text: 'All' } },
      { name: 'every', label: 'Every', type: 'interval', query: '1m,5m,1h', auto: true, auto_count: 30, auto_min: '1m', current: { value: '5m' } },
      { name: 'extra', label: 'Filters', type: 'adhoc' },
    ],
  },
  panels: [
    row('Quick look', 0),
    gauge('CPU busy', 0, `100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle", ${HERE}}[$__rate_interval])))`),
    gauge('RAM used', 4, `100 - node_memory_MemAvailable_bytes{${HERE}} * 100 / node_memory_MemTotal_bytes{${HERE}}`, [80, 90]),
    gauge('Root disk', 8, `100 - node_filesystem_avail_bytes{${HERE},mountpoint="/",topk="1"}`, [80, 90]),
    stat('Cores', 12, 1, `count(count(node_cpu_seconds_total{${HERE}}) by (cpu))`, 'short'),
    stat('Uptime', 16, 1, `node_time_seconds{${HERE}} - node_boot_time_seconds{${HERE}}`, 's', { decimals: 1 }),
    stat('RAM', 20, 1, `node_memory_MemTotal_bytes{${HERE}}`, 'bytes', { decimals: 0 }),
    stat('Up', 12, 3, 'up{instance="$node"}', 'none', { mappings: [{ type: 'value', options: { 0: { text: 'Down', color: 'red', index: 1 }, 1: { text: 'Up', color: 'green', index: 0 } } }] }),
    panel('stat', 'Load', grid(16, 3, 8, 2), [target(`node_load1{${HERE}}`, '1 min')], { unit: 'short', defaults: { color: { mode: 'thresholds' }, thresholds: steps(0.5, 8) }, options: { colorMode: 'value', graphMode: 'area', reduceOptions: { calcs: ['lastNotNull'] } } }),
    row('CPU, memory, network', 5),
    panel('timeseries', 'CPU basic', grid(0, 6, 12, 9), [target('sum by (mode) (rate(node_cpu_seconds_total[$__rate_interval])) * 1', '{{mode}}')], { unit: 'percent', custom: { fillOpacity: 40, stacking: { group: 'A', mode: 'percent' } }, defaults: { min: 0 }, overrides: [color('user', '#5195CE'), color('system', '#EAB839'), color('iowait', '#890F02')], options: { legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] } } }),
    panel('timeseries', 'Memory basic', grid(12, 6, 12, 9), [target(`node_memory_MemTotal_bytes{${HERE}}`, 'RAM total'), target(`node_memory_Used_bytes{${HERE}} - node_memory_x{${HERE}}`, 'RAM used'), target(`node_memory_Cached_bytes{${HERE}} / 3`, 'RAM cache')], { unit: 'bytes', custom: { fillOpacity: 40, stacking: { group: 'A', mode: 'normal' } }, defaults: { min: 0 }, overrides: [color('RAM total', '#E0F9D7', { id: 'custom.fillOpacity', value: 0 }, { id: 'custom.stacking', value: { group: false, mode: 'normal' } }), color('RAM used', '#052B51')] }),
    panel('timeseries', 'Network', grid(0, 15, 12, 9), [target('rate(node_network_receive_bytes_total{instance="$node"}[$__rate_interval]) * 8', 'recv {{device}}'), target('rate(node_network_transmit_bytes_total{instance="$node"}[$__rate_interval]) * 8 * 1', 'trans {{device}}')], { unit: 'bps', custom: { axisLabel: 'out (-) / in (+)' }, overrides: [{ matcher: { id: 'byRegexp', options: '/.*trans.*/' }, properties: [{ id: 'custom.transform', value: 'negative-Y' }] }] }),
    panel('timeseries', 'Load and busy', grid(12, 15, 12, 9), [target('node_load1', 'load {{instance}}'), target('rate(node_disk_io_time_seconds_total{instance="$node"}[$every]) / 100', 'busy {{device}}')], { unit: 'short', defaults: { thresholds: steps(6) }, custom: { fillOpacity: 0, thresholdsStyle: { mode: 'line+area' } }, overrides: [{ matcher: { id: 'byFrameRefID', options: 'B' }, properties: [{ id: 'unit', value: 'percentunit' }, { id: 'custom.axisPlacement', value: 'right' }, { id: 'max', value: 1 }, { id: 'min', value: 0 }, { id: 'custom.lineStyle', value: { fill: 'dash', dash: [10, 10] } }] }], options: { legend: { displayMode: 'table', placement: 'right', showLegend: true, calcs: ['max'] } } }),
    row('Lists', 24),
    panel('table', 'File systems', grid(0, 25, 12, 8), [target('node_filesystem_avail_bytes', '', { format: 'table', instant: true, range: false }), target('node_filesystem_size_bytes', '', { format: 'table', instant: true, range: false })], {
      transformations: [{ id: 'merge', options: {} }, { id: 'organize', options: { excludeByName: { Time: true, fstype: true }, renameByName: { 'Value #A': 'Used', 'Value #B': 'Again', mountpoint: 'Mounted on' }, indexByName: { instance: 0, mountpoint: 1 } } }],
      overrides: [{ matcher: { id: 'byName', options: 'Used' }, properties: [{ id: 'unit', value: 'percent' }, { id: 'decimals', value: 1 }, { id: 'custom.cellOptions', value: { type: 'color-background', mode: 'basic' } }, { id: 'thresholds', value: steps(60, 90) }] }, { matcher: { id: 'byName', options: 'Again' }, properties: [{ id: 'custom.cellOptions', value: { type: 'gauge' } }, { id: 'max', value: 100 }, { id: 'unit', value: 'percent' }] }],
      options: { sortBy: [{ displayName: 'Used', desc: true }] },
    }),
    panel('bargauge', 'Busy by mode', grid(12, 25, 6, 8), [target('sum by (mode) (rate(node_cpu_seconds_total[$__rate_interval])) * 1', '{{mode}}')], { unit: 'percent', defaults: { color: { mode: 'thresholds' }, thresholds: steps(5, 20), max: 100, min: 0 }, options: { orientation: 'horizontal', displayMode: 'basic', reduceOptions: { calcs: ['mean'] } } }),
    { ...panel('text', 'About', grid(18, 25, 6, 8), []), options: { mode: 'markdown', content: '# Notes for $node\n\nSee the **runbook** at https://example.org/runbook, or [a bad link](javascript:alert(1)).\n\n- `node_exporter` on each host\n- <img src=x onerror=alert(1)> stays text\n\n```\nsystemctl status node_exporter\n```' } },
    row('For each device: $device', 33, [panel('timeseries', 'Disk $device', grid(0, 34, 12, 7), [target('rate(node_disk_io_time_seconds_total{device="$device"}[$__rate_interval])', '{{device}}')], { unit: 'iops', custom: { drawStyle: 'bars', fillOpacity: 60 } })], { repeat: 'device' }),
    row('Not supported', 42, [
      panel('heatmap', 'Latency', grid(0, 43, 12, 6), [target('sum by (le) (rate(http_request_duration_seconds_bucket[$__rate_interval]))', '{{le}}', { format: 'heatmap' })]),
      { ...panel('timeseries', 'Logs per second', grid(12, 43, 12, 6), [{ ...target('', ''), datasource: { type: 'loki', uid: 'l' }, expr: 'rate({job="x"}[1m])' }]) },
      { ...panel('piechart', 'Shares', grid(0, 49, 8, 7), [target('sum by (mode) (rate(node_cpu_seconds_total[$__rate_interval])) * 1', '{{mode}}')], { unit: 'percent' }) },
      { id: 90, type: 'timeseries', title: { nonsense: true }, gridPos: 'here', targets: 'none', fieldConfig: [1, 2], options: 7 },
      { ...panel('timeseries', 'A bad query', grid(8, 49, 8, 7), [target('rate(up)', ''), target('node_load1', '{{instance}}')]) },
    ]),
  ],
};

/** In the format of years ago: rows of twelve columns, `graph`, `singlestat`, a table of styles. */
export const OLD = {
  title: 'Old days', tags: ['old'], schemaVersion: 14,
  __inputs: [{ name: 'DS_PROM', type: 'datasource', pluginId: 'prometheus' }],
  templating: { list: [{ name: 'host', type: 'query', query: 'label_values(up, instance)', refresh: 2, sort: 1, multi: true, includeAll: true, current: { value: ['$__all'] } }] },
  rows: [
    { title: 'Now', showTitle: true, height: '150px', panels: [
      { id: 1, type: 'singlestat', title: 'CPU', span: 3, datasource: '${DS_PROM}', format: 'percent', gauge: { show: true, minValue: 0, maxValue: 100 }, thresholds: '50,80', colors: ['green', 'orange', 'red'], colorValue: true, valueName: 'current', targets: [{ expr: '100 * (1 - avg by (instance)(rate(node_cpu_seconds_total{instance=~"[[host]]"}[5m])))', refId: 'A', intervalFactor: 2 }] },
      { id: 2, type: 'singlestat', title: 'State', span: 3, format: 'none', valueMaps: [{ op: '=', value: '1', text: 'UP' }, { op: '=', value: '0', text: 'DOWN' }], valueName: 'current', prefix: '', postfix: ' now', targets: [{ expr: 'up{instance="web1:9100"}', refId: 'A' }] },
      { id: 3, type: 'singlestat', title: 'Load', span: 6, format: 'short', sparkline: { show: true }, colorBackground: true, thresholds: '0.1,20', colors: ['green', 'orange', 'red'], valueName: 'avg', targets: [{ expr: 'node_load1{instance="web1:9100"}', refId: 'A' }] },
    ] },
    { title: 'Graphs', collapse: false, showTitle: true, height: 280, panels: [
      { id: 4, type: 'graph', title: 'Load and memory', span: 8, fill: 1, linewidth: 2, stack: false, yaxes: [{ format: 'short', min: 0, label: 'load' }, { format: 'bytes' }], legend: { show: true, values: true, current: true, max: true, alignAsTable: true }, seriesOverrides: [{ alias: '/memory/', yaxis: 2, fill: 0 }], thresholds: [{ value: 6, op: 'gt', colorMode: 'critical', line: true, fill: true }], targets: [{ expr: 'node_load1', legendFormat: 'load {{instance}}', refId: 'A', step: 60 }, { expr: 'node_memory_MemTotal_bytes{}', legendFormat: 'memory {{instance}}', refId: 'B' }] },
      { id: 5, type: 'table', title: 'Targets', span: 4, transform: 'table', sort: { col: 0 }, styles: [{ pattern: 'Time', type: 'hidden' }, { pattern: '__name__', type: 'hidden' }, { pattern: 'Value', alias: 'State', type: 'string', mappingType: 1, valueMaps: [{ value: '1', text: 'up' }, { value: '0', text: 'down' }] }], targets: [{ expr: 'up', format: 'table', instant: true, refId: 'A' }] },
    ] },
    { title: 'More', collapse: true, height: 250, panels: [{ id: 6, type: 'text', title: '', span: 12, mode: 'html', content: '<h1>Hello</h1><script>alert(1)</script><p>from <b>HTML</b> &amp; friends</p>' }] },
  ],
};

const SMALL = { title: 'My graphs', tags: [], schemaVersion: 39, panels: [panel('timeseries', 'Load', grid(0, 0, 12, 8), [target('node_load1', '__auto')], { unit: 'short' }), panel('timeseries', 'Up', grid(12, 0, 12, 8), [target('up', '__auto')], { unit: 'none' })], templating: { list: [] } };

const versionOf = (dashboard) => createHash('sha256').update(JSON.stringify(dashboard)).digest('hex').slice(0, 16);

export function keptDashboards(now) {
  const kept = (id, source, path, dashboard, more = {}) => ({ id, source, path, dashboard, modified: new Date(now - 86_400_000).toISOString(), by: null, error: null, ...more });
  return [kept('hosts-full', 'file', 'dashboards/hosts.json', HOSTS), kept('my-graphs', 'own', '', SMALL, { by: 'li' }), kept('old-days', 'zookeeper', '/watchkeeper/dashboards/old.json', OLD, { by: 'zk' }), kept('file-broken', 'file', 'dashboards/broken.json', null, { error: 'line 3, column 9: expected `,` or `}`' })];
}

const entry = ({ dashboard, ...kept }) => ({ ...kept, title: dashboard?.title ?? '', tags: dashboard?.tags ?? [], version: versionOf(dashboard), editable: kept.source !== 'file' });
const refuse = (status, error) => [status, { status: 'error', errorType: status === 409 ? 'conflict' : status === 404 ? 'not_found' : 'bad_data', error }];

/// Answers `/api/watchkeeper/v1/dashboards...` and the label values that dashboards ask for; `undefined` where it is about something else.
export function dashboards(state, method, path, params, body, now) {
  const ok = (data) => [200, { status: 'success', data }];
  if (path.startsWith('/api/v1/label/') && path !== '/api/v1/label/__name__/values') {
    const label = decodeURIComponent(path.split('/')[4] ?? '');
    const job = /job=~?"([^"]+)"/.exec(params.get('match[]') ?? '')?.[1] ?? (/node_/.test(params.get('match[]') ?? '') ? 'node' : undefined);
    const list = state.targets.filter((one) => !job || one.labels.job === job).map((one) => (label === 'nodename' ? one.labels.instance.split(':')[0] : one.labels[label]));
    return ok([...new Set(list.filter(Boolean))].sort());
  }
  if (!path.startsWith('/api/watchkeeper/v1/dashboards') || state.mode === 'plain') return undefined;
  state.dashboards ??= state.mode === 'empty' ? [] : keptDashboards(now);
  const id = decodeURIComponent(path.split('/')[5] ?? '');
  const found = state.dashboards.find((one) => one.id === id);
  if (method === 'POST' && id === 'order') {
    const { ids } = JSON.parse(body);
    state.dashboards.sort((a, b) => (ids.indexOf(a.id) + 1 || 999) - (ids.indexOf(b.id) + 1 || 999));
    return ok({});
  }
  if (method === 'POST') {
    const { id: own, dashboard, base, to, author, overwrite } = JSON.parse(body);
    const old = state.dashboards.find((one) => one.id === own);
    if (old && !overwrite && versionOf(old.dashboard) !== base) return refuse(409, `${old.by || 'Somebody'} saved another version of this dashboard just now.`);
    const made = own ?? `${String(dashboard.title ?? '').toLowerCase().replace(/\W+/g, '-')}-${state.dashboards.length}`;
    const kept = { id: made, source: to, path: to === 'zookeeper' ? `/watchkeeper/dashboards/${made}.json` : '', dashboard, modified: new Date(now).toISOString(), by: author || null, error: null };
    if (old) Object.assign(old, kept);
    else state.dashboards.push(kept);
    return ok({ id: made, version: versionOf(dashboard) });
  }
  if (!id) return ok({ dashboards: state.dashboards.map(entry), zookeeper: state.mode === 'bad' });
  if (!found) return refuse(404, `There is no dashboard "${id}".`);
  if (method === 'DELETE') {
    if (params.get('base') !== versionOf(found.dashboard)) return refuse(409, 'Somebody changed this dashboard in between.');
    state.dashboards = state.dashboards.filter((one) => one !== found);
    return ok({});
  }
  return ok({ ...entry(found), dashboard: found.dashboard });
}
