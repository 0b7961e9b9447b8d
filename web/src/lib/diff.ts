/** Differences of texts by line, as people read them; and a merge of two changes that do not touch each other. */

export interface DiffLine {
  kind: ' ' | '+' | '-';
  text: string;
  /** Line numbers in the old and the new text, counted from 1. */
  old?: number;
  new?: number;
}

export interface Hunk {
  lines: DiffLine[];
  /** How many equal lines before it are not shown. */
  skipped: number;
}

/** Above this many edits the middle is told as replaced altogether: nobody reads more, and it must not freeze. */
const EDITS_MAX = 1500;

export const linesOf = (text: string): string[] => {
  const lines = text.split('\n');
  if (lines[lines.length - 1] === '') lines.pop();
  return lines;
};

/** What makes `b` of `a`: Myers' shortest edit script. */
export function diffLines(a: string[], b: string[]): DiffLine[] {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const out: DiffLine[] = [];
  for (let at = 0; at < start; at += 1) out.push({ kind: ' ', text: a[at] ?? '', old: at + 1, new: at + 1 });
  const middle = edits(a.slice(start, a.length - end), b.slice(start, b.length - end));
  let [old, now] = [start, start];
  for (const { kind, text } of middle) {
    const line: DiffLine = { kind, text };
    if (kind !== '+') line.old = old += 1;
    if (kind !== '-') line.new = now += 1;
    out.push(line);
  }
  for (let at = 0; at < end; at += 1) out.push({ kind: ' ', text: a[old + at] ?? '', old: old + at + 1, new: now + at + 1 });
  return out;
}

function edits(a: string[], b: string[]): { kind: DiffLine['kind']; text: string }[] {
  const all = (lines: string[], kind: DiffLine['kind']) => lines.map((text) => ({ kind, text }));
  if (!a.length || !b.length) return [...all(a, '-'), ...all(b, '+')];
  const most = Math.min(a.length + b.length, EDITS_MAX);
  const reach = new Map<number, number>([[1, 0]]);
  const trace: Map<number, number>[] = [];
  for (let depth = 0; depth <= most; depth += 1) {
    trace.push(new Map(reach));
    for (let k = -depth; k <= depth; k += 2) {
      const down = k === -depth || (k !== depth && (reach.get(k - 1) ?? -1) < (reach.get(k + 1) ?? -1));
      let x = down ? (reach.get(k + 1) ?? 0) : (reach.get(k - 1) ?? 0) + 1;
      while (x < a.length && x - k < b.length && a[x] === b[x - k]) x += 1;
      reach.set(k, x);
      if (x >= a.length && x - k >= b.length) return back(a, b, trace);
    }
  }
  return [...all(a, '-'), ...all(b, '+')];
}

function back(a: string[], b: string[], trace: Map<number, number>[]): { kind: DiffLine['kind']; text: string }[] {
  const out: { kind: DiffLine['kind']; text: string }[] = [];
  let [x, y] = [a.length, b.length];
  for (let depth = trace.length - 1; depth >= 0; depth -= 1) {
    const reach = trace[depth];
    const k = x - y;
    const down = k === -depth || (k !== depth && (reach?.get(k - 1) ?? -1) < (reach?.get(k + 1) ?? -1));
    const beforeK = down ? k + 1 : k - 1;
    const beforeX = depth === 0 ? 0 : (reach?.get(beforeK) ?? 0);
    const beforeY = depth === 0 ? 0 : beforeX - beforeK;
    while (x > beforeX && y > beforeY) {
      x -= 1;
      y -= 1;
      out.push({ kind: ' ', text: a[x] ?? '' });
    }
    if (depth === 0) break;
    if (down) out.push({ kind: '+', text: b[(y -= 1)] ?? '' });
    else out.push({ kind: '-', text: a[(x -= 1)] ?? '' });
  }
  return out.reverse();
}

/** The changes with some equal lines around them. */
export function hunksOf(lines: DiffLine[], context = 3): Hunk[] {
  const hunks: Hunk[] = [];
  let last = -1;
  for (let at = 0; at < lines.length; at += 1) {
    if (lines[at]?.kind === ' ') continue;
    const from = Math.max(last + 1, at - context);
    const hunk = hunks[hunks.length - 1];
    const to = Math.min(lines.length - 1, at + context);
    if (hunk && from === last + 1) hunk.lines.push(...lines.slice(from, to + 1));
    else hunks.push({ lines: lines.slice(from, to + 1), skipped: from - last - 1 });
    last = Math.max(last, to);
  }
  return hunks;
}

export const hunksBetween = (a: string, b: string): Hunk[] => hunksOf(diffLines(linesOf(a), linesOf(b)));

/** Reads the server's unified difference of one file. */
export function parseUnified(text: string): Hunk[] {
  const hunks: Hunk[] = [];
  let [old, now, seen] = [0, 0, 0];
  for (const line of linesOf(text)) {
    const head = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (head) {
      // An empty side is told as line 0, or the line before.
      old = Number(head[1]) + (head[2] === '0' ? 1 : 0);
      now = Number(head[3]) + (head[4] === '0' ? 1 : 0);
      hunks.push({ lines: [], skipped: Math.max(0, old - 1 - seen) });
      continue;
    }
    const hunk = hunks[hunks.length - 1];
    const kind = line[0] ?? ' ';
    if (!hunk || (kind !== ' ' && kind !== '+' && kind !== '-')) continue;
    const shown: DiffLine = { kind, text: line.slice(1) };
    if (kind !== '+') shown.old = old++;
    if (kind !== '-') shown.new = now++;
    hunk.lines.push(shown);
    seen = old - 1;
  }
  return hunks;
}

interface Edit {
  from: number;
  to: number;
  lines: string[];
}

function editsOf(base: string[], other: string[]): Edit[] {
  const out: Edit[] = [];
  let at = 0;
  let open: Edit | undefined;
  for (const line of diffLines(base, other)) {
    if (line.kind === ' ') {
      open = undefined;
      at += 1;
      continue;
    }
    if (!open) out.push((open = { from: at, to: at, lines: [] }));
    if (line.kind === '-') open.to = at += 1;
    else open.lines.push(line.text);
  }
  return out;
}

/** Both changes together, or `undefined` where they touch the same or neighbouring lines. */
export function merge(base: string, mine: string, theirs: string): string | undefined {
  const lines = linesOf(base);
  const [left, right] = [editsOf(lines, linesOf(mine)), editsOf(lines, linesOf(theirs))];
  const same = (a: Edit, b: Edit) => a.from === b.from && a.to === b.to && a.lines.join('\n') === b.lines.join('\n');
  const extra = right.filter((edit) => !left.some((one) => same(one, edit)));
  if (extra.some((edit) => left.some((one) => !same(one, edit) && edit.from <= one.to && one.from <= edit.to))) return undefined;
  for (const edit of [...left, ...extra].sort((a, b) => b.from - a.from || b.to - a.to)) lines.splice(edit.from, edit.to - edit.from, ...edit.lines);
  return lines.length ? `${lines.join('\n')}\n` : '';
}
