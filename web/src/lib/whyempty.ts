/** Why a query gives nothing: no such metric, no such label value, no sample in the range, or nothing left by the expression itself. */
import { query, v1 } from './api';
import { metricNames } from './complete';
import { lex, selectors, selectorText, type TextSelector } from './lex';
import { closest } from './promql';

export type Reason =
  | { kind: 'metric'; name: string; close: string[] }
  | { kind: 'value'; label: string; value: string; close: string[]; operator: string }
  | { kind: 'together'; selector: string }
  /** Its samples lie before or behind the range; `at` is the nearest one, in ms. */
  | { kind: 'before' | 'after'; selector: string; at: number }
  | { kind: 'filtered' };

const LOOKED_AT = 4;
const WINDOW = '30d';

async function moment(expression: string, atMs: number | undefined, signal: AbortSignal): Promise<number | undefined> {
  const answer = await query(expression, atMs, signal);
  const number = answer.data.resultType === 'vector' ? Number(answer.data.result[0]?.value?.[1] ?? NaN) : NaN;
  return Number.isFinite(number) ? number * 1000 : undefined;
}

async function labelReason(selector: TextSelector, signal: AbortSignal): Promise<Reason | undefined> {
  const whole = selectorText({ metric: selector.metric, matchers: [] });
  for (const matcher of selector.matchers.slice(0, 8)) {
    if (!matcher.operator.startsWith('=') || !matcher.value || matcher.name === '__name__') continue;
    const values = await v1<string[]>(`/label/${encodeURIComponent(matcher.name)}/values`, { params: { 'match[]': whole ? [whole] : [], limit: 10_000 }, signal });
    let fits: boolean;
    try {
      fits = matcher.operator === '=' ? values.includes(matcher.value) : values.some((value) => new RegExp(`^(?:${matcher.value})$`, 'su').test(value));
    } catch {
      // Patterns of the server that are none here.
      continue;
    }
    if (!fits) return { kind: 'value', label: matcher.name, value: matcher.value, operator: matcher.operator, close: matcher.operator === '=' ? closest(matcher.value, values) : values.slice(0, 3) };
  }
  return undefined;
}

/** What is wrong with one selector, over the range `from` to `to` in ms; nothing where it has samples there. */
export async function reasonOf(selector: TextSelector, from: number, to: number, signal: AbortSignal): Promise<Reason | undefined> {
  if (selector.metric) {
    const names = await metricNames(signal);
    if (!names.includes(selector.metric)) return { kind: 'metric', name: selector.metric, close: closest(selector.metric, names) };
  }
  const wrong = await labelReason(selector, signal);
  if (wrong) return wrong;
  const text = selectorText(selector);
  if (text === undefined) return undefined;
  const before = await moment(`max(ts_of_last_over_time(${text}[${WINDOW}]))`, to, signal);
  if (before !== undefined) return before < from ? { kind: 'before', selector: text, at: before } : undefined;
  const after = await moment(`min(ts_of_first_over_time(${text}[${WINDOW}]))`, undefined, signal);
  if (after !== undefined && after > to) return { kind: 'after', selector: text, at: after };
  return { kind: 'together', selector: text };
}

export async function whyEmpty(expression: string, from: number, to: number, signal: AbortSignal): Promise<Reason[]> {
  const all = selectors(lex(expression)).slice(0, LOOKED_AT);
  const asked = await Promise.allSettled(all.map((one) => reasonOf(one, from, to, signal)));
  const found = asked.flatMap((one) => (one.status === 'fulfilled' && one.value !== undefined ? [one.value] : []));
  // What could not be found out (too much to read, for example) is not guessed.
  if (found.length || asked.some((one) => one.status === 'rejected')) return found;
  return all.length ? [{ kind: 'filtered' }] : [];
}
