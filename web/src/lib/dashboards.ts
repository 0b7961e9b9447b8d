/**
 * The automatic dashboards: chosen by which metrics a target has, not by the name of its job. `$i` is the selector of the instance,
 * `$R` the window of rate(). A panel whose queries give nothing is absent.
 */
import type { Unit } from './format';
import { REAL_DISKS, REAL_NETS } from './hosts.svelte';
import type { Key } from './i18n.svelte';

export interface Query {
  expression: string;
  /** What its line is called; without it the labels that differ. */
  name?: Key;
}

export interface Panel {
  id: string;
  title: Key;
  about: Key;
  unit: Unit;
  queries: Query[];
  stacked?: boolean;
  percentOfWhole?: boolean;
}

export interface Dashboard {
  id: string;
  title: Key;
  /** It is shown where a metric matches this. */
  marker: RegExp;
  panels: Panel[];
}

type Short = [id: string, unit: Unit, queries: (string | [string, Key])[], options?: Partial<Panel>];

function dashboard(id: string, marker: RegExp, panels: Short[]): Dashboard {
  return {
    id,
    title: `dash.${id}` as Key,
    marker,
    panels: panels.map(([name, unit, queries, options]) => ({
      id: `${id}-${name}`,
      title: `dash.${id}.${name}` as Key,
      about: `dash.${id}.${name}.about` as Key,
      unit,
      queries: queries.map((query) => (typeof query === 'string' ? { expression: query } : { expression: query[0], name: query[1] })),
      ...options,
    })),
  };
}

const disk = `{$i,${REAL_DISKS}}`;
const net = `{$i,${REAL_NETS}}`;

export const DASHBOARDS: Dashboard[] = [
  dashboard('host', /^node_cpu_seconds_total$/, [
    ['cpu', 'percent', ['100 * sum by (mode) (rate(node_cpu_seconds_total{$i,mode!="idle"}[$R])) / scalar(count(node_cpu_seconds_total{$i,mode="idle"}))'], { stacked: true, percentOfWhole: true }],
    ['load', 'none', [['node_load1{$i}', 'series.load1'], ['count(node_cpu_seconds_total{$i,mode="idle"})', 'series.cores']]],
    ['memory', 'bytes', [['node_memory_MemTotal_bytes{$i} - node_memory_MemAvailable_bytes{$i}', 'series.used'], ['node_memory_MemTotal_bytes{$i}', 'series.total']]],
    ['disk', 'percent', [`100 * (1 - max by (mountpoint) (node_filesystem_avail_bytes${disk}) / max by (mountpoint) (node_filesystem_size_bytes${disk} > 0))`], { percentOfWhole: true }],
    ['network', 'bits/s', [[`sum(rate(node_network_receive_bytes_total${net}[$R])) * 8`, 'series.in'], [`sum(rate(node_network_transmit_bytes_total${net}[$R])) * 8`, 'series.out']]],
    ['disk_busy', 'percent', ['100 * sum by (device) (rate(node_disk_io_time_seconds_total{$i}[$R]))'], { percentOfWhole: true }],
    ['disk_bytes', 'bytes/s', [['sum(rate(node_disk_read_bytes_total{$i}[$R]))', 'series.read'], ['sum(rate(node_disk_written_bytes_total{$i}[$R]))', 'series.written']]],
    ['pressure', 'percent', [['100 * rate(node_pressure_cpu_waiting_seconds_total{$i}[$R])', 'series.cpu'], ['100 * rate(node_pressure_memory_waiting_seconds_total{$i}[$R])', 'series.memory'], ['100 * rate(node_pressure_io_waiting_seconds_total{$i}[$R])', 'series.io']]],
    ['swap', '/s', [['rate(node_vmstat_pswpin{$i}[$R])', 'series.in'], ['rate(node_vmstat_pswpout{$i}[$R])', 'series.out']]],
    ['net_errors', '/s', [[`sum(rate(node_network_receive_errs_total${net}[$R]) + rate(node_network_transmit_errs_total${net}[$R]))`, 'series.errors'], [`sum(rate(node_network_receive_drop_total${net}[$R]) + rate(node_network_transmit_drop_total${net}[$R]))`, 'series.drops']]],
    ['temperature', 'celsius', ['max by (chip) (node_hwmon_temp_celsius{$i})', 'max by (type) (node_thermal_zone_temp{$i})']],
    ['oom', 'none', ['increase(node_vmstat_oom_kill{$i}[1h])']],
    ['clock', 'seconds', ['node_timex_offset_seconds{$i}']],
    ['units', 'none', ['sum(node_systemd_unit_state{$i,state="failed"})']],
    ['reboots', 'none', ['changes(node_boot_time_seconds{$i}[1h])']],
  ]),
  dashboard('zookeeper', /^(zk_up|znode_count|zk_znode_count)$/, [
    ['quorum', 'none', [['synced_followers{$i} or zk_synced_followers{$i}', 'series.synced'], ['learners{$i} or zk_learners{$i}', 'series.learners']]],
    ['outstanding', 'none', ['outstanding_requests{$i} or zk_outstanding_requests{$i}']],
    ['latency', 'none', [['avg_latency{$i} or zk_avg_latency{$i}', 'series.avg'], ['max_latency{$i} or zk_max_latency{$i}', 'series.max']]],
    ['connections', 'none', ['num_alive_connections{$i} or zk_num_alive_connections{$i}']],
    ['watches', 'none', ['watch_count{$i} or zk_watch_count{$i}']],
    ['znodes', 'none', ['znode_count{$i} or zk_znode_count{$i}']],
    ['data', 'bytes', ['approximate_data_size{$i} or zk_approximate_data_size{$i}']],
    ['files', 'none', [['open_file_descriptor_count{$i} or zk_open_file_descriptor_count{$i}', 'series.used'], ['max_file_descriptor_count{$i} or zk_max_file_descriptor_count{$i}', 'series.max']]],
    ['packets', '/s', [['rate(packets_received{$i}[$R]) or rate(zk_packets_received{$i}[$R])', 'series.in'], ['rate(packets_sent{$i}[$R]) or rate(zk_packets_sent{$i}[$R])', 'series.out']]],
    ['stale', '/s', ['rate(stale_sessions_expired{$i}[$R]) or rate(zk_stale_sessions_expired{$i}[$R])']],
  ]),
  dashboard('jvm', /^(jvm_memory_bytes_used|jvm_memory_used_bytes)$/, [
    ['heap', 'bytes', [['sum by (area) (jvm_memory_used_bytes{$i} or jvm_memory_bytes_used{$i})', 'series.used'], ['sum by (area) ((jvm_memory_max_bytes{$i} or jvm_memory_bytes_max{$i}) > 0)', 'series.max']]],
    ['gc', 'percent', ['100 * sum by (gc) (rate(jvm_gc_collection_seconds_sum{$i}[$R]))']],
    ['pause', 'seconds', ['sum by (gc) (rate(jvm_gc_collection_seconds_sum{$i}[$R])) / (sum by (gc) (rate(jvm_gc_collection_seconds_count{$i}[$R])) > 0)']],
    ['threads', 'none', ['jvm_threads_state{$i} > 0'], { stacked: true }],
    ['classes', 'none', ['jvm_classes_currently_loaded{$i} or jvm_classes_loaded{$i}']],
    ['buffers', 'bytes', ['sum by (pool) (jvm_buffer_pool_used_bytes{$i})']],
  ]),
  dashboard('itself', /^watchkeeper_build_info$/, [
    ['samples', '/s', ['sum(rate(watchkeeper_tsdb_head_samples_appended_total{$i}[$R]))']],
    ['series', 'none', ['watchkeeper_tsdb_head_series{$i}']],
    ['storage', 'bytes', ['watchkeeper_tsdb_storage_blocks_bytes{$i}']],
    ['log', 'bytes/s', ['rate(watchkeeper_tsdb_wal_written_bytes_total{$i}[$R])']],
    ['fsync', 'seconds', ['histogram_quantile(0.99, sum by (le) (rate(watchkeeper_tsdb_wal_fsync_duration_seconds_bucket{$i}[$R])))']],
    ['queries', 'seconds', ['histogram_quantile(0.9, sum by (le) (rate(watchkeeper_http_request_duration_seconds_bucket{$i,handler=~"/api/v1/query(_range)?"}[$R])))']],
    ['rules', 'seconds', ['histogram_quantile(0.9, sum by (le) (rate(watchkeeper_rule_group_duration_seconds_bucket{$i}[$R])))']],
    ['notifications', '/s', [['sum(rate(watchkeeper_notifications_total{$i}[$R]))', 'series.sent'], ['sum(rate(watchkeeper_notifications_failed_total{$i}[$R]))', 'series.failed']]],
    ['scrapes', 'none', ['sum(up)']],
  ]),
  dashboard('probe', /^probe_success$/, [
    ['up', 'none', ['probe_success{$i}']],
    ['duration', 'seconds', ['probe_http_duration_seconds{$i}', 'probe_duration_seconds{$i}'], { stacked: true }],
    ['certificate', 'days', ['(probe_ssl_earliest_cert_expiry{$i} - time()) / 86400']],
  ]),
  dashboard('process', /^process_cpu_seconds_total$|^watchkeeper_process_cpu_seconds_total$/, [
    ['cpu', 'cores', ['rate(process_cpu_seconds_total{$i}[$R])']],
    ['memory', 'bytes', ['process_resident_memory_bytes{$i}']],
    ['files', 'none', [['process_open_fds{$i}', 'series.used'], ['process_max_fds{$i}', 'series.max']]],
    ['restarts', 'none', ['changes(process_start_time_seconds{$i}[1h])']],
    ['goroutines', 'none', ['go_goroutines{$i}']],
    ['go_heap', 'bytes', ['go_memstats_heap_inuse_bytes{$i}']],
    ['go_gc', 'seconds', ['go_gc_duration_seconds{$i,quantile="1"}']],
  ]),
];

/** For each histogram `X_request_duration_seconds_bucket`: rate, and the time of the median and the slow ones. */
export function httpPanels(metrics: string[]): Panel[] {
  return metrics
    .filter((name) => /_request_duration_seconds_bucket$/.test(name))
    .flatMap((bucket) => {
      const base = bucket.replace(/_bucket$/, '');
      return [
        { id: `${base}-rate`, title: 'dash.http.rate', about: 'dash.http.rate.about', unit: '/s', queries: [{ expression: `sum(rate(${base}_count{$i}[$R]))` }] },
        {
          id: `${base}-time`, title: 'dash.http.time', about: 'dash.http.time.about', unit: 'seconds',
          queries: (['0.5', '0.95', '0.99'] as const).map((quantile) => ({ expression: `histogram_quantile(${quantile}, sum by (le) (rate(${bucket}{$i}[$R])))`, name: `series.p${quantile.slice(2).padEnd(2, '0')}` as Key })),
        },
      ] as Panel[];
    });
}

export interface OtherMetric {
  name: string;
  type: string;
  help: string;
}

/** For what no dashboard knows: counters as rates, gauges as they are, histograms as their slowest twentieth. */
export function expressionFor(metric: OtherMetric): string | undefined {
  if (metric.type === 'histogram' || metric.type === 'gaugehistogram') return undefined;
  if (metric.type === 'counter' || /_total$/.test(metric.name)) return `rate(${metric.name}{$i}[$R])`;
  if (/_bucket$/.test(metric.name)) return `histogram_quantile(0.95, sum by (le) (rate(${metric.name}{$i}[$R])))`;
  if (/_(sum|count)$/.test(metric.name) || /_info$/.test(metric.name) || /_created$/.test(metric.name)) return undefined;
  return `${metric.name}{$i}`;
}
