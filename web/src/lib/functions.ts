/** PromQL's words: functions with their arguments, aggregations, keywords. What each does is said in the texts, under `fn.NAME`. */

/** Argument types: v instant vector, m range vector, s number, t text; behind `?` they may be left out, `*` repeats. */
const SIGNATURES =
  'abs:v absent:v absent_over_time:m acos:v acosh:v asin:v asinh:v atan:v atanh:v avg_over_time:m ceil:v changes:m clamp:vss clamp_max:vs clamp_min:vs cos:v cosh:v count_over_time:m day_of_month:?v day_of_week:?v day_of_year:?v days_in_month:?v deg:v delta:m deriv:m double_exponential_smoothing:mss end: exp:v first_over_time:m floor:v histogram_avg:v histogram_count:v histogram_fraction:ssv histogram_quantile:sv histogram_quantiles:vts* histogram_stddev:v histogram_stdvar:v histogram_sum:v hour:?v idelta:m increase:m info:v?v irate:m label_join:vttt* label_replace:vtttt last_over_time:m ln:v log10:v log2:v mad_over_time:m max_of:ss max_over_time:m min_of:ss min_over_time:m minute:?v month:?v pi: predict_linear:ms present_over_time:m quantile_over_time:sm rad:v range: rate:m resets:m round:v?s scalar:v sgn:v sin:v sinh:v sort:v sort_by_label:vt* sort_by_label_desc:vt* sort_desc:v sqrt:v start: start_timestamp:v stddev_over_time:m stdvar_over_time:m step: sum_over_time:m tan:v tanh:v time: timestamp:v ts_of_first_over_time:m ts_of_last_over_time:m ts_of_max_over_time:m ts_of_min_over_time:m vector:s year:?v';

const TYPES: Record<string, string> = { v: 'vector', m: 'range-vector', s: 'scalar', t: 'string' };

export const FUNCTIONS: ReadonlyMap<string, string> = new Map(SIGNATURES.split(' ').map((one) => one.split(':') as [string, string]));
export const AGGREGATIONS: ReadonlyMap<string, string> = new Map('avg:v bottomk:sv count:v count_values:tv group:v limit_ratio:sv limitk:sv max:v min:v quantile:sv stddev:v stdvar:v sum:v topk:sv'.split(' ').map((one) => one.split(':') as [string, string]));
export const KEYWORDS: ReadonlySet<string> = new Set(['and', 'or', 'unless', 'atan2', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right', 'fill', 'fill_left', 'fill_right', 'bool', 'offset', 'smoothed', 'anchored']);

export const isFunction = (name: string): boolean => FUNCTIONS.has(name);

/** Functions that want a window. */
export const wantsWindow = (name: string): boolean => FUNCTIONS.get(name)?.includes('m') ?? false;

/** `rate(range-vector)` */
export function signature(name: string): string {
  const code = FUNCTIONS.get(name) ?? AGGREGATIONS.get(name) ?? '';
  const parts: string[] = [];
  let optional = false;
  for (const letter of code) {
    if (letter === '?') optional = true;
    else if (letter === '*') parts.push('…');
    else parts.push(`${TYPES[letter] ?? ''}${optional ? '?' : ''}`);
  }
  return `${name}(${parts.join(', ')})`;
}
