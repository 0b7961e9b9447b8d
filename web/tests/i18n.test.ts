import { expect, test } from 'vitest';
import en from '../src/i18n/en.json';
import zh from '../src/i18n/zh.json';
import { DASHBOARDS } from '../src/lib/dashboards';
import { setLanguage, t } from '../src/lib/i18n.svelte';

const sources = Object.values(import.meta.glob<string>('../src/**/*.{svelte,ts}', { query: '?raw', import: 'default', eager: true }));

test('all languages have the same keys', () => {
  expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
});

test('all languages have the same gaps to fill', () => {
  const gaps = (message: unknown) => [...new Set([...JSON.stringify(message).matchAll(/\{(\w+)\}/g)].map((match) => match[1]))].sort();
  for (const key of Object.keys(en) as (keyof typeof en)[]) expect(gaps(zh[key]), key).toEqual(gaps(en[key]));
});

test('each key that the sources name exists, and so do the texts of all panels', () => {
  const used = new Set(sources.flatMap((text) => [...text.matchAll(/\bt\('([a-z0-9_.]+)'/g)].map((match) => match[1] ?? '')));
  expect(used.size).toBeGreaterThan(200);
  for (const key of used) expect(en, key).toHaveProperty([key]);
  for (const panel of DASHBOARDS.flatMap((dashboard) => dashboard.panels)) {
    for (const key of [panel.title, panel.about, ...panel.queries.flatMap((query) => (query.name ? [query.name] : []))]) expect(en, key).toHaveProperty([key]);
  }
});

test('one and many differ in English, not in Chinese', async () => {
  expect(t('overview.down', { n: 1 })).toBe('1 target down');
  expect(t('overview.down', { n: 2 })).toBe('2 targets down');
  await setLanguage('zh', false);
  expect(t('overview.down', { n: 2 })).toBe('2 个目标离线');
  await setLanguage('en', false);
});
