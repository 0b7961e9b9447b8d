/** Keys of the whole app. None while typing; single keys can be turned off. */
import { at, router } from './router.svelte';
import { settings } from './settings.svelte';
import { range } from './time.svelte';

class Open {
  keys = $state(false);
  find = $state(false);
}

export const open = new Open();

export const GO: Record<string, string> = {
  o: '/', h: '/hosts', e: '/explore', t: '/targets', a: '/alerts', r: '/rules', s: '/silences', n: '/notifications', z: '/zookeeper', i: '/status',
};

let leader = 0;

function typing(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  return target instanceof HTMLElement && (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName));
}

/** Rows that `j` and `k` walk: anything marked `data-row`, by the first link or button in it. */
function walk(step: 1 | -1): void {
  const rows = [...document.querySelectorAll<HTMLElement>('main [data-row]')];
  const current = rows.findIndex((row) => row.contains(document.activeElement));
  const next = rows[current < 0 ? (step > 0 ? 0 : rows.length - 1) : current + step];
  next?.querySelector<HTMLElement>('a[href], button')?.focus();
}

export function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented) return;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === 'k') {
    event.preventDefault();
    open.find = true;
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event) || document.querySelector('dialog[open]')) return;
  if (!settings.keys) return;
  if (leader && Date.now() - leader < 1500) {
    leader = 0;
    const path = GO[event.key];
    if (path) {
      event.preventDefault();
      router.go(router.href(path));
      return;
    }
  }
  switch (event.key) {
    case '?':
      open.keys = true;
      break;
    case '/':
      open.find = true;
      break;
    case 'g':
      leader = Date.now();
      return;
    case 't':
      settings.toggleTheme();
      break;
    case 'j':
      walk(1);
      break;
    case 'k':
      walk(-1);
      break;
    case 's': {
      const row = document.activeElement?.closest('[data-row]') ?? document.querySelector('main');
      row?.querySelector<HTMLElement>('button[data-silence]')?.click();
      break;
    }
    case '-':
      range.zoom(1);
      break;
    case '=':
      range.zoom(-1);
      break;
    case '[':
      range.shift(-1);
      break;
    case ']':
      range.shift(1);
      break;
    default:
      return;
  }
  event.preventDefault();
}

export const hostPath = (instance: string): string => at('hosts', instance);
