import { expect, test } from 'vitest';
import { diffLines, hunksBetween, linesOf, merge, parseUnified } from '../src/lib/diff';
import { placeIn, sourceOf } from '../src/lib/rules';
import { behaviour, rulesIn } from '../src/lib/ruletext';
import { znodeFile } from '../src/lib/rulestore';
import { STARTER } from '../src/lib/starter';
import { refusal } from '../src/lib/zookeeper';

const shown = (a: string, b: string) => diffLines(linesOf(a), linesOf(b)).map(({ kind, text }) => kind + text).join('|');

test('a difference is the shortest', () => {
  expect(shown('a\nb\nc\n', 'a\nx\nc\n')).toBe(' a|-b|+x| c');
  expect(shown('', 'a\n')).toBe('+a');
  expect(shown('a\n', '')).toBe('-a');
  expect(shown('a\nb\nc\nd\n', 'b\nc\nd\ne\n')).toBe('-a| b| c| d|+e');
  expect(shown('a\nb\na\nb\n', 'b\na\nb\na\n')).toBe('-a| b| a| b|+a');
});

test('a difference makes the one text of the other, whatever they are', () => {
  // A small generator with a fixed seed: the same texts each time.
  let seed = 7;
  const next = (n: number) => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n;
  for (let round = 0; round < 200; round += 1) {
    const text = () => Array.from({ length: next(14) }, () => 'abcd'[next(4)] ?? '');
    const [a, b] = [text(), text()];
    const lines = diffLines(a, b);
    expect(lines.filter((line) => line.kind !== '+').map((line) => line.text)).toEqual(a);
    expect(lines.filter((line) => line.kind !== '-').map((line) => line.text)).toEqual(b);
    lines.forEach((line) => {
      if (line.old !== undefined) expect(a[line.old - 1]).toBe(line.text);
      if (line.new !== undefined) expect(b[line.new - 1]).toBe(line.text);
    });
  }
});

test('texts without anything in common are told as replaced, soon', () => {
  const many = (letter: string) => Array.from({ length: 4000 }, (_, index) => `${letter}${index}`).join('\n');
  const started = performance.now();
  expect(hunksBetween(many('a'), many('b'))[0]?.lines.length).toBe(8000);
  expect(performance.now() - started).toBeLessThan(5000);
});

test('hunks leave out what is equal, and say how much', () => {
  const base = Array.from({ length: 40 }, (_, index) => `line ${index + 1}`);
  const changed = base.with(4, 'five').with(30, 'thirty-one');
  const hunks = hunksBetween(base.join('\n'), changed.join('\n'));
  expect(hunks.map((hunk) => [hunk.skipped, hunk.lines.length])).toEqual([[1, 8], [19, 8]]);
});

test('the server’s difference is read with its line numbers', () => {
  const [hunk] = parseUnified('--- now: a.yml\n+++ new: a.yml\n@@ -9,3 +9,3 @@\n i\n-j\n+x\n k\n');
  expect(hunk?.skipped).toBe(8);
  expect(hunk?.lines).toEqual([
    { kind: ' ', text: 'i', old: 9, new: 9 },
    { kind: '-', text: 'j', old: 10 },
    { kind: '+', text: 'x', new: 10 },
    { kind: ' ', text: 'k', old: 11, new: 11 },
  ]);
  expect(parseUnified('--- /dev/null\n+++ new: a.yml\n@@ -0,0 +1,1 @@\n+--- a\n')[0]?.lines).toEqual([{ kind: '+', text: '--- a', new: 1 }]);
});

test('changes that do not touch each other merge; others do not', () => {
  const base = 'a\nb\nc\nd\ne\nf\n';
  expect(merge(base, 'A\nb\nc\nd\ne\nf\n', 'a\nb\nc\nd\ne\nF\n')).toBe('A\nb\nc\nd\ne\nF\n');
  expect(merge(base, 'a\nb\nc\nd\ne\nf\nmine\n', 'theirs\na\nb\nc\nd\ne\nf\n')).toBe('theirs\na\nb\nc\nd\ne\nf\nmine\n');
  expect(merge(base, 'a\nx\nc\nd\ne\nf\n', 'a\ny\nc\nd\ne\nf\n')).toBeUndefined();
  expect(merge(base, 'a\nx\nc\nd\ne\nf\n', 'a\nb\ny\nd\ne\nf\n')).toBeUndefined();
  // Both did the same.
  expect(merge(base, 'a\nx\nc\nd\ne\nf\n', 'a\nx\nc\nd\ne\nF\n')).toBe('a\nx\nc\nd\ne\nF\n');
});

test('rules are read from a text', () => {
  const rules = rulesIn(`# comment
groups:
- name: "a b"   # said
  interval: 1m
  rules:
    - alert: Down
      expr: up == 0  # nobody
      for: 1m30s
      labels: {severity: critical, team: 'it''s us'}
      annotations:
        summary: >-
          folded
          text: with a colon
    - record: job:x:sum
      expr: |
        sum by (job) (
          x{a="}: {"}
        )
    - alert: 'Quoted: name'
      expr: "up{job=\\"a\\"} == 0"
      keep_firing_for: 5m
      labels:
        severity: warning
    - alert: Many
      expr: a
        > 1
- name: second
  rules:
  - {alert: Flow, expr: "b > 2"}
`);
  expect(rules?.map((rule) => [rule.group, rule.kind, rule.name, rule.expression, rule.line])).toEqual([
    ['a b', 'alert', 'Down', 'up == 0', 6],
    ['a b', 'record', 'job:x:sum', 'sum by (job) (\n  x{a="}: {"}\n)', 14],
    ['a b', 'alert', 'Quoted: name', 'up{job="a"} == 0', 19],
    ['a b', 'alert', 'Many', 'a > 1', 24],
    ['second', 'alert', 'Flow', 'b > 2', 29],
  ]);
  expect(rules?.[0]).toMatchObject({ interval: 60, forSeconds: 90, labels: { severity: 'critical', team: "it's us" } });
  expect(rules?.[2]).toMatchObject({ keepFiringFor: 300, labels: { severity: 'warning' } });
});

test('what is beyond the reader is not guessed at', () => {
  expect(rulesIn('groups: &anchor\n- name: a\n')).toBeUndefined();
  expect(rulesIn('groups:\n  - name: a\n    rules: [')).toBeUndefined();
  expect(rulesIn('')).toEqual([]);
  expect(rulesIn('groups:\n')).toEqual([]);
});

test('the six rules to begin with are six, and differ', () => {
  const rules = rulesIn(STARTER) ?? [];
  expect(rules.map((rule) => rule.kind)).toEqual(Array(6).fill('alert'));
  expect(new Set(rules.map(behaviour)).size).toBe(6);
});

test('where rules are from', () => {
  expect(znodeFile('zookeeper:/watchkeeper/rules/team/a.yml')).toBe('team/a.yml');
  expect(znodeFile('rules/a.yml')).toBeUndefined();
  const group = { name: 'g', file: '/w/rules/a b.yml', origin: 'zookeeper:/w/rules/a b.yml', interval: 1, evaluationTime: 0, lastEvaluation: '', rules: [] };
  expect(sourceOf(group, 7)).toEqual({ name: 'a b.yml', editor: '/zookeeper/rules/a%20b.yml?line=7' });
  expect(refusal('14:3: unknown key')).toEqual({ line: 14, reason: 'unknown key' });
  expect(refusal('no permission')).toEqual({ line: undefined, reason: 'no permission' });
});

test('an error that names its place is shown there', () => {
  expect(placeIn('sum(rat(up))', '1:5: parse error: unknown function')).toEqual({ before: 'sum(', at: 'rat', after: '(up))' });
  expect(placeIn('a +\n b', '2:2: x')).toEqual({ before: 'a +\n ', at: 'b', after: '' });
  expect(placeIn('up', 'duplicate series for {instance="a:9100"}')).toBeUndefined();
});
