/** What a silence does and did, and how that is said. */
import { query, v2, type Alert, type Labels, type Matcher, type Silence } from './api';
import { dateTimeZone, duration, quote, when } from './format';
import { t } from './i18n.svelte';
import { matches } from './labels';
import { everyWords, parseEvery, spansOf, type Span } from './recurrence';

export const SOON_MS = 30 * 60_000;
export const UNTIL_RESOLVED_MS = 30 * 86_400_000;

/** When it mutes, within a span. */
export function mutes(silence: Silence, [from, to]: Span): Span[] {
  const span: Span = [Math.max(from, Date.parse(silence.startsAt)), Math.min(to, Date.parse(silence.endsAt))];
  if (span[1] <= span[0]) return [];
  const every = silence.every ? parseEvery(silence.every) : undefined;
  return every ? spansOf(every, silence.timeZone ?? '', span) : [span];
}

export const mutesNow = (silence: Silence, now: number): boolean => silence.status.state === 'active' && mutes(silence, [now, now + 1]).length > 0;

/** The alerts that it covers: those that the notifier says so of, and for one that does not mute now those that fit. */
export function covered(silence: Silence, alerts: Alert[]): Alert[] {
  return alerts.filter((alert) => alert.status.silencedBy.includes(silence.id) || silence.matchers.every((matcher) => matches(matcher, alert.labels)));
}

/** It ends within half an hour, and what it keeps quiet still fires. */
export function endsSoon(silence: Silence, alerts: Alert[], now: number): boolean {
  const left = Date.parse(silence.endsAt) - now;
  return silence.status.state === 'active' && left > 0 && left < SOON_MS && covered(silence, alerts).length > 0;
}

const plain = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** The firing alerts that rules made since it began, as PromQL. */
export function firedSince(matchers: Matcher[], startMs: number, now: number): string {
  const selector = matchers.map(({ name, value, isRegex, isEqual = true }) => `${plain.test(name) ? name : quote(name)}${isRegex ? (isEqual ? '=~' : '!~') : isEqual ? '=' : '!='}${quote(value)}`);
  const seconds = Math.max(60, Math.min(Math.ceil((now - startMs) / 1000), 31 * 86_400));
  return `last_over_time(ALERTS{alertstate="firing",${selector.join(',')}}[${seconds}s])`;
}

/** Which alerts it has covered since it began, as far as rules of this server made them. */
export async function coveredSince(silence: Silence, signal?: AbortSignal): Promise<Labels[]> {
  const now = Math.min(Date.now(), Date.parse(silence.endsAt));
  const { data } = await query(firedSince(silence.matchers, Date.parse(silence.startsAt), now), now, signal);
  return data.resultType === 'vector' ? data.result.map(({ metric: { __name__: _, alertstate: __, ...labels } }) => labels) : [];
}

/** `2 h left`, `until resolved, at most ...`, `starts ...`. */
export function endWords(silence: Silence, now: number): string {
  const [starts, ends] = [Date.parse(silence.startsAt), Date.parse(silence.endsAt)];
  if (silence.status.state === 'expired') return t('silence.ended', { time: when(ends, now) });
  if (silence.status.state === 'pending') return t('silence.starts', { time: when(starts, now) });
  const left = duration(Math.max(0, ends - now));
  return silence.untilResolved ? t('silence.left_resolved', { time: left }) : t('silence.left', { time: left });
}

/** The recurrence in words, or nothing. */
export const everyText = (silence: Silence): string => (silence.every ? t('silence.only', { times: everyWords(silence.every, silence.timeZone ?? '') }) : '');

export function spanWords(silence: Silence): string {
  return t(silence.untilResolved ? 'silence.span_resolved' : 'silence.span', { from: dateTimeZone(Date.parse(silence.startsAt)), to: dateTimeZone(Date.parse(silence.endsAt)) });
}

/** The same silence with another end: everything else of it stays. */
export const extend = (silence: Silence, endsAt: number) =>
  v2<{ silenceID: string }>('/silences', {
    method: 'POST',
    json: {
      id: silence.id, matchers: silence.matchers, startsAt: silence.startsAt, endsAt: new Date(endsAt).toISOString(), createdBy: silence.createdBy, comment: silence.comment,
      ...(silence.every ? { every: silence.every, timeZone: silence.timeZone ?? '' } : {}), ...(silence.untilResolved ? { untilResolved: true } : {}), confirm: true,
    },
  });
