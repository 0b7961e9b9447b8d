/** When a recurring silence mutes: `Sat,Sun 02:00-04:00`, `Mon:Fri 22:00-06:00`, `12:00-13:00`, in a time zone. */
import { locale } from './i18n.svelte';

export interface Every {
  /** Days of the week, 0 is Sunday; none: each day. */
  days: number[];
  /** Minutes of the day; an end beyond 1440 lies on the day after. */
  from: number;
  to: number;
}

export type Span = [from: number, to: number];

const DAYS = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
const day = (text: string): number => (text.trim().length < 3 ? -1 : DAYS.findIndex((name) => name.startsWith(text.trim().toLowerCase())));

function minutes(text: string): number | undefined {
  const match = /^(\d{1,2}):(\d\d)$/.exec(text.trim());
  const all = match ? Number(match[1]) * 60 + Number(match[2]) : NaN;
  return all <= 1440 && Number(match?.[2]) < 60 ? all : undefined;
}

/** Reads it as the server does; `undefined` where it is none. */
export function parseEvery(text: string): Every | undefined {
  const trimmed = text.trim();
  if (!trimmed) return undefined;
  const space = trimmed.lastIndexOf(' ');
  const last = trimmed.slice(space + 1);
  const timed = /^\d/.test(last);
  const [dayText, timeText] = timed ? [space < 0 ? '' : trimmed.slice(0, space), last] : [trimmed, ''];
  const days = new Set<number>();
  for (const part of dayText.split(',').filter((one) => one.trim())) {
    const [first = '', end = first] = part.split(/[:-]/);
    const [a, b] = [day(first), day(end)];
    if (a < 0 || b < 0) return undefined;
    for (let one = a; ; one = (one + 1) % 7) {
      days.add(one);
      if (one === b) break;
    }
  }
  let [from, to] = [0, 1440];
  if (timed) {
    const [start = '', end = ''] = timeText.split('-');
    const [a, b] = [minutes(start), minutes(end)];
    if (a === undefined || b === undefined || a === b) return undefined;
    [from, to] = [a, b > a ? b : b + 1440];
  }
  return { days: [...days].sort(), from, to };
}

const formats = new Map<string, Intl.DateTimeFormat>();

/** How far the zone's clock is ahead of UTC then, in milliseconds. An unknown zone is UTC. */
function offset(zone: string, at: number): number {
  let format = formats.get(zone);
  if (!format) {
    const options: Intl.DateTimeFormatOptions = { hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' };
    try {
      format = new Intl.DateTimeFormat('en-US', { ...options, timeZone: zone });
    } catch {
      format = new Intl.DateTimeFormat('en-US', { ...options, timeZone: 'UTC' });
    }
    formats.set(zone, format);
  }
  const part: Record<string, number> = {};
  for (const { type, value } of format.formatToParts(at)) part[type] = Number(value);
  const { year = 0, month = 1, day: date = 1, hour = 0, minute = 0, second = 0 } = part;
  return Date.UTC(year, month - 1, date, hour, minute, second) - Math.floor(at / 1000) * 1000;
}

/** The moment at which the zone's clock shows these minutes of the day that begins at `day` (its date as UTC). */
function moment(zone: string, day: number, minute: number): number {
  const guess = day + minute * 60_000;
  const first = guess - offset(zone, guess);
  return guess - offset(zone, first);
}

/** Its times within a span. */
export function spansOf(every: Every, zone: string, [from, to]: Span): Span[] {
  const spans: Span[] = [];
  const start = from + offset(zone || 'UTC', from);
  for (let date = Math.floor(start / 86_400_000) * 86_400_000 - 86_400_000; ; date += 86_400_000) {
    const begins = moment(zone || 'UTC', date, every.from);
    if (begins >= to) return spans;
    if (every.days.length && !every.days.includes(new Date(date).getUTCDay())) continue;
    const span: Span = [Math.max(from, begins), Math.min(to, moment(zone || 'UTC', date, every.to))];
    const before = spans[spans.length - 1];
    if (span[1] <= span[0]) continue;
    // Whole days that follow each other are one time.
    if (before && before[1] >= span[0]) before[1] = span[1];
    else spans.push(span);
  }
}

const clock = (minute: number): string => `${String(Math.floor((minute % 1440) / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

/** `Sat, Sun 02:00–04:00 UTC` in the reader's language; what cannot be read as it was written. */
export function everyWords(text: string, zone: string): string {
  const every = parseEvery(text);
  const where = zone || 'UTC';
  if (!every) return `${text} ${where}`;
  const names = new Intl.DateTimeFormat(locale(), { weekday: 'short', timeZone: 'UTC' });
  // 7 January 2024 was a Sunday.
  const name = (one: number) => names.format(Date.UTC(2024, 0, 7 + one));
  const runs: number[][] = [];
  for (const one of [...every.days.filter((d) => d > 0), ...every.days.filter((d) => d === 0)]) {
    const run = runs[runs.length - 1];
    if (run && ((run[run.length - 1] ?? -9) + 1) % 7 === one) run.push(one);
    else runs.push([one]);
  }
  const days = runs.map((run) => (run.length > 2 ? `${name(run[0] ?? 0)}–${name(run[run.length - 1] ?? 0)}` : run.map(name).join(', '))).join(', ');
  const times = every.from === 0 && every.to === 1440 ? '' : `${clock(every.from)}–${every.to === 1440 ? '24:00' : clock(every.to)}`;
  return [days, times, where].filter(Boolean).join(' ');
}
