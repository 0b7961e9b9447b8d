/** Rules as their pages show them. */
import type { Rule, RuleGroup } from './api';
import { at } from './router.svelte';
import { znodeFile } from './rulestore';
import { ruleTone, ruleWord, type Tone } from './status';
import type { Key } from './i18n.svelte';

export interface Shown {
  group: RuleGroup;
  rule: Rule;
  index: number;
}

/** Its word: a failing evaluation first, then what its alerts do, then its health. */
export function standing(rule: Rule): { tone: Tone; word: Key } {
  if (rule.health === 'err') return { tone: 'critical', word: 'rule.err' };
  if (rule.state === 'firing') return { tone: rule.labels?.['severity'] === 'critical' ? 'critical' : 'warning', word: 'alert.firing' };
  if (rule.state === 'pending') return { tone: 'pending', word: 'alert.pending' };
  return { tone: ruleTone[rule.health], word: ruleWord[rule.health] };
}

/** Where a group is from: the file's or znode's name, and our editor's path where it can be edited there. */
export function sourceOf(group: RuleGroup, line?: number): { name: string; editor: string | undefined } {
  const origin = group.origin ?? group.file;
  const znode = znodeFile(origin);
  return { name: znode ?? origin.replace(/^file:/, ''), editor: znode ? `${at('zookeeper', 'rules', znode)}${line ? `?line=${line}` : ''}` : undefined };
}

/** The place that an error names in an expression, if it does: `1:17`. */
export function placeIn(query: string, error: string): { before: string; at: string; after: string } | undefined {
  const match = /(?:^|[^\d])(\d+):(\d+)(?:[^\d]|$)/.exec(error);
  if (!match) return undefined;
  const lines = query.split('\n');
  const line = Number(match[1]) - 1;
  const offset = lines.slice(0, line).reduce((sum, one) => sum + one.length + 1, 0) + Number(match[2]) - 1;
  if (line >= lines.length || offset < 0 || offset >= query.length) return undefined;
  const word = /^(?:[\w:]+|\W)/.exec(query.slice(offset))?.[0] ?? query[offset] ?? '';
  return { before: query.slice(0, offset), at: word, after: query.slice(offset + word.length) };
}
