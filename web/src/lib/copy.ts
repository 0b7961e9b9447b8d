import { t } from './i18n.svelte';
import { toasts } from './toasts.svelte';

/** Copies text. Over plain HTTP from another host the clipboard is not offered; then the old way. */
export async function copy(text: string, said = t('copied')): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'visually-hidden';
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    if (!done) {
      toasts.say(t('copy_failed', { text }), true);
      return;
    }
  }
  toasts.say(said);
}
