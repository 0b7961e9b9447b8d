/** From query answers to lines, and numbers about them. */
import type { Labels, QueryAnswer, Series } from './api';
import { shortNames } from './format';
import type { Line } from '../parts/Chart.svelte';

export interface Stats {
  last: number;
  min: number;
  avg: number;
  max: number;
}

export function stats(points: [number, number][]): Stats {
  let min = Infinity;
  let max = -Infinity;
  let sum = 0;
  let count = 0;
  for (const [, value] of points) {
    if (!Number.isFinite(value)) continue;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    count += 1;
  }
  return { last: points.at(-1)?.[1] ?? NaN, min: count ? min : NaN, avg: count ? sum / count : NaN, max: count ? max : NaN };
}

/** A native histogram is drawn as its mean: one line that says something. */
function pointsOf(series: Series): [number, number][] {
  if (series.values?.length) return series.values.map(([at, text]) => [Math.round(at * 1000), Number(text.replace('Inf', 'Infinity'))]);
  return (series.histograms ?? []).map(([at, histogram]) => [Math.round(at * 1000), Number(histogram.sum) / Number(histogram.count)]);
}

export const labelKey = (labels: Labels): string => Object.keys(labels).sort().map((name) => `${name}=${labels[name]}`).join(',');

export function linesOf(answers: { answer: QueryAnswer; name?: string | undefined }[]): (Line & { labels: Labels })[] {
  const out: (Line & { labels: Labels })[] = [];
  for (const { answer, name } of answers) {
    if (answer.data.resultType !== 'matrix') continue;
    const series = answer.data.result;
    const names = shortNames(series.map((one) => one.metric));
    series.forEach((one, index) => {
      const own = names[index] ?? '';
      const called = name === undefined ? own : series.length > 1 ? `${name} ${own.replace(/^[a-z_]+="(.*)"$/, '$1')}` : name;
      out.push({ name: called, key: `${name ?? ''}${labelKey(one.metric)}`, points: pointsOf(one), labels: one.metric });
    });
  }
  return out;
}
