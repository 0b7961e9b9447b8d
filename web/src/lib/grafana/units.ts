/** Grafana's units: what a number is called, and the scale of an axis. An unknown unit is written as its own name after the number. */
import type { Measure } from '../../parts/Chart.svelte';
import { clockTime, dateTime, duration } from '../format';
import { locale, t } from '../i18n.svelte';

type Scale = [number, string][];

const SI: Scale = [[1e18, 'E'], [1e15, 'P'], [1e12, 'T'], [1e9, 'G'], [1e6, 'M'], [1e3, 'k'], [1, '']];
const SMALL: Scale = [...SI, [1e-3, 'm'], [1e-6, 'µ'], [1e-9, 'n']];
const IEC: Scale = ['Ei', 'Pi', 'Ti', 'Gi', 'Mi', 'Ki', ''].map((letter, index) => [2 ** (10 * (6 - index)), letter]);
const TIME: Scale = [[86_400, 'd'], [3600, 'h'], [60, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs'], [1e-9, 'ns']];

interface Kind {
  scale: Scale | undefined;
  word: string;
  /** What one of the unit is of the scale's base. */
  factor: number;
  before?: string;
  /** Written close to the number. */
  close?: boolean;
  /** Written by itself: a date, a truth. */
  write?: (value: number) => string;
}

const si = (word: string, factor = 1): Kind => ({ scale: SI, word, factor });
const small = (word: string, factor = 1): Kind => ({ scale: SMALL, word, factor });
const iec = (word: string, factor = 1): Kind => ({ scale: IEC, word, factor });
const fixed = (word: string, close = false): Kind => ({ scale: undefined, word, factor: 1, close });
const time = (factor: number): Kind => ({ scale: TIME, word: '', factor });
const written = (write: (value: number) => string): Kind => ({ scale: undefined, word: '', factor: 1, write });
const money = (sign: string): Kind => ({ scale: SI, word: '', factor: 1, before: sign, close: true });
const truth = (yes: string, no: string): Kind => written((value) => (value ? yes : no));

const UNITS: Record<string, Kind> = {
  short: si(''), none: fixed(''), locale: written((value) => new Intl.NumberFormat(locale()).format(value)), sci: written((value) => value.toExponential(2)),
  hex: written((value) => Math.round(value).toString(16)), hex0x: written((value) => `0x${Math.round(value).toString(16)}`), string: fixed(''), si: small(''),
  percent: fixed('%'), percentunit: { scale: undefined, word: '%', factor: 100 }, humidity: fixed('%H'), dB: fixed('dB'), dBm: fixed('dBm'), ppm: fixed('ppm'),
  bytes: iec('B'), bits: iec('b'), kbytes: iec('B', 2 ** 10), mbytes: iec('B', 2 ** 20), gbytes: iec('B', 2 ** 30), tbytes: iec('B', 2 ** 40),
  decbytes: si('B'), decbits: si('b'), deckbytes: si('B', 1e3), decmbytes: si('B', 1e6), decgbytes: si('B', 1e9), dectbytes: si('B', 1e12),
  Bps: si('B/s'), binBps: iec('B/s'), bps: si('b/s'), binbps: iec('b/s'), KBs: si('B/s', 1e3), MBs: si('B/s', 1e6), GBs: si('B/s', 1e9), Kbits: si('b/s', 1e3), Mbits: si('b/s', 1e6), Gbits: si('b/s', 1e9),
  KiBs: iec('B/s', 2 ** 10), MiBs: iec('B/s', 2 ** 20), GiBs: iec('B/s', 2 ** 30), Kibits: iec('b/s', 2 ** 10), Mibits: iec('b/s', 2 ** 20), Gibits: iec('b/s', 2 ** 30),
  pps: si('p/s'), ops: si('ops/s'), reqps: si('req/s'), rps: si('rd/s'), wps: si('wr/s'), iops: si('io/s'), cps: si('c/s'), eps: si('evt/s'), mps: si('msg/s'), recps: si('rec/s'), rowsps: si('rows/s'),
  opm: si('ops/min'), reqpm: si('req/min'), rpm: si('rd/min'), wpm: si('wr/min'), cpm: si('c/min'), epm: si('evt/min'),
  ns: time(1e-9), 'µs': time(1e-6), us: time(1e-6), ms: time(1e-3), s: time(1), m: time(60), h: time(3600), d: time(86_400),
  dtdurationms: written((value) => duration(value)), dtdurations: written((value) => duration(value * 1000)), dthms: written((value) => clock(value)), clocks: written((value) => clock(value)), clockms: written((value) => clock(value / 1000)), timeticks: written((value) => duration(value * 10)),
  dateTimeAsIso: written(dateTime), dateTimeAsUS: written(dateTime), dateTimeAsLocal: written(dateTime), dateTimeAsSystem: written(dateTime), dateTimeAsIsoNoDateIfToday: written(sameDay), dateTimeAsUSNoDateIfToday: written(sameDay), dateTimeAsLocalNoDateIfToday: written(sameDay),
  dateTimeFromNow: written((value) => (value <= Date.now() ? t('ago', { time: duration(Date.now() - value) }) : duration(value - Date.now()))),
  celsius: fixed('°C'), fahrenheit: fixed('°F'), kelvin: fixed('K'), degree: fixed('°', true), radian: fixed('rad'), arcsec: fixed('″', true), arcmin: fixed('′', true),
  hertz: small('Hz'), rothz: small('Hz'), rotrpm: fixed('rpm'), rotrads: fixed('rad/s'), volt: small('V'), kvolt: small('V', 1e3), mvolt: small('V', 1e-3), amp: small('A'), kamp: small('A', 1e3), mamp: small('A', 1e-3), watt: small('W'), kwatt: small('W', 1e3), mwatt: small('W', 1e-3), voltamp: small('VA'), watth: small('Wh'), kwatth: small('Wh', 1e3), joule: small('J'), ev: small('eV'), ohm: small('Ω'), farad: small('F'), lumens: small('Lm'), amph: small('Ah'),
  lengthm: small('m'), lengthmm: small('m', 1e-3), lengthkm: small('m', 1e3), lengthft: fixed('ft'), lengthin: fixed('in'), lengthmi: fixed('mi'), massg: small('g'), masskg: small('g', 1e3), massmg: small('g', 1e-3), masst: fixed('t'), masslb: fixed('lb'),
  velocityms: fixed('m/s'), velocitykmh: fixed('km/h'), velocitymph: fixed('mph'), velocityknot: fixed('kn'), accMS2: fixed('m/s²'), accG: fixed('g'), pressurebar: fixed('bar'), pressurembar: fixed('mbar'), pressurehpa: fixed('hPa'), pressurekbar: fixed('kbar'), pressurepsi: fixed('psi'), pressurepa: small('Pa'), pressurekpa: small('Pa', 1e3),
  litre: small('L'), mlitre: small('L', 1e-3), m3: fixed('m³'), flowgpm: fixed('gpm'), flowcms: fixed('m³/s'), radbq: small('Bq'), radsv: small('Sv'), hashes: si('H/s'), Hs: si('H/s'), KHs: si('H/s', 1e3), MHs: si('H/s', 1e6), GHs: si('H/s', 1e9), flops: si('FLOPS'), conmgm3: fixed('mg/m³'), conμgm3: fixed('µg/m³'),
  currencyUSD: money('$'), currencyEUR: money('€'), currencyGBP: money('£'), currencyJPY: money('¥'), currencyCNY: money('¥'), currencyRUB: money('₽'), currencyINR: money('₹'), currencyKRW: money('₩'), currencyBRL: money('R$'), currencyCHF: money('CHF '), currencyBTC: money('฿'),
  bool: truth('True', 'False'), bool_yes_no: truth('Yes', 'No'), bool_on_off: truth('On', 'Off'),
};

function sameDay(ms: number): string {
  return new Date(ms).toDateString() === new Date().toDateString() ? clockTime(ms) : dateTime(ms);
}

function clock(seconds: number): string {
  const rest = Math.abs(Math.floor(seconds));
  const two = (value: number) => String(value).padStart(2, '0');
  return `${seconds < 0 ? '-' : ''}${two(Math.floor(rest / 3600))}:${two(Math.floor(rest / 60) % 60)}:${two(rest % 60)}`;
}

function kindOf(unit: string): Kind {
  if (Object.hasOwn(UNITS, unit) && UNITS[unit]) return UNITS[unit];
  const [prefix, rest] = [unit.slice(0, unit.indexOf(':')), unit.slice(unit.indexOf(':') + 1)];
  if (unit.includes(':')) {
    switch (prefix) {
      case 'suffix':
        return fixed(rest, rest.startsWith('%'));
      case 'prefix':
        return { ...fixed(''), before: rest, close: true };
      case 'si':
        // `si:mF` counts in thousandths; a letter before the unit names the power.
        return small(rest.replace(/^[munpkMGT](?=[A-Z])/, ''), { m: 1e-3, u: 1e-6, n: 1e-9, p: 1e-12, k: 1e3, M: 1e6, G: 1e9, T: 1e12 }[/^[munpkMGT](?=[A-Z])/.exec(rest)?.[0] ?? ''] ?? 1);
      case 'count':
        return si(rest);
      case 'currency':
        return money(rest);
      case 'time':
        return written(dateTime);
      case 'bool': {
        const [yes = '', no = ''] = rest.split('/');
        return truth(yes, no);
      }
    }
  }
  return fixed(unit);
}

const formats = new Map<string, Intl.NumberFormat>();

function plain(value: number, decimals: number | undefined, significant = 3): string {
  const key = `${locale()} ${decimals ?? ''} ${significant}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat(locale(), decimals === undefined ? { maximumSignificantDigits: significant } : { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
    formats.set(key, format);
  }
  return format.format(value);
}

/** The number and its unit apart, so that a big number can have a small unit. */
export interface Parts {
  before: string;
  number: string;
  after: string;
}

export function unitParts(value: number, unit: string, decimals?: number): Parts {
  const none = { before: '', after: '' };
  if (Number.isNaN(value)) return { ...none, number: 'NaN' };
  if (!Number.isFinite(value)) return { ...none, number: value > 0 ? '+Inf' : '-Inf' };
  const kind = kindOf(unit);
  if (kind.write) return { ...none, number: kind.write(value) };
  const base = value * kind.factor;
  const [factor, letter] = kind.scale && base !== 0 ? (kind.scale.find(([size]) => Math.abs(base) >= size) ?? kind.scale.at(-1) ?? [1, '']) : [1, kind.scale === TIME ? 's' : ''];
  const scaled = base / factor;
  const size = Math.abs(scaled);
  const places = decimals === undefined ? undefined : Math.max(0, Math.min(decimals, 15));
  // Whole numbers keep all their digits: 6,144 files, not 6,140.
  const text = plain(scaled, places, size >= 100 && !kind.scale ? Math.max(4, Math.ceil(Math.log10(size + 1))) : size >= 1000 ? 4 : 3);
  const word = `${letter}${kind.word}`;
  return { before: kind.before ?? '', number: text, after: word && `${kind.close ? '' : ' '}${word}` };
}

export function unitText(value: number, unit: string, decimals?: number): string {
  const { before, number, after } = unitParts(value, unit, decimals);
  return before && number.startsWith('-') ? `-${before}${number.slice(1)}${after}` : before + number + after;
}

const STEPS = Array.from({ length: 30 }, (_, index) => index - 12).flatMap((power) => [1, 2, 2.5, 5].map((digit) => digit * 10 ** power));

/** What a chart needs to know of a unit: how a value is written, and the scale of its axis. */
export function measureOf(unit: string, decimals?: number): Measure {
  const kind = kindOf(unit);
  return {
    value: (number) => unitText(number, unit, decimals),
    axis: (most) => {
      if (kind.write) return { factor: 1, word: '', steps: STEPS, tick: kind.write };
      const base = Math.abs(most * kind.factor);
      const [factor, letter] = kind.scale?.find(([size]) => base >= size * (kind.scale === TIME && size >= 60 ? 2 : 1)) ?? (kind.scale === TIME && base === 0 ? [1, 's'] : [1, '']);
      // `short` has nothing but its letters: they stand on the axis once it is above ten thousand.
      const few = kind.scale === SI && !kind.word && !kind.before && base < 1e4;
      const own = few ? 1 : factor;
      return { factor: own / kind.factor, word: `${kind.before?.trim() ?? ''}${few ? '' : letter}${kind.word}`, steps: STEPS.map((step) => (step * own) / kind.factor) };
    },
    zero: kind.scale === IEC || /^(percent|percentunit|short|Bps|binBps|bps|binbps|pps|iops|ops|reqps|cps|decbytes|decbits)$/.test(unit),
  };
}
