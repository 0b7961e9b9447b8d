/** The rules in the text of a rule file, as far as they can be read here. */
import { parseDuration } from './time.svelte';
import { readYaml, type Node } from './yaml';

export interface TextRule {
  group: string;
  /** Seconds between two evaluations; 0 where the file does not say. */
  interval: number;
  kind: 'alert' | 'record';
  name: string;
  expression: string;
  /** Seconds. */
  forSeconds: number;
  keepFiringFor: number;
  labels: Record<string, string>;
  line: number;
}

const get = (node: Node | undefined, key: string): Node | undefined => (node?.value instanceof Map ? node.value.get(key) : undefined);
const items = (node: Node | undefined): Node[] => (Array.isArray(node?.value) ? node.value : []);
const text = (node: Node | undefined): string => (typeof node?.value === 'string' ? node.value.trim() : '');
const seconds = (node: Node | undefined): number => (parseDuration(text(node)) ?? 0) / 1000;

/** `undefined`: not readable here. */
export function rulesIn(source: string): TextRule[] | undefined {
  const document = readYaml(source);
  if (!document) return source.trim() ? undefined : [];
  return items(get(document, 'groups')).flatMap((group) =>
    items(get(group, 'rules')).flatMap((rule): TextRule[] => {
      const [alert, record, expression] = [text(get(rule, 'alert')), text(get(rule, 'record')), text(get(rule, 'expr'))];
      if ((!alert && !record) || !expression) return [];
      const labels = get(rule, 'labels')?.value;
      return [
        {
          group: text(get(group, 'name')),
          interval: seconds(get(group, 'interval')),
          kind: alert ? 'alert' : 'record',
          name: alert || record,
          expression,
          forSeconds: seconds(get(rule, 'for')),
          keepFiringFor: seconds(get(rule, 'keep_firing_for')),
          labels: labels instanceof Map ? Object.fromEntries([...labels].map(([name, node]) => [name, text(node)])) : {},
          line: rule.line,
        },
      ];
    }),
  );
}

/** What decides when a rule fires: two that agree in it behave alike. */
export const behaviour = (rule: TextRule): string => JSON.stringify([rule.expression, rule.forSeconds, rule.keepFiringFor, rule.interval, rule.labels]);
