/**
 * A small Markdown for text panels: headings, lists, links, code, bold, italics. It gives a tree that the page draws with its own
 * elements; nothing in the text is ever HTML.
 */
import { safeUrl } from './model';

export type Inline = { kind: 'text' | 'code' | 'bold' | 'italic'; text: string } | { kind: 'link'; text: string; url: string };

export type Block =
  | { kind: 'heading'; level: number; inline: Inline[] }
  | { kind: 'paragraph'; inline: Inline[] }
  | { kind: 'code'; text: string }
  | { kind: 'list'; ordered: boolean; items: Inline[][] }
  | { kind: 'rule' };

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|__([^_]+)__|!?\[([^\]]*)\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)|\*([^*\s][^*]*)\*|<(https?:\/\/[^\s>]+)>|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?])/g;

export function inline(source: string): Inline[] {
  const out: Inline[] = [];
  const plain = (text: string) => text && out.push({ kind: 'text', text });
  let at = 0;
  for (const match of source.matchAll(INLINE)) {
    plain(source.slice(at, match.index));
    at = match.index + match[0].length;
    const [whole, code, bold, under, label, target, italic, angle, bare] = match;
    const address = target ?? angle ?? bare;
    if (code !== undefined) out.push({ kind: 'code', text: code });
    else if (bold !== undefined || under !== undefined) out.push({ kind: 'bold', text: bold ?? under ?? '' });
    else if (italic !== undefined) out.push({ kind: 'italic', text: italic });
    else if (address !== undefined) {
      const url = safeUrl(address);
      // A picture would ask another host: its address is a link, or its text where that leads nowhere.
      if (url) out.push({ kind: 'link', text: label || address, url });
      else plain(label || whole);
    }
  }
  plain(source.slice(at));
  return out;
}

export function markdown(source: string): Block[] {
  const out: Block[] = [];
  let paragraph: string[] = [];
  const flush = () => {
    if (paragraph.length) out.push({ kind: 'paragraph', inline: inline(paragraph.join(' ')) });
    paragraph = [];
  };
  const lines = source.replace(/\r\n?/g, '\n').split('\n');
  for (let index = 0; index < lines.length; index += 1) {
    const line = lines[index] ?? '';
    const fence = /^\s*(```|~~~)/.exec(line)?.[1];
    if (fence) {
      flush();
      const body: string[] = [];
      while (index + 1 < lines.length && !lines[index + 1]?.trim().startsWith(fence)) body.push(lines[(index += 1)] ?? '');
      index += 1;
      out.push({ kind: 'code', text: body.join('\n') });
      continue;
    }
    const heading = /^\s{0,3}(#{1,6})\s+(.*?)\s*#*\s*$/.exec(line);
    const item = /^\s*(?:([-*+])|(\d{1,9})[.)])\s+(.*)$/.exec(line);
    if (heading) {
      flush();
      out.push({ kind: 'heading', level: heading[1]?.length ?? 1, inline: inline(heading[2] ?? '') });
    } else if (/^\s{0,3}([-*_])(?:\s*\1){2,}\s*$/.test(line)) {
      flush();
      out.push({ kind: 'rule' });
    } else if (item) {
      flush();
      const ordered = item[2] !== undefined;
      const last = out.at(-1);
      const before = lines[index - 1]?.trim();
      if (last?.kind === 'list' && last.ordered === ordered && before) last.items.push(inline(item[3] ?? ''));
      else out.push({ kind: 'list', ordered, items: [inline(item[3] ?? '')] });
    } else if (!line.trim()) flush();
    else paragraph.push(line.trim());
  }
  flush();
  return out;
}
