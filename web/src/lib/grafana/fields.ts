/** How a field is shown: defaults and overrides, thresholds, mappings, colours, and what is made of many values. */
import { readable, statusColor, toneOf, type ColorTone } from './colors';
import { isObject, list, number, object, text, type Json } from './json';
import type { Override, Panel } from './model';
import { unitParts, unitText, type Parts } from './units';

export interface Step {
  /** From here on; the first is minus infinity. */
  value: number;
  color: string;
}

export interface FieldConfig {
  unit: string;
  decimals: number | undefined;
  min: number | undefined;
  max: number | undefined;
  displayName: string;
  noValue: string;
  colorMode: string;
  fixedColor: string;
  steps: Step[];
  percentage: boolean;
  mappings: Json[];
  custom: Json;
}

/** What overrides are matched against. */
export interface FieldFacts {
  name: string;
  /** Its name before it was renamed. */
  own?: string;
  refId: string;
  type: 'number' | 'time' | 'string';
}

/** Reads `/re/flags`, or a plain expression that must match the whole name. `undefined` where it is none. */
export function regexOf(source: string, whole = true): RegExp | undefined {
  const slashed = /^\/([\s\S]*)\/([a-z]*)$/.exec(source);
  try {
    return slashed ? new RegExp(slashed[1] ?? '', (slashed[2] ?? '').replace(/[gy]/g, '')) : new RegExp(whole ? `^${source}$` : source);
  } catch {
    return undefined;
  }
}

function matches(override: Override, field: FieldFacts): boolean {
  const { matcher, option } = override;
  switch (matcher) {
    case 'byName':
      return text(option) === field.name || text(option) === field.own;
    case 'byNames':
      return list(object(option)['names']).includes(field.name);
    case 'byRegexp':
    case 'byRegex': {
      const regex = regexOf(text(option), false);
      return !!regex && (regex.test(field.name) || (field.own !== undefined && regex.test(field.own)));
    }
    case 'byFrameRefID':
      return text(option) === field.refId;
    case 'byType':
      return text(option) === field.type;
    default:
      return false;
  }
}

function apply(config: FieldConfig, id: string, value: unknown): void {
  switch (id) {
    case 'unit':
      config.unit = text(value);
      break;
    case 'decimals':
    case 'min':
    case 'max':
      config[id] = number(value);
      break;
    case 'displayName':
    case 'noValue':
      config[id] = text(value);
      break;
    case 'color':
      config.colorMode = text(object(value)['mode']);
      config.fixedColor = text(object(value)['fixedColor']);
      break;
    case 'thresholds':
      config.percentage = object(value)['mode'] === 'percentage';
      config.steps = list(object(value)['steps']).map(object).map((step, index) => ({ value: number(step['value']) ?? (index ? NaN : -Infinity), color: text(step['color']) })).filter((step) => !Number.isNaN(step.value)).sort((a, b) => a.value - b.value);
      break;
    case 'mappings':
      config.mappings = list(value).filter(isObject);
      break;
    case 'custom':
      config.custom = { ...config.custom, ...object(value) };
      break;
    default:
      if (id.startsWith('custom.')) config.custom = { ...config.custom, [id.slice(7)]: value };
  }
}

export function configOf(panel: Pick<Panel, 'defaults' | 'overrides'>, field: FieldFacts): FieldConfig {
  const config: FieldConfig = { unit: '', decimals: undefined, min: undefined, max: undefined, displayName: '', noValue: '', colorMode: '', fixedColor: '', steps: [], percentage: false, mappings: [], custom: {} };
  for (const [id, value] of Object.entries(panel.defaults)) apply(config, id, value);
  for (const override of panel.overrides) {
    if (!matches(override, field)) continue;
    for (const { id, value } of override.properties) apply(config, id, value);
  }
  return config;
}

/** The threshold a value lies in; percentages are of the way from min to max. */
export function stepAt(config: FieldConfig, value: number): Step | undefined {
  if (Number.isNaN(value)) return undefined;
  const { min = 0, max = 100 } = config;
  const at = config.percentage ? ((value - min) / (max - min || 1)) * 100 : value;
  return config.steps.findLast((step) => at >= step.value);
}

/** Where a threshold lies among the values. */
export const limitOf = (config: FieldConfig, step: Step): number => (config.percentage ? (config.min ?? 0) + (step.value / 100) * ((config.max ?? 100) - (config.min ?? 0)) : step.value);

interface Mapped {
  text?: string;
  color?: string;
}

function resultOf(value: unknown): Mapped {
  const said = object(value);
  return { ...(said['text'] === undefined ? {} : { text: text(said['text']) }), ...(text(said['color']) ? { color: text(said['color']) } : {}) };
}

/** What a value is called instead, by the first mapping that fits. */
export function mapped(config: FieldConfig, value: number | string | null | undefined): Mapped | undefined {
  for (const { type, options } of config.mappings) {
    const given = object(options);
    if (type === 'value') {
      const key = value === null || value === undefined ? 'null' : String(value);
      if (Object.hasOwn(given, key)) return resultOf(given[key]);
    } else if (type === 'range' && typeof value === 'number') {
      if (value >= (number(given['from']) ?? -Infinity) && value <= (number(given['to']) ?? Infinity)) return resultOf(given['result']);
    } else if (type === 'regex' && value !== null && value !== undefined) {
      const regex = regexOf(text(given['pattern']), false);
      if (!regex?.test(String(value))) continue;
      const result = resultOf(given['result']);
      return result.text === undefined ? result : { ...result, text: String(value).replace(regex, result.text) };
    } else if (type === 'special') {
      const match = text(given['match']);
      const none = value === null || value === undefined;
      const nan = typeof value === 'number' && Number.isNaN(value);
      if ((none && /null/.test(match)) || (nan && /nan/.test(match)) || (value === '' && match === 'empty') || (String(value) === match && /^(true|false)$/.test(match))) return resultOf(given['result']);
    }
  }
  return undefined;
}

export interface Shown {
  text: string;
  parts: Parts;
  /** A CSS colour, where the field has one. */
  color: string | undefined;
  /** What the colour says, where thresholds or a mapping give it. */
  tone: ColorTone | undefined;
}

/** A value in words and colour. */
export function shown(config: FieldConfig, value: number | string | null | undefined, dark: boolean): Shown {
  const said = mapped(config, value);
  const none = value === null || value === undefined;
  const plain = typeof value === 'number' ? unitParts(value, config.unit, config.decimals) : { before: '', number: none ? config.noValue || '–' : value, after: '' };
  const parts = said?.text === undefined ? plain : { before: '', number: said.text, after: '' };
  const fixed = config.colorMode === 'fixed' || config.colorMode === 'shades' ? config.fixedColor : '';
  const source = said?.color || fixed || (typeof value === 'number' ? (stepAt(config, value)?.color ?? '') : '');
  // One colour for all values says nothing about any of them.
  const many = said?.color || config.steps.length > 1;
  return { text: said?.text ?? (typeof value === 'number' ? unitText(value, config.unit, config.decimals) : parts.number), parts, color: source && source !== 'text' && source !== 'transparent' ? (fixed && !said?.color ? readable(source, dark, 4.5) : statusColor(source, dark)) : undefined, tone: source && many && !fixed ? toneOf(source) : undefined };
}

export type Point = [number, number];

/** One number of many. `undefined` where there is none. */
export function reduce(points: Point[], calc: string): number | undefined {
  const first = points[0]?.[1];
  const last = points.at(-1)?.[1];
  if (first === undefined || last === undefined) return calc === 'count' ? 0 : undefined;
  const numbers = points.map(([, value]) => value).filter(Number.isFinite);
  const sum = () => numbers.reduce((total, one) => total + one, 0);
  const mean = () => sum() / numbers.length;
  const variance = () => {
    const middle = mean();
    return numbers.reduce((total, one) => total + (one - middle) ** 2, 0) / numbers.length;
  };
  const least = () => numbers.reduce((a, b) => Math.min(a, b), Infinity);
  const most = () => numbers.reduce((a, b) => Math.max(a, b), -Infinity);
  if (calc === 'count') return points.length;
  if (calc === 'last') return last;
  if (calc === 'first') return first;
  if (calc === 'lastTime') return points.at(-1)?.[0];
  if (calc === 'distinctCount') return new Set(numbers).size;
  if (!numbers.length) return NaN;
  const percentile = /^p(\d{1,2})$/.exec(calc)?.[1];
  if (percentile !== undefined || calc === 'median') {
    const sorted = [...numbers].sort((a, b) => a - b);
    const share = calc === 'median' ? 0.5 : Number(percentile) / 100;
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  }
  switch (calc) {
    case 'firstNotNull':
      return numbers[0];
    case 'min':
      return least();
    case 'max':
      return most();
    case 'mean':
      return mean();
    case 'sum':
      return sum();
    case 'range':
      return most() - least();
    case 'diff':
      return (numbers.at(-1) ?? NaN) - (numbers[0] ?? NaN);
    case 'diffperc':
      return ((numbers.at(-1) ?? NaN) - (numbers[0] ?? NaN)) / (numbers[0] ?? NaN);
    case 'delta':
      return numbers.reduce((total, one, index) => total + (index ? (one >= (numbers[index - 1] ?? 0) ? one - (numbers[index - 1] ?? 0) : one) : 0), 0);
    case 'stdDev':
      return Math.sqrt(variance());
    case 'variance':
      return variance();
    case 'changeCount':
      return numbers.filter((one, index) => index > 0 && one !== numbers[index - 1]).length;
    default:
      return numbers.at(-1);
  }
}

/** What a reduction is called in the head of a column. */
export const CALC_NAMES: Record<string, string> = { lastNotNull: 'Last *', last: 'Last', firstNotNull: 'First *', first: 'First', min: 'Min', max: 'Max', mean: 'Mean', sum: 'Total', count: 'Count', range: 'Range', diff: 'Difference', delta: 'Delta', stdDev: 'StdDev', median: 'Median' };
