/** What the server says of itself: its own metrics, now, and what it keeps. */
import { request, v1 } from './api';
import { get } from './watchkeeper.svelte';

/** Its own metrics without labels that we do not need: name (and labels as they are written) to value. */
export async function ownMetrics(signal?: AbortSignal): Promise<Map<string, number>> {
  return parseMetrics(await request<string>('/metrics', { signal }));
}

export function parseMetrics(text: string): Map<string, number> {
  const out = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line.startsWith('#') || line.includes('_bucket{')) continue;
    const match = /^([a-zA-Z_:][\w:]*(?:\{.*\})?)\s+(\S+)/.exec(line);
    if (match?.[1] && match[2]) out.set(match[1], Number(match[2].replace('Inf', 'Infinity')));
  }
  return out;
}

export interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  stats: { numSamples: number; numSeries: number; numBytes: number };
  compaction?: { level: number };
}

/** Oldest first. */
export const blocks = async (signal?: AbortSignal) => (await v1<{ blocks: Block[] }>('/status/tsdb/blocks', { signal })).blocks.sort((a, b) => a.minTime - b.minTime);

export interface Held {
  storage?: { series: number; samples: number; bytes: number } | null;
}
export const overview = (signal?: AbortSignal) => get<Held>('/overview', signal);

export interface Counted {
  allValues: number;
  values: { value: string; series: number }[];
}
export const cardinality = (label: string, hours: number, limit: number, signal?: AbortSignal) => get<Counted>('/cardinality', signal, { label, hours, limit });

/** Values of a label whose series came and went: those of the last day that the last hour has no more. */
export function churn(day: Counted, hour: Counted): { value: string; series: number; gone: number }[] {
  const now = new Map(hour.values.map((one) => [one.value, one.series]));
  const whole = hour.values.length >= hour.allValues;
  return day.values
    .flatMap(({ value, series }) => {
      const left = now.get(value) ?? (whole ? 0 : undefined);
      return left === undefined || left >= series ? [] : [{ value, series, gone: series - left }];
    })
    .sort((a, b) => b.gone - a.gone);
}

export interface EffectiveConfig {
  yaml: string;
  parts: { part: string; from: string[] }[];
  znodes: { path: string; mzxid: number; modified?: string; active: boolean; refused: { file: string; line: number | null; column: number | null; reason: string } | null }[];
  version?: number;
  /** Why the last reload was refused, in whole or in part. */
  refused?: string | null;
}
export const effectiveConfig = (signal?: AbortSignal) => get<EffectiveConfig>('/status/config', signal);

export interface Queries {
  slowest: { query: string; startMs: number; endMs: number; stepMs: number; durationMs: number; totalMs?: number; samples: number; series: number | null; at: string; count: number; user: string | null; source: 'api' | 'rule' }[];
  /** `sinceMs`: how long it runs already. Rules are not cancelled: they have their time limit. */
  running: { id: string | number; query: string; sinceMs: number; source: string; user?: string | null; cancellable?: boolean }[];
  since: string;
}
export const queries = (signal?: AbortSignal) => get<Queries>('/status/queries', signal);
export const cancelQuery = (id: string | number) => request(`/api/watchkeeper/v1/status/queries/running/${encodeURIComponent(String(id))}`, { method: 'DELETE' });

export interface Licence {
  name: string;
  version: string;
  licence: string;
  url: string | null;
  text: string | null;
  part: 'server' | 'dashboard';
}
export const licences = (signal?: AbortSignal) => get<Licence[]>('/status/licences', signal);
