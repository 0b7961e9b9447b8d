/**
 * The one place that speaks HTTP: addresses, time-outs, errors. Shapes are Prometheus's `/api/v1` and Alertmanager's `/api/v2`
 * as published; what they lack is in `watchkeeper.ts`.
 */
import { connection } from './connection.svelte';

/** The path before `/assets/`: the reverse proxy's prefix, mostly empty. */
export const prefix = (() => {
  const path = new URL(import.meta.url).pathname;
  const cut = path.lastIndexOf('/assets/');
  return cut > 0 ? path.slice(0, cut) : '';
})();

export type ErrorKind = 'network' | 'timeout' | 'aborted' | 'http' | 'api';

export class ApiError extends Error {
  constructor(
    readonly kind: ErrorKind,
    message: string,
    readonly status = 0,
    /** Prometheus's `errorType`, for example `bad_data`. */
    readonly type = '',
    /** Where in an expression, from `1:17: parse error: ...`, counted from 1. */
    readonly position?: { line: number; column: number },
  ) {
    super(message);
  }

  get absent(): boolean {
    return this.status === 404 || this.status === 501 || this.status === 405;
  }
}

const denied: (() => void)[] = [];

/** Called when the server wants to know who asks. */
export function onDenied(act: () => void): void {
  denied.push(act);
}

export type Params = Record<string, string | number | boolean | string[] | undefined>;

export function search(params: Params): string {
  const out = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (Array.isArray(value)) for (const one of value) out.append(name, one);
    else if (value !== undefined) out.append(name, String(value));
  }
  const text = out.toString();
  return text && `?${text}`;
}

export interface Options {
  method?: string;
  params?: Params;
  json?: unknown;
  form?: Params;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
}

/** Fetches and reads JSON (or text). Throws `ApiError` alone. */
export async function request<T>(path: string, options: Options = {}): Promise<T> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? 60_000);
  const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
  const init: RequestInit = { method: options.method ?? 'GET', signal, headers: { Accept: 'application/json', 'X-Watchkeeper': 'dashboard' } };
  if (options.json !== undefined) {
    init.body = JSON.stringify(options.json);
    init.headers = { ...init.headers, 'Content-Type': 'application/json' };
  } else if (options.form) {
    init.body = new URLSearchParams(search(options.form));
  }
  let response: Response;
  let text: string;
  try {
    response = await fetch(prefix + path + search(options.params ?? {}), init);
    text = await response.text();
  } catch (error) {
    if (options.signal?.aborted) throw new ApiError('aborted', 'cancelled');
    if (timeout.aborted) throw new ApiError('timeout', 'no answer in time');
    connection.lost();
    throw new ApiError('network', error instanceof Error ? error.message : String(error));
  }
  if (response.status === 502 || response.status === 504) connection.lost();
  else connection.found();
  let body: unknown = text;
  if (text && (response.headers.get('content-type') ?? '').includes('json')) {
    try {
      body = JSON.parse(text);
    } catch {
      throw new ApiError('http', 'the answer is not JSON', response.status);
    }
  }
  if (!response.ok) {
    if (response.status === 401) denied.forEach((act) => act());
    throw failure(response.status, body);
  }
  return body as T;
}

function failure(status: number, body: unknown): ApiError {
  if (body && typeof body === 'object') {
    const { error, errorType, message } = body as { error?: string; errorType?: string; message?: string };
    const said = error ?? message;
    if (said) return new ApiError('api', said, status, errorType ?? '', position(said));
  }
  if (typeof body === 'string' && body && body.length < 2000) return new ApiError('http', body.replace(/^"|"\s*$/g, ''), status);
  return new ApiError('http', `HTTP ${status}`, status);
}

function position(message: string): { line: number; column: number } | undefined {
  const match = /(?:^|: )(\d+):(\d+): parse error/.exec(message);
  return match ? { line: Number(match[1]), column: Number(match[2]) } : undefined;
}

interface Envelope<T> {
  status: 'success' | 'error';
  data: T;
  warnings?: string[];
  infos?: string[];
}

export async function v1<T>(path: string, options: Options = {}): Promise<T> {
  return (await request<Envelope<T>>(`/api/v1${path}`, options)).data;
}

export function v2<T>(path: string, options: Options = {}): Promise<T> {
  return request<T>(`/api/v2${path}`, options);
}

/* Prometheus /api/v1 */

export type Labels = Record<string, string>;
export type Sample = [number, string];

export interface Target {
  discoveredLabels: Labels;
  labels: Labels;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval: string;
  scrapeTimeout: string;
  /** Ours: how the last scrape that failed went wrong; the line of the response where it did not parse. */
  failure?: { line: number | null; column: number | null; text: string; response?: string; contentType?: string; at?: string };
  /** Ours: since when it is in this state, and how many scrapes failed in a row. */
  since?: string;
  failures?: number;
}

export interface DroppedTarget {
  discoveredLabels: Labels;
  scrapePool?: string;
  /** Ours: which relabelling rule dropped it, counted from 0, and why in words. */
  rule?: number | null;
  reason?: string;
}

export interface Targets {
  activeTargets: Target[];
  droppedTargets: DroppedTarget[];
  droppedTargetCounts?: Record<string, number>;
  /** Ours: what other members scrape, where they share the targets. */
  elsewhereTargets?: { labels: Labels; scrapePool: string; scrapeUrl: string; member: string }[];
}

export interface RuleAlert {
  labels: Labels;
  annotations: Labels;
  state: 'pending' | 'firing' | 'inactive';
  activeAt: string;
  value: string;
  keepFiringSince?: string;
}

export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  labels?: Labels;
  health: 'ok' | 'err' | 'unknown';
  lastError?: string;
  evaluationTime: number;
  lastEvaluation: string;
  duration?: number;
  keepFiringFor?: number;
  annotations?: Labels;
  alerts?: RuleAlert[];
  state?: 'inactive' | 'pending' | 'firing' | 'unknown';
  /** Ours: the line in its file, and what it should be told about its last evaluation. */
  line?: number;
  notes?: string[];
}

export interface RuleGroup {
  name: string;
  file: string;
  /** Ours: the file or `zookeeper:PATH`, and the line in it. */
  origin?: string;
  line?: number;
  interval: number;
  evaluationTime: number;
  lastEvaluation: string;
  limit?: number;
  rules: Rule[];
}

export interface Series {
  metric: Labels;
  values?: Sample[];
  value?: Sample;
  histograms?: [number, NativeHistogram][];
  histogram?: [number, NativeHistogram];
}

export interface NativeHistogram {
  count: string;
  sum: string;
  buckets?: [number, string, string, string][];
}

export type QueryData =
  | { resultType: 'matrix' | 'vector'; result: Series[] }
  | { resultType: 'scalar' | 'string'; result: Sample };

export interface QueryAnswer {
  data: QueryData;
  warnings: string[];
  infos: string[];
  tookMs: number;
}

async function ask(path: string, form: Params, signal?: AbortSignal): Promise<QueryAnswer> {
  const started = performance.now();
  // Long expressions do not fit into an address; short ones stay GET, so that they may be cached and are seen in logs.
  const long = String(form['query']).length > 1500;
  const options: Options = long ? { method: 'POST', form, signal } : { params: form, signal };
  const answer = await request<Envelope<QueryData>>(`/api/v1${path}`, { ...options, timeoutMs: 130_000 });
  return { data: answer.data, warnings: answer.warnings ?? [], infos: answer.infos ?? [], tookMs: performance.now() - started };
}

export const query = (expression: string, atMs: number | undefined, signal?: AbortSignal) =>
  ask('/query', { query: expression, time: atMs === undefined ? undefined : atMs / 1000 }, signal);

export const queryRange = (expression: string, startMs: number, endMs: number, stepMs: number, signal?: AbortSignal) =>
  ask('/query_range', { query: expression, start: startMs / 1000, end: endMs / 1000, step: stepMs / 1000 }, signal);

/* Alertmanager /api/v2 */

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual?: boolean;
}

export interface Alert {
  fingerprint: string;
  labels: Labels;
  annotations: Labels;
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  generatorURL?: string;
  receivers: { name: string }[];
  status: { state: 'unprocessed' | 'active' | 'suppressed'; silencedBy: string[]; inhibitedBy: string[]; mutedBy?: string[] };
}

export interface Silence {
  id: string;
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  createdBy: string;
  comment: string;
  status: { state: 'active' | 'pending' | 'expired' };
  annotations?: Labels;
  /** Ours: only within these times (`Sat,Sun 02:00-04:00`), in this zone (UTC where none). */
  every?: string;
  timeZone?: string;
  /** Ours: it ends by itself when nothing that it covers fires any more. */
  untilResolved?: boolean;
}
