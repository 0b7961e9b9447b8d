import { expect, test } from 'vitest';
import type { Silence } from '../src/lib/api';
import { byDay, dayText, daysOf, most, parseDay, shifted } from '../src/lib/calendar';
import { matches } from '../src/lib/labels';
import { everyWords, parseEvery, spansOf } from '../src/lib/recurrence';
import { settings } from '../src/lib/settings.svelte';
import { endsSoon, firedSince, mutes, mutesNow } from '../src/lib/silences';

const at = (text: string) => Date.parse(`${text}Z`);
const told = (text: string, zone: string, from: string, to: string) => {
  const every = parseEvery(text);
  if (!every) return 'none';
  return spansOf(every, zone, [at(from), at(to)]).map((span) => span.map((ms) => new Date(ms).toISOString().slice(5, 16)).join(' '));
};

test('recurring times are those of the server', () => {
  expect(told('Sat,Sun 02:00-04:00', '', '2024-01-05T00:00', '2024-01-09T00:00')).toEqual(['01-06T02:00 01-06T04:00', '01-07T02:00 01-07T04:00']);
  // Past midnight the rest belongs to the day after, also after the last day of the range.
  expect(told('Mon:Fri 22:00-06:00', '', '2024-01-05T00:00', '2024-01-07T00:00')).toEqual(['01-05T00:00 01-05T06:00', '01-05T22:00 01-06T06:00']);
  expect(told('Fri-Mon', '', '2024-01-03T12:00', '2024-01-11T00:00')).toEqual(['01-05T00:00 01-09T00:00']);
  expect(told('12:00-13:00', '', '2024-01-01T12:30', '2024-01-02T12:10')).toEqual(['01-01T12:30 01-01T13:00', '01-02T12:00 01-02T12:10']);
});

test('recurring times follow the zone and its changes of clock', () => {
  expect(told('02:00-04:00', 'Europe/Berlin', '2024-01-01T00:00', '2024-01-02T00:00')).toEqual(['01-01T01:00 01-01T03:00']);
  // On 31 March 2024 the clock goes from 2:00 to 3:00.
  expect(told('04:00-05:00', 'Europe/Berlin', '2024-03-30T12:00', '2024-03-31T12:00')).toEqual(['03-31T02:00 03-31T03:00']);
  expect(told('Mon 08:00-09:00', 'Asia/Shanghai', '2024-01-01T00:00', '2024-01-02T00:00')).toEqual(['01-01T00:00 01-01T01:00']);
  expect(told('Mon 06:00-07:00', 'Asia/Shanghai', '2024-01-01T00:00', '2024-01-09T00:00')).toEqual(['01-07T22:00 01-07T23:00']);
});

test.each(['', 'Xyz 02:00-04:00', 'Sat 25:00-26:00', 'Sat 02:00', 'S'])('%j is no recurrence', (text) => expect(parseEvery(text)).toBeUndefined());

test('recurrences in words', () => {
  expect(everyWords('sat,sunday 02:00-04:00', '')).toBe('Sat, Sun 02:00–04:00 UTC');
  expect(everyWords('Mon:Fri 22:00-06:00', 'Europe/Berlin')).toBe('Mon–Fri 22:00–06:00 Europe/Berlin');
  expect(everyWords('Fri:Mon', '')).toBe('Mon, Fri–Sun UTC');
  expect(everyWords('now and then', '')).toBe('now and then UTC');
});

const silence = (more: Partial<Silence>): Silence => ({ id: 's', matchers: [{ name: 'job', value: 'node', isRegex: false }], startsAt: '2024-01-05T00:00:00Z', endsAt: '2024-01-08T00:00:00Z', updatedAt: '', createdBy: 'li', comment: 'x', status: { state: 'active' }, ...more });

test('a silence mutes from its start to its end, and only at its times', () => {
  expect(mutes(silence({}), [at('2024-01-01T00:00'), at('2024-02-01T00:00')])).toEqual([[at('2024-01-05T00:00'), at('2024-01-08T00:00')]]);
  expect(mutes(silence({}), [at('2024-02-01T00:00'), at('2024-03-01T00:00')])).toEqual([]);
  const weekly = silence({ every: 'Sun 02:00-04:00' });
  expect(mutes(weekly, [at('2024-01-01T00:00'), at('2024-02-01T00:00')])).toEqual([[at('2024-01-07T02:00'), at('2024-01-07T04:00')]]);
  expect([mutesNow(weekly, at('2024-01-07T03:00')), mutesNow(weekly, at('2024-01-07T05:00'))]).toEqual([true, false]);
});

test('a silence warns half an hour before its end, while what it covers fires', () => {
  const alert = { fingerprint: 'f', labels: { job: 'node' }, annotations: {}, startsAt: '', endsAt: '', updatedAt: '', receivers: [], status: { state: 'suppressed' as const, silencedBy: ['s'], inhibitedBy: [] } };
  expect(endsSoon(silence({}), [alert], at('2024-01-07T23:31'))).toBe(true);
  expect(endsSoon(silence({}), [alert], at('2024-01-07T23:29'))).toBe(false);
  expect(endsSoon(silence({}), [], at('2024-01-07T23:31'))).toBe(false);
});

test('what fired since its start is asked by its matchers', () => {
  const matchers = [{ name: 'job', value: 'a"b', isRegex: false, isEqual: false }, { name: 'host.name', value: 'x.*', isRegex: true }];
  expect(firedSince(matchers, 0, 90_000)).toBe('last_over_time(ALERTS{alertstate="firing",job!="a\\"b","host.name"=~"x.*"}[90s])');
});

test('RE2’s flags at the beginning of an expression', () => {
  expect(matches({ name: 'a', value: '(?i)WEB.*', isRegex: true }, { a: 'web1' })).toBe(true);
  expect(matches({ name: 'a', value: 'WEB.*', isRegex: true }, { a: 'web1' })).toBe(false);
});

test('weeks begin on Monday, months with their first day', () => {
  settings.zone = 'utc';
  expect(daysOf('week', at('2024-01-07T12:00')).map((ms) => new Date(ms).toISOString().slice(5, 10))).toEqual(['01-01', '01-02', '01-03', '01-04', '01-05', '01-06', '01-07', '01-08']);
  expect(daysOf('month', at('2024-02-07T12:00')).length).toBe(30);
  expect(dayText(shifted('month', at('2024-01-31T12:00'), 1))).toBe('2024-02-01');
  expect(dayText(shifted('week', at('2024-01-31T12:00'), -1))).toBe('2024-01-24');
  expect(parseDay('2024-01-31')).toBe(at('2024-01-31T00:00'));
  expect(parseDay('nonsense')).toBeUndefined();
});

test('spans are cut by days, and overlaps counted', () => {
  const days = [0, 10, 20, 30];
  expect(byDay([[5, 25]], days)).toEqual([[[5, 10]], [[10, 20]], [[20, 25]]]);
  expect(most([[0, 5], [5, 10]])).toBe(1);
  expect(most([[0, 5], [4, 10], [4, 6]])).toBe(3);
});
