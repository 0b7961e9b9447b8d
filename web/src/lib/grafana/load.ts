/** What a panel asks, and when. */
import { ApiError, query, queryRange } from '../api';
import { edge, parseDuration, printDuration, stepFor } from '../time.svelte';
import type { Answer } from './frames';
import { interpolate, type Scope } from './interpolate';
import type { Panel, Target } from './model';

/** All that a panel's questions need. Two questions that are alike share one answer by `key`. */
export interface Asked {
  key: string;
  targets: { target: Target; expr: string; step: number }[];
  from: number;
  to: number;
  /** One step for all targets of a panel, since they share one axis of time. */
  step: number;
  scope: Scope;
}

export interface Loaded extends Asked {
  answers: Answer[];
  failures: { refId: string; error: ApiError }[];
}

export interface Window {
  end: number | undefined;
  now: number;
  ms: number;
  scrape: number;
  variables: Scope['variables'];
}

/** The panel's step: a round one that its width can show, no shorter than a scrape and than the panel or its targets want. */
export function stepOf(panel: Panel, ms: number, scrape: number, variables: Scope['variables']): number {
  const draft: Scope = { variables, from: 0, to: ms, step: stepFor(ms, scrape, 400), scrape };
  const least = (text: string): number => parseDuration(interpolate(text, draft).replace(/^>/, '')) ?? 0;
  const targets = panel.targets.filter((target) => !target.foreign && !target.instant);
  const own = targets.length ? Math.min(...targets.map((target) => least(target.interval))) : 0;
  const factor = targets.length ? Math.min(...targets.map((target) => target.factor)) : 1;
  const points = panel.maxPoints > 0 ? Math.max(20, Math.min(panel.maxPoints, 400)) : 400;
  const step = stepFor(ms, Math.max(scrape, own || least(panel.interval)), points);
  return Math.min(10, factor) * step;
}

/** The relative time of a panel: `timeFrom` instead of the page's range, `timeShift` back. */
function times(panel: Panel, window: Window, step: number): { from: number; to: number } {
  const ms = (window.end === undefined ? parseDuration(panel.timeFrom) : undefined) ?? window.ms;
  const shift = parseDuration(panel.timeShift) ?? 0;
  const to = edge(window.end ?? window.now, step) - shift;
  return { from: to - ms, to };
}

export function askedBy(panel: Panel, window: Window): Asked {
  const ms = (window.end === undefined ? parseDuration(panel.timeFrom) : undefined) ?? window.ms;
  const step = stepOf(panel, ms, window.scrape, window.variables);
  const { from, to } = times(panel, window, step);
  const scope: Scope = { variables: window.variables, from, to, step, scrape: window.scrape };
  const targets = panel.targets.filter((target) => !target.foreign).map((target) => ({ target, expr: interpolate(target.expr, scope), step }));
  const key = `panel ${from} ${to} ${printDuration(step)} ${targets.map((one) => `${one.target.refId} ${one.target.instant} ${one.target.table} ${one.target.legend} ${one.expr}`).join('\n')}`;
  return { key, targets, from, to, step, scope };
}

/** Asks all targets. One that fails does not hide the others; where the server is away, nothing is known. */
export async function load(asked: Asked, signal: AbortSignal): Promise<Loaded> {
  const settled = await Promise.allSettled(asked.targets.map((one) => (one.target.instant ? query(one.expr, asked.to, signal) : queryRange(one.expr, asked.from, asked.to, asked.step, signal))));
  const answers: Answer[] = [];
  const failures: Loaded['failures'] = [];
  settled.forEach((one, index) => {
    const asking = asked.targets[index];
    if (!asking) return;
    if (one.status === 'fulfilled') answers.push({ target: asking.target, expr: asking.expr, answer: one.value });
    else failures.push({ refId: asking.target.refId, error: one.reason instanceof ApiError ? one.reason : new ApiError('http', String(one.reason)) });
  });
  const away = failures.find(({ error }) => error.kind === 'aborted' || error.kind === 'network');
  if (away) throw away.error;
  return { ...asked, answers, failures };
}
