/** The status words: each has its icon, its word and its colour; never colour alone. */
import type { AlertState } from './data.svelte';
import type { Key } from './i18n.svelte';

export type Tone = 'ok' | 'warning' | 'critical' | 'silenced' | 'pending' | 'unknown' | 'info';

export const alertTone = (state: AlertState, severity: string): Tone => {
  if (state === 'silenced' || state === 'inhibited') return 'silenced';
  if (state === 'pending') return 'pending';
  return severity === 'critical' || severity === 'page' ? 'critical' : severity === 'info' || severity === 'none' ? 'info' : 'warning';
};

export const alertWord: Record<AlertState, Key> = {
  firing: 'alert.firing',
  pending: 'alert.pending',
  silenced: 'alert.silenced',
  inhibited: 'alert.inhibited',
};

export const targetTone = { up: 'ok', down: 'critical', unknown: 'unknown' } as const;
export const targetWord = { up: 'target.up', down: 'target.down', unknown: 'target.unknown' } as const;
export const ruleTone = { ok: 'ok', err: 'critical', unknown: 'unknown' } as const;
export const ruleWord = { ok: 'rule.ok', err: 'rule.err', unknown: 'rule.unknown' } as const;
