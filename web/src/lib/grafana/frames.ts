/** From query answers to named series and tables. */
import type { Labels, QueryAnswer, Sample, Series } from '../api';
import { seriesName, shortNames } from '../format';
import { configOf, type FieldConfig, type Point } from './fields';
import { interpolate, type Scope } from './interpolate';
import type { Panel, Target } from './model';

export interface Serie {
  refId: string;
  key: string;
  /** Its name as people see it. */
  name: string;
  labels: Labels;
  points: Point[];
  config: FieldConfig;
}

export interface Column {
  name: string;
  /** Before it was renamed. */
  own: string;
  refId: string;
  type: 'time' | 'number' | 'string';
  values: Cell[];
}

export type Cell = number | string | null;

export interface Frame {
  refId: string;
  name: string;
  columns: Column[];
}

export interface Answer {
  target: Target;
  /** With its variables filled in. */
  expr: string;
  answer: QueryAnswer;
}

/** `{{label}}` filled from the labels; `{{label}}` that is not there is nothing, as in Grafana. */
export function legendText(format: string, labels: Labels): string {
  return format.replace(/\{\{\s*(.+?)\s*\}\}/g, (_, name: string) => labels[name] ?? '');
}

const numberOf = (text: string): number => (text === '+Inf' || text === 'Inf' ? Infinity : text === '-Inf' ? -Infinity : Number(text));

function pointsOf(series: Series): Point[] {
  if (series.value) return [[Math.round(series.value[0] * 1000), numberOf(series.value[1])]];
  if (series.values?.length) return series.values.map(([at, text]) => [Math.round(at * 1000), numberOf(text)]);
  const histograms = series.histograms ?? (series.histogram ? [series.histogram] : []);
  return histograms.map(([at, one]) => [Math.round(at * 1000), Number(one.sum) / Number(one.count)]);
}

function seriesOf(answer: QueryAnswer): Series[] {
  const { data } = answer;
  return data.resultType === 'matrix' || data.resultType === 'vector' ? data.result : [{ metric: {}, value: data.result as Sample }];
}

/** Names by the legend format; without one the labels that differ (the value alone, where it is one label), or the whole name of a single series. */
function namesOf(format: string, all: Series[], expr: string): string[] {
  if (format && format !== '__auto') return all.map((one) => legendText(format, one.metric));
  const named = shortNames(all.map((one) => one.metric)).map((name) => name.replace(/^[\w.]+="((?:[^"\\])*)"$/, '$1'));
  return named.map((name) => (name === '{}' ? expr : name));
}

/** The series of all answers, with names and settings. Two of one name stay two. */
export function seriesFrom(panel: Panel, answers: Answer[], scope: Scope): Serie[] {
  const seen = new Map<string, number>();
  return answers.flatMap(({ target, expr, answer }) => {
    const all = seriesOf(answer);
    const names = namesOf(interpolate(target.legend, scope, 'text'), all, expr);
    return all.map((one, index) => {
      const own = names[index] ?? '';
      const config = configOf(panel, { name: own, own: seriesName(one.metric), refId: target.refId, type: 'number' });
      const name = config.displayName ? displayName(config.displayName, one.metric, own, scope) : own;
      const key = `${target.refId} ${seriesName(one.metric)}`;
      const count = seen.get(key) ?? 0;
      seen.set(key, count + 1);
      return { refId: target.refId, key: count ? `${key} ${count}` : key, name, labels: one.metric, points: pointsOf(one), config };
    });
  });
}

function displayName(format: string, labels: Labels, name: string, scope: Scope): string {
  const filled = format.replace(/\$\{__field\.labels\.([^}]+)\}/g, (_, label: string) => labels[label] ?? '').replace(/\$\{__(?:field|series)\.(?:name|displayName)\}|\$__field_name/g, name).replace(/\$\{__field\.labels\}/g, seriesName(labels));
  return interpolate(filled, scope, 'text');
}

const column = (name: string, type: Column['type'], refId: string, values: Cell[]): Column => ({ name, own: name, refId, type, values });

/** The tables of all answers: one for each query in the table format, one for each series otherwise. */
export function framesFrom(panel: Panel, answers: Answer[], scope: Scope): Frame[] {
  const tables = answers.filter((one) => one.target.table);
  const frames: Frame[] = tables.map(({ target, answer }) => {
    const rows = seriesOf(answer).flatMap((one) => pointsOf(one).map((point) => ({ labels: one.metric, point })));
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.labels)))].sort();
    return {
      refId: target.refId, name: target.refId,
      columns: [
        column('Time', 'time', target.refId, rows.map((row) => row.point[0])),
        ...names.map((name) => column(name, 'string', target.refId, rows.map((row) => row.labels[name] ?? null))),
        column(tables.length > 1 ? `Value #${target.refId}` : 'Value', 'number', target.refId, rows.map((row) => row.point[1])),
      ],
    };
  });
  for (const serie of seriesFrom(panel, answers.filter((one) => !one.target.table), scope)) {
    frames.push({ refId: serie.refId, name: serie.name, columns: [column('Time', 'time', serie.refId, serie.points.map(([at]) => at)), column(serie.name, 'number', serie.refId, serie.points.map(([, value]) => value))] });
  }
  return frames;
}
