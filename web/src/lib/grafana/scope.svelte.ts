/**
 * The variables of the dashboard that is shown: asked in order, each after those that its query names, chosen by the address
 * (`var-NAME=`). A choice that changes asks again what follows from it.
 */
import { query, v1, type Labels, type Sample, type Series } from '../api';
import { quote, seriesName } from '../format';
import { live } from '../live.svelte';
import { router } from '../router.svelte';
import { parseDuration, range, stepFor } from '../time.svelte';
import { regexOf } from './fields';
import { interpolate, namesIn, type Scope, type VariableValue } from './interpolate';
import { ALL, askOf, chosen, customOptions, inOrder, optionsFrom, valueOf, type Option, type Variable } from './variables';

export interface VariableState {
  variable: Variable;
  options: Option[];
  values: string[];
  value: VariableValue;
  error: string;
}

const round = (ms: number): number => stepFor(ms, 1000, 1);

/** Names of the datasource variable: this server is the only one. */
const HERE: Option[] = [{ text: 'Watchkeeper', value: 'watchkeeper' }];

const cache = new Map<string, Promise<string[]>>();

async function ask(text: string, from: number, to: number): Promise<string[]> {
  const asked = askOf(text);
  if (!asked) return [];
  const params = { start: from / 1000, end: to / 1000 };
  switch (asked.kind) {
    case 'label_values':
      return v1<string[]>(`/label/${encodeURIComponent(asked.label)}/values`, { params: { ...params, 'match[]': asked.match || undefined } });
    case 'label_names':
      return v1<string[]>('/labels', { params: { ...params, 'match[]': asked.match || undefined } });
    case 'metrics': {
      const names = await v1<string[]>('/label/__name__/values', { params });
      const regex = asked.regex ? regexOf(asked.regex, false) : undefined;
      return regex ? names.filter((name) => regex.test(name)) : names;
    }
    case 'query': {
      const { data } = await query(asked.expr, to);
      if (data.resultType === 'scalar' || data.resultType === 'string') return [(data.result as Sample)[1]];
      return (data.result as Series[]).map((series) => `${printed(series.metric)} ${series.value?.[1] ?? ''} ${Math.round((series.value?.[0] ?? 0) * 1000)}`);
    }
    case 'series':
      return (await v1<Labels[]>('/series', { params: { ...params, 'match[]': asked.match, limit: 5000 } })).map(printed);
  }
}

/** Always with its braces: people's expressions look for `job="..."` in them. */
function printed(labels: Labels): string {
  const { __name__: name = '', ...rest } = labels;
  return Object.keys(rest).length ? seriesName(labels) : `${name || quote('')}{}`;
}

export class Variables {
  states = $state.raw<VariableState[]>([]);
  /** All have been asked once. */
  ready = $state(false);
  #running: AbortController | undefined;

  /** Asks what is to be asked. To be called whenever the address or the range changes. */
  async resolve(variables: Variable[]): Promise<void> {
    this.#running?.abort();
    const running = new AbortController();
    this.#running = running;
    const minute = 60_000;
    const to = range.end ?? Math.floor(Date.now() / minute) * minute;
    const scope: Scope = { variables: {}, from: to - range.ms, to, step: stepFor(range.ms, live.scrapeMs), scrape: live.slowestMs };
    const states: VariableState[] = [];
    for (const variable of inOrder(variables, (one) => (one.kind === 'query' ? new Set([...namesIn(one.query), ...namesIn(one.regex)]) : new Set()))) {
      let error = '';
      let options: Option[] = [];
      switch (variable.kind) {
        case 'query': {
          // Choices that change with every minute are asked each time the range changes; others once for the page.
          const text = interpolate(variable.query, scope);
          const key = `${text}\n${variable.withTime || /query_result/.test(text) ? `${scope.from} ${scope.to}` : range.text}`;
          let answer = cache.get(key);
          if (!answer) {
            answer = ask(text, scope.from, scope.to);
            cache.set(key, answer);
            if (cache.size > 200) cache.delete(cache.keys().next().value ?? '');
          }
          try {
            options = optionsFrom(await answer, interpolate(variable.regex, scope, 'raw'), variable.sort);
          } catch (failure) {
            cache.delete(key);
            error = failure instanceof Error ? failure.message : String(failure);
          }
          if (running.signal.aborted) return;
          break;
        }
        case 'custom':
          options = customOptions(variable.query || variable.options.map((option) => option.value).join(','));
          break;
        case 'interval':
          options = [...(variable.auto ? [{ text: 'auto', value: `$__auto_interval_${variable.name}` }] : []), ...customOptions(variable.query)];
          break;
        case 'constant':
          options = [{ text: variable.query, value: variable.query }];
          break;
        case 'datasource':
          options = HERE;
          break;
      }
      const asked = variable.kind === 'constant' || variable.kind === 'datasource' ? options.map((option) => option.value) : router.all(`var-${variable.name}`);
      const values = chosen(variable, options, asked);
      const value = valueOf(variable, options, values, range.ms, round, parseDuration);
      states.push({ variable, options, values, value, error });
      if (variable.kind !== 'unsupported') scope.variables[variable.name] = value;
    }
    if (running.signal.aborted) return;
    this.states = variables.flatMap((variable) => states.find((state) => state.variable === variable) ?? []);
    this.ready = true;
  }

  /** What is chosen goes into the address; what follows from it is chosen anew by itself. */
  choose(variable: Variable, values: string[]): void {
    const all = values.includes(ALL);
    router.set({ [`var-${variable.name}`]: all ? [ALL] : values }, 'push');
  }

  stop(): void {
    this.#running?.abort();
  }

  values(): Record<string, VariableValue> {
    return Object.fromEntries(this.states.filter((state) => state.variable.kind !== 'unsupported').map((state) => [state.variable.name, state.value]));
  }
}
