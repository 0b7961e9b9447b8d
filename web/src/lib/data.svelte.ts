/** The answers many pages share. Each is one resource under one key, however many look at it. */
import { v1, v2, type Alert, type Labels, type Rule, type RuleAlert, type RuleGroup, type Silence, type Target, type Targets } from './api';
import { fingerprint } from './labels';
import { live } from './live.svelte';
import { resource, type Resource } from './resource.svelte';
import { parseDuration } from './time.svelte';
import { features, notifications, pastAlerts, type Notifications, type PastAlert } from './watchkeeper.svelte';

export function targets(): Resource<Targets> {
  return resource(
    () => 'targets',
    async (signal) => {
      const all = await v1<Targets>('/targets', { params: { state: 'active' }, signal });
      const intervals = all.activeTargets.map((target) => parseDuration(target.scrapeInterval) ?? 15_000);
      const shortest = Math.min(...intervals);
      live.slowestMs = Math.max(15_000, Math.min(Math.max(0, ...intervals), 300_000));
      live.scrapeMs = Number.isFinite(shortest) ? Math.max(2000, Math.min(shortest, 60_000)) : 15_000;
      return all;
    },
    { topics: ['target', 'config'], every: 'live' },
  );
}

export function rules(): Resource<{ groups: RuleGroup[] }> {
  return resource(() => 'rules', (signal) => v1<{ groups: RuleGroup[] }>('/rules', { signal }), { topics: ['rule', 'alert', 'config', 'zookeeper'], every: 'live' });
}

export function silences(): Resource<Silence[]> {
  return resource(() => 'silences', (signal) => v2<Silence[]>('/silences', { signal }), { topics: ['silence'], every: 'live' });
}

export function notificationList(): Resource<Notifications> {
  return resource(() => (features.has.has('notifications') ? 'notifications' : undefined), notifications, { topics: ['notification', 'alert'], every: 'live' });
}

export type AlertState = 'firing' | 'pending' | 'silenced' | 'inhibited';

/** An alert as the pages show it: the notifier's view, joined with the rules' (value, pending ones). */
export interface ShownAlert {
  fingerprint: string;
  name: string;
  severity: string;
  state: AlertState;
  labels: Labels;
  annotations: Labels;
  startsAt: number;
  value?: string | undefined;
  silencedBy: string[];
  inhibitedBy: string[];
  receivers: string[];
  generatorURL: string;
  rule?: Rule | undefined;
}

/** Each time an alert fired within the last 90 days, the newest first: all of them, or the last few. */
export function past(limit = 20): Resource<PastAlert[]> {
  return resource(() => (features.has.has('alerts_past') ? `past ${limit}` : undefined), (signal) => pastAlerts(90 * 24, limit, signal), { topics: ['alert'], every: 300_000 });
}

const RANK: Record<string, number> = { critical: 0, page: 0, error: 1, high: 1, warning: 2, info: 4, none: 5 };
export const rank = (severity: string): number => RANK[severity] ?? 3;

export function alerts(): Resource<ShownAlert[]> {
  return resource(
    () => 'alerts',
    async (signal) => {
      // Either half is enough to show something: rules without a notifier, or a notifier that hears of alerts from outside.
      const [sent, evaluated, groups] = await Promise.allSettled([
        v2<Alert[]>('/alerts', { signal }),
        v1<{ alerts: RuleAlert[] }>('/alerts', { signal }),
        v1<{ groups: RuleGroup[] }>('/rules', { signal, params: { type: 'alert' } }),
      ]);
      if (sent.status === 'rejected' && evaluated.status === 'rejected') throw sent.reason;
      return join(
        sent.status === 'fulfilled' ? sent.value : [],
        evaluated.status === 'fulfilled' ? evaluated.value.alerts : [],
        groups.status === 'fulfilled' ? groups.value.groups : [],
      );
    },
    { topics: ['alert', 'silence', 'rule', 'notification'], every: 'live' },
  );
}

function key(labels: Labels): string {
  return Object.keys(labels).sort().map((name) => `${name}\u0000${labels[name]}`).join('\u0001');
}

/** Whether all of `small`'s labels are in `large`: the notifier's alert has the external labels too. */
function within(small: Labels, large: Labels): boolean {
  return Object.keys(small).every((name) => small[name] === large[name]);
}

export function join(sent: Alert[], evaluated: RuleAlert[], groups: RuleGroup[]): ShownAlert[] {
  const rulesByName = new Map<string, Rule[]>();
  for (const group of groups) {
    for (const rule of group.rules) {
      if (rule.type === 'alerting') rulesByName.set(rule.name, [...(rulesByName.get(rule.name) ?? []), rule]);
    }
  }
  const ruleOf = (labels: Labels): Rule | undefined => {
    const candidates = rulesByName.get(labels['alertname'] ?? '') ?? [];
    return candidates.find((rule) => rule.alerts?.some((alert) => within(alert.labels, labels))) ?? candidates[0];
  };
  const byKey = new Map(evaluated.map((alert) => [key(alert.labels), alert]));
  const byName = new Map<string, RuleAlert[]>();
  for (const alert of evaluated) {
    const name = alert.labels['alertname'] ?? '';
    byName.set(name, [...(byName.get(name) ?? []), alert]);
  }
  const used = new Set<RuleAlert>();
  const shown: ShownAlert[] = sent.map((alert) => {
    const match = byKey.get(key(alert.labels)) ?? byName.get(alert.labels['alertname'] ?? '')?.find((one) => within(one.labels, alert.labels));
    if (match) used.add(match);
    return {
      fingerprint: alert.fingerprint,
      name: alert.labels['alertname'] ?? '',
      severity: alert.labels['severity'] ?? '',
      state: alert.status.silencedBy.length ? 'silenced' : alert.status.inhibitedBy.length || alert.status.state === 'suppressed' ? 'inhibited' : 'firing',
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: Date.parse(alert.startsAt),
      value: match?.value,
      silencedBy: alert.status.silencedBy,
      inhibitedBy: alert.status.inhibitedBy,
      receivers: alert.receivers.map((receiver) => receiver.name),
      generatorURL: alert.generatorURL ?? '',
      rule: ruleOf(alert.labels),
    };
  });
  for (const alert of evaluated) {
    if (used.has(alert) || alert.state === 'inactive') continue;
    shown.push({
      fingerprint: fingerprint(alert.labels),
      name: alert.labels['alertname'] ?? '',
      severity: alert.labels['severity'] ?? '',
      state: alert.state === 'pending' ? 'pending' : 'firing',
      labels: alert.labels,
      annotations: alert.annotations,
      startsAt: Date.parse(alert.activeAt),
      value: alert.value,
      silencedBy: [],
      inhibitedBy: [],
      receivers: [],
      generatorURL: '',
      rule: ruleOf(alert.labels),
    });
  }
  const order: Record<AlertState, number> = { firing: 0, pending: 1, inhibited: 2, silenced: 3 };
  return shown.sort((a, b) => order[a.state] - order[b.state] || rank(a.severity) - rank(b.severity) || b.startsAt - a.startsAt || a.fingerprint.localeCompare(b.fingerprint));
}

export const isDown = (target: Target): boolean => target.health === 'down';
export const instanceOf = (labels: Labels): string => labels['instance'] ?? '';
