/** An alert's expression without its comparison, so that the value itself can be drawn with the limit as a line. */

export interface Comparison {
  left: string;
  /** Beyond the limit is above it (`>`), below it (`<`), or neither (`==`). */
  above: boolean | undefined;
  /** The limit, where it is a plain number. */
  limit: number | undefined;
}

/** Splits `LEFT > 5` at the last comparison that stands outside of brackets, quotes and braces. */
export function comparisonOf(expression: string): Comparison | undefined {
  let depth = 0;
  let quoted = '';
  let place = -1;
  let sign = '';
  for (let index = 0; index < expression.length; index += 1) {
    const letter = expression[index] ?? '';
    if (quoted) {
      if (letter === '\\' && quoted !== '`') index += 1;
      else if (letter === quoted) quoted = '';
      continue;
    }
    if (letter === '"' || letter === "'" || letter === '`') quoted = letter;
    else if ('([{'.includes(letter)) depth += 1;
    else if (')]}'.includes(letter)) depth -= 1;
    else if (depth === 0) {
      // With `and`, `or` or `unless` outside there is no one comparison.
      if (/^(and|or|unless)\b/i.test(expression.slice(index)) && /\W|^$/.test(expression[index - 1] ?? '')) return undefined;
      const found = /^(>=|<=|==|!=|>|<)/.exec(expression.slice(index))?.[0];
      if (found) {
        place = index;
        sign = found;
        index += found.length - 1;
      }
    }
  }
  if (place < 0 || sign === '!=') return undefined;
  const left = expression.slice(0, place).trim();
  const right = expression.slice(place + sign.length).trim();
  if (!left || /^bool\b/.test(right)) return undefined;
  const limit = /^[-+]?[\d._eE+-]+$/.test(right) ? Number(right.replace(/_/g, '')) : undefined;
  // A comparison of two queries is drawn whole: the other side is not one line.
  if (limit === undefined || Number.isNaN(limit)) return undefined;
  return { left, above: sign.startsWith('>') ? true : sign.startsWith('<') ? false : undefined, limit };
}
