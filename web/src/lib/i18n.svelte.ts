/** Texts in the reader's language. English comes with the page, others when they are asked for. */
import en from '../i18n/en.json';
import { keep, recall, type Language } from './settings.svelte';

type Message = string | { one: string; other: string };
type Messages = Record<string, Message>;
export type Key = keyof typeof en;

const loaders: Record<Language, () => Promise<Messages>> = {
  en: async () => en,
  zh: async () => (await import('../i18n/zh.json')).default,
};

class Texts {
  language = $state<Language>('en');
  messages = $state.raw<Messages>(en);
  plural = $state.raw(new Intl.PluralRules('en'));
}

const texts = new Texts();

export function language(): Language {
  return texts.language;
}

/** The tag for `Intl`: English readers get ISO-like dates with a 24 h clock, whatever their region's habit. */
export function locale(): string {
  return texts.language === 'zh' ? 'zh-CN' : 'en-GB';
}

export async function setLanguage(language: Language, remember = true): Promise<void> {
  const messages = await loaders[language]();
  texts.messages = messages;
  texts.plural = new Intl.PluralRules(language);
  texts.language = language;
  document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
  if (remember) keep('language', language);
}

export function preferredLanguage(): Language {
  const saved = recall('language');
  if (saved === 'en' || saved === 'zh') return saved;
  return navigator.languages?.some((tag) => tag.toLowerCase().startsWith('zh')) && !navigator.languages[0]?.startsWith('en') ? 'zh' : 'en';
}

/** The text of `key`; `{name}` is replaced by `values.name`; `values.n` chooses between one and many. */
export function t(key: Key, values: Record<string, string | number> = {}): string {
  const message = texts.messages[key] ?? (en as Messages)[key] ?? key;
  const text = typeof message === 'string' ? message : message[texts.plural.select(Number(values['n'] ?? 0)) === 'one' ? 'one' : 'other'];
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}
