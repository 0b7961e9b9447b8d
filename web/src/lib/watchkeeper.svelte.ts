/**
 * What the dashboard needs beyond the two public APIs: `/api/watchkeeper/v1/*`, unstable. Which of it a server has, it says in
 * `GET /api/v1/features` under `watchkeeper` (`{"events": true, "notifications": true, ...}`); what is not named there is neither
 * asked for nor shown, so that the pages work on the public APIs alone.
 */
import { prefix, request, v1, type Labels, type Params, type Rule } from './api';
import { live } from './live.svelte';
import { session } from './session.svelte';

export type Feature =
  | 'events' | 'changes' | 'notifications' | 'alert_history' | 'alert_states' | 'alerts_past' | 'acknowledgements' | 'zookeeper' | 'rule_history' | 'rule_replay' | 'discovery_trace' | 'scrape_now' | 'storage' | 'queries' | 'why' | 'dashboards' | 'notification_test' | 'session';

class Features {
  has = $state.raw<ReadonlySet<string>>(new Set());
  known = $state(false);

  async load(): Promise<void> {
    try {
      const all = await v1<Record<string, Record<string, boolean>>>('/features');
      this.has = new Set(Object.entries(all['watchkeeper'] ?? {}).filter(([, on]) => on).map(([name]) => name));
    } catch {
      // An older server: the public APIs alone.
    }
    this.known = true;
    if (this.has.has('session')) session.load().catch(() => undefined);
    if (this.has.has('events')) live.start(`${prefix}/api/watchkeeper/v1/events`);
  }
}

export const features = new Features();

interface Envelope<T> {
  data: T;
}

export async function get<T>(path: string, signal?: AbortSignal, params: Params = {}): Promise<T> {
  return (await request<Envelope<T>>(`/api/watchkeeper/v1${path}`, { signal, params })).data;
}

export async function post<T>(path: string, json: unknown = {}, signal?: AbortSignal): Promise<T> {
  return (await request<Envelope<T>>(`/api/watchkeeper/v1${path}`, { method: 'POST', json, signal })).data;
}

/** When a rule would have been pending and firing; times in seconds. */
export interface Replay {
  start: number;
  end: number;
  fired: number;
  gaveUp: number;
  firingSeconds: number;
  alerts: { labels: Labels; spans: { state: 'pending' | 'firing'; start: number; end: number | null; value: string }[] }[];
}

/** Replays an alerting rule over past data. */
export async function replayRule(rule: Pick<Rule, 'name' | 'query' | 'duration' | 'keepFiringFor' | 'labels'>, interval: number, start: number, end: number, signal?: AbortSignal): Promise<Replay> {
  const form = { expr: rule.query, alert: rule.name, for: rule.duration ?? 0, keep_firing_for: rule.keepFiringFor ?? 0, labels: JSON.stringify(rule.labels ?? {}), interval, start, end };
  return (await request<Envelope<Replay>>('/api/watchkeeper/v1/rules/replay', { method: 'POST', form, signal, timeoutMs: 150_000 })).data;
}

/** One line of "What changed". */
export interface Change {
  at: string;
  kind: 'target' | 'alert' | 'silence' | 'rule' | 'notification' | 'config' | 'zookeeper' | 'server';
  text: string;
  /** A path of ours. */
  link?: string;
  by?: string;
}

export interface Notification {
  id: string;
  at: string;
  state: 'sent' | 'partly' | 'queued' | 'retrying' | 'failed' | 'not_sent' | 'outbox';
  receiver: string;
  integration: string;
  to: string;
  subject: string;
  attempts: number;
  /** The other side's own words, or why it was not sent. */
  reason: string;
  alerts: { fingerprint: string; labels: Labels; status: string }[];
  groupLabels?: Labels;
  nextAttempt?: string;
  messageId?: string;
  hasHtml?: boolean;
  /** Why it was due, or why nobody was told. */
  why?: string;
  attemptLog?: { at: string; outcome: string }[];
  recipients?: { address: string; code: number; message: string }[];
  warnings?: string[];
}

export interface Notifications {
  entries: Notification[];
  /** A mail server is configured. */
  mailServer: boolean;
  /** Why the newest notification settings were refused. */
  configurationError?: string;
  /** This member tells people; another one does otherwise. */
  maySend?: boolean;
  outboxWaiting: number;
  /** Who can be told. */
  receivers?: string[];
}

/** A change of an alert's state. */
export interface AlertStateChange {
  at: string;
  state: 'pending' | 'firing' | 'inactive';
  value?: number | string | null;
}

/** One time an alert fired. */
export interface PastAlert {
  fingerprint: string;
  labels: Labels;
  from: string;
  /** `null`: it fires still. */
  to: string | null;
  value: string | number | null;
}

export type Verdict = 'told' | 'waiting' | 'sending' | 'quiet' | 'failed' | 'nothing';

/** One place on the way of an alert. */
export interface WhyStep {
  place: string;
  passes: boolean;
  text: string;
}

export interface Why {
  known: boolean;
  fires: boolean;
  before: WhyStep[];
  ways: { route: string; receiver: string; verdict: Verdict; text: string; steps: WhyStep[] }[];
}

export interface AlertHistory {
  spans: { state: 'pending' | 'firing' | 'inactive'; from: string; to?: string; value?: string }[];
  events: Change[];
  route?: { path: string[]; receiver: string; nextRepeat?: string };
  acknowledged?: { by: string; at: string; comment: string };
}

export interface Member {
  id: string;
  address: string;
  url?: string;
  role: string;
  version?: string;
  started?: string | number;
  /** Up to which transaction its rules and its configuration go. */
  rules?: { mzxid: number; refused: number };
  config?: { mzxid: number };
  sharesScrapes?: boolean;
}

export interface ZooKeeperView {
  configured: boolean;
  connected: boolean;
  since?: string;
  lastError?: string;
  expirations?: number;
  servers: string[];
  root: string;
  sessionId?: string;
  role?: string;
  roleWhy?: string;
  roleSince?: string;
  leader?: string | null;
  members: Member[];
  znodes?: number;
  bytes?: number;
  trees?: { name: string; znodes: number; bytes: number }[];
  rules: { name: string; version: number; modified: string; refused?: string | null; rules?: number }[];
}

export interface StateSpan {
  labels: Labels;
  state: string;
  from: string;
  to?: string;
}

export const changes = (signal?: AbortSignal) => get<Change[]>('/changes', signal, { hours: 24 });
export const notifications = (signal?: AbortSignal) => get<Notifications>('/notifications', signal);
export const notification = (id: string, signal?: AbortSignal) => get<Notification>(`/notifications/${encodeURIComponent(id)}`, signal);
export const notificationRaw = (id: string) => `${prefix}/api/watchkeeper/v1/notifications/${encodeURIComponent(id)}/raw`;
export const notificationHtml = (id: string) => `${prefix}/api/watchkeeper/v1/notifications/${encodeURIComponent(id)}/html`;
export const retryNotification = (id: string) => post(`/notifications/${encodeURIComponent(id)}/retry`);
export const testReceiver = (receiver: string) => post<{ ids: string[] }>('/notifications/test', { receiver });
export const why = (fingerprint: string, signal?: AbortSignal) => get<Why>('/why', signal, { fingerprint });
export const alertHistory = (fingerprint: string, signal?: AbortSignal) => get<AlertHistory>(`/alerts/${encodeURIComponent(fingerprint)}/history`, signal);
export const alertStates = (fingerprint: string, signal?: AbortSignal) => get<AlertStateChange[]>(`/alerts/${encodeURIComponent(fingerprint)}/states`, signal, { hours: 168 });
export const pastAlerts = (hours: number, limit: number, signal?: AbortSignal) => get<PastAlert[]>('/alerts/past', signal, { hours, limit });
export const acknowledge = (fingerprint: string, by: string, comment: string) => post(`/alerts/${encodeURIComponent(fingerprint)}/acknowledge`, { by, comment });
export const zookeeper = (signal?: AbortSignal) => get<ZooKeeperView>('/zookeeper', signal);
export const scrapeNow = (pool: string, instance: string) => post('/targets/scrape', { pool, instance });
