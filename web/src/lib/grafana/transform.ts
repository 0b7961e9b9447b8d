/** Grafana's transformations of tables, those that dashboards use most. Each takes tables and gives tables. */
import { CALC_NAMES, reduce, regexOf, type Point } from './fields';
import type { Cell, Column, Frame } from './frames';
import { isObject, list, number, object, text, texts, type Json } from './json';
import type { Transformation } from './model';

const length = (frame: Frame): number => frame.columns[0]?.values.length ?? 0;
const pick = (frame: Frame, rows: number[]): Frame => ({ ...frame, columns: frame.columns.map((one) => ({ ...one, values: rows.map((row) => one.values[row] ?? null) })) });
const rowsOf = (frame: Frame): number[] => Array.from({ length: length(frame) }, (_, row) => row);
const is = (column: Column, name: string): boolean => column.name === name || column.own === name;
const keyOf = (cells: Cell[]): string => JSON.stringify(cells);

/** One table: rows that agree in all columns which every table has become one row. */
function merge(frames: Frame[]): Frame[] {
  const first = frames[0];
  if (!first || frames.length < 2) return frames;
  const shared = first.columns.map((one) => one.name).filter((name) => frames.every((frame) => frame.columns.some((one) => one.name === name)));
  const valueLike = (name: string) => frames.some((frame) => frame.columns.some((one) => one.name === name && one.type === 'number'));
  const keys = shared.filter((name) => !valueLike(name));
  const names = [...new Set(frames.flatMap((frame) => frame.columns.map((one) => one.name)))];
  const rows: Record<string, Cell>[] = [];
  const places = new Map<string, Record<string, Cell>[]>();
  for (const frame of frames) {
    for (const row of rowsOf(frame)) {
      const cells = Object.fromEntries(frame.columns.map((one) => [one.name, one.values[row] ?? null]));
      const key = keyOf(keys.map((name) => cells[name] ?? null));
      const there = places.get(key) ?? [];
      const free = there.find((one) => Object.keys(cells).every((name) => keys.includes(name) || one[name] === undefined));
      if (free) Object.assign(free, cells);
      else {
        rows.push(cells);
        places.set(key, [...there, cells]);
      }
    }
  }
  return [{ refId: first.refId, name: first.name, columns: names.map((name) => ({ ...(frames.flatMap((frame) => frame.columns).find((one) => one.name === name) as Column), values: rows.map((row) => row[name] ?? null) })) }];
}

function join(frames: Frame[], options: Json): Frame[] {
  const first = frames[0];
  if (!first) return frames;
  const wanted = text(options['byField']);
  const inner = options['mode'] === 'inner';
  const keyed = frames.map((frame) => ({ frame, by: wanted ? frame.columns.find((one) => is(one, wanted)) : frame.columns.find((one) => one.type === 'time') })).filter((one): one is { frame: Frame; by: Column } => one.by !== undefined);
  if (!keyed.length) return frames;
  const by = keyed[0]?.by as Column;
  const order: Cell[] = [];
  const known = new Map<Cell, number>();
  for (const { by: column } of keyed) {
    for (const value of column.values) {
      if (known.has(value)) continue;
      known.set(value, order.length);
      order.push(value);
    }
  }
  const columns: Column[] = [{ ...by, values: order }];
  const used = new Map<string, number>();
  const names = keyed.flatMap(({ frame, by: own }) => frame.columns.filter((one) => one !== own).map((one) => one.name));
  for (const { frame, by: own } of keyed) {
    const at = new Map(own.values.map((value, row) => [value, row]));
    for (const one of frame.columns) {
      if (one === own) continue;
      const count = (used.get(one.name) ?? 0) + 1;
      used.set(one.name, count);
      const many = names.filter((name) => name === one.name).length > 1;
      columns.push({ ...one, name: many ? `${one.name} ${count}` : one.name, values: order.map((value) => (at.has(value) ? (one.values[at.get(value) ?? -1] ?? null) : null)) });
    }
  }
  const joined: Frame = { refId: first.refId, name: first.name, columns };
  if (!inner) return sortBy([joined], { sort: by.type === 'time' ? [{ field: by.name }] : [] });
  return [pick(joined, rowsOf(joined).filter((row) => keyed.every(({ by: own }) => own.values.includes(order[row] ?? null))))];
}

function organize(frames: Frame[], options: Json): Frame[] {
  const without = object(options['excludeByName']);
  const only = object(options['includeByName']);
  const index = object(options['indexByName']);
  const rename = object(options['renameByName']);
  const some = Object.values(only).some((one) => one === true);
  return frames.map((frame) => ({
    ...frame,
    columns: frame.columns
      .filter((one) => without[one.name] !== true && (!some || only[one.name] === true))
      .map((one, place) => ({ one, place: number(index[one.name]) ?? 1000 + place }))
      .sort((a, b) => a.place - b.place)
      .map(({ one }) => (text(rename[one.name]) ? { ...one, name: text(rename[one.name]) } : one)),
  }));
}

function filterNames(frames: Frame[], options: Json): Frame[] {
  const fits = (rule: unknown, name: string): boolean => {
    const { names, pattern } = object(rule);
    const regex = text(pattern) ? regexOf(text(pattern), false) : undefined;
    return texts(names).includes(name) || !!regex?.test(name);
  };
  return frames.map((frame) => ({ ...frame, columns: frame.columns.filter((one) => (isObject(options['include']) ? fits(options['include'], one.name) : true) && !(isObject(options['exclude']) && fits(options['exclude'], one.name))) })).filter((frame) => frame.columns.length);
}

function points(frame: Frame, column: Column): Point[] {
  const time = frame.columns.find((one) => one.type === 'time');
  return column.values.flatMap((value, row): Point[] => (typeof value === 'number' ? [[Number(time?.values[row] ?? row), value]] : []));
}

function reduceAll(frames: Frame[], options: Json): Frame[] {
  const calcs = texts(options['reducers']).length ? texts(options['reducers']) : ['lastNotNull'];
  if (options['mode'] === 'reduceFields') {
    return frames.map((frame) => ({ ...frame, columns: frame.columns.filter((one) => one.type === 'number').flatMap((one) => calcs.map((calc) => ({ ...one, name: calcs.length > 1 ? `${one.name} ${CALC_NAMES[calc] ?? calc}` : one.name, values: [reduce(points(frame, one), calc) ?? null] }))) }));
  }
  const rows = frames.flatMap((frame) => frame.columns.filter((one) => one.type === 'number').map((one) => ({ frame, one })));
  const made = (name: string, type: Column['type'], values: Cell[]): Column => ({ name, own: name, refId: '', type, values });
  return [{ refId: '', name: '', columns: [made('Field', 'string', rows.map(({ one, frame }) => (one.name === 'Value' ? frame.name : one.name))), ...calcs.map((calc) => made(CALC_NAMES[calc] ?? calc, calc === 'lastTime' ? 'time' : 'number', rows.map(({ frame, one }) => reduce(points(frame, one), calc) ?? null)))] }];
}

function renameByRegex(frames: Frame[], options: Json): Frame[] {
  const regex = regexOf(text(options['regex']), false);
  if (!regex) return frames;
  return frames.map((frame) => ({ ...frame, columns: frame.columns.map((one) => ({ ...one, name: one.name.replace(regex, text(options['renamePattern'])) })) }));
}

const compare = (a: Cell, b: Cell): number => (a === b ? 0 : a === null ? 1 : b === null ? -1 : typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b), 'en', { numeric: true }));

/** Rows in the order of a column; what has no value goes to the end. */
export function sortRows(frame: Frame, name: string, descending: boolean): Frame {
  const column = frame.columns.find((one) => is(one, name));
  if (!column) return frame;
  const value = (row: number): Cell => column.values[row] ?? null;
  return pick(frame, rowsOf(frame).sort((a, b) => (value(a) === null || value(b) === null ? compare(value(a), value(b)) : descending ? compare(value(b), value(a)) : compare(value(a), value(b)))));
}

function sortBy(frames: Frame[], options: Json): Frame[] {
  const { field, desc } = object(list(options['sort'])[0]);
  return text(field) ? frames.map((frame) => sortRows(frame, text(field), desc === true)) : frames;
}

function groupBy(frames: Frame[], options: Json): Frame[] {
  const fields = object(options['fields']);
  return frames.map((frame) => {
    const by = frame.columns.filter((one) => object(fields[one.name])['operation'] === 'groupby');
    if (!by.length) return frame;
    const groups = new Map<string, number[]>();
    for (const row of rowsOf(frame)) {
      const key = keyOf(by.map((one) => one.values[row] ?? null));
      groups.set(key, [...(groups.get(key) ?? []), row]);
    }
    const rows = [...groups.values()];
    const columns = by.map((one) => ({ ...one, values: rows.map(([row = 0]) => one.values[row] ?? null) }));
    for (const one of frame.columns) {
      if (object(fields[one.name])['operation'] !== 'aggregate') continue;
      for (const calc of texts(object(fields[one.name])['aggregations'])) {
        const first = (at: number[]) => one.values[(calc.startsWith('last') ? at.at(-1) : at[0]) ?? 0] ?? null;
        columns.push({ ...one, name: `${one.name} (${calc})`, values: rows.map((at) => (one.type === 'string' ? (calc === 'count' ? at.length : first(at)) : (reduce(at.flatMap((row): Point[] => (typeof one.values[row] === 'number' ? [[row, Number(one.values[row])]] : [])), calc) ?? null))), type: calc === 'count' ? 'number' : one.type });
      }
    }
    return { ...frame, columns };
  });
}

function filterByValue(frames: Frame[], options: Json): Frame[] {
  const rules = list(options['filters']).map(object);
  const every = options['match'] === 'all';
  const out = options['type'] === 'exclude';
  return frames.map((frame) => {
    const tests = rules.flatMap((rule) => {
      const column = frame.columns.find((one) => is(one, text(rule['fieldName'])));
      const { id, options: given } = object(rule['config']);
      const limit = object(given)['value'];
      if (!column) return [];
      return [(row: number): boolean => {
        const value = column.values[row] ?? null;
        const [own, other] = [Number(value), number(limit) ?? NaN];
        switch (text(id)) {
          case 'isNull': return value === null;
          case 'isNotNull': return value !== null;
          case 'greater': return value !== null && own > other;
          case 'greaterOrEqual': return value !== null && own >= other;
          case 'lower': return value !== null && own < other;
          case 'lowerOrEqual': return value !== null && own <= other;
          case 'equal': return String(value) === text(limit);
          case 'notEqual': return String(value) !== text(limit);
          case 'regex': return !!regexOf(text(limit), false)?.test(String(value));
          case 'between': return own >= (number(object(given)['from']) ?? -Infinity) && own <= (number(object(given)['to']) ?? Infinity);
          default: return true;
        }
      }];
    });
    if (!tests.length) return frame;
    return pick(frame, rowsOf(frame).filter((row) => (every ? tests.every((test) => test(row)) : tests.some((test) => test(row))) !== out));
  });
}

/** All series under each other: time, name, value. */
function toRows(frames: Frame[]): Frame[] {
  const rows = frames.flatMap((frame) => frame.columns.filter((one) => one.type === 'number').flatMap((one) => one.values.map((value, row) => ({ at: frame.columns.find((time) => time.type === 'time')?.values[row] ?? null, name: one.name === 'Value' ? frame.name : one.name, value }))));
  const made = (name: string, type: Column['type'], values: Cell[]): Column => ({ name, own: name, refId: '', type, values });
  return [{ refId: '', name: '', columns: [made('Time', 'time', rows.map((row) => row.at)), made('Metric', 'string', rows.map((row) => row.name)), made('Value', 'number', rows.map((row) => row.value))] }];
}

const KNOWN: Record<string, (frames: Frame[], options: Json) => Frame[]> = {
  merge, organize, filterFieldsByName: filterNames, reduce: reduceAll, renameByRegex, sortBy, groupBy, filterByValue, seriesToRows: toRows, joinByField: join, seriesToColumns: join,
  limit: (frames, options) => frames.map((frame) => pick(frame, rowsOf(frame).slice(0, number(options['limitField']) ?? 10))),
  filterByRefId: (frames, options) => frames.filter((frame) => !!regexOf(text(options['include']), true)?.test(frame.refId)),
};

/** Applies what is known, and names what is not. */
export function transform(frames: Frame[], steps: Transformation[]): { frames: Frame[]; unknown: string[] } {
  let now = frames;
  const unknown: string[] = [];
  for (const { id, options } of steps) {
    const known = Object.hasOwn(KNOWN, id) ? KNOWN[id] : undefined;
    if (known) now = known(now, options);
    else if (id) unknown.push(id);
  }
  return { frames: now, unknown };
}
