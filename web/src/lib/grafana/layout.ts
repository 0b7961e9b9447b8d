/** From sections to what stands on the page: repeated rows and panels made as often as their variable has values, each in its place. */
import type { VariableValue } from './interpolate';
import type { Panel, Section } from './model';

/** More copies than this are not made; the page says so. */
export const MOST_COPIES = 50;

export interface Laid {
  sections: Section[];
  /** Variables whose copies were too many. */
  cut: string[];
}

type Fixed = Record<string, { value: string; text: string }>;

function copies(name: string, variables: Record<string, VariableValue>, cut: Set<string>): Fixed[] {
  const value = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (!name || !value?.values.length) return [{}];
  if (value.values.length > MOST_COPIES) cut.add(name);
  return value.values.slice(0, MOST_COPIES).map((one) => ({ [name]: { value: one, text: one } }));
}

function panelsOf(panels: Panel[], variables: Record<string, VariableValue>, fixed: Fixed, cut: Set<string>): Panel[] {
  const out: Panel[] = [];
  // What stood below a repeated panel goes down by the lines that its copies need.
  let down = 0;
  for (const panel of panels) {
    const all = panel.repeat in fixed ? [{}] : copies(panel.repeat, variables, cut);
    const repeated = !!panel.repeat && all.some((one) => Object.keys(one).length);
    if (!repeated) {
      out.push({ ...panel, y: panel.y + down, ...(Object.keys(fixed).length ? { fixed, key: `${panel.key} ${JSON.stringify(fixed)}` } : {}) });
      continue;
    }
    const perLine = panel.vertical ? 1 : Math.min(all.length, panel.perRow);
    const w = panel.vertical ? panel.w : Math.floor(24 / perLine);
    const before = down;
    all.forEach((one, index) => {
      const line = Math.floor(index / perLine);
      out.push({ ...panel, w, x: panel.vertical ? panel.x : (index % perLine) * w, y: panel.y + before + line * panel.h, fixed: { ...fixed, ...one }, key: `${panel.key} ${JSON.stringify({ ...fixed, ...one })}` });
    });
    down += (Math.ceil(all.length / perLine) - 1) * panel.h;
  }
  return risen(out);
}

/** Each panel as far up as those above it let it, as Grafana does: no holes, whatever numbers stand in the JSON. */
function risen(panels: Panel[]): Panel[] {
  const heights = new Array<number>(24).fill(0);
  return [...panels].sort((a, b) => a.y - b.y || a.x - b.x).map((panel) => {
    const y = Math.max(...heights.slice(panel.x, panel.x + panel.w));
    heights.fill(y + panel.h, panel.x, panel.x + panel.w);
    return { ...panel, y };
  });
}

export function layout(sections: Section[], variables: Record<string, VariableValue>): Laid {
  const cut = new Set<string>();
  const out = sections.flatMap((section) =>
    copies(section.repeat, variables, cut).map((fixed) => {
      const suffix = Object.keys(fixed).length ? ` ${JSON.stringify(fixed)}` : '';
      return { ...section, key: section.key + suffix, ...(suffix ? { fixed } : {}), panels: panelsOf(section.panels, variables, fixed, cut) };
    }),
  );
  return { sections: out, cut: [...cut] };
}

/** A copy's own values in place of those chosen above. */
export function withFixed(variables: Record<string, VariableValue>, fixed: Fixed | undefined): Record<string, VariableValue> {
  if (!fixed) return variables;
  const own = Object.entries(fixed).map(([name, one]): [string, VariableValue] => [name, { values: [one.value], text: one.text, multi: variables[name]?.multi ?? true }]);
  return { ...variables, ...Object.fromEntries(own) };
}
