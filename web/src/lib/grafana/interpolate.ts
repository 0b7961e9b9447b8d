/**
 * Variables in texts: `$name`, `${name}`, `${name:format}`, `[[name]]`. The default is how Grafana writes values into PromQL: a
 * variable of several values becomes a regular expression. Names that nobody knows stay as they are.
 */
import { printDuration } from '../time.svelte';

export interface VariableValue {
  /** What is chosen; several where the variable allows it. */
  values: string[];
  text: string;
  /** Several values may be chosen, or all: then a value is written as a regular expression. */
  multi: boolean;
  /** Written as it is, instead of all values, where all are chosen. */
  all?: string | undefined;
}

export interface Scope {
  variables: Record<string, VariableValue>;
  /** Time: `from`, `to` and `step` in milliseconds, the scrape interval too. */
  from: number;
  to: number;
  step: number;
  scrape: number;
}

/** A value in a PromQL regular expression, itself within a PromQL string: each backslash is there twice. */
const escapeRegex = (value: string): string => value.replace(/\\/g, '\\\\\\\\').replace(/[$^*{}[\]'+?.()|]/g, '\\\\$&');
const escapeText = (value: string): string => value.replace(/\\/g, '\\\\');
const plainRegex = (value: string): string => value.replace(/[\\^$*+?.()|[\]{}/]/g, '\\$&');

function group(values: string[]): string {
  return values.length === 1 ? (values[0] ?? '') : `(${values.join('|')})`;
}

/** One variable's value in a format. An unknown format gives the values with commas, as Grafana's `glob` does. */
export function formatted(name: string, value: VariableValue, format: string): string {
  const { values } = value;
  if (value.all !== undefined && format !== 'text' && format !== 'queryparam') return value.all;
  switch (format) {
    case '':
      return value.multi ? group(values.map(escapeRegex)) : escapeText(values[0] ?? '');
    case 'raw':
    case 'csv':
      return values.join(',');
    case 'regex':
      return group(values.map(plainRegex));
    case 'pipe':
      return values.join('|');
    case 'doublequote':
      return values.map((one) => `"${one.replace(/"/g, '\\"')}"`).join(',');
    case 'singlequote':
      return values.map((one) => `'${one.replace(/'/g, "\\'")}'`).join(',');
    case 'json':
      return JSON.stringify(value.multi ? values : (values[0] ?? ''));
    case 'queryparam':
      return values.map((one) => `var-${encodeURIComponent(name)}=${encodeURIComponent(one)}`).join('&');
    case 'percentencode':
      return encodeURIComponent(values.length > 1 ? `{${values.join(',')}}` : (values[0] ?? ''));
    case 'distributed':
      return values.map((one, index) => (index ? `${name}=${one}` : one)).join(',');
    case 'text':
      return value.text;
    default:
      return values.length > 1 ? `{${values.join(',')}}` : (values[0] ?? '');
  }
}

function date(ms: number, format: string): string {
  const iso = new Date(ms).toISOString();
  return format === 'date:seconds' ? String(Math.floor(ms / 1000)) : /^date(:iso)?$/.test(format) ? iso : format.startsWith('date:') ? iso.slice(0, 10) : String(Math.floor(ms));
}

/** At least four scrapes, so that `rate()` sees two of them whatever the step. */
export const rateInterval = (step: number, scrape: number): number => Math.max(step + scrape, 4 * scrape);

function builtIn(name: string, format: string, scope: Scope): string | undefined {
  const span = Math.max(0, scope.to - scope.from);
  switch (name) {
    case '__interval':
      return printDuration(scope.step);
    case '__interval_ms':
      return String(scope.step);
    case '__rate_interval':
      return printDuration(rateInterval(scope.step, scope.scrape));
    case '__rate_interval_ms':
      return String(rateInterval(scope.step, scope.scrape));
    case '__range':
      return `${Math.round(span / 1000)}s`;
    case '__range_s':
      return String(Math.round(span / 1000));
    case '__range_ms':
      return String(Math.round(span));
    case '__from':
      return date(scope.from, format);
    case '__to':
      return date(scope.to, format);
    case '__all':
      return '.*';
    case 'timeFilter':
    case '__timeFilter':
      return '';
    default:
      return undefined;
  }
}

const NAME = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.[^:^}]+)?(?::([^}]+))?\}/g;

/** Fills all variables in. `how` is the format where the text itself names none. */
export function interpolate(source: string, scope: Scope, how = ''): string {
  if (!source.includes('$') && !source.includes('[[')) return source;
  return source.replace(NAME, (whole: string, plain?: string, square?: string, squareFormat?: string, curly?: string, curlyFormat?: string) => {
    const name = plain ?? square ?? curly ?? '';
    const format = squareFormat ?? curlyFormat ?? how;
    const value = Object.hasOwn(scope.variables, name) ? scope.variables[name] : undefined;
    if (value) return formatted(name, value, format);
    return builtIn(name, format, scope) ?? whole;
  });
}

/** The names a text uses. */
export function namesIn(source: string): Set<string> {
  return new Set([...source.matchAll(NAME)].map((match) => match[1] ?? match[2] ?? match[4] ?? ''));
}
