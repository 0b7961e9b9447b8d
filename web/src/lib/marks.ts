/** What happened, as marks below a graph: changes that the server noted, alerts that fired and were over, its own restarts. */
import { queryRange, request, type Labels } from './api';
import { t } from './i18n.svelte';
import { fingerprint } from './labels';
import { linesOf } from './matrix';
import { at as path } from './router.svelte';
import type { Change } from './watchkeeper.svelte';

export interface Mark {
  /** ms */
  at: number;
  text: string;
  href?: string;
  kind?: 'fired' | 'resolved' | Change['kind'];
}

const KINDS = new Set<string>(['target', 'rule', 'config', 'zookeeper', 'server']);
const MOST = 300;
/** Two things of one go: alerts have their own series, and the server says when it started. */
const EXPRESSION = 'ALERTS{alertstate="firing"} or process_start_time_seconds{job="watchkeeper"}';

export function marksOf(lines: { labels: Labels; points: [number, number][] }[], from: number, to: number, step: number): Mark[] {
  const out: Mark[] = [];
  for (const { labels, points } of lines) {
    if (labels['__name__'] !== 'ALERTS') {
      for (const seconds of new Set(points.map(([, value]) => value))) out.push({ at: seconds * 1000, text: t('mark.restarted'), kind: 'server', href: '/status' });
      continue;
    }
    const { __name__: _, alertstate: __, ...own } = labels;
    const name = `${own['alertname'] ?? ''}${own['instance'] ? ` ${own['instance']}` : ''}`;
    const href = path('alerts', fingerprint(own));
    points.forEach(([at], index) => {
      const before = points[index - 1]?.[0];
      const after = points[index + 1]?.[0];
      // What was so at the edge of the range did not happen there.
      if ((before === undefined || at - before > 1.5 * step) && at - from > step) out.push({ at, text: t('mark.fired', { name }), href, kind: 'fired' });
      if ((after === undefined || after - at > 1.5 * step) && to - at > 2 * step) out.push({ at: at + step, text: t('mark.resolved', { name }), href, kind: 'resolved' });
    });
  }
  return out.filter((mark) => mark.at >= from && mark.at <= to);
}

export async function marksBetween(from: number, to: number, step: number, signal: AbortSignal): Promise<Mark[]> {
  const hours = Math.max(1, Math.ceil((Date.now() - from) / 3_600_000));
  const [noted, series] = await Promise.allSettled([
    request<{ data: Change[] }>('/api/watchkeeper/v1/changes', { params: { hours }, signal }),
    queryRange(EXPRESSION, from, to, step, signal),
  ]);
  const changes = noted.status === 'fulfilled' ? noted.value.data : [];
  const out: Mark[] = changes.flatMap((change) => {
    const at = Date.parse(change.at);
    if (!(at >= from && at <= to) || !(KINDS.has(change.kind) || (change.kind === 'alert' && series.status === 'rejected'))) return [];
    return [{ at, text: change.text, kind: change.kind, ...(change.link ? { href: change.link } : {}) }];
  });
  if (series.status === 'fulfilled') out.push(...marksOf(linesOf([{ answer: series.value }]), from, to, step));
  return out.sort((a, b) => a.at - b.at).slice(-MOST);
}

/** Marks that would stand closer than `least` are told as one. `at` gives the place of a moment. */
export function clusters(marks: Mark[], place: (at: number) => number, least: number): { left: number; marks: Mark[] }[] {
  const out: { left: number; marks: Mark[] }[] = [];
  for (const mark of marks) {
    const left = place(mark.at);
    const last = out.at(-1);
    if (last && left - last.left < least) last.marks.push(mark);
    else out.push({ left, marks: [mark] });
  }
  return out;
}
