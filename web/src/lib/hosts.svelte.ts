/** Each machine in one line: what the Overview and the Hosts page show. Found by the metrics it has, not by the name of its job. */
import { query, queryRange, type Labels, type Series } from './api';
import { live } from './live.svelte';
import { resource, type Resource } from './resource.svelte';
import { edge, printDuration, stepFor } from './time.svelte';

export const REAL_DISKS = 'fstype!~"tmpfs|overlay|squashfs|ramfs|devtmpfs|iso9660|erofs"';
export const REAL_NETS = 'device!~"lo|veth.*|docker.*|br-.*|cni.*|flannel.*"';

export interface Host {
  instance: string;
  job: string;
  name?: string | undefined;
  cpu?: number | undefined;
  cores?: number | undefined;
  load?: number | undefined;
  memory?: number | undefined;
  disk?: number | undefined;
  diskPlace?: string | undefined;
  network?: number | undefined;
  uptime?: number | undefined;
  /** It sends data now. */
  alive: boolean;
  cpuPoints: [number, number][];
}

export interface Hosts {
  hosts: Host[];
  from: number;
  to: number;
  step: number;
}

/** The window of `rate()`: four scrapes, or the step where that is longer. */
export function rateWindow(stepMs = 0): string {
  return printDuration(Math.max(4 * live.slowestMs, stepMs));
}

function vector(answer: PromiseSettledResult<{ data: { resultType: string; result: unknown } }>): Series[] {
  return answer.status === 'fulfilled' && answer.value.data.resultType !== 'scalar' ? (answer.value.data.result as Series[]) : [];
}

const number = (series: Series): number => Number(series.value?.[1] ?? 'NaN');

export function hosts(rangeMs: () => number, end: () => number | undefined = () => undefined): Resource<Hosts> {
  return resource(
    () => `hosts ${rangeMs()} ${end() ?? ''}`,
    async (signal) => {
      const step = stepFor(rangeMs(), live.scrapeMs, 60);
      const to = edge(end() ?? Date.now(), step);
      const from = to - rangeMs();
      const window = rateWindow();
      const at = end();
      const instant = (expression: string) => query(expression, at, signal);
      const answers = await Promise.allSettled([
        instant('group by (instance, job) (present_over_time(node_load1[1d]))'),
        instant('node_load1'),
        instant(`100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[${window}])))`),
        instant('count by (instance) (node_cpu_seconds_total{mode="idle"})'),
        instant('100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)'),
        instant(`topk by (instance) (1, 100 * (1 - node_filesystem_avail_bytes{${REAL_DISKS}} / (node_filesystem_size_bytes{${REAL_DISKS}} > 0)))`),
        instant(`sum by (instance) (rate(node_network_receive_bytes_total{${REAL_NETS}}[${window}]) + rate(node_network_transmit_bytes_total{${REAL_NETS}}[${window}]))`),
        instant('time() - node_boot_time_seconds'),
        instant('node_uname_info'),
        queryRange(`100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[${rateWindow(step)}])))`, from, to, step, signal),
      ]);
      // The first question decides whether the server answers at all; a missing metric is an empty answer, not an error.
      if (answers[0].status === 'rejected') throw answers[0].reason;
      const [known, load, cpu, cores, memory, disk, network, uptime, names, cpuLine] = answers.map(vector);
      const by = (series: Series[] | undefined, pick: (series: Series) => number = number) => new Map((series ?? []).map((one) => [one.metric['instance'] ?? '', pick(one)]));
      const labelsBy = (series: Series[] | undefined) => new Map<string, Labels>((series ?? []).map((one) => [one.metric['instance'] ?? '', one.metric]));
      const loads = by(load);
      const cpus = by(cpu);
      const coreCounts = by(cores);
      const memories = by(memory);
      const disks = by(disk);
      const places = labelsBy(disk);
      const networks = by(network);
      const uptimes = by(uptime);
      const unames = labelsBy(names);
      const lines = new Map((cpuLine ?? []).map((one) => [one.metric['instance'] ?? '', (one.values ?? []).map(([at, text]): [number, number] => [at * 1000, Number(text)])]));
      const list = (known ?? []).map(({ metric }): Host => {
        const instance = metric['instance'] ?? '';
        return {
          instance,
          job: metric['job'] ?? '',
          name: unames.get(instance)?.['nodename'],
          cpu: cpus.get(instance),
          cores: coreCounts.get(instance),
          load: loads.get(instance),
          memory: memories.get(instance),
          disk: disks.get(instance),
          diskPlace: places.get(instance)?.['mountpoint'],
          network: networks.get(instance),
          uptime: uptimes.get(instance),
          alive: loads.has(instance),
          cpuPoints: lines.get(instance) ?? [],
        };
      });
      return { hosts: list.sort((a, b) => worry(b) - worry(a) || a.instance.localeCompare(b.instance)), from, to, step };
    },
    { topics: ['target'], every: 'live', keep: true },
  );
}

/** Worst first: no data, then whatever is nearest to full. Below 80 % nothing is worse than another, so that rows do not dance. */
function worry(host: Host): number {
  if (!host.alive) return 1000;
  const worst = Math.max(host.cpu ?? 0, host.memory ?? 0, host.disk ?? 0);
  return worst >= 80 ? Math.round(worst / 5) : 0;
}
