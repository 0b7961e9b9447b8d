/**
 * As much of YAML as rule files are written in, to say which alerts a text would fire while it is typed: block and flow collections,
 * plain, quoted and block scalars, comments. What goes beyond (anchors, tags, several documents) makes it give up; the server alone
 * judges a file.
 */

export interface Node {
  value: string | Node[] | Map<string, Node>;
  /** Counted from 1. */
  line: number;
}

class GaveUp extends Error {}

interface Line {
  indent: number;
  text: string;
  line: number;
}

const KEY = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'[\]{},#&*!|>%@`-][^#]*?|-[^\s:][^#]*?)\s*:(?:\s+|$)/;

class Reader {
  #lines: Line[] = [];
  #raw: string[];
  #at = 0;

  constructor(text: string) {
    this.#raw = text.replace(/\r\n?/g, '\n').split('\n');
    this.#raw.forEach((raw, index) => {
      const text = raw.trimStart();
      if (text && !text.startsWith('#') && raw.trimEnd() !== '---') this.#lines.push({ indent: raw.length - text.length, text: text.trimEnd(), line: index + 1 });
    });
  }

  read(): Node | undefined {
    const first = this.#lines[0];
    if (!first) return undefined;
    const node = this.#block(first.indent);
    if (this.#at < this.#lines.length) throw new GaveUp();
    return node;
  }

  #block(indent: number): Node {
    const line = this.#lines[this.#at];
    if (!line) throw new GaveUp();
    if (/^-(\s|$)/.test(line.text)) return this.#sequence(indent);
    if (KEY.test(line.text)) return this.#map(indent);
    this.#at += 1;
    return this.#scalar(line.text, line, indent - 1);
  }

  #sequence(indent: number): Node {
    const items: Node[] = [];
    const start = this.#lines[this.#at]?.line ?? 0;
    for (let line = this.#lines[this.#at]; line && line.indent === indent && /^-(\s|$)/.test(line.text); line = this.#lines[this.#at]) {
      const rest = line.text.slice(1).trimStart();
      if (!rest || rest.startsWith('#')) {
        this.#at += 1;
        items.push(this.#below(indent, line.line));
      } else {
        // What follows the dash is a line of its own, that much further in.
        const inner = indent + line.text.length - rest.length;
        this.#lines[this.#at] = { indent: inner, text: rest, line: line.line };
        items.push(this.#block(inner));
      }
    }
    return { value: items, line: start };
  }

  #map(indent: number): Node {
    const map = new Map<string, Node>();
    const start = this.#lines[this.#at]?.line ?? 0;
    for (let line = this.#lines[this.#at]; line && line.indent === indent; line = this.#lines[this.#at]) {
      const found = KEY.exec(line.text);
      if (!found) throw new GaveUp();
      const key = unquote(found[1] ?? '');
      const rest = line.text.slice(found[0].length);
      this.#at += 1;
      // A list may stand as far out as its key.
      const next = this.#lines[this.#at];
      if (!rest || rest.startsWith('#')) map.set(key, next && next.indent === indent && /^-(\s|$)/.test(next.text) ? this.#sequence(indent) : this.#below(indent, line.line));
      else map.set(key, this.#scalar(rest, line, indent));
    }
    return { value: map, line: start };
  }

  #below(indent: number, line: number): Node {
    const next = this.#lines[this.#at];
    return next && next.indent > indent ? this.#block(next.indent) : { value: '', line };
  }

  /** What stands behind a key or a dash; it may go on in deeper lines. */
  #scalar(text: string, { line }: Line, indent: number): Node {
    if (/^[&*!%@`]/.test(text)) throw new GaveUp();
    const block = /^([|>])([+-]?)(\d?)([+-]?)\s*(#.*)?$/.exec(text);
    if (block) return { value: this.#literal(line, indent, block[1] === '>', Number(block[3] ?? 0)), line };
    const open = text[0] ?? '';
    if ('"\'[{'.includes(open)) {
      let whole = text;
      while (!closed(whole)) {
        const next = this.#lines[this.#at];
        if (!next || next.indent <= indent) throw new GaveUp();
        whole += ` ${next.text}`;
        this.#at += 1;
      }
      if (open === '"' || open === "'") return { value: unquote(whole.replace(/\s+#[^"']*$/, '')), line };
      return new Flow(whole, line).read();
    }
    const parts = [strip(text)];
    for (let next = this.#lines[this.#at]; next && next.indent > indent; next = this.#lines[this.#at]) {
      parts.push(strip(next.text));
      this.#at += 1;
    }
    return { value: parts.join(' '), line };
  }

  #literal(line: number, indent: number, folded: boolean, given: number): string {
    const body: string[] = [];
    let depth = given ? Math.max(indent, 0) + given : 0;
    let at = line;
    for (; at < this.#raw.length; at += 1) {
      const raw = this.#raw[at] ?? '';
      const own = raw.length - raw.trimStart().length;
      if (raw.trim()) {
        if (own <= indent) break;
        depth ||= own;
      }
      body.push(raw.slice(depth));
    }
    while (this.#at < this.#lines.length && (this.#lines[this.#at]?.line ?? 0) <= at) this.#at += 1;
    while (body.length && !body[body.length - 1]?.trim()) body.pop();
    return folded ? body.join('\n').replace(/([^\n])\n(?!\n)/g, '$1 ').replace(/\n\n/g, '\n') : `${body.join('\n')}\n`;
  }
}

const strip = (text: string): string => text.replace(/\s+#.*$/, '');

function unquote(text: string): string {
  if (text.startsWith("'") && text.endsWith("'") && text.length > 1) return text.slice(1, -1).replace(/''/g, "'");
  if (!text.startsWith('"')) return text;
  try {
    return JSON.parse(text) as string;
  } catch {
    return text.slice(1, -1).replace(/\\(.)/g, '$1');
  }
}

/** Whether what a quote or bracket opened is closed again. */
function closed(text: string): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at];
    if (sign === '"' || sign === "'") {
      for (at += 1; text[at] !== sign || (sign === "'" && text[at + 1] === "'" && ++at); at += 1) {
        if (at >= text.length) return false;
        if (sign === '"' && text[at] === '\\') at += 1;
      }
    } else if (sign === '[' || sign === '{') depth += 1;
    else if (sign === ']' || sign === '}') depth -= 1;
    if (depth === 0) return true;
  }
  return false;
}

class Flow {
  #at = 0;
  constructor(
    readonly text: string,
    readonly line: number,
  ) {}

  read(): Node {
    this.#space();
    const open = this.text[this.#at];
    if (open === '{') {
      const map = new Map<string, Node>();
      this.#each('}', () => {
        const key = this.#word(/[:,}]/);
        this.#space();
        if (this.text[this.#at] !== ':') return void map.set(key, { value: '', line: this.line });
        this.#at += 1;
        map.set(key, this.read());
      });
      return { value: map, line: this.line };
    }
    if (open === '[') {
      const items: Node[] = [];
      this.#each(']', () => items.push(this.read()));
      return { value: items, line: this.line };
    }
    return { value: this.#word(/[,\]}]/), line: this.line };
  }

  #space(): void {
    while (/\s/.test(this.text[this.#at] ?? '')) this.#at += 1;
  }

  #each(end: string, one: () => void): void {
    this.#at += 1;
    for (;;) {
      this.#space();
      if (this.#at >= this.text.length) throw new GaveUp();
      if (this.text[this.#at] === end) break;
      one();
      this.#space();
      if (this.text[this.#at] === ',') this.#at += 1;
      else if (this.text[this.#at] !== end) throw new GaveUp();
    }
    this.#at += 1;
  }

  #word(stop: RegExp): string {
    const quoted = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')/.exec(this.text.slice(this.#at));
    if (quoted?.[1]) {
      this.#at += quoted[1].length;
      return unquote(quoted[1]);
    }
    const from = this.#at;
    while (this.#at < this.text.length && !stop.test(this.text[this.#at] ?? '')) this.#at += 1;
    return this.text.slice(from, this.#at).trim();
  }
}

/** The document, or `undefined` where it is empty or beyond this reader. */
export function readYaml(text: string): Node | undefined {
  try {
    return new Reader(text).read();
  } catch (error) {
    if (error instanceof GaveUp) return undefined;
    throw error;
  }
}
