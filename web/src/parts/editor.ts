/**
 * What the query field does to its text by itself: brackets and quotes that close, and what completion writes. All of it goes the way
 * of typing, so that the browser's own undo takes it back.
 */
import type { Option } from '../lib/complete';
import { lex, type Context } from '../lib/lex';

const PAIRS: Record<string, string> = { '(': ')', '[': ']', '{': '}', '"': '"', "'": "'", '`': '`' };

let ours = false;

/** Replaces `from` to `to`, and puts the cursor (or the selection) at `caret`. */
export function write(area: HTMLTextAreaElement, from: number, to: number, text: string, caret = from + text.length, anchor = caret): void {
  area.focus();
  area.setSelectionRange(from, to);
  ours = true;
  // The old command is the one way of writing that the browser's undo knows of.
  const done = text ? document.execCommand('insertText', false, text) : document.execCommand('delete');
  ours = false;
  if (!done) {
    area.setRangeText(text, from, to, 'end');
    area.dispatchEvent(new InputEvent('input', { bubbles: true, inputType: 'insertReplacementText' }));
  }
  area.setSelectionRange(anchor, caret);
}

/** Brackets and quotes: an opening one brings its closing one, a closing one that is there already is stepped over. True if it did. */
export function beforeInput(event: InputEvent, area: HTMLTextAreaElement): boolean {
  if (ours || event.isComposing) return false;
  const { selectionStart: from, selectionEnd: to, value: text } = area;
  if (event.inputType === 'deleteContentBackward' && from === to && from > 0 && PAIRS[text[from - 1] ?? ''] === text[from] && text[from] !== undefined) {
    event.preventDefault();
    write(area, from - 1, from + 1, '');
    return true;
  }
  const typed = event.data ?? '';
  if (event.inputType !== 'insertText' || typed.length !== 1) return false;
  const closing = PAIRS[typed];
  const isQuote = closing === typed;
  const string = lex(text).find((token) => (token.kind === 'string' || token.kind === 'comment') && token.from < from && (from < token.to || (token.unclosed ?? token.kind === 'comment')));
  // In a string a quote ends it, and nothing else is special.
  if (from === to && text[from] === typed && (string ? string.text[0] === typed && from === string.to - 1 : /[)\]}]/.test(typed))) {
    event.preventDefault();
    area.setSelectionRange(from + 1, from + 1);
    return true;
  }
  if (!closing || string) return false;
  if (from !== to) {
    event.preventDefault();
    write(area, from, to, typed + text.slice(from, to) + closing, to + 1, from + 1);
    return true;
  }
  if ((isQuote && /[\w"'`\\]/.test(text[from - 1] ?? '')) || !/^(?:$|[\s)\]},:])/.test(text.slice(from))) return false;
  event.preventDefault();
  write(area, from, from, typed + closing, from + 1);
  return true;
}

/** Writes what was picked. */
export function accept(area: HTMLTextAreaElement, context: Context, option: Option): void {
  const text = area.value;
  const { from } = context;
  let { to } = context;
  let insert = option.insert ?? option.text;
  let caret = insert.length - (option.back ?? 0);
  const after = text.slice(to);
  if (insert.endsWith('()') && /^\s*\(/.test(after)) {
    insert = insert.slice(0, -2);
    caret = insert.length + after.indexOf('(') + 1;
  } else if (context.what === 'label' && /^\s*[=!]/.test(after)) {
    insert = insert.replace(/=""$/, '');
    caret = insert.length;
  } else if (context.what === 'metric' || (context.what === 'value' && context.quoted)) {
    // The closing quote is written with it, over the one that is there.
    const mark = text[from - 1] ?? '"';
    // Between backquotes nothing is escaped.
    if (mark === '`' && !(context.what === 'value' && context.regex)) insert = option.text;
    if (text[to] === mark) to += 1;
    insert += mark;
    caret = insert.length;
  } else if (insert.endsWith(' ') && after.startsWith(' ')) to += 1;
  write(area, from, to, insert, from + caret);
}
