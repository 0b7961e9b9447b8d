/** Matchers as people write them, and the identity of an alert. */
import type { Labels, Matcher } from './api';
import { quote } from './format';

export function printMatcher(matcher: Matcher): string {
  const equal = matcher.isEqual ?? true;
  const operator = matcher.isRegex ? (equal ? '=~' : '!~') : equal ? '=' : '!=';
  return `${matcher.name}${operator}${quote(matcher.value)}`;
}

const SHAPE = /^\s*("(?:[^"\\]|\\.)*"|[^\s=!~"{},]+)\s*(=~|!~|!=|=)\s*("(?:[^"\\]|\\.)*"|[^,"]*?)\s*(?:,|$)/;

function unquote(text: string): string {
  if (!text.startsWith('"')) return text;
  return text.slice(1, -1).replace(/\\(n|.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
}

/** Reads `{a="b", c=~"d.*"}` with or without its braces and quotes. A message where it is wrong. */
export function parseMatchers(text: string): Matcher[] | string {
  let rest = text.trim().replace(/^\{/, '').replace(/\}$/, '').trim();
  const out: Matcher[] = [];
  while (rest) {
    const match = SHAPE.exec(rest);
    if (!match) return rest;
    const operator = match[2] ?? '=';
    out.push({ name: unquote(match[1] ?? ''), value: unquote(match[3] ?? ''), isRegex: operator.endsWith('~'), isEqual: operator.startsWith('=') });
    rest = rest.slice(match[0].length).trim();
  }
  return out;
}

/** Whether `value` satisfies the matcher. An expression that is none matches nothing. */
export function matches(matcher: Matcher, labels: Labels): boolean {
  const value = labels[matcher.name] ?? '';
  let hit: boolean;
  if (matcher.isRegex) {
    try {
      // Flags at its beginning are RE2's way: `(?i)web.*`.
      const [flags = '', letters = ''] = /^\(\?([ims]+)\)/.exec(matcher.value) ?? [];
      hit = new RegExp(`^(?:${matcher.value.slice(flags.length)})$`, `su${letters.replace('s', '')}`).test(value);
    } catch {
      return false;
    }
  } else hit = value === matcher.value;
  return hit === (matcher.isEqual ?? true);
}

/** Prometheus's fingerprint of a label set: 64-bit FNV-1a over the sorted names and values, each ended by 0xff. */
export function fingerprint(labels: Labels): string {
  const encoder = new TextEncoder();
  let hash = 0xcbf29ce484222325n;
  const byte = (one: number) => {
    hash = ((hash ^ BigInt(one)) * 0x100000001b3n) & 0xffffffffffffffffn;
  };
  for (const name of Object.keys(labels).sort()) {
    encoder.encode(name).forEach(byte);
    byte(255);
    encoder.encode(labels[name]).forEach(byte);
    byte(255);
  }
  return hash.toString(16).padStart(16, '0');
}

/** A filter box: words that all must occur somewhere in the labels, or matchers. */
export function finder(text: string): (labels: Labels, ...more: string[]) => boolean {
  const trimmed = text.trim();
  if (!trimmed) return () => true;
  if (/[=~]/.test(trimmed)) {
    const matchers = parseMatchers(trimmed);
    if (typeof matchers !== 'string') return (labels) => matchers.every((matcher) => matches(matcher, labels));
  }
  const words = trimmed.toLowerCase().split(/\s+/);
  return (labels, ...more) => {
    const hay = [...Object.values(labels), ...more].join('\n').toLowerCase();
    return words.every((word) => hay.includes(word));
  };
}
