/** Moments as people say them. */
import { clockTime, duration, shortDate, when, zone } from './format';
import { locale, t } from './i18n.svelte';
import type { PastAlert } from './watchkeeper.svelte';

/** 3 d ago. */
export const ago = (ms: number, nowMs: number): string => t('ago', { time: duration(Math.max(0, nowMs - ms)) });

/** The server tells times in UTC within its sentences: the reader's clock instead, as on the rest of the page. */
export const localTimes = (text: string): string =>
  text.replace(/\b(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d+)?)(?: UTC|Z)/g, (whole, date: string, time: string) => {
    const at = Date.parse(`${date}T${time}Z`);
    return Number.isNaN(at) ? whole : when(at);
  });

/** "11:40" today, "yesterday", "Tuesday" within the week, "3 Nov" before. */
export function day(ms: number, nowMs: number): string {
  const timeZone = zone();
  const options = timeZone ? { timeZone } : {};
  const date = (at: number) => new Intl.DateTimeFormat('en-CA', options).format(at);
  if (date(ms) === date(nowMs)) return clockTime(ms);
  if (date(ms) === date(nowMs - 86_400_000)) return t('format.yesterday');
  if (nowMs - ms < 6 * 86_400_000) return new Intl.DateTimeFormat(locale(), { weekday: 'long', ...options }).format(ms);
  return shortDate(ms);
}

/** "Last alert: DiskFull on web1, 3 d ago, for 20 min." */
export function lastAlert({ labels, from, to }: PastAlert, nowMs: number): string {
  const end = to ? Date.parse(to) : nowMs;
  const { alertname: name = '', instance: host = '' } = labels;
  return t(host ? 'alerts.last_on' : 'alerts.last', { name, host, ago: ago(end, nowMs), time: duration(end - Date.parse(from)) });
}
