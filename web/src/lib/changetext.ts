/** What the server says in "What changed", in the reader's language. What it says otherwise is shown as it came. */
import { t, type Key } from './i18n.svelte';
import { shown } from './shown';

const KNOWN: [RegExp, Key, string[]][] = [
  [/^(.+) \((.+)\) went down: (.*)$/s, 'change.down', ['name', 'job', 'reason']],
  [/^(.+) \((.+)\) is up again$/s, 'change.up', ['name', 'job']],
  [/^(.+) fires on (.+)$/s, 'change.fires_on', ['name', 'host']],
  [/^(.+) is over on (.+)$/s, 'change.over_on', ['name', 'host']],
  [/^(\S+) fires(: .*)?$/s, 'change.fires', ['name', 'labels']],
  [/^(\S+) is over(: .*)?$/s, 'change.over', ['name', 'labels']],
  [/^silence made by (.*?): (.*)$/s, 'change.silence_made', ['name', 'comment']],
  [/^silence ended, made by (.*?): (.*)$/s, 'change.silence_ended', ['name', 'comment']],
  [/^(.+) was refused, line (\d+): (.*)$/s, 'change.file_refused', ['name', 'line', 'reason']],
  [/^dashboard (.+) was removed$/s, 'change.dashboard_removed', ['name']],
  [/^dashboard (.+) changed$/s, 'change.dashboard_changed', ['name']],
  [/^the configuration changed$/, 'change.config', []],
  [/^the configuration was refused, in whole or in part/, 'change.config_refused', []],
  [/^the configuration in ZooKeeper was refused: (.*)$/s, 'change.znode_refused', ['reason']],
  [/^the configuration in ZooKeeper is right again: (.*)$/s, 'change.znode_right', ['name']],
  [/^this server tells people$/, 'change.leads', []],
  [/^this server tells people without ZooKeeper$/, 'change.acts', []],
  [/^(.+) tells people$/s, 'change.other_leads', ['name']],
  [/^ZooKeeper is live$/, 'change.zk_live', []],
  [/^ZooKeeper is (?:away|disconnected)$/, 'change.zk_away', []],
  [/^ZooKeeper was gone for a moment and is live again$/, 'change.zk_back', []],
  [/^(.+) was added$/s, 'change.file_added', ['name']],
  [/^(.+) was removed$/s, 'change.file_removed', ['name']],
  [/^(.+) changed$/s, 'change.file_changed', ['name']],
];

export function changeText(text: string): string {
  for (const [pattern, key, names] of KNOWN) {
    const match = pattern.exec(text);
    if (match) return t(key, Object.fromEntries(names.map((name, at) => [name, shown(match[at + 1] ?? '')])));
  }
  return shown(text, 600);
}
