/** Old shapes of Grafana's dashboards become today's: rows of 12 columns, `graph`, `singlestat`, the table of `styles`, pie charts. */
import { isObject, list, number, object, text, texts, type Json } from './json';

/** Panels of the old `rows`, on the grid of 24 columns. */
export function modernRows(rows: unknown[]): Json[] {
  const out: Json[] = [];
  const titled = rows.some((row) => object(row)['showTitle'] === true || object(row)['collapse'] === true || text(object(row)['repeat']));
  let y = 0;
  for (const row of rows.map(object)) {
    const collapsed = row['collapse'] === true;
    const panels: Json[] = [];
    const height = Math.max(3, Math.ceil((number(text(row['height']).replace(/px$/, '')) ?? 250) / 38));
    const head = y;
    if (titled) y += 1;
    let x = 0;
    let tall = 0;
    for (const panel of list(row['panels']).filter(isObject)) {
      const w = Math.max(1, Math.min(24, Math.floor((number(panel['span']) ?? 4) * 2)));
      const own = number(text(panel['height']).replace(/px$/, ''));
      const h = own ? Math.max(3, Math.ceil(own / 38)) : height;
      if (x + w > 24) {
        x = 0;
        y += tall;
        tall = 0;
      }
      panels.push({ ...panel, gridPos: isObject(panel['gridPos']) ? panel['gridPos'] : { x, y, w, h } });
      x += w;
      tall = Math.max(tall, h);
    }
    y += tall;
    if (titled) out.push({ type: 'row', title: row['title'], collapsed, repeat: row['repeat'], gridPos: { x: 0, y: head, w: 24, h: 1 }, panels: collapsed ? panels : [] });
    if (!titled || !collapsed) out.push(...panels);
  }
  return out;
}

const CALCS: Record<string, string> = { current: 'lastNotNull', avg: 'mean', total: 'sum', first: 'firstNotNull', last: 'last', min: 'min', max: 'max', delta: 'delta', diff: 'diff', range: 'range', count: 'count', name: 'name', last_time: 'lastTime' };
const calc = (name: unknown): string => CALCS[text(name)] ?? (text(name) || 'lastNotNull');

/** Old value and range maps, and the mixed list of version 7. */
function modernMappings(json: Json): Json[] {
  const out: Json[] = [];
  const value = (at: string, said: unknown) => out.push(at === 'null' || at === 'NaN' ? { type: 'special', options: { match: at === 'null' ? 'null' : 'nan', result: { text: text(said) } } } : { type: 'value', options: { [at]: { text: text(said) } } });
  const span = (map: Json) => (text(map['from']) === 'null' ? value('null', map['text']) : out.push({ type: 'range', options: { from: number(map['from']), to: number(map['to']), result: { text: text(map['text']) } } }));
  const mixed = list(json['mappings']).map(object);
  for (const map of mixed) {
    if (typeof map['type'] === 'string') out.push(map);
    else if (number(map['type']) === 2) span(map);
    else value(text(map['value']), map['text']);
  }
  const ranges = number(json['mappingType']) === 2;
  if (!mixed.length) for (const map of list(ranges ? json['rangeMaps'] : json['valueMaps']).map(object)) ranges ? span(map) : value(text(map['value']), map['text']);
  return out;
}

/** `80,90` with three colours, as steps. */
function steps(limits: unknown, colors: unknown): Json | undefined {
  const numbers = (Array.isArray(limits) ? limits : text(limits).split(',')).map(number).filter((one) => one !== undefined);
  const named = texts(colors);
  if (!named.length || !numbers.length) return undefined;
  return { mode: 'absolute', steps: named.slice(0, numbers.length + 1).map((color, index) => ({ color, value: index ? numbers[index - 1] : null })) };
}

function fromGraph(old: Json): Json {
  const axes = list(old['yaxes']).map(object);
  const [left = {}, right = {}] = axes.length ? axes : [{ format: list(old['y_formats'])[0] }, { format: list(old['y_formats'])[1] }];
  const scale = (axis: Json) => ((number(axis['logBase']) ?? 1) > 1 ? { type: 'log', log: axis['logBase'] } : { type: 'linear' });
  const fill = (value: unknown) => Math.min(100, (number(value) ?? 0) * 10);
  const stackMode = old['stack'] === true ? (old['percentage'] === true ? 'percent' : 'normal') : 'none';
  const nulls = text(old['nullPointMode']);
  const limits = list(old['thresholds']).map(object).filter((one) => number(one['value']) !== undefined);
  const shade: Record<string, string> = { critical: 'red', warning: 'orange', ok: 'green' };
  const overrides: Json[] = Object.entries(object(old['aliasColors'])).map(([name, color]) => ({ matcher: { id: 'byName', options: name }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: color } }] }));
  for (const own of list(old['seriesOverrides']).map(object)) {
    const alias = text(own['alias']);
    if (!alias) continue;
    const properties: Json[] = [];
    const set = (id: string, value: unknown) => properties.push({ id, value });
    if (number(own['yaxis']) === 2) {
      set('custom.axisPlacement', 'right');
      set('unit', right['format']);
      set('custom.axisLabel', text(right['label']));
      for (const side of ['min', 'max']) if (number(right[side]) !== undefined) set(side, right[side]);
    }
    if (own['transform'] === 'negative-Y') set('custom.transform', 'negative-Y');
    if (own['color'] !== undefined) set('color', { mode: 'fixed', fixedColor: own['color'] });
    if (own['fill'] !== undefined) set('custom.fillOpacity', fill(own['fill']));
    if (own['linewidth'] !== undefined) set('custom.lineWidth', own['linewidth']);
    if (own['lines'] === false) set('custom.lineWidth', 0);
    if (own['dashes'] === true) set('custom.lineStyle', { fill: 'dash' });
    if (own['bars'] === true) set('custom.drawStyle', 'bars');
    else if (own['points'] === true && own['lines'] === false) set('custom.drawStyle', 'points');
    if (own['stack'] !== undefined) set('custom.stacking', own['stack'] === false ? { mode: 'none' } : { mode: stackMode === 'percent' ? 'percent' : 'normal', group: text(own['stack']) });
    if (own['hiddenSeries'] === true) set('custom.hideFrom', { viz: true });
    if (own['legend'] === false) set('custom.hideFrom', { legend: true });
    overrides.push({ matcher: { id: /^\/.*\/\w*$/.test(alias) ? 'byRegexp' : 'byName', options: alias }, properties });
  }
  const legend = object(old['legend']);
  const calcs = legend['values'] === true ? ['min', 'max', 'avg', 'current', 'total'].filter((name) => legend[name] === true).map(calc) : [];
  const seriesMode = object(old['xaxis'])['mode'] === 'series';
  const unit = text(left['format']);
  return {
    ...old,
    type: seriesMode ? 'bargauge' : object(old['xaxis'])['mode'] === 'histogram' ? 'histogram' : 'timeseries',
    fieldConfig: {
      defaults: {
        unit, ...(number(left['min']) === undefined ? {} : { min: left['min'] }), ...(number(left['max']) === undefined ? {} : { max: left['max'] }), ...(number(old['decimals']) === undefined ? {} : { decimals: old['decimals'] }),
        ...(limits.length ? { thresholds: { mode: 'absolute', steps: [{ color: 'transparent', value: null }, ...limits.map((one) => ({ color: text(one['lineColor'] ?? one['fillColor']) || shade[text(one['colorMode'])] || 'red', value: one['value'] }))] } } : {}),
        custom: {
          drawStyle: old['bars'] === true ? 'bars' : old['points'] === true && old['lines'] === false ? 'points' : 'line', lineWidth: old['lines'] === false ? 0 : (number(old['linewidth']) ?? 1), fillOpacity: fill(old['fill'] ?? 1),
          lineInterpolation: old['steppedLine'] === true ? 'stepAfter' : 'linear', spanNulls: nulls === 'connected', stacking: { mode: stackMode, group: 'A' }, axisLabel: text(left['label']), scaleDistribution: scale(left),
          thresholdsStyle: { mode: limits.length ? 'line' : 'off' }, ...(left['show'] === false ? { axisPlacement: 'hidden' } : {}),
        },
      },
      overrides,
    },
    options: {
      legend: { showLegend: legend['show'] !== false, displayMode: legend['alignAsTable'] === true ? 'table' : 'list', placement: legend['rightSide'] === true ? 'right' : 'bottom', calcs },
      tooltip: { mode: 'multi' }, reduceOptions: { calcs: [calc(list(object(old['xaxis'])['values'])[0] ?? 'current')] },
    },
  };
}

function fromSingleStat(old: Json): Json {
  const gauge = object(old['gauge']);
  const thresholds = steps(old['thresholds'], old['colors']);
  const colored = old['colorBackground'] === true ? 'background' : old['colorValue'] === true ? 'value' : 'none';
  const isGauge = gauge['show'] === true;
  const name = text(old['valueName']) === 'name';
  return {
    ...old,
    type: isGauge ? 'gauge' : 'stat',
    fieldConfig: {
      defaults: {
        unit: text(old['format']), ...(number(old['decimals']) === undefined ? {} : { decimals: old['decimals'] }), ...(isGauge ? { min: number(gauge['minValue']) ?? 0, max: number(gauge['maxValue']) ?? 100 } : {}),
        mappings: modernMappings(old), ...(thresholds ? { thresholds, color: { mode: 'thresholds' } } : {}), ...(text(old['nullText']) ? { noValue: old['nullText'] } : {}),
      },
      overrides: [],
    },
    options: { reduceOptions: { calcs: [calc(old['valueName'])] }, colorMode: colored, graphMode: object(old['sparkline'])['show'] === true ? 'area' : 'none', textMode: name ? 'name' : 'value', prefix: text(old['prefix']), postfix: text(old['postfix']) },
  };
}

/** Gauges and stats of version 6 keep their fields within the options. */
function fromFieldOptions(old: Json): Json {
  const options = object(old['options']);
  const inner = isObject(options['fieldOptions']) ? options['fieldOptions'] : object(options['valueOptions']);
  const defaults = { ...object(inner['defaults']) };
  for (const name of ['unit', 'decimals']) if (defaults[name] === undefined && inner[name] !== undefined) defaults[name] = inner[name];
  for (const [from, to] of [['minValue', 'min'], ['maxValue', 'max']] as const) if (options[from] !== undefined) defaults[to] = options[from];
  const limits = list(inner['thresholds'] ?? options['thresholds']).map(object).map((one) => ({ color: one['color'], value: one['index'] === 0 ? null : one['value'] })).sort((a, b) => (number(a.value) ?? -Infinity) - (number(b.value) ?? -Infinity));
  if (!defaults['thresholds'] && limits.length) defaults['thresholds'] = { mode: 'absolute', steps: limits };
  return { ...old, fieldConfig: { defaults, overrides: list(inner['overrides']).map((one) => (isObject(one) && isObject(one['matcher']) ? one : {})) }, options: { ...options, reduceOptions: { values: inner['values'] === true, calcs: inner['calcs'] ?? [calc(inner['stat'])] } } };
}

function fromStyles(old: Json): Json {
  const overrides: Json[] = [];
  for (const style of list(old['styles']).map(object)) {
    const pattern = text(style['pattern']);
    if (!pattern) continue;
    const properties: Json[] = [];
    const set = (id: string, value: unknown) => properties.push({ id, value });
    if (text(style['alias'])) set('displayName', style['alias']);
    if (style['type'] === 'hidden') set('custom.hidden', true);
    if (style['type'] === 'date') set('unit', 'dateTimeAsIso');
    if (style['type'] === 'number') {
      if (text(style['unit'])) set('unit', style['unit']);
      if (number(style['decimals']) !== undefined) set('decimals', style['decimals']);
    }
    const thresholds = steps(style['thresholds'], style['colors']);
    if (thresholds && text(style['colorMode'])) {
      set('thresholds', thresholds);
      set('custom.cellOptions', { type: style['colorMode'] === 'value' ? 'color-text' : 'color-background' });
    }
    const mappings = modernMappings(style);
    if (mappings.length) set('mappings', mappings);
    overrides.push({ matcher: { id: /^\/.*\/\w*$/.test(pattern) ? 'byRegexp' : 'byName', options: pattern }, properties });
  }
  // The first style that fits a column counted; here the last override does.
  overrides.reverse();
  const transform = text(old['transform']);
  const calcs = list(old['columns']).map((column) => calc(object(column)['value']));
  const transformations = transform === 'timeseries_aggregations' ? [{ id: 'reduce', options: { reducers: calcs.length ? calcs : ['mean'] } }] : transform === 'timeseries_to_columns' ? [{ id: 'joinByField', options: { byField: 'Time' } }] : transform === 'timeseries_to_rows' ? [{ id: 'seriesToRows', options: {} }] : transform === 'table' ? [{ id: 'merge', options: {} }] : [];
  return { ...old, type: 'table', fieldConfig: { defaults: {}, overrides }, options: { sortBy: [] }, transformations, ...(transform === 'table' ? { targets: list(old['targets']).map((target) => ({ ...object(target), format: 'table' })) } : {}) };
}

/** One panel in today's shape. */
export function modernPanel(json: Json): Json {
  const type = text(json['type']);
  const options = object(json['options']);
  switch (type) {
    case 'graph':
      return fromGraph(json);
    case 'timeseries':
      return json;
    case 'singlestat':
    case 'grafana-singlestat-panel':
      return isObject(json['fieldConfig']) && isObject(options['reduceOptions']) ? { ...json, type: 'stat' } : fromSingleStat(json);
    case 'table-old':
      return fromStyles(json);
    case 'table':
      return Array.isArray(json['styles']) && !isObject(json['fieldConfig']) ? fromStyles(json) : Array.isArray(json['styles']) && json['styles'].length && !list(object(json['fieldConfig'])['overrides']).length && !Object.keys(options).length ? fromStyles(json) : json;
    case 'gauge':
    case 'bargauge':
    case 'stat':
      return isObject(options['fieldOptions']) || isObject(options['valueOptions']) ? fromFieldOptions(json) : json;
    case 'text':
      return options['content'] === undefined && json['content'] !== undefined ? { ...json, options: { content: json['content'], mode: json['mode'] } } : json;
    case 'piechart':
      return { ...json, type: 'bargauge', options: { ...options, displayMode: 'basic', orientation: 'horizontal', share: true } };
    case 'grafana-piechart-panel':
      return { ...json, type: 'bargauge', fieldConfig: { defaults: { unit: text(json['format']), min: 0 }, overrides: Object.entries(object(json['aliasColors'])).map(([name, color]) => ({ matcher: { id: 'byName', options: name }, properties: [{ id: 'color', value: { mode: 'fixed', fixedColor: color } }] })) }, options: { displayMode: 'basic', orientation: 'horizontal', share: true, reduceOptions: { calcs: [calc(json['valueName'])] } } };
    default:
      return json;
  }
}
