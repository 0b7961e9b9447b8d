/// A made-up server for working on the dashboard, and the fixtures of its tests: the published shapes of Prometheus's /api/v1 and
/// Alertmanager's /api/v2, with values that look like a small cluster on a bad night. Not shipped.
///
///     node dev/mock.mjs [--port 9099] [--mode bad|well|empty|plain|away|error|login|viewer]
///
///     node dev/mock.mjs --server http://127.0.0.1:9090    the pages of `dist/` on the data of a running server
///
/// `plain` is a server without /api/watchkeeper/v1; `away` one that has lost its ZooKeeper; `?mode=...` of one request's Referer or the cookie `mode` overrides the mode.
import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { dashboards } from './mock_dashboards.mjs';
import { session } from './mock_session.mjs';
import { answerStatus } from './mock_status.mjs';
import { answerZooKeeper } from './mock_zookeeper.mjs';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist');
export const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'";
const TYPES = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.css': 'text/css; charset=utf-8', '.svg': 'image/svg+xml', '.json': 'application/json' };

const iso = (ms) => new Date(ms).toISOString();
const MINUTE = 60_000;

export function makeState(wanted = 'bad', now = Date.now()) {
  const mode = ['login', 'viewer'].includes(wanted) ? 'bad' : wanted;
  const bad = mode === 'bad' || mode === 'plain';
  const target = (job, instance, extra = {}) => ({
    discoveredLabels: { __address__: instance, __metrics_path__: '/metrics', __scheme__: 'http', job, ...(extra.meta ?? {}) },
    labels: { instance, job, ...(extra.labels ?? {}) },
    scrapePool: job,
    scrapeUrl: `http://${instance}/metrics`,
    globalUrl: `http://${instance}/metrics`,
    lastError: '',
    lastScrape: iso(now - 4000),
    lastScrapeDuration: 0.0123,
    health: 'up',
    scrapeInterval: '15s',
    scrapeTimeout: '10s',
    ...extra.target,
  });
  const targets =
    mode === 'empty'
      ? []
      : [
          target('node', 'web1:9100', { labels: { zone: 'a' } }),
          target('node', 'web2:9100', { labels: { zone: 'b' } }),
          target('node', 'db1:9100', { labels: { zone: 'a', role: 'primary' } }),
          bad
            ? target('node', 'db2:9100', { labels: { zone: 'b', role: 'replica' }, target: { health: 'down', lastError: 'connection refused', lastScrapeDuration: 0.0003, since: iso(now - 14 * MINUTE), failures: 56 } })
            : target('node', 'db2:9100', { labels: { zone: 'b', role: 'replica' } }),
          bad
            ? target('app', 'app1:8080', { target: { health: 'down', lastError: 'line 3: expected value after `{`', lastScrapeDuration: 0.009, since: iso(now - 3 * MINUTE), failures: 12, failure: { line: 3, column: 9, text: 'this is { not a metric <img src=x onerror=alert(1)>', contentType: 'text/plain', response: '# HELP a b\na 1\nthis is { not a metric <img src=x onerror=alert(1)>\n' } } })
            : target('app', 'app1:8080'),
          target('zookeeper', 'zk1:7000'),
          target('watchkeeper', 'localhost:9090'),
        ];
  const state = {
    mode,
    targets,
    dropped: [{ discoveredLabels: { __address__: 'old1:9100', job: 'node', __meta_zone: 'c' }, scrapePool: 'node', rule: 0, reason: 'action drop: __meta_zone is "c", which matches c' }],
    silences: [],
    alerts: [],
    pending: [],
  };
  if (bad) {
    state.silences.push({ id: '2a8e1f5c-0d53-4c9e-9a5c-111111111111', matchers: [{ name: 'alertname', value: 'DiskFull', isRegex: false, isEqual: true }, { name: 'instance', value: 'web1:9100', isRegex: false, isEqual: true }], startsAt: iso(now - 60 * MINUTE), endsAt: iso(now + 25 * MINUTE), updatedAt: iso(now - 60 * MINUTE), createdBy: 'Li', comment: 'resizing', status: { state: 'active' } });
    state.silences.push({ id: '2a8e1f5c-0d53-4c9e-9a5c-333333333333', matchers: [{ name: 'alertname', value: 'Backup.*', isRegex: true, isEqual: true }], startsAt: iso(now - 6000 * MINUTE), endsAt: iso(now + 40_000 * MINUTE), updatedAt: iso(now - 6000 * MINUTE), createdBy: 'ops', comment: 'nightly backup', every: 'Sat,Sun 02:00-04:00', timeZone: 'Europe/Berlin', status: { state: 'active' } });
    state.silences.push({ id: '2a8e1f5c-0d53-4c9e-9a5c-444444444444', matchers: [{ name: 'instance', value: 'db1:9100', isRegex: false, isEqual: true }], startsAt: iso(now + 1500 * MINUTE), endsAt: iso(now + 3000 * MINUTE), updatedAt: iso(now - 2 * MINUTE), createdBy: 'Zhang', comment: 'database upgrade', untilResolved: true, status: { state: 'pending' } });
    state.silences.push({ id: '2a8e1f5c-0d53-4c9e-9a5c-222222222222', matchers: [{ name: 'instance', value: 'web.*', isRegex: true, isEqual: true }], startsAt: iso(now - 3000 * MINUTE), endsAt: iso(now - 2000 * MINUTE), updatedAt: iso(now - 2000 * MINUTE), createdBy: 'ops', comment: 'kernel update', status: { state: 'expired' } });
    const alert = (fingerprint, labels, annotations, since) => ({ fingerprint, labels, annotations, startsAt: iso(now - since), endsAt: iso(now + 4 * MINUTE), updatedAt: iso(now), generatorURL: 'http://localhost:9090/graph?g0.expr=up', receivers: [{ name: 'ops' }], status: { state: 'active', silencedBy: [], inhibitedBy: [], mutedBy: [] } });
    state.alerts.push(
      alert('0a1b2c3d4e5f6071', { alertname: 'TargetDown', instance: 'db2:9100', job: 'node', severity: 'critical' }, { summary: 'db2:9100 does not answer', description: 'The exporter on db2:9100 refused the connection for 14 minutes.\n<b>not bold</b>', runbook_url: 'https://runbooks.example.org/target-down' }, 14 * MINUTE),
      alert('0a1b2c3d4e5f6072', { alertname: 'DiskFull', instance: 'web1:9100', job: 'node', mountpoint: '/', severity: 'warning' }, { summary: 'Disk / on web1 is 91 % full' }, 120 * MINUTE),
      alert('0a1b2c3d4e5f6073', { alertname: 'TargetDown', instance: 'app1:8080', job: 'app', severity: 'critical' }, { summary: 'app1:8080 sends what is no metric' }, 3 * MINUTE),
    );
    state.pending.push({ labels: { alertname: 'HighLoad', instance: 'web2:9100', severity: 'warning' }, annotations: { summary: 'Load on web2 is high' }, state: 'pending', activeAt: iso(now - 2 * MINUTE), value: '7.4e+00' });
  }
  return state;
}

export function rulesOf(state, now = Date.now()) {
  if (state.mode === 'empty') return [];
  const rule = (name, query, more = {}) => ({ type: 'alerting', name, query, duration: 60, keepFiringFor: 0, labels: { severity: 'critical' }, annotations: { summary: '{{ $labels.instance }} does not answer' }, alerts: [], health: 'ok', evaluationTime: 0.00042, lastEvaluation: iso(now - 6000), state: 'inactive', ...more });
  const asRule = (alert) => ({ labels: alert.labels, annotations: alert.annotations, state: 'firing', activeAt: alert.startsAt, value: alert.labels.alertname === 'DiskFull' ? '9.1e+01' : '0e+00' });
  const of = (name) => [...state.alerts.filter((alert) => alert.labels.alertname === name).map(asRule), ...state.pending.filter((alert) => alert.labels.alertname === name)];
  const withAlerts = (one) => {
    const alerts = of(one.name);
    return { ...one, alerts, state: alerts.some((alert) => alert.state === 'firing') ? 'firing' : alerts.length ? 'pending' : 'inactive' };
  };
  return [
    {
      name: 'hosts', file: '/watchkeeper/rules/hosts.yml', origin: 'zookeeper:/watchkeeper/rules/hosts.yml', line: 2, interval: 15, limit: 0, evaluationTime: 0.0021, lastEvaluation: iso(now - 6000),
      rules: [
        withAlerts(rule('TargetDown', 'up == 0')),
        withAlerts(rule('DiskFull', '100 * (1 - node_filesystem_avail_bytes / node_filesystem_size_bytes) > 90', { duration: 300, labels: { severity: 'warning' } })),
        withAlerts(rule('HighLoad', 'node_load1 > 4', { duration: 600, labels: { severity: 'warning' } })),
        rule('HostOutOfMemory', 'node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.05'),
      ],
    },
    {
      name: 'records', file: 'rules/records.yml', interval: 30, limit: 0, evaluationTime: 0.001, lastEvaluation: iso(now - 11_000),
      rules: [
        { type: 'recording', name: 'instance:node_cpu:ratio', query: '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m]))', health: 'ok', evaluationTime: 0.0003, lastEvaluation: iso(now - 11_000) },
        ...(state.mode === 'bad' ? [{ type: 'recording', name: 'job:broken:sum', query: 'sum by (job) (rate(broken_total[5m])) / on (job) group_left up', health: 'err', lastError: 'found duplicate series for the match group {job="app"} on the right hand-side of the operation', evaluationTime: 0.0001, lastEvaluation: iso(now - 11_000) }] : []),
      ],
    },
  ];
}

const METRICS = ['node_boot_time_seconds', 'node_cpu_seconds_total', 'node_disk_io_time_seconds_total', 'node_disk_read_bytes_total', 'node_disk_written_bytes_total', 'node_filesystem_avail_bytes', 'node_filesystem_size_bytes', 'node_load1', 'node_memory_MemAvailable_bytes', 'node_memory_MemTotal_bytes', 'node_network_receive_bytes_total', 'node_network_transmit_bytes_total', 'node_pressure_cpu_waiting_seconds_total', 'node_uname_info', 'node_vmstat_oom_kill', 'node_vmstat_pswpin', 'node_vmstat_pswpout', 'process_cpu_seconds_total', 'process_resident_memory_bytes', 'scrape_duration_seconds', 'up', 'watchkeeper_build_info', 'watchkeeper_tsdb_head_series', 'http_request_duration_seconds_bucket', 'znode_count', 'zk_avg_latency'];

/** A smooth, repeatable wave: the same moment always has the same value. */
const wave = (seed, at) => 0.5 + 0.28 * Math.sin(at / 400 + seed * 2.1) + 0.12 * Math.sin(at / 61 + seed * 5.3) + 0.08 * Math.sin(at / 13 + seed * 11);

function lines(expression, state) {
  const nodename = /nodename="([^"]+)"/.exec(expression)?.[1];
  const instance = /instance="([^"]+)"/.exec(expression)?.[1] ?? (nodename && `${nodename}:9100`);
  const alive = state.targets.filter((target) => target.labels.job === 'node' && target.health === 'up').map((target) => target.labels.instance);
  const nodes = (instance ? alive.filter((one) => one === instance) : alive);
  const each = (list, make) => list.map((one, index) => make(one, index));
  if (!state.targets.length) return [];
  if (/^ALERTS\{/.test(expression)) {
    const name = /alertname="([^"]+)"/.exec(expression)?.[1];
    return state.alerts.filter((alert) => alert.labels.alertname === name).flatMap((alert) => [
      { labels: { __name__: 'ALERTS', alertstate: 'pending', ...alert.labels }, value: (at) => (at * 1000 > Date.parse(alert.startsAt) - MINUTE && at * 1000 <= Date.parse(alert.startsAt) ? 1 : null) },
      { labels: { __name__: 'ALERTS', alertstate: 'firing', ...alert.labels }, value: (at) => (at * 1000 > Date.parse(alert.startsAt) ? 1 : null) },
    ]);
  }
  if (/no_such|not_there/.test(expression)) return [];
  if (/present_over_time\(node_load1/.test(expression)) return each(state.targets.filter((target) => target.labels.job === 'node'), (target) => ({ labels: { instance: target.labels.instance, job: 'node' }, value: () => 1 }));
  if (/^up\b/.test(expression)) return each(state.targets.filter((target) => !instance || target.labels.instance === instance), (target) => ({ labels: { __name__: 'up', ...target.labels }, value: (at) => (target.health === 'down' && at * 1000 > Date.parse(target.since) ? 0 : 1) }));
  if (/by \(mode\)/.test(expression)) return each(['user', 'system', 'iowait', 'steal'], (mode, index) => ({ labels: { mode }, value: (at) => wave(index, at) * [22, 9, 4, 0.4][index] }));
  if (/node_cpu_seconds_total\{mode="idle"\}\[|node_cpu_seconds_total\{mode="idle"\}\)/.test(expression) && /count/.test(expression)) return each(nodes, (one) => ({ labels: { instance: one }, value: () => 4 }));
  if (/node_cpu_seconds_total/.test(expression) && /count/.test(expression) && !/rate/.test(expression)) return [{ labels: {}, value: () => 4 }];
  if (/node_cpu_seconds_total/.test(expression) && /1 - avg/.test(expression)) return each(nodes, (one, index) => ({ labels: { instance: one }, value: (at) => wave(index, at) * 60 }));
  if (/node_cpu_seconds_total/.test(expression)) return nodes.flatMap((one, host) => ['0', '1', '2', '3'].flatMap((cpu, core) => ['idle', 'iowait', 'nice', 'softirq', 'steal', 'system', 'user'].map((mode, kind) => ({ labels: { cpu, instance: one, job: 'node', mode }, value: (at) => wave(host + core * 3 + kind * 7, at) / (kind + 1) }))));
  if (/deriv\(node_filesystem/.test(expression)) return [{ labels: {}, value: () => 41.3 }];
  if (/node_filesystem/.test(expression)) return nodes.flatMap((one, index) => (/topk/.test(expression) ? ['/'] : ['/', '/var']).map((mountpoint, place) => ({ labels: instance ? { mountpoint } : { instance: one, mountpoint, fstype: 'ext4' }, value: (at) => [91, 44, 62, 35][(index + place) % 4] + wave(index, at) })));
  if (/node_memory/.test(expression) && /100 \*|\* 100/.test(expression)) return each(nodes, (one, index) => ({ labels: { instance: one }, value: (at) => 35 + 40 * wave(index + 4, at / 4) }));
  if (/MemTotal_bytes\{/.test(expression) && !/Available/.test(expression)) return each(nodes, (one) => ({ labels: { instance: one }, value: () => 16 * 2 ** 30 }));
  if (/node_memory/.test(expression)) return each(nodes, (one, index) => ({ labels: { instance: one }, value: (at) => (6 + 4 * wave(index, at / 4)) * 2 ** 30 }));
  if (/node_uname_info/.test(expression)) return each(nodes, (one) => ({ labels: { __name__: 'node_uname_info', instance: one, nodename: one.split(':')[0], release: '6.1.0-31-amd64', sysname: 'Linux' }, value: () => 1 }));
  if (/node_boot_time/.test(expression)) return /changes/.test(expression) ? [] : each(nodes, (one, index) => ({ labels: { instance: one }, value: () => [41, 12, 3, 200][index] * 86_400 }));
  if (/node_network/.test(expression)) return /receive.*transmit/.test(expression) ? each(nodes, (one, index) => ({ labels: { instance: one }, value: (at) => wave(index, at) * 2.4e6 })) : [{ labels: {}, value: (at) => wave(expression.length, at) * 3.1e7 }];
  if (/node_load1/.test(expression)) return each(nodes, (one, index) => ({ labels: { __name__: 'node_load1', instance: one, job: 'node' }, value: (at) => wave(index, at) * (index === 1 ? 9 : 2) }));
  if (/node_disk_io_time/.test(expression)) return ['sda', 'nvme0n1'].map((device, index) => ({ labels: { device }, value: (at) => wave(index, at) * 30 }));
  if (/histogram_quantile/.test(expression)) return [{ labels: {}, value: (at) => wave(expression.length, at) * 0.2 }];
  if (/bytes|node_pressure|pswp|http_request|process_|scrape_|znode|zk_|watchkeeper_/.test(expression)) return [{ labels: instance ? { instance } : {}, value: (at) => wave(expression.length, at) * (/bytes/.test(expression) ? 3e8 : 20) }];
  return [];
}

function matrix(expression, state, start, end, step) {
  return lines(expression, state)
    .map(({ labels, value }) => {
      const values = [];
      for (let at = start; at <= end + 1e-6; at += step) {
        const number = value(at);
        // An hour ago the server was away for four minutes: graphs must show a gap.
        const gap = end - at > 1500 && end - at < 1740 && !/^ALERTS/.test(expression);
        if (number !== null && !gap) values.push([at, String(number)]);
      }
      return { metric: labels, values };
    })
    .filter((series) => series.values.length);
}

function vector(expression, state, at) {
  return lines(expression, state).flatMap(({ labels, value }) => {
    const number = value(at);
    return number === null ? [] : [{ metric: labels, value: [at, String(number)] }];
  });
}

function matcherOf(text) {
  const [, name, operator, value] = /^\s*"?([^=!~"]+)"?\s*(=~|!~|!=|=)\s*"?((?:[^"\\]|\\.)*)"?\s*$/.exec(text) ?? [];
  return name && { name, value: value.replace(/\\(.)/g, '$1'), isRegex: operator.endsWith('~'), isEqual: operator.startsWith('=') };
}

function matches(matcher, labels) {
  const value = labels[matcher.name] ?? '';
  const hit = matcher.isRegex ? new RegExp(`^(?:${matcher.value})$`).test(value) : value === matcher.value;
  return hit === (matcher.isEqual ?? true);
}

function withSilences(state, now) {
  for (const silence of state.silences) silence.status.state = Date.parse(silence.endsAt) <= now ? 'expired' : Date.parse(silence.startsAt) > now ? 'pending' : 'active';
  return state.alerts.map((alert) => {
    const silencedBy = state.silences.filter((silence) => silence.status.state === 'active' && silence.matchers.every((matcher) => matches(matcher, alert.labels))).map((silence) => silence.id);
    return { ...alert, status: { ...alert.status, silencedBy, state: silencedBy.length ? 'suppressed' : 'active' } };
  });
}

function notificationsOf(state, now) {
  const entry = (id, kind, minutes, subject, attempts, reason, alert, more = {}) => ({ id, at: iso(now - minutes * MINUTE), state: kind, receiver: 'ops', integration: 'email', to: 'ops@example.org', subject, attempts, reason, alerts: alert ? [{ fingerprint: alert.fingerprint, labels: alert.labels, status: 'firing' }] : [], hasHtml: kind !== 'not_sent', messageId: `<${id}@watchkeeper>`, ...more });
  if (state.mode !== 'bad') return { entries: [], mailServer: false, outboxWaiting: 0 };
  return {
    mailServer: true, outboxWaiting: 0,
    entries: [
      entry('n3', 'failed', 2, '[FIRING:1] TargetDown app1:8080', 6, '535 5.7.8 authentication failed', state.alerts[2]),
      entry('n2', 'not_sent', 8, 'DiskFull web1', 0, 'silenced by Li', state.alerts[1]),
      entry('n1', 'sent', 13, '[FIRING:1] TargetDown db2:9100', 1, '250 2.0.0 queued as 4F1B2', state.alerts[0]),
    ],
  };
}

/** Answers one API request: `[status, body]`, or `undefined` where there is no such address. */
export function answer(state, method, path, params, body = '', now = Date.now()) {
  const ok = (data, more = {}) => [200, { status: 'success', data, ...more }];
  const empty = state.mode === 'empty';
  if (state.mode === 'error' && path.startsWith('/api/') && path !== '/api/v1/features') return [500, { status: 'error', errorType: 'internal', error: 'storage is read-only: no space left on device' }];
  const own = dashboards(state, method, path, params, body, now) ?? answerZooKeeper(state, method, path, params, body, now) ?? answerStatus(state, method, path, params, now);
  if (own) return own;
  switch (path) {
    case '/-/healthy':
      return [200, 'Watchkeeper is Healthy.\n'];
    case '/api/v1/features':
      return ok(state.mode === 'plain' ? { api: { query_stats: true } } : { api: { query_stats: true }, watchkeeper: { session: true, dashboards: true, alerts_past: true, changes: true, rule_replay: true, notifications: true, zookeeper: true, queries: true, licences: true, alert_history: false } });
    case '/api/v1/targets':
      return ok({ activeTargets: state.targets.map((target) => ({ ...target, lastScrape: iso(now - 4000) })), droppedTargets: empty || params.get('state') === 'active' ? [] : state.dropped, droppedTargetCounts: { node: 1 } });
    case '/api/v1/targets/relabel_steps':
      return ok({ steps: [{ rule: { source_labels: ['__meta_zone'], separator: ';', regex: 'c', modulus: 0, target_label: '', replacement: '$1', action: 'drop' }, output: {}, keep: false }] });
    case '/api/v1/rules':
      return ok({ groups: rulesOf(state, now).map((group) => ({ ...group, rules: group.rules.filter((rule) => params.get('type') !== 'alert' || rule.type === 'alerting') })).filter((group) => group.rules.length) });
    case '/api/v1/alerts':
      return ok({ alerts: rulesOf(state, now).flatMap((group) => group.rules).flatMap((rule) => rule.alerts ?? []) });
    case '/api/v1/label/__name__/values':
      return ok(empty ? [] : params.get('match[]')?.includes('node') || !params.get('match[]') ? METRICS : METRICS.filter((name) => (/(db|web)\d/.test(params.get('match[]')) ? /^node|^up|^scrape/ : /zk/.test(params.get('match[]')) ? /^zk|^znode|^process|^up/ : /^watchkeeper|^process|^http|^up/).test(name)));
    case '/api/v1/labels':
      return ok(['__name__', 'instance', 'job', 'mode', 'zone']);
    case '/api/v1/metadata':
      return ok(Object.fromEntries(METRICS.map((name) => [name, [{ type: /_total$/.test(name) ? 'counter' : 'gauge', help: `What ${name} says.`, unit: '' }]])));
    case '/api/v1/series': {
      const name = /^[\w:]+/.exec(params.get('match[]') ?? '')?.[0];
      if (empty || !METRICS.includes(name)) return ok([]);
      const chosen = [...params.get('match[]').matchAll(/(\w+)="([^"]*)"/g)];
      const all = ['web1:9100', 'web2:9100', 'db1:9100'].flatMap((instance, index) => ['idle', 'user', 'system', 'iowait'].map((mode) => ({ __name__: name, instance, job: 'node', mode, zone: index ? 'b' : 'a' })));
      return ok(all.filter((labels) => chosen.every(([, label, value]) => labels[label] === value)));
    }
    case '/api/v1/status/tsdb':
      return ok({ headStats: { numSeries: 12_345, numLabelPairs: 4200, chunkCount: 30_000, minTime: now - 7_200_000, maxTime: now }, seriesCountByMetricName: [{ name: 'node_cpu_seconds_total', value: 2240 }, { name: 'http_request_duration_seconds_bucket', value: 900 }], labelValueCountByLabelName: [{ name: '__name__', value: 1200 }], memoryInBytesByLabelName: [{ name: '__name__', value: 45_000 }], seriesCountByLabelValuePair: [{ name: 'job=node', value: 9000 }] });
    case '/api/v1/status/runtimeinfo':
      return ok({ startTime: iso(now - 86_400_000), CWD: '/srv/watchkeeper', reloadConfigSuccess: state.mode !== 'bad', lastConfigTime: iso(now - 86_000_000), configError: state.mode === 'bad' ? 'line 31: unknown key `scrape_intervall`' : '', storageRetention: '15d', goroutineCount: 0 });
    case '/api/v1/status/buildinfo':
      return ok({ version: '0.1.0', revision: 'mock', branch: 'main', buildDate: '', goVersion: '' });
    case '/api/v1/status/flags':
      return ok({ 'storage.path': './data', 'web.listen-address': '127.0.0.1:9090' });
    case '/api/v1/status/config':
      return ok({ yaml: 'global:\n  scrape_interval: 15s\nscrape_configs:\n  - job_name: node\n    static_configs:\n      - targets: [web1:9100, web2:9100]\n' });
    case '/api/v1/query':
    case '/api/v1/query_range': {
      const expression = params.get('query') ?? '';
      if (/\($|\{$|rate\(up\)/.test(expression)) return [400, { status: 'error', errorType: 'bad_data', error: `invalid parameter "query": 1:${Math.max(1, expression.length)}: parse error: unexpected end of input` }];
      const at = Number(params.get('time') ?? now / 1000);
      if (/^[\d.]+$/.test(expression)) return ok({ resultType: 'scalar', result: [at, expression] });
      if (path === '/api/v1/query') return ok({ resultType: 'vector', result: vector(expression, state, at) });
      return ok({ resultType: 'matrix', result: matrix(expression, state, Number(params.get('start')), Number(params.get('end')), Number(params.get('step'))) });
    }
    case '/api/v1/parse_query':
      return ok({ type: 'aggregation', op: 'sum', grouping: ['instance'], without: false, param: null, expr: { type: 'call', func: { name: 'rate' }, args: [{ type: 'matrixSelector', name: 'node_load1', range: 300_000, offset: 0, matchers: [{ name: '__name__', value: 'node_load1', type: '=' }, { name: 'job', value: 'nod', type: '=' }], timestamp: null, startOrEnd: null }] } });
    case '/api/v2/alerts': {
      const filters = params.getAll('filter').map(matcherOf);
      return [200, withSilences(state, now).filter((alert) => filters.every((matcher) => matcher && matches(matcher, alert.labels)))];
    }
    case '/api/v2/status':
      return [200, { cluster: { status: 'disabled', peers: [] }, versionInfo: { version: '0.1.0' }, config: { original: 'route:\n  receiver: ops\n' }, uptime: iso(now - 86_400_000) }];
    case '/api/v2/silences':
      if (method === 'POST') {
        const silence = JSON.parse(body);
        const id = `${Math.random().toString(16).slice(2, 10)}-0000-4000-8000-000000000000`;
        if (silence.id) state.silences = state.silences.filter((one) => one.id !== silence.id);
        state.silences.push({ ...silence, id: silence.id ?? id, updatedAt: iso(now), status: { state: 'active' } });
        return [200, { silenceID: silence.id ?? id }];
      }
      withSilences(state, now);
      return [200, state.silences];
    case '/api/watchkeeper/v1/changes':
      return state.mode === 'plain' ? undefined : ok(empty ? [] : [{ at: iso(now - 14 * MINUTE), kind: 'target', text: 'db2:9100 went down: connection refused', link: '/targets/node/db2%3A9100' }, { at: iso(now - 43 * MINUTE), kind: 'rule', text: 'rule DiskFull edited', by: 'li' }, { at: iso(now - 160 * MINUTE), kind: 'config', text: 'configuration reloaded' }]);
    case '/api/watchkeeper/v1/rules/replay': {
      const end = now / 1000;
      const at = (days, minutes, state) => ({ state, start: end - days * 86_400, end: end - days * 86_400 + minutes * 60, value: '91.5' });
      return ok({ start: end - 7 * 86_400, end, interval: 15, evaluations: 40_321, fired: 2, gaveUp: 1, firingSeconds: 5400, alerts: [{ labels: { alertname: 'TargetDown', instance: 'db2:9100', job: 'node' }, spans: [at(6, 3, 'pending'), at(4, 60, 'firing'), at(1, 30, 'firing')] }] });
    }
    case '/api/watchkeeper/v1/alerts/past':
      return ok(pastOf(state, now));
    case '/api/watchkeeper/v1/notifications':
      return state.mode === 'plain' ? undefined : ok(notificationsOf(state, now));
    default:
      if (method === 'DELETE' && path.startsWith('/api/v2/silence/')) {
        const silence = state.silences.find((one) => path.endsWith(one.id));
        if (!silence) return [404, ''];
        silence.endsAt = iso(now);
        return [200, ''];
      }
      if (path.startsWith('/api/v1/label/')) return ok(empty ? [] : ({ instance: ['db1:9100', 'web1:9100', 'web2:9100'], job: ['app', 'node', 'zookeeper'], mode: ['idle', 'iowait', 'system', 'user'], zone: ['a', 'b'] })[path.split('/')[4]] ?? []);
      if (path.startsWith('/api/watchkeeper/v1/notifications/')) {
        const [id, what] = path.slice('/api/watchkeeper/v1/notifications/'.length).split('/');
        const entry = notificationsOf(state, now).entries.find((one) => one.id === id);
        if (!entry) return [404, { status: 'error', error: 'no such notification' }];
        if (what === 'html') return [200, `<!doctype html><title>${entry.subject}</title><body style="font-family:sans-serif"><h1 style="color:#7f1420">${entry.subject}</h1><script>alert(1)</script><p>db2:9100 does not answer.</p></body>`];
        return ok(entry);
      }
      return undefined;
  }
}

/// Passes a request on to a running server, and its answer back.
function pass(to, request, body, response) {
  const onward = ask(new URL(request.url, to), { method: request.method, headers: { ...request.headers, host: new URL(to).host, ...(request.headers.origin ? { origin: to } : {}) } }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  onward.on('error', () => response.destroy());
  response.on('close', () => onward.destroy());
  onward.end(body);
}

/// When alerts fired before: an old one that is over, one that comes often.
function pastOf(state, now) {
  if (state.mode === 'empty') return [];
  const one = (alertname, instance, hoursAgo, minutes, severity = 'warning') => ({ fingerprint: Buffer.from(`${alertname}${instance}`).toString('hex').slice(-16), labels: { alertname, instance, job: 'node', severity }, from: iso(now - hoursAgo * 60 * MINUTE), to: iso(now - (hoursAgo * 60 - minutes) * MINUTE), value: '91.5' });
  return [one('LoadHigh', 'web2:9100', 74, 20), one('DiskFull', 'web1:9100', 200, 600), one('LoadHigh', 'web2:9100', 400, 12), one('LoadHigh', 'web2:9100', 900, 3), one('TargetDown', 'db1:9100', 1500, 61, 'critical')];
}

export function serve({ port = 0, mode = 'bad', to } = {}) {
  const states = new Map();
  const stateOf = (name) => states.get(name) ?? states.set(name, makeState(name)).get(name);
  const server = createServer((request, response) => {
    const address = new URL(request.url, 'http://localhost');
    const wanted = /(?:^|; )mode=(\w+)/.exec(request.headers.cookie ?? '')?.[1] ?? mode;
    let body = '';
    request.on('data', (piece) => (body += piece));
    request.on('end', () => {
      const path = address.pathname;
      if (path.startsWith('/api/') || path.startsWith('/-/') || path === '/metrics') {
        if (to) return pass(to, request, body, response);
        const params = request.method === 'POST' && (request.headers['content-type'] ?? '').includes('form') ? new URLSearchParams(body) : address.searchParams;
        const [status, data, headers] = session(wanted, request.method, path, request.headers.cookie ?? '', body) ?? answer(stateOf(wanted), request.method, path, params, body) ?? [404, { status: 'error', errorType: 'not_found', error: 'no such address' }];
        const html = path.endsWith('/html');
        response.writeHead(status, { 'Content-Type': html ? 'text/html; charset=utf-8' : typeof data === 'string' ? 'text/plain' : 'application/json', ...headers, ...(html ? { 'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox" } : {}) });
        response.end(typeof data === 'string' ? data : JSON.stringify(data));
        return;
      }
      let file = join(dist, normalize(path));
      if (!file.startsWith(dist) || !existsSync(file) || statSync(file).isDirectory()) {
        if (path.startsWith('/assets/')) {
          response.writeHead(404);
          response.end();
          return;
        }
        file = join(dist, 'index.html');
      }
      const packed = /\bbr\b/.test(request.headers['accept-encoding'] ?? '') && existsSync(`${file}.br`);
      response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', 'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'same-origin', 'Cache-Control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache', Vary: 'Accept-Encoding', ...(packed ? { 'Content-Encoding': 'br' } : {}) });
      createReadStream(packed ? `${file}.br` : file).pipe(response);
    });
  });
  return new Promise((resolve) => server.listen(port, '127.0.0.1', () => resolve({ server, port: server.address().port })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, fallback) => (process.argv.includes(`--${name}`) ? process.argv[process.argv.indexOf(`--${name}`) + 1] : fallback);
  const { port } = await serve({ port: Number(option('port', '9099')), mode: option('mode', 'bad'), to: option('server') });
  console.log(`http://127.0.0.1:${port}/`);
}
