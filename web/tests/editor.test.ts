import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import en from '../src/i18n/en.json';
import { best, fit, forget, optionsAt } from '../src/lib/complete';
import { AGGREGATIONS, FUNCTIONS, signature } from '../src/lib/functions';
import { bracketsAt, contextAt, indexOf, lex, selectors, selectorText } from '../src/lib/lex';

const kinds = (text: string) => lex(text).map((token) => `${token.kind}:${token.text}`).join(' ');

test.each([
  ['up', 'metric:up'],
  ['sum by (job) (rate(up[5m]))', 'aggregation:sum keyword:by open:( label:job close:) open:( function:rate open:( metric:up open:[ duration:5m close:] close:) close:)'],
  ['x{a="b\\"c", d=~\'e\'}', 'metric:x open:{ label:a operator:= string:"b\\"c" comma:, label:d operator:=~ string:\'e\' close:}'],
  ['{"my.metric", "a b"="c"}', 'open:{ string:"my.metric" comma:, string:"a b" operator:= string:"c" close:}'],
  ['`a\nb` # rest "not', 'string:`a\nb` comment:# rest "not'],
  ['"open\nup', 'string:"open metric:up'],
  ['0x1F + 1e-3 + 1_000 + .5 + Inf - NaN', 'number:0x1F operator:+ number:1e-3 operator:+ number:1_000 operator:+ number:.5 operator:+ number:Inf operator:- number:NaN'],
  ['up offset 1h30m @ end()', 'metric:up keyword:offset duration:1h30m operator:@ function:end open:( close:)'],
  ['max_over_time(x[1h:5m])', 'function:max_over_time open:( metric:x open:[ duration:1h operator:: duration:5m close:] close:)'],
  ['job:x:rate5m > bool 1', 'metric:job:x:rate5m operator:> keyword:bool number:1'],
  ['nonsense(up)', 'bad:nonsense open:( metric:up close:)'],
  ['up)', 'metric:up bad:)'],
  ['a == b != c <= d >= e < f', 'metric:a operator:== metric:b operator:!= metric:c operator:<= metric:d operator:>= metric:e operator:< metric:f'],
  ['up{sum="x"}', 'metric:up open:{ label:sum operator:= string:"x" close:}'],
  ['é + 😀', 'bad:é operator:+ bad:😀'],
])('tokens of %s', (text, expected) => expect(kinds(text)).toBe(expected));

test('tokens cover any text, whatever it is, without end', () => {
  const letters = 'a1"\'`{}[]()=~!<>,:@#\\ \n-+.é😀_';
  let seed = 7;
  for (let round = 0; round < 400; round += 1) {
    let text = '';
    for (let length = 0; length < 24; length += 1) {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      text += [...letters][seed % [...letters].length];
    }
    const tokens = lex(text);
    tokens.reduce((end, token) => {
      expect(token.from).toBeGreaterThanOrEqual(end);
      expect(token.to).toBeGreaterThan(token.from);
      return token.to;
    }, 0);
    for (let cursor = 0; cursor <= text.length; cursor += 1) {
      const found = contextAt(text, cursor, tokens);
      expect(found.from).toBeLessThanOrEqual(cursor);
      expect(found.to).toBeGreaterThanOrEqual(cursor);
    }
  }
});

/** `|` is the cursor. */
function context(marked: string) {
  const cursor = marked.indexOf('|');
  const { from, to, ...rest } = contextAt(marked.replace('|', ''), cursor);
  return { ...rest, span: [from, to] };
}

test.each([
  ['|', { what: 'operand', word: '' }],
  ['node_l|', { what: 'operand', word: 'node_l' }],
  ['node_l|oad1', { what: 'operand', word: 'node_l', span: [0, 10] }],
  ['sum(ra|)', { what: 'operand', word: 'ra' }],
  ['sum(|', { what: 'operand', word: '' }],
  ['topk(5, |)', { what: 'operand', word: '' }],
  ['up + o|', { what: 'operand', word: 'o', words: ['on', 'ignoring'] }],
  ['up > b|', { what: 'operand', words: ['bool', 'on', 'ignoring'] }],
  ['up and |', { what: 'operand', words: ['on', 'ignoring'] }],
  ['a * on (job) g|', { what: 'operand', words: ['group_left', 'group_right'] }],
  ['a * on (job) group_left () |', { what: 'operand', words: [] }],
  ['up |', { what: 'operator', words: ['and', 'or', 'unless', 'offset', '@'] }],
  ['up{job="x"} of|', { what: 'operator', word: 'of' }],
  ['sum b|', { what: 'operator', word: 'b', words: ['by', 'without'] }],
  ['sum(up) b|', { what: 'operator', word: 'b' }],
  ['rate(up[5m]) |', { what: 'operator', words: ['and', 'or', 'unless'] }],
  ['1 |', { what: 'operator' }],
  ['up offset |', { what: 'duration', word: '' }],
  ['up offset -1|', { what: 'duration', word: '1' }],
  ['up @ e|', { what: 'moment', word: 'e' }],
  ['rate(up[|])', { what: 'duration', word: '' }],
  ['rate(up[5|', { what: 'duration', word: '5' }],
  ['x[1h:|]', { what: 'duration' }],
  ['10|', { what: 'nothing' }],
  ['up{|', { what: 'label', word: '', selectors: ['up'], used: [] }],
  ['up{jo|}', { what: 'label', word: 'jo', selectors: ['up'] }],
  ['up{job="a", |}', { what: 'label', selectors: ['up{job="a"}'], used: ['job'] }],
  ['up{job="a", instance=~"b.*",m|}', { what: 'label', selectors: ['up{job="a",instance=~"b.*"}'.replace(',', ', ')] }],
  ['{|}', { what: 'label', selectors: [] }],
  ['up{job|="a"}', { what: 'label', word: 'job' }],
  ['up{job |', { what: 'matcher' }],
  ['up{job="|"}', { what: 'value', label: 'job', word: '', selectors: ['up'], quoted: true, span: [8, 8] }],
  ['up{job="no|', { what: 'value', label: 'job', word: 'no', quoted: true, span: [8, 10] }],
  ['up{job="no|de"}', { what: 'value', word: 'no', span: [8, 12] }],
  ['up{zone="z", job="no|"}', { what: 'value', label: 'job', selectors: ['up{zone="z"}'] }],
  ['up{job="no|", zone="z"}', { what: 'value', label: 'job', selectors: ['up{zone="z"}'] }],
  ['{job="no|"}', { what: 'value', label: 'job', selectors: [] }],
  ['up{job=|}', { what: 'value', label: 'job', quoted: false }],
  ['up{job=~"a|"}', { what: 'value', label: 'job', regex: true }],
  ['{"my.m|"}', { what: 'metric', word: 'my.m' }],
  ['{"my.metric", jo|}', { what: 'label', selectors: ['{"my.metric"}'] }],
  ['{"my.metric", "a b"="|"}', { what: 'value', label: 'a b', selectors: ['{"my.metric"}'] }],
  ['sum by (|) (up{job="a"})', { what: 'label', selectors: ['up{job="a"}'], matching: false }],
  ['sum by (job, in|) (rate(up[5m])) / count(x)', { what: 'label', word: 'in', selectors: ['up'], used: ['job'] }],
  ['sum(rate(up[5m])) by (|', { what: 'label', selectors: ['up'] }],
  ['a * on (|) b', { what: 'label', selectors: ['a', 'b'] }],
  ['sum by (job|)', { what: 'label', word: 'job', selectors: [] }],
  ['up # comm|ent', { what: 'nothing' }],
  ['label_replace(up, "x|")', { what: 'nothing' }],
  ['sum by (job) |', { what: 'nothing' }],
  ['up{job="a"} == bool |', { what: 'operand' }],
  ['# note\nup{|}', { what: 'label', selectors: ['up'] }],
  ['rate(up[5m] of|)', { what: 'operator', word: 'of' }],
])('at the cursor of %s', (marked, expected) => expect(context(marked)).toMatchObject(expected));

test('the selectors of an expression, and how they are written', () => {
  const found = selectors(lex('sum(rate(a{b="c",d!~"e"}[5m])) / on (x) {"f.g", h=""} + k'));
  expect(found.map(selectorText)).toEqual(['a{b="c", d!~"e"}', '{"f.g"}', 'k']);
  expect(selectorText({ metric: '', matchers: [{ name: 'a', operator: '!=', value: 'b' }] })).toBeUndefined();
});

test('a bracket at the cursor finds the other one', () => {
  const tokens = lex('sum(a[5m])');
  expect(bracketsAt(tokens, 10)).toEqual([6, 1]);
  expect(bracketsAt(tokens, 3)).toEqual([1, 6]);
  expect(bracketsAt(tokens, 1)).toBeUndefined();
});

test('the place of an error is counted in bytes', () => {
  expect(indexOf('up{a="é"} bar', { line: 1, column: 12 })).toBe(10);
  expect(indexOf('a\n  b', { line: 2, column: 3 })).toBe(4);
  expect(indexOf('a', { line: 9, column: 99 })).toBe(1);
});

test('what begins with the letters comes first, then what has a word that does, then the scattered', () => {
  const names = ['go_node_load', 'node_load1', 'node_load15', 'x_node_load', 'unload', 'node_filesystem_load_avg'].map((text) => ({ text, kind: '' }));
  expect(best(names, 'node_load').map((one) => one.text)).toEqual(['node_load1', 'node_load15', 'x_node_load', 'go_node_load', 'node_filesystem_load_avg']);
  expect(fit('node_cpu_seconds_total', 'ncs')?.marks).toEqual([0, 5, 9]);
  expect(fit('node_cpu_seconds_total', 'nodecpu')).toBeDefined();
  expect(fit('up', 'x')).toBeUndefined();
  expect(best(Array.from({ length: 10_000 }, (_, index) => ({ text: `metric_${index}`, kind: '' })), 'm').length).toBe(60);
});

test('each function and aggregation has a sentence, and a signature', () => {
  for (const name of [...FUNCTIONS.keys(), ...AGGREGATIONS.keys()]) expect(en, name).toHaveProperty([`fn.${name}`]);
  expect(signature('rate')).toBe('rate(range-vector)');
  expect(signature('round')).toBe('round(vector, scalar?)');
  expect(signature('label_join')).toBe('label_join(vector, string, string, string, …)');
});

const asked: string[] = [];
beforeEach(() => {
  forget();
  asked.length = 0;
  vi.stubGlobal('fetch', (address: string) => {
    const url = new URL(address, 'http://localhost');
    asked.push(`${url.pathname}?${url.searchParams.getAll('match[]').join('&')}`);
    const data = url.pathname.endsWith('/metadata')
      ? { node_load1: [{ type: 'gauge', help: 'Load.' }], lat: [{ type: 'histogram', help: 'Latency.' }] }
      : url.pathname.endsWith('/__name__/values')
        ? ['node_load1', 'lat_bucket', 'rate_limit', 'my.metric']
        : url.pathname.endsWith('/labels')
          ? ['__name__', 'instance', 'job']
          : ['a"b', 'node', 'c.d'];
    return Promise.resolve(new Response(JSON.stringify({ status: 'success', data }), { headers: { 'content-type': 'application/json' } }));
  });
});
afterEach(() => vi.unstubAllGlobals());

async function offered(marked: string) {
  const cursor = marked.indexOf('|');
  return optionsAt(contextAt(marked.replace('|', ''), cursor), new AbortController().signal);
}

test('functions come before metrics that fit as well; metrics tell their type and help', async () => {
  const all = await offered('rate|');
  expect(all[0]).toMatchObject({ text: 'rate', kind: 'function', insert: 'rate()', back: 1, about: 'rate(range-vector)' });
  expect(all.map((one) => one.text)).toContain('rate_limit');
  expect((await offered('lat_|'))[0]).toMatchObject({ text: 'lat_bucket', kind: 'histogram', help: 'Latency.' });
  expect((await offered('my|'))[0]).toMatchObject({ text: 'my.metric', insert: '{"my.metric"}' });
});

test('labels and values are those of the metric at hand, asked once', async () => {
  expect((await offered('up{|')).map((one) => one.text)).toEqual(['__name__', 'instance', 'job']);
  expect((await offered('up{job="x", |}')).map((one) => one.text)).toEqual(['__name__', 'instance']);
  expect((await offered('sum by (|) (up)')).map((one) => one.text)).toEqual(['instance', 'job']);
  expect((await offered('up{zone="z", job="|"}')).map((one) => one.insert)).toEqual(['a\\"b', 'c.d', 'node']);
  expect((await offered('up{job=~"no|')).map((one) => one.text)).toEqual(['node']);
  expect(asked).toEqual(['/api/v1/labels?up', '/api/v1/labels?up{job="x"}', '/api/v1/label/job/values?up{zone="z"}', '/api/v1/label/job/values?up']);
});

test('a value in a pattern is escaped, behind a bar the next one begins', async () => {
  const text = 'up{job=~"node|c"}';
  const all = await optionsAt(contextAt(text, text.indexOf('c"') + 1), new AbortController().signal);
  expect(all[0]).toMatchObject({ text: 'c.d', insert: 'node|c\\\\.d' });
});

test('durations follow the number', async () => {
  expect((await offered('up[5|')).map((one) => one.text)).toEqual(['5m', '5s', '5h', '5d', '5w', '5y', '5ms']);
  expect((await offered('up offset |'))[0]?.text).toBe('5m');
});
