/// The made-up server's word on itself: storage, cardinality, configuration, queries, licences.
import { refusedFilesOf } from './mock_zookeeper.mjs';

const MINUTE = 60_000;
const iso = (ms) => new Date(ms).toISOString();

export function answerStatus(state, method, path, params, now) {
  const ok = (data) => [200, { status: 'success', data }];
  const bad = state.mode === 'bad';
  if (path === '/metrics') {
    return [
      200,
      [
        '# TYPE watchkeeper_data_dir_free_bytes gauge', 'watchkeeper_data_dir_free_bytes 1.9e+10', 'watchkeeper_data_dir_size_bytes 2.1e+11', `watchkeeper_tsdb_disk_full ${bad ? 1 : 0}`, 'watchkeeper_tsdb_wal_failed 0',
        'watchkeeper_tsdb_wal_segment_current 37', 'watchkeeper_tsdb_wal_written_bytes_total 88112209', 'watchkeeper_tsdb_wal_fsync_duration_seconds_bucket{le="0.1"} 3', 'watchkeeper_tsdb_wal_fsync_duration_seconds_sum 0.92', 'watchkeeper_tsdb_wal_fsync_duration_seconds_count 329',
        `watchkeeper_tsdb_too_old_samples_total ${bad ? 12 : 0}`, 'process_threads 19', 'process_resident_memory_bytes 7.3e+07', 'process_cpu_seconds_total 812.5', 'process_open_fds 26', 'process_max_fds 20000', '',
      ].join('\n'),
    ];
  }
  if (path === '/api/v1/status/tsdb/blocks') {
    const block = (index) => ({ ulid: `01M8CQ6QDK7T7QDDNNNYEK0${String(29 + index)}`, minTime: now - (index + 1) * 7_200_000, maxTime: now - index * 7_200_000, stats: { numBytes: 44_069_000, numChunks: 1183, numSamples: 83_753_000, numSeries: 12_183 }, compaction: { level: 1, sources: [] }, version: 1 });
    return ok({ blocks: state.mode === 'empty' ? [] : [2, 1, 0].map(block) });
  }
  if (state.mode === 'plain' || !path.startsWith('/api/watchkeeper/v1/')) return undefined;
  switch (path.slice('/api/watchkeeper/v1/'.length)) {
    case 'overview':
      return ok({ ready: true, rules: { refusedFiles: refusedFilesOf(state, now) }, storage: { series: 12_345, samples: 4_000_000, bytes: 180_000_000 } });
    case 'discovery':
      return ok({ errors: bad ? [{ scrapePool: 'app', error: 'dns: app.example.org: no such host' }] : [] });
    case 'cardinality': {
      const hour = params.get('hours') === '1';
      const values = params.get('label') === 'job' ? [['node', 9000], ['app', hour ? 400 : 2900], ['watchkeeper', 445]] : [['node_cpu_seconds_total', 2240], ['http_request_duration_seconds_bucket', hour ? 900 : 3100], ['up', 7]];
      return ok({ allValues: values.length, values: values.map(([value, series]) => ({ value, series })) });
    }
    case 'status/config':
      return ok({
        yaml: 'global:\n  scrape_interval: 15s\nscrape_configs:\n- job_name: node\n  basic_auth: {username: a, password: <secret>}\n',
        parts: [{ part: 'global', from: ['watchkeeper.yml'] }, { part: 'scrape_configs: node', from: ['zookeeper:/watchkeeper/config/scrape/node.yml'] }, { part: 'storage', from: ['default'] }],
        znodes: [{ path: '/watchkeeper/config/scrape/node.yml', mzxid: 12, modified: iso(now - 90 * MINUTE), active: true, refused: null }, ...(bad ? [{ path: '/watchkeeper/config', mzxid: 14, modified: iso(now - 9 * MINUTE), active: true, refused: { file: '/watchkeeper/config', line: 3, column: 1, reason: '`web` may not be set here' } }] : [])],
        version: 14,
      });
    case 'status/queries': {
      const slow = (query, durationMs, count, more = {}) => ({ query, startMs: now - 86_400_000, endMs: now, stepMs: 60_000, durationMs, totalMs: durationMs * count * 0.8, samples: 1_200_000, series: 240, at: iso(now - 4 * MINUTE), count, user: 'li', source: 'api', ...more });
      return ok({
        since: iso(now - 86_400_000),
        running: (bad || state.mode === 'viewer') && !state.cancelled ? [{ id: 7, query: 'count by (instance) ({__name__=~".+"})', sinceMs: 12_400, source: 'api', user: 'li', cancellable: true }] : [],
        slowest: state.mode === 'empty' ? [] : [slow('sum by (job) (rate(http_request_duration_seconds_bucket[5m]))', 4210, 3), slow('up == 0', 8, 40_000, { source: 'rule', user: null, startMs: now, series: null })],
      });
    }
    case 'status/queries/running/7':
      if (method !== 'DELETE') return undefined;
      state.cancelled = true;
      return ok(null);
    case 'status/licences':
      return ok([{ name: 'tokio', version: '1.48.0', licence: 'MIT', url: 'https://tokio.rs', text: 'MIT License\n\n<b>Copyright</b> (c) Tokio Contributors\n', part: 'server' }, { name: 'uplot', version: '1.6.32', licence: 'MIT', url: null, text: null, part: 'dashboard' }]);
    default:
      return undefined;
  }
}
