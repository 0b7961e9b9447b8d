/**
 * Changes to a dashboard's JSON as stored: whatever this program does not know in it stays as it is. Panels stand in one list, in the
 * order of reading, and their places on the grid follow from it.
 */
import type { Unit } from '../format';
import { isObject, list, number, object, text, type Json } from './json';

const UNITS: Record<Unit, string> = { none: 'short', bytes: 'bytes', 'bytes/s': 'binBps', 'bits/s': 'bps', seconds: 's', percent: 'percent', ratio: 'percentunit', '/s': 'cps', celsius: 'celsius', days: 'd', cores: 'short', timestamp: 'none' };

export interface NewPanel {
  title: string;
  queries: { expression: string; name?: string | undefined }[];
  unit: Unit;
  stacked: boolean;
}

/** One of ours as Grafana would write it. */
export function panelOf(panel: NewPanel): Json {
  return {
    type: 'timeseries', title: panel.title, datasource: { type: 'prometheus', uid: '${datasource}' },
    fieldConfig: { defaults: { unit: UNITS[panel.unit], color: { mode: 'palette-classic' }, custom: { drawStyle: 'line', lineWidth: 1, fillOpacity: panel.stacked ? 25 : 0, showPoints: 'auto', spanNulls: false, stacking: { mode: panel.stacked ? 'normal' : 'none', group: 'A' } } }, overrides: [] },
    options: { legend: { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [] }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: panel.queries.map((query, index) => ({ refId: String.fromCharCode(65 + (index % 26)), datasource: { type: 'prometheus', uid: '${datasource}' }, expr: query.expression, legendFormat: query.name ?? '__auto', range: true })),
  };
}

export function emptyDashboard(title: string): Json {
  return {
    title, tags: [], schemaVersion: 39, editable: true, graphTooltip: 1, timezone: 'browser', refresh: '', time: { from: 'now-1h', to: 'now' }, annotations: { list: [] }, links: [],
    templating: { list: [{ name: 'datasource', type: 'datasource', query: 'prometheus', label: 'Data source', hide: 2, current: {} }] }, panels: [],
  };
}

export const panelsOf = (dashboard: Json): Json[] => list(dashboard['panels']).filter(isObject);
const sizeOf = (panel: Json): { w: number; h: number } => {
  const grid = object(panel['gridPos']);
  return panel['type'] === 'row' ? { w: 24, h: 1 } : { w: Math.max(1, Math.min(24, number(grid['w']) ?? 12)), h: Math.max(2, number(grid['h']) ?? 8) };
};

/** In the order of reading: by place, as the page shows them. */
function inOrder(panels: Json[]): Json[] {
  const at = (panel: Json, side: string) => number(object(panel['gridPos'])[side]) ?? 0;
  return panels.map((panel, index) => ({ panel, index })).sort((a, b) => at(a.panel, 'y') - at(b.panel, 'y') || at(a.panel, 'x') - at(b.panel, 'x') || a.index - b.index).map(({ panel }) => panel);
}

/** Sets all panels in lines of 24 columns, in their order. */
function flow(panels: Json[]): Json[] {
  let x = 0;
  let y = 0;
  let tall = 0;
  return panels.map((panel) => {
    const { w, h } = sizeOf(panel);
    if (x + w > 24) {
      x = 0;
      y += tall;
      tall = 0;
    }
    const placed = { ...panel, gridPos: { x, y, w, h } };
    x += w;
    tall = Math.max(tall, h);
    return placed;
  });
}

const withPanels = (dashboard: Json, panels: Json[]): Json => ({ ...dashboard, panels: flow(panels) });

export function addPanel(dashboard: Json, panel: Json): Json {
  const all = panelsOf(dashboard);
  const nested = all.flatMap((one) => list(one['panels']).map(object));
  const id = [...all, ...nested].reduce((most, one) => Math.max(most, number(one['id']) ?? 0), 0) + 1;
  // The others stay where they are: it goes below them, beside the last where there is room.
  const bottom = all.reduce((low, one) => Math.max(low, (number(object(one['gridPos'])['y']) ?? 0) + sizeOf(one).h), 0);
  const last = inOrder(all).at(-1);
  const grid = object(last?.['gridPos']);
  const beside = last && last['type'] !== 'row' && number(grid['x']) === 0 && sizeOf(last).w === 12;
  const gridPos = beside ? { x: 12, y: number(grid['y']) ?? 0, w: 12, h: sizeOf(last).h } : { x: 0, y: bottom, w: 12, h: 8 };
  return { ...dashboard, panels: [...list(dashboard['panels']), { ...panel, id, gridPos }] };
}

/** The panels in the order of reading; what the functions below call by number. */
export const ordered = (dashboard: Json): Json[] => inOrder(panelsOf(dashboard));

export function movePanel(dashboard: Json, index: number, by: -1 | 1): Json {
  const all = ordered(dashboard);
  const [from, to] = [all[index], all[index + by]];
  if (!from || !to) return dashboard;
  all[index] = to;
  all[index + by] = from;
  return withPanels(dashboard, all);
}

export function removePanel(dashboard: Json, index: number): Json {
  return withPanels(dashboard, ordered(dashboard).filter((_, at) => at !== index));
}

export function renamePanel(dashboard: Json, index: number, title: string): Json {
  return { ...dashboard, panels: ordered(dashboard).map((panel, at) => (at === index ? { ...panel, title } : panel)) };
}

export const isWide = (panel: Json): boolean => sizeOf(panel).w > 12;

export function setWide(dashboard: Json, index: number, wide: boolean): Json {
  return withPanels(dashboard, ordered(dashboard).map((panel, at) => (at === index ? { ...panel, gridPos: { ...object(panel['gridPos']), w: wide ? 24 : 12 } } : panel)));
}

export const rename = (dashboard: Json, title: string): Json => ({ ...dashboard, title });
export const titleOf = (dashboard: Json): string => text(dashboard['title']);
