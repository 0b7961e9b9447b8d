/**
 * Reading JSON that anybody may have written. Whatever stands in it, reading gives a usable value and, where a type is wrong, a
 * sentence about the place; nothing here throws. It must know nothing of dashboards.
 */

export type Json = Record<string, unknown>;

export const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
export const text = (value: unknown, fallback = ''): string => (typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? String(value) : fallback);
export const object = (value: unknown): Json => (isObject(value) ? value : {});
export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
export const texts = (value: unknown): string[] => (Array.isArray(value) ? value : value === undefined || value === null || value === '' ? [] : [value]).map((one) => text(one)).filter(Boolean);

/** A finite number, also from a text of digits; `undefined` for everything else. */
export function number(value: unknown): number | undefined {
  const got = typeof value === 'number' ? value : typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
  return Number.isFinite(got) ? got : undefined;
}

/** Notes each place where a type is not the expected one. */
export class Reader {
  readonly problems: string[] = [];

  constructor(readonly place = '') {}

  private wrong(name: string, expected: string): void {
    if (this.problems.length < 5) this.problems.push(`${this.place}${name}: ${expected}`);
  }

  list(of: Json, name: string): unknown[] {
    const value = of[name];
    if (value !== undefined && value !== null && !Array.isArray(value)) this.wrong(name, 'a list is expected');
    return list(value);
  }

  object(of: Json, name: string): Json {
    const value = of[name];
    if (value !== undefined && value !== null && !isObject(value)) this.wrong(name, 'an object is expected');
    return object(value);
  }

  text(of: Json, name: string, fallback = ''): string {
    const value = of[name];
    if (value !== undefined && value !== null && typeof value === 'object') this.wrong(name, 'a text is expected');
    return text(value, fallback);
  }
}

export interface Place {
  line: number;
  column: number;
}

/**
 * Where a text stops being JSON, counted from 1; `undefined` where it is JSON. The browsers' own messages name the place only
 * sometimes. Without recursion, so that a deep text is no problem.
 */
export function whereNotJson(source: string): Place | undefined {
  const space = /[ \t\r\n]*/y;
  const scalar = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
  const open: string[] = [];
  let at = 0;
  const skip = () => {
    space.lastIndex = at;
    space.test(source);
    at = space.lastIndex;
  };
  const take = (): boolean => {
    scalar.lastIndex = at;
    if (!scalar.test(source)) return false;
    at = scalar.lastIndex;
    return true;
  };
  const key = (): boolean => {
    skip();
    if (source[at] !== '"' || !take()) return false;
    skip();
    if (source[at] !== ':') return false;
    at += 1;
    return true;
  };
  const fail = (): Place => {
    const before = source.slice(0, at);
    return { line: before.split('\n').length, column: at - before.lastIndexOf('\n') };
  };
  for (;;) {
    skip();
    const sign = source[at] ?? '';
    if (sign === '{' || sign === '[') {
      at += 1;
      skip();
      const end = sign === '{' ? '}' : ']';
      if (source[at] === end) at += 1;
      else {
        open.push(end);
        if (end === '}' && !key()) return fail();
        continue;
      }
    } else if (!take()) return fail();
    for (;;) {
      skip();
      const end = open.at(-1);
      if (end === undefined) return at < source.length ? fail() : undefined;
      if (source[at] === end) {
        at += 1;
        open.pop();
        continue;
      }
      if (source[at] !== ',') return fail();
      at += 1;
      if (end === '}' && !key()) return fail();
      break;
    }
  }
}
