/** A query's error in words, with what to do, and where it can be, the text that would be right. */
import type { ApiError } from './api';
import { big } from './format';
import { AGGREGATIONS, FUNCTIONS } from './functions';
import { t } from './i18n.svelte';
import { indexOf, lex } from './lex';
import { closest } from './promql';

export interface Told {
  message: string;
  hint?: string;
  /** The expression as it was likely meant. */
  better?: string;
  /** A step of the server's own choosing would do. */
  step?: boolean;
}

/** What the server puts before the place; the field shows the place itself. */
const plain = (message: string): string => message.replace(/^invalid parameter "query": /, '').replace(/^\d+:\d+: /, '');

export function told(error: ApiError, text: string): Told {
  const said = error.message;
  const limit = /about (\d+) samples, more than the limit of (\d+) samples/.exec(said);
  if (limit) return { message: t('error.samples', { n: big(Number(limit[1])), limit: big(Number(limit[2])) }) };
  if (/too many samples/.test(said)) return { message: t('error.too_many_samples'), hint: t('error.shorten') };
  const series = /finds (\d+) series, more than the limit of (\d+) series/.exec(said);
  if (series) return { message: t('error.many_series', { n: big(Number(series[1])), limit: big(Number(series[2])) }) };
  if (/bytes of memory at once/.test(said)) return { message: said, hint: t('error.shorten') };
  if (/exceeded maximum resolution/.test(said)) return { message: t('error.resolution'), step: true };
  if (error.kind === 'timeout' || /timed out|canceled in query execution/.test(said)) return { message: t('error.timeout'), hint: t('error.shorten') };

  const told: Told = { message: plain(said) };
  const window = /expected type range vector in call to function "(\w+)", got instant vector/.exec(said);
  if (window && error.position) {
    const from = indexOf(text, error.position);
    const tokens = lex(text);
    let last = tokens.findIndex((token) => token.from >= from);
    if (tokens[last]?.kind === 'metric' && tokens[last + 1]?.opens === 'matchers') last += 1;
    const token = tokens[last];
    const close = token?.kind === 'open' ? tokens[token.partner ?? -1] : token?.kind === 'metric' ? token : undefined;
    told.hint = t('error.no_window', { name: window[1] ?? '' });
    if (close) told.better = `${text.slice(0, close.to)}[5m]${text.slice(close.to)}`;
    return told;
  }
  const unknown = /unknown function with name "([^"]+)"/.exec(said);
  if (unknown) {
    const name = unknown[1] ?? '';
    const close = closest(name, [...FUNCTIONS.keys(), ...AGGREGATIONS.keys()]);
    if (close[0]) {
      told.hint = t('error.close_function', { names: close.map((one) => `${one}()`).join(', ') });
      told.better = text.replace(new RegExp(`\\b${name}(?=\\s*\\()`), close[0]);
    }
    return told;
  }
  const open = /unclosed left (parenthesis|bracket|brace)/.exec(said);
  if (open) {
    const closers = lex(text).flatMap((token) => (token.kind === 'open' && token.partner === undefined ? [{ '(': ')', '[': ']', '{': '}' }[token.text] ?? ''] : []));
    if (closers.length) told.better = text.trimEnd() + closers.reverse().join('');
  }
  return told;
}
