/** The columns of a chart: all lines on one grid of steps, with holes where nothing was measured, those of a stack on each other. */
import type { Line } from '../parts/Chart.svelte';

export type Cells = (number | null)[];

/** An area between two lines, counted from 1; `dir` says on which side of the first the second lies. */
export interface Band {
  series: [number, number];
  dir: 1 | -1;
}

export interface Grid {
  /** In seconds. */
  times: number[];
  /** As measured. */
  raw: Cells[];
  /** As drawn. */
  shown: Cells[];
  bands: Band[];
}

export interface GridOptions {
  from: number;
  to: number;
  step: number;
  /** All lines on each other, the first on top. */
  stacked: boolean;
  hidden: Set<string> | undefined;
}

export function gridOf(lines: Line[], { from, to, step, stacked, hidden }: GridOptions): Grid {
  const first = lines.reduce((least, line) => Math.min(least, line.points[0]?.[0] ?? Infinity), Infinity);
  const offset = Number.isFinite(first) ? ((first - from) % step + step) % step : 0;
  const times: number[] = [];
  for (let at = from + offset; at <= to; at += step) times.push(at / 1000);
  if (!times.length) times.push(from / 1000);
  const origin = (times[0] ?? 0) * 1000;
  const raw = lines.map((line) => {
    const column: Cells = new Array<number | null>(times.length).fill(null);
    for (const [at, number] of line.points) {
      const index = Math.round((at - origin) / step);
      if (index >= 0 && index < column.length) column[index] = number;
    }
    return column;
  });
  const shown = raw.map((column, row) => {
    const sign = lines[row]?.look?.negative ? -1 : 1;
    return column.map((number) => (number === null || !Number.isFinite(number) ? null : number * sign));
  });
  const bands = stackGroups(lines, shown, hidden);
  if (stacked) pile(shown, lines.map((_, row) => lines.length - 1 - row).filter((row) => !hidden?.has(lines[row]?.key ?? '')));
  return { times, raw, shown, bands };
}

/** Adds each column to those before it. A hole in one line must not tear those above it. */
function pile(shown: Cells[], rows: number[], whole?: number[]): void {
  const total = new Array<number>(shown[0]?.length ?? 0).fill(0);
  for (const row of rows) {
    const column = shown[row];
    if (!column) continue;
    for (let index = 0; index < total.length; index += 1) {
      const number = column[index];
      if (number == null) continue;
      total[index] = (total[index] ?? 0) + number / (whole?.[index] ?? 1);
      column[index] = total[index] ?? null;
    }
  }
}

/** Puts the lines of each group on each other, those below nought by themselves. The pairs of lines between which an area is filled. */
function stackGroups(lines: Line[], shown: Cells[], hidden: Set<string> | undefined): Band[] {
  const bands: Band[] = [];
  const groups = new Map<string, number[]>();
  lines.forEach((line, row) => {
    const { stack, right, negative } = line.look ?? {};
    if (!stack || hidden?.has(line.key)) return;
    const name = `${stack.group} ${stack.percent} ${right} ${negative}`;
    groups.set(name, [...(groups.get(name) ?? []), row]);
  });
  for (const rows of groups.values()) {
    const percent = lines[rows[0] ?? 0]?.look?.stack?.percent;
    pile(shown, rows, percent ? Array.from({ length: shown[0]?.length ?? 0 }, (_, index) => rows.reduce((total, row) => total + Math.abs(shown[row]?.[index] ?? 0), 0) || 1) : undefined);
    for (let place = 1; place < rows.length; place += 1) bands.push({ series: [(rows[place] ?? 0) + 1, (rows[place - 1] ?? 0) + 1], dir: lines[rows[place] ?? 0]?.look?.negative ? 1 : -1 });
  }
  return bands;
}
