/** The rule files in ZooKeeper: `/api/watchkeeper/v1/zookeeper/rules...`. */
import { get, post } from './watchkeeper.svelte';

/** Who made a version, when and why. */
export interface Made {
  push: number;
  kind: 'push' | 'rollback' | 'outside';
  who: string;
  at: string;
  why: string;
}

export interface Remark {
  line: number;
  column?: number;
  message: string;
}

export interface Judged {
  errors: Remark[];
  warnings: Remark[];
  groups: number;
  rules: number;
}

export interface RuleFile extends Partial<Judged> {
  name: string;
  version: number;
  sha256: string;
  bytes: number;
  modified: string;
  by: Made | null;
  broken: string | null;
  text?: string;
}

export interface FileChange {
  name: string;
  change: 'add' | 'set' | 'delete';
  /** Unified. */
  diff: string;
}

export interface Push extends Made {
  parent: number | null;
  restores: number | null;
  files: number;
  changes: { name: string; change: FileChange['change'] }[] | null;
}

export interface Saved {
  push: number | null;
  changes: FileChange[];
  files: Record<string, Judged>;
}

const PATH = '/zookeeper/rules';

/** Files that changed without the store's knowledge are in `outside` until they are a push. */
export const ruleFiles = (signal?: AbortSignal) => get<{ files: RuleFile[]; head: Made | null; outside: unknown[] }>(PATH, signal);
export const ruleFile = (name: string, signal?: AbortSignal) => get<RuleFile & { text: string }>(`${PATH}/file`, signal, { name });
export const checkText = async (name: string, text: string, signal?: AbortSignal) => (await post<{ files: Record<string, Judged> }>(`${PATH}/check`, { files: { [name]: text } }, signal)).files[name];
/** `base` is the hash of what was read; `null`: there was nothing. */
export const saveRules = (changes: { name: string; text: string | null; base: string | null }[], reason: string, author: string) => post<Saved>(PATH, { changes, reason, author });
export const ruleHistory = (signal?: AbortSignal) => get<{ pushes: Push[]; outside: unknown[]; unreadable: { name: string; reason: string }[] }>(`${PATH}/history`, signal);
export const ruleVersion = (push: number, name: string, signal?: AbortSignal) => get<Made & { text: string | null; sha256: string }>(`${PATH}/history/${push}`, signal, { name });
export const ruleDiff = (from?: number, to?: number, signal?: AbortSignal) => get<{ changes: FileChange[] }>(`${PATH}/diff`, signal, { from, to });
export const rollBack = (push: number, head: number | null, reason: string, author: string, dryRun: boolean) => post<Saved>(`${PATH}/rollback`, { push, head, reason, author, dryRun });

/** The file's name from where a group says that it is from; `undefined` where that is not ZooKeeper. */
export function znodeFile(origin: string): string | undefined {
  return /^(?:zookeeper|zk):.*?\/rules\/(.+)$/.exec(origin)?.[1];
}

/** The newest earlier version of a file that loads: what stays in force while a newer one is refused. */
export async function lastGood(name: string, signal?: AbortSignal): Promise<Made | undefined> {
  const [{ pushes }, file] = await Promise.all([ruleHistory(signal), ruleFile(name, signal)]);
  const earlier = pushes.filter((push) => push.push !== file.by?.push && push.changes?.some((change) => change.name === name && change.change !== 'delete'));
  for (const push of earlier.slice(0, 10)) {
    const { text } = await ruleVersion(push.push, name, signal);
    if (text !== null && (await checkText(name, text, signal))?.errors.length === 0) return push;
  }
  return undefined;
}
