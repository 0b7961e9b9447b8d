import { expect, test } from 'vitest';
import { changeText } from '../src/lib/changetext';
import { setLanguage } from '../src/lib/i18n.svelte';
import { shown } from '../src/lib/shown';

test('marks that turn the order around are seen, long texts end', () => {
  expect(shown('a\u202egpj.exe')).toBe('a⟨U+202E⟩gpj.exe');
  expect(shown('x'.repeat(1000)).length).toBe(301);
  expect(shown('数据 ok')).toBe('数据 ok');
});

test('what changed is told in both languages, and unknown words as they came', async () => {
  const told = ['db2:9100 (node) went down: connection refused', 'DiskFull fires on web1', 'Watchdog is over', 'hosts.yml was refused, line 3: bad', 'ZooKeeper is away', 'silence made by li: a: b'];
  expect(told.map(changeText)).toEqual(told);
  await setLanguage('zh', false);
  for (const text of told) expect(changeText(text)).toMatch(/[\u4e00-\u9fff]/);
  expect(changeText('db2:9100 (node) went down: connection refused')).toContain('db2:9100');
  expect(changeText('something else')).toBe('something else');
  await setLanguage('en', false);
});
