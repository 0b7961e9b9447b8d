/** The time range of the whole app, and the clock that "4 s ago" follows. */
import { router } from './router.svelte';

export const RANGES = ['5m', '15m', '1h', '6h', '24h', '2d', '7d', '30d'] as const;
const DEFAULT = '1h';
const UNITS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000, y: 31_536_000_000 };

/** Reads Prometheus's durations (`1h30m`) and plain seconds. */
export function parseDuration(text: string): number | undefined {
  const trimmed = text.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  if (!/^(\d+(ms|[smhdwy]))+$/.test(trimmed)) return undefined;
  let total = 0;
  for (const [, count, unit] of trimmed.matchAll(/(\d+)(ms|[smhdwy])/g)) total += Number(count) * (UNITS[unit ?? 's'] ?? 0);
  return total > 0 ? total : undefined;
}

export function printDuration(ms: number): string {
  if (ms <= 0) return '0s';
  let rest = Math.round(ms);
  let out = '';
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const size = UNITS[unit] ?? 1;
    const count = Math.floor(rest / size);
    if (count > 0) {
      out += `${count}${unit}`;
      rest -= count * size;
    }
  }
  return out;
}

function parseTime(text: string): number | undefined {
  if (/^\d+(\.\d+)?$/.test(text)) {
    const ms = Math.round(Number(text) * 1000);
    return ms < 8.6e15 ? ms : undefined;
  }
  const ms = Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** Whether a text is a range: a duration of at least a second, and not of more than a century. */
export function isRange(text: string): boolean {
  const ms = parseDuration(text);
  return ms !== undefined && ms >= 1000 && ms <= 3.2e12;
}

/** Whether a text is a moment. */
export function isTime(text: string): boolean {
  return parseTime(text) !== undefined;
}

class Clock {
  now = $state(Date.now());

  constructor() {
    setInterval(() => {
      if (!document.hidden) this.now = Date.now();
    }, 1000);
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden) this.now = Date.now();
    });
  }
}

export const clock = new Clock();

class Range {
  /** As the address says, if that is a range: an address may say anything. */
  text = $derived(isRange(router.query.get('range') ?? '') ? (router.query.get('range') ?? DEFAULT) : DEFAULT);
  ms = $derived(parseDuration(this.text) ?? 3_600_000);
  /** The fixed end, or `undefined` for now. */
  end = $derived(parseTime(router.query.get('end') ?? ''));

  set(text: string, end: number | undefined = this.end): void {
    router.set({ range: text === DEFAULT && end === undefined ? undefined : text, end: end === undefined ? undefined : new Date(end).toISOString() }, 'push');
  }

  fromTo(from: number, to: number): void {
    this.set(printDuration(Math.max(1000, Math.round((to - from) / 1000) * 1000)), to);
  }

  shift(direction: -1 | 1): void {
    const end = (this.end ?? Date.now()) + (direction * this.ms) / 2;
    this.set(this.text, end >= Date.now() ? undefined : end);
  }

  zoom(direction: -1 | 1): void {
    const index = RANGES.findIndex((range) => (parseDuration(range) ?? 0) >= this.ms);
    const next = RANGES[Math.max(0, Math.min(RANGES.length - 1, (index < 0 ? RANGES.length : index) + direction))];
    if (next) this.set(next);
  }
}

export const range = new Range();

/** How new the newest sample may be and not be seen: a sample is looked for five minutes back. */
const EDGE_MS = 300_000;

/** Where a graph that goes on until now ends: at the step's boundary, so that it is asked once a step; with a long step no further back than what the last step still sees. */
export function edge(nowMs: number, stepMs: number): number {
  const grain = Math.min(stepMs, EDGE_MS);
  return Math.floor(nowMs / grain) * grain;
}

const STEPS = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400].map((seconds) => seconds * 1000);

/** A round step that gives `width` pixels about one sample for each two of them, and none shorter than a scrape. */
export function stepFor(rangeMs: number, scrapeMs: number, points = 600): number {
  const least = Math.max(scrapeMs, rangeMs / points);
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / 86_400_000) * 86_400_000;
}
