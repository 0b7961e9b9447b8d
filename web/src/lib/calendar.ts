/** Days, weeks and months in the reader's zone, and what lies in them. */
import { settings } from './settings.svelte';
import type { Span } from './recurrence';

const utc = (): boolean => settings.zone === 'utc';
const at = (year: number, month: number, day: number): number => (utc() ? Date.UTC(year, month, day) : new Date(year, month, day).getTime());
const parts = (ms: number): [number, number, number, number] => {
  const date = new Date(ms);
  return utc() ? [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCDay()] : [date.getFullYear(), date.getMonth(), date.getDate(), date.getDay()];
};

export type View = 'week' | 'month';

/** The days of the week or month of a moment: the beginnings of each, and the end of the last. */
export function daysOf(view: View, ms: number): number[] {
  const [year, month, day, weekday] = parts(ms);
  if (view === 'week') return Array.from({ length: 8 }, (_, index) => at(year, month, day - ((weekday + 6) % 7) + index));
  const count = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  return Array.from({ length: count + 1 }, (_, index) => at(year, month, 1 + index));
}

/** The same view, one further. */
export function shifted(view: View, ms: number, step: number): number {
  const [year, month, day] = parts(ms);
  return view === 'week' ? at(year, month, day + 7 * step) : at(year, month + step, 1);
}

/** `2026-11-26`, for the address. */
export function dayText(ms: number): string {
  const [year, month, day] = parts(ms);
  return `${year}-${String(month + 1).padStart(2, '0')}-${String(day).padStart(2, '0')}`;
}

export function parseDay(text: string | undefined): number | undefined {
  const match = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text ?? '');
  return match ? at(Number(match[1]), Number(match[2]) - 1, Number(match[3])) : undefined;
}

/** What of the spans lies in each day. */
export function byDay(spans: Span[], days: number[]): Span[][] {
  return days.slice(0, -1).map((from, index) => {
    const to = days[index + 1] ?? from;
    return spans.filter(([a, b]) => a < to && b > from).map(([a, b]): Span => [Math.max(a, from), Math.min(b, to)]);
  });
}

/** The most spans that hold at one moment. */
export function most(spans: Span[]): number {
  const edges = spans.flatMap(([from, to]): [number, number][] => [[from, 1], [to, -1]]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  let [now, peak] = [0, 0];
  for (const [, step] of edges) peak = Math.max(peak, (now += step));
  return peak;
}
