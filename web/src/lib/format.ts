/** Numbers, units, times and names in words. */
import type { Labels } from './api';
import { locale, t } from './i18n.svelte';
import { settings } from './settings.svelte';

export type Unit = 'none' | 'bytes' | 'bytes/s' | 'bits/s' | 'seconds' | 'percent' | 'ratio' | '/s' | 'celsius' | 'days' | 'cores' | 'timestamp';

const digits = new Map<string, Intl.NumberFormat>();

function plain(value: number, significant = 4): string {
  const key = `${locale()} ${significant}`;
  let format = digits.get(key);
  if (!format) {
    format = new Intl.NumberFormat(locale(), { maximumSignificantDigits: significant });
    digits.set(key, format);
  }
  return format.format(value);
}

const SI: [number, string][] = [[1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k'], [1, ''], [1e-3, 'm'], [1e-6, 'µ'], [1e-9, 'n']];
const IEC: [number, string][] = [[2 ** 40, 'Ti'], [2 ** 30, 'Gi'], [2 ** 20, 'Mi'], [2 ** 10, 'Ki'], [1, '']];

function scaled(value: number, scales: [number, string][], unit: string, significant = 3): string {
  const size = Math.abs(value);
  if (size === 0) return unit ? `0 ${unit}` : '0';
  const [factor, letter] = scales.find(([least]) => size >= least) ?? scales[scales.length - 1] ?? [1, ''];
  const scaledValue = value / factor;
  // 1,023 KiB keeps its four digits.
  const text = plain(scaledValue, Math.abs(scaledValue) >= 1000 ? 4 : significant);
  return letter || unit ? `${text} ${letter}${unit}` : text;
}

/** 61 million: a count so big that its last digits say nothing. */
export const big = (number: number): string => new Intl.NumberFormat(locale(), { notation: 'compact', compactDisplay: 'long', maximumSignificantDigits: 3 }).format(number);

/** A value with its unit, short enough for a table. */
export function value(number: number, unit: Unit = 'none'): string {
  if (Number.isNaN(number)) return 'NaN';
  if (!Number.isFinite(number)) return number > 0 ? '+Inf' : '-Inf';
  switch (unit) {
    case 'bytes':
      return scaled(number, IEC, 'B');
    case 'bytes/s':
      return scaled(number, IEC, 'B/s');
    case 'bits/s':
      return scaled(number, SI.slice(0, 5), 'bit/s');
    case 'seconds':
      return seconds(number);
    case 'percent':
      return `${plain(number, Math.abs(number) >= 10 ? 3 : 2)} %`;
    case 'ratio':
      return `${plain(number * 100, 3)} %`;
    case '/s':
      return scaled(number, SI.slice(0, 6), '/s');
    case 'celsius':
      return `${plain(number, 3)} °C`;
    case 'days':
      return t('unit.d', { n: plain(number, 3) });
    case 'timestamp':
      return dateTime(number * 1000);
    case 'cores':
    case 'none':
      return Math.abs(number) >= 1e4 || (number !== 0 && Math.abs(number) < 1e-3) ? scaled(number, SI, '', 4) : plain(number, 4);
  }
}

function seconds(number: number): string {
  const size = Math.abs(number);
  if (size === 0) return '0 s';
  if (size < 1e-6) return `${plain(number * 1e9, 3)} ns`;
  if (size < 1e-3) return `${plain(number * 1e6, 3)} µs`;
  if (size < 1) return `${plain(number * 1e3, 3)} ms`;
  if (size < 60) return `${plain(number, 3)} s`;
  return duration(number * 1000);
}

/** 14 min, 2 h, 41 d: one unit, rounded down. Below a second in ms. */
export function duration(ms: number): string {
  const size = Math.abs(ms);
  if (size < 1000) return `${plain(ms, 2)} ms`;
  const all = Math.floor(size / 1000);
  if (all < 60) return t('unit.s', { n: all });
  if (all < 3600) return t('unit.min', { n: Math.floor(all / 60) });
  if (all < 2 * 86_400) {
    const minutes = Math.floor((all % 3600) / 60);
    return all < 5 * 3600 && minutes ? t('unit.h_min', { h: Math.floor(all / 3600), m: minutes }) : t('unit.h', { n: Math.floor(all / 3600) });
  }
  return t('unit.d', { n: Math.floor(all / 86_400) });
}

export function ms(secondsTaken: number): string {
  const taken = secondsTaken * 1000;
  return `${plain(taken, taken < 10 ? 2 : 3)} ms`;
}

export const zone = (): string | undefined => (settings.zone === 'utc' ? 'UTC' : undefined);

const dates = new Map<string, Intl.DateTimeFormat>();

function date(ms: number, options: Intl.DateTimeFormatOptions): string {
  const key = `${locale()} ${zone()} ${JSON.stringify(options)}`;
  let format = dates.get(key);
  if (!format) {
    const all: Intl.DateTimeFormatOptions = { ...options, hourCycle: 'h23' };
    const named = zone();
    if (named) all.timeZone = named;
    format = new Intl.DateTimeFormat(locale(), all);
    dates.set(key, format);
  }
  return format.format(ms);
}

export const clockTime = (ms: number): string => date(ms, { hour: '2-digit', minute: '2-digit' });
export const clockSeconds = (ms: number): string => date(ms, { hour: '2-digit', minute: '2-digit', second: '2-digit' });
export const shortDate = (ms: number): string => date(ms, { month: 'short', day: 'numeric' });
export const dateTime = (ms: number): string =>
  date(ms, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit' });
export const dateTimeZone = (ms: number): string =>
  date(ms, { year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' });

/** 11:40 today, 22 Nov 11:40 on other days. */
export function when(ms: number, nowMs = Date.now()): string {
  const day = { year: 'numeric', month: 'numeric', day: 'numeric' } as const;
  return date(ms, day) === date(nowMs, day) ? clockTime(ms) : `${shortDate(ms)}, ${clockTime(ms)}`;
}

/** What a metric is counted in, from its name and, if known, the function around it. */
export function unitOf(expression: string): Unit {
  const text = expression.trim();
  const rate = /^\(*\s*(sum|avg|max|min)?[^(]*\(?\s*(i?rate|irate|deriv)\s*\(/.test(text) || /\b(rate|irate)\(/.test(text);
  const bytes = /_bytes(_total|_sum)?\b/.test(text);
  const time = /_seconds(_total|_sum|_bucket)?\b/.test(text);
  const divided = /\)\s*\/\s|\s\/\s/.test(text);
  if (/^100\s*\*|\*\s*100\s*$|_percent\b/.test(text)) return 'percent';
  if (/histogram_quantile\(/.test(text)) return time ? 'seconds' : bytes ? 'bytes' : 'none';
  if (divided) return 'none';
  if (rate && bytes) return 'bytes/s';
  if (rate && time) return 'none';
  if (rate) return '/s';
  if (/^count\b|^count_values\b/.test(text)) return 'none';
  if (bytes) return 'bytes';
  if (/_timestamp_seconds\b|_time_seconds\b/.test(text) && !/\btime\(\)|changes|increase/.test(text)) return 'timestamp';
  if (time && !/increase\(|changes\(/.test(text)) return 'seconds';
  if (/_celsius\b/.test(text)) return 'celsius';
  if (/_ratio\b/.test(text)) return 'ratio';
  return 'none';
}

/** Axis starts at 0 for what counts things; it fits the data otherwise. */
export const startsAtZero = (unit: Unit): boolean => ['bytes', 'bytes/s', 'bits/s', 'percent', 'ratio', '/s', 'cores'].includes(unit);

/** The scale of an axis whose biggest value is `most`: what to divide by, the unit once at its top, and steps that look round in it. */
export function axisScale(unit: Unit, most: number): { factor: number; word: string; steps: number[] } {
  const pick = (scales: [number, string][], word: string) => {
    const [factor, letter] = scales.find(([least]) => Math.abs(most) >= least) ?? [1, ''];
    return { factor, word: `${letter}${word}` };
  };
  const scale = ((): { factor: number; word: string } => {
    switch (unit) {
      case 'bytes':
        return pick(IEC, 'B');
      case 'bytes/s':
        return pick(IEC, 'B/s');
      case 'bits/s':
        return pick(SI.slice(0, 5), 'bit/s');
      case '/s':
        return Math.abs(most) >= 1e4 ? pick(SI.slice(0, 4), ` ${t('unit.per_second')}`) : { factor: 1, word: t('unit.per_second') };
      case 'seconds': {
        const [factor, word] = ([[86_400, t('unit.days')], [3600, 'h'], [60, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs'], [1e-9, 'ns']] as const).find(([least]) => Math.abs(most) >= least * (least >= 60 ? 2 : 1)) ?? [1, 's'];
        return { factor, word };
      }
      case 'percent':
        return { factor: 1, word: '%' };
      case 'ratio':
        return { factor: 0.01, word: '%' };
      case 'celsius':
        return { factor: 1, word: '°C' };
      case 'days':
        return { factor: 1, word: t('unit.days') };
      case 'cores':
        return { factor: 1, word: t('unit.cores') };
      case 'timestamp':
        return { factor: 1, word: '' };
      case 'none':
        return Math.abs(most) >= 1e4 ? pick(SI.slice(0, 4), '') : { factor: 1, word: '' };
    }
  })();
  const steps: number[] = [];
  for (let power = -9; power <= 12; power += 1) for (const digit of [1, 2, 2.5, 5]) steps.push(digit * 10 ** power * scale.factor);
  return { ...scale, steps };
}

const plainName = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
export const quote = (text: string): string => `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;

/** `up{job="node"}` as PromQL writes it. */
export function seriesName(labels: Labels): string {
  const { __name__: name = '', ...rest } = labels;
  const pairs = Object.entries(rest).map(([key, text]) => `${plainName.test(key) ? key : quote(key)}=${quote(text)}`);
  if (name && !/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) return `{${[quote(name), ...pairs].join(', ')}}`;
  return pairs.length ? `${name}{${pairs.join(', ')}}` : name || '{}';
}

/** The labels in which the series of one graph differ come first; those all share are left out of short names. */
export function shortNames(all: Labels[]): string[] {
  if (all.length === 0) return [];
  const names = new Set(all.flatMap((labels) => Object.keys(labels)));
  const differing = [...names].filter((name) => all.some((labels) => labels[name] !== all[0]?.[name])).sort();
  if (all.length === 1 || differing.length === 0) return all.map(seriesName);
  return all.map((labels) => differing.filter((name) => labels[name] !== undefined).map((name) => `${name}=${quote(labels[name] ?? '')}`).join(', ') || seriesName(labels));
}
