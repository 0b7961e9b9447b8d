/**
 * Grafana's dashboard JSON (schema 14 to 42) as our pages draw it. Old shapes have become new ones (`migrate.ts`) before they are
 * read here. Any nonsense in the JSON becomes a sentence in its place, never an error thrown.
 */
import { isObject, list, number, object, Reader, text, texts, type Json } from './json';
import { modernPanel, modernRows } from './migrate';
import { readVariables, type Variable } from './variables';

export type Kind = 'timeseries' | 'stat' | 'gauge' | 'bargauge' | 'table' | 'text' | 'unsupported';

export interface Target {
  refId: string;
  expr: string;
  legend: string;
  /** Its least step, as a duration that may have variables. */
  interval: string;
  factor: number;
  instant: boolean;
  table: boolean;
  /** The kind of data source that is not ours. */
  foreign: string;
}

export interface Link {
  title: string;
  url: string;
}

export interface Override {
  matcher: string;
  option: unknown;
  properties: { id: string; value: unknown }[];
}

export interface Transformation {
  id: string;
  options: Json;
}

export interface Panel {
  /** Unlike that of any other panel of the page. */
  key: string;
  id: number;
  kind: Kind;
  /** The kind as the JSON names it. */
  type: string;
  title: string;
  description: string;
  x: number;
  /** Only its order counts: `layout` moves each panel up as far as it goes. */
  y: number;
  w: number;
  h: number;
  targets: Target[];
  links: Link[];
  repeat: string;
  vertical: boolean;
  perRow: number;
  interval: string;
  maxPoints: number;
  timeFrom: string;
  timeShift: string;
  defaults: Json;
  overrides: Override[];
  options: Json;
  transformations: Transformation[];
  problems: string[];
  /** Values that this copy of a repeated panel has instead of those chosen above. */
  fixed?: Record<string, { value: string; text: string }>;
}

export interface Section {
  key: string;
  /** Empty for the panels above the first row. */
  title: string;
  collapsed: boolean;
  repeat: string;
  panels: Panel[];
  fixed?: Record<string, { value: string; text: string }>;
}

export interface Model {
  title: string;
  description: string;
  tags: string[];
  sections: Section[];
  variables: Variable[];
  links: Link[];
  problems: string[];
}

const KINDS = new Set<string>(['timeseries', 'stat', 'gauge', 'bargauge', 'table', 'text']);

/** An address that may become a link: http(s), or a path of this server. Grafana's own `/d/UID/name` is our `/dashboards/UID`. */
export function safeUrl(url: string): string | undefined {
  const trimmed = url.trim();
  const own = /^\/?d\/([\w.~-]+)(?:\/[^?#]*)?(\?[^#]*)?$/.exec(trimmed);
  if (own) return `/dashboards/${own[1]}${own[2] ?? ''}`;
  // The browser drops tabs and line breaks, and takes a backslash for a slash: none of them may be there.
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\\]/.test(trimmed)) return undefined;
  if (/^https?:\/\/[^/]/i.test(trimmed)) return trimmed;
  return /^\/(?!\/)/.test(trimmed) ? trimmed : undefined;
}

function readLinks(value: unknown): Link[] {
  return list(value).flatMap((one) => {
    const link = object(one);
    const url = safeUrl(text(link['url']));
    return url && text(link['type'], 'link') === 'link' ? [{ title: text(link['title']) || url, url }] : [];
  });
}

/** The kind of a data source that is not Prometheus; empty for ours, and for what names a variable or an unknown name. */
function foreignSource(source: unknown, inputs: Record<string, string>): string {
  if (isObject(source)) {
    const type = text(source['type']);
    const uid = text(source['uid']);
    if (uid === '-- Dashboard --') return 'dashboard';
    if (/prometheus|mimir|thanos|victoriametrics/i.test(type)) return '';
    // An expression's own source has no type in some versions; "Mixed" leaves it to the queries.
    if (!type || /^(datasource|mixed)$/.test(type)) return uid === '__expr__' ? 'expression' : uid === 'grafana' ? 'grafana' : '';
    return type === '__expr__' ? 'expression' : type;
  }
  const name = text(source);
  const input = /^\$\{?(\w+)\}?$/.exec(name)?.[1];
  if (input && inputs[input] && !/prometheus/i.test(inputs[input])) return inputs[input];
  return name === '-- Dashboard --' ? 'dashboard' : name === '-- Grafana --' ? 'grafana' : '';
}

function readTarget(value: unknown, index: number, panelSource: string, inputs: Record<string, string>): Target | undefined {
  if (!isObject(value) || value['hide'] === true) return undefined;
  const own = value['datasource'] === undefined || value['datasource'] === null ? panelSource : foreignSource(value['datasource'], inputs);
  const expr = text(value['expr']);
  const foreign = own || (expr.trim() ? '' : text(value['type']) || (Object.keys(value).some((name) => /^(rawSql|query|rawQuery|target|measurement|expression)$/.test(name)) ? 'query' : ''));
  if (!expr.trim() && !foreign) return undefined;
  return {
    refId: text(value['refId']) || String.fromCharCode(65 + (index % 26)), expr, foreign,
    legend: text(value['legendFormat']), interval: text(value['interval']), factor: Math.max(1, number(value['intervalFactor']) ?? 1),
    // Where both are asked for, the range is the richer answer.
    instant: value['instant'] === true && value['range'] !== true, table: value['format'] === 'table',
  };
}

function readOverrides(value: unknown): Override[] {
  return list(value).flatMap((one) => {
    const { matcher, properties } = object(one);
    const id = text(object(matcher)['id']);
    return id ? [{ matcher: id, option: object(matcher)['options'], properties: list(properties).map(object).map((property) => ({ id: text(property['id']), value: property['value'] })) }] : [];
  });
}

function readPanel(raw: unknown, key: string, inputs: Record<string, string>): Panel {
  const read = new Reader();
  const json = isObject(raw) ? modernPanel(raw) : {};
  if (!isObject(raw)) read.problems.push('an object is expected');
  const type = read.text(json, 'type');
  if (isObject(raw) && !type) read.problems.push('type: it is missing');
  const grid = read.object(json, 'gridPos');
  const config = read.object(json, 'fieldConfig');
  const source = foreignSource(json['datasource'], inputs);
  const w = Math.max(1, Math.min(24, Math.round(number(grid['w']) ?? 12)));
  return {
    key, id: number(json['id']) ?? 0, kind: KINDS.has(type) ? (type as Kind) : 'unsupported', type, title: read.text(json, 'title'), description: read.text(json, 'description'),
    x: Math.max(0, Math.min(24 - w, Math.round(number(grid['x']) ?? 0))), y: Math.max(0, number(grid['y']) ?? Number.MAX_SAFE_INTEGER), w, h: Math.max(2, Math.min(60, Math.round(number(grid['h']) ?? 8))),
    targets: read.list(json, 'targets').flatMap((one, index) => readTarget(one, index, source, inputs) ?? []),
    links: readLinks(json['links']), repeat: text(json['repeat']), vertical: json['repeatDirection'] === 'v', perRow: Math.max(1, Math.min(24, number(json['maxPerRow']) ?? 4)),
    interval: text(json['interval']), maxPoints: number(json['maxDataPoints']) ?? 0, timeFrom: text(json['timeFrom']), timeShift: text(json['timeShift']),
    defaults: read.object(config, 'defaults'), overrides: readOverrides(read.list(config, 'overrides')), options: read.object(json, 'options'),
    transformations: read.list(json, 'transformations').map(object).filter((one) => one['disabled'] !== true).map((one) => ({ id: text(one['id']), options: object(one['options']) })),
    problems: read.problems,
  };
}

const byPlace = (a: Panel, b: Panel): number => a.y - b.y || a.x - b.x;

/** The dashboard within whatever a file holds: the JSON itself, or the envelope of an API's answer. */
export function unwrap(json: unknown): unknown {
  if (!isObject(json)) return json;
  if (isObject(json['dashboard']) && !json['panels'] && !json['rows']) return json['dashboard'];
  if (isObject(json['spec']) && (Array.isArray(json['spec']['panels']) || Array.isArray(json['spec']['rows']))) return json['spec'];
  return json;
}

export type NotDashboard = 'no_object' | 'no_panels' | 'version_2';

/** Why this is no dashboard that can be shown; `undefined` where it is one. */
export function notDashboard(json: unknown): NotDashboard | undefined {
  if (!isObject(json)) return 'no_object';
  if (isObject(json['elements']) || (isObject(json['spec']) && isObject(json['spec']['elements']))) return 'version_2';
  return Array.isArray(json['panels']) || Array.isArray(json['rows']) ? undefined : 'no_panels';
}

export function readDashboard(source: unknown): Model {
  const json = object(source);
  const read = new Reader();
  const inputs = Object.fromEntries(list(json['__inputs']).map(object).map((input) => [text(input['name']), text(input['pluginId'])]));
  const flat = Array.isArray(json['rows']) && !Array.isArray(json['panels']) ? modernRows(json['rows']) : read.list(json, 'panels');
  const sections: Section[] = [];
  const fresh = (title: string, raw: Json = {}): Section => {
    const section = { key: `s${sections.length}`, title, collapsed: raw['collapsed'] === true, repeat: text(raw['repeat']), panels: [] };
    sections.push(section);
    return section;
  };
  // Panels belong to the row above them; their order in the list says nothing, their place does.
  const placed = flat.map((raw, index) => ({ raw, index, y: number(object(object(raw)['gridPos'])['y']) ?? index, x: number(object(object(raw)['gridPos'])['x']) ?? 0 })).sort((a, b) => a.y - b.y || a.x - b.x || a.index - b.index);
  const shut = new Set<Section>();
  let section: Section | undefined;
  for (const { raw, index } of placed) {
    if (object(raw)['type'] === 'row') {
      section = fresh(text(object(raw)['title']), object(raw));
      if (section.collapsed && list(object(raw)['panels']).length) shut.add(section);
      section.panels = list(object(raw)['panels']).map((one, inner) => readPanel(one, `p${index}-${inner}`, inputs)).sort(byPlace);
    } else {
      // A row that is shut has its panels inside itself: what lies below it is not its own.
      if (!section || shut.has(section)) section = fresh('');
      section.panels.push(readPanel(raw, `p${index}`, inputs));
    }
  }
  return { title: read.text(json, 'title'), description: read.text(json, 'description'), tags: texts(json['tags']), sections, variables: readVariables(read.list(read.object(json, 'templating'), 'list')), links: readLinks(json['links']), problems: read.problems };
}
