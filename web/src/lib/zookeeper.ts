/** The ensemble and this server's session with it: `/api/watchkeeper/v1/zookeeper`, `zookeeper/servers`. */
import { get } from './watchkeeper.svelte';

export interface Server {
  address: string;
  error?: string;
  role?: string | null;
  version?: string | null;
  latencyAvgMs?: number | null;
  latencyMaxMs?: number | null;
  connections?: number | null;
  outstanding?: number | null;
  znodes?: number | null;
  watches?: number | null;
  dataBytes?: number | null;
  uptimeMs?: number | null;
  learners?: number | null;
  syncedFollowers?: number | null;
}

export { zookeeper, type ZooKeeperView } from './watchkeeper.svelte';
export const zookeeperServers = async (signal?: AbortSignal) => (await get<{ servers: Server[] }>('/zookeeper/servers', signal)).servers;

export const SNIPPET = `zookeeper:
  connect: zk1:2181,zk2:2181,zk3:2181
  root: /watchkeeper`;

/** `line 14` and the rest of what the server says about a refused text: it begins with the place, `14:3: ...`. */
export function refusal(said: string): { line: number | undefined; reason: string } {
  const match = /^(?:(\d+):\d+|line (\d+)):\s*/.exec(said);
  return match ? { line: Number(match[1] ?? match[2]), reason: said.slice(match[0].length) } : { line: undefined, reason: said };
}

/** The moment of an instant as the server tells it, in whichever of its two ways. */
export const moment = (told: string | number | undefined): number => (typeof told === 'number' ? told : Date.parse(told ?? ''));

export interface Refused {
  file: string;
  line: number;
  column: number;
  reason: string;
  at: string;
  hasLastGood: boolean;
}

/** Rule files that were refused, with where and when; those of folders too. */
export const refusedFiles = async (signal?: AbortSignal) => (await get<{ rules: { refusedFiles?: Refused[] } | null }>('/overview', signal)).rules?.refusedFiles ?? [];
