/** The single values of stats, gauges and bar gauges. */
import { t, type Key } from '../i18n.svelte';
import { CALC_NAMES, configOf, reduce, regexOf, type FieldConfig, type Point } from './fields';
import { framesFrom, seriesFrom, type Column } from './frames';
import { object, text, texts } from './json';
import type { Loaded } from './load';
import type { Panel } from './model';
import { transform } from './transform';

export interface Single {
  key: string;
  name: string;
  value: number | string | null;
  points: Point[];
  config: FieldConfig;
}

/** More values than this are not drawn in one panel. */
export const MOST_SINGLES = 60;

function ofColumn(panel: Panel, column: Column, times: Column | undefined, calc: string, each: boolean, names: Column | undefined): Single[] {
  const config = configOf(panel, { name: column.name, own: column.own, refId: column.refId, type: column.type });
  const single = (value: Single['value'], name: string, points: Point[], index: number): Single => ({ key: `${column.refId} ${column.name} ${index}`, name, value, points, config });
  if (each) return column.values.map((value, row) => single(value, names ? String(names.values[row] ?? '') : column.name, [], row));
  if (column.type !== 'number') return [single(column.values.findLast((value) => value !== null) ?? null, config.displayName || column.name, [], 0)];
  const points = column.values.flatMap((value, row): Point[] => (typeof value === 'number' ? [[Number(times?.values[row] ?? row), value]] : []));
  return [single(reduce(points, calc) ?? null, config.displayName || column.name, points, 0)];
}

export function singles(panel: Panel, loaded: Loaded): { values: Single[]; unknown: string[] } {
  const options = object(panel.options['reduceOptions']);
  const calc = texts(options['calcs'])[0] ?? 'lastNotNull';
  const each = options['values'] === true;
  const fields = text(options['fields']);
  if (!panel.transformations.length && !fields && !each && !loaded.answers.some((one) => one.target.table)) {
    return { values: seriesFrom(panel, loaded.answers, loaded.scope).map((serie) => ({ key: serie.key, name: serie.name, value: reduce(serie.points, calc) ?? null, points: serie.points, config: serie.config })), unknown: [] };
  }
  const { frames, unknown } = transform(framesFrom(panel, loaded.answers, loaded.scope), panel.transformations);
  const wanted = fields ? regexOf(fields, true) : undefined;
  const values = frames.flatMap((frame) => {
    const names = frame.columns.find((one) => one.type === 'string');
    return frame.columns.filter((one) => (wanted ? wanted.test(one.name) : one.type === 'number')).flatMap((one) => ofColumn(panel, one, frame.columns.find((time) => time.type === 'time'), calc, each, names));
  });
  return { values, unknown };
}

const WORDS: Record<string, Key> = { lastNotNull: 'chart.last', last: 'chart.last', min: 'chart.min', max: 'chart.max', mean: 'chart.avg' };

/** What a reduction is called in a legend. */
export const calcName = (calc: string): string => (WORDS[calc] ? t(WORDS[calc]) : (CALC_NAMES[calc] ?? calc));

/** In how many columns each of `count` things is biggest, when it is `ratio` times as wide as high. */
export function columnsFor(count: number, width: number, height: number, ratio: number): number {
  let best = 1;
  let size = 0;
  for (let columns = 1; columns <= count; columns += 1) {
    const high = height / Math.ceil(count / columns) - (count > 1 ? 20 : 0);
    const now = Math.min(width / columns, high * ratio);
    if (now > size + 1) [best, size] = [columns, now];
  }
  return best;
}
