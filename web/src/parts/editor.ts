/**
 * The PromQL editor: CodeMirror and Prometheus's own language package, a chunk of its own. It lives in an open shadow root,
 * where CodeMirror uses adopted style sheets: in the document it would add a style element, which the content policy forbids.
 */
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap, completionStatus, startCompletion } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap, insertNewlineAndIndent } from '@codemirror/commands';
import { bracketMatching, HighlightStyle, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { lintKeymap, setDiagnostics } from '@codemirror/lint';
import { Compartment, EditorState, Prec } from '@codemirror/state';
import { EditorView, highlightSpecialChars, keymap, placeholder } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { PromQLExtension } from '@prometheus-io/codemirror-promql';

export interface Editor {
  setText(text: string): void;
  getText(): string;
  focus(): void;
  setDark(dark: boolean): void;
  /** Underlines where the server found the error, and tells its message there. */
  setError(message: string | undefined, position?: { line: number; column: number }): void;
  destroy(): void;
}

export interface EditorOptions {
  host: HTMLElement;
  text: string;
  label: string;
  hint: string;
  prefix: string;
  dark: boolean;
  onchange: (text: string) => void;
  onrun: () => void;
}

const theme = EditorView.theme({
  '&': { fontSize: '0.875rem', backgroundColor: 'transparent', color: 'var(--text)' },
  '&.cm-focused': { outline: 'none' },
  '.cm-scroller': { fontFamily: 'var(--mono)', lineHeight: '1.5', maxHeight: '240px' },
  '.cm-content': { padding: '7px 0', caretColor: 'var(--text)' },
  '.cm-line': { padding: '0 10px' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '.cm-matchingBracket': { backgroundColor: 'color-mix(in srgb, var(--accent) 20%, transparent)', outline: 'none' },
  '.cm-tooltip': { backgroundColor: 'var(--page)', color: 'var(--text)', border: '1px solid var(--control)', borderRadius: '6px', boxShadow: '0 8px 24px rgb(0 0 0 / 0.18)', zIndex: '30' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul': { fontFamily: 'var(--mono)', maxHeight: '320px' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li': { padding: '3px 8px' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionDetail': { color: 'var(--muted)', fontStyle: 'normal', marginInlineStart: '1.5em' },
  '.cm-tooltip-autocomplete ul li[aria-selected] .cm-completionDetail': { color: 'inherit' },
  '.cm-completionMatchedText': { textDecoration: 'none', fontWeight: '700' },
  '.cm-completionInfo': { maxWidth: '320px', padding: '6px 10px', fontFamily: 'var(--font)' },
  '.cm-diagnostic': { padding: '6px 10px', borderInlineStart: '4px solid var(--critical)' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground, ::selection': { backgroundColor: 'color-mix(in srgb, var(--accent) 28%, transparent)' },
});

const colors = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: 'var(--silenced)' },
  { tag: [tags.function(tags.variableName)], color: 'var(--accent)' },
  { tag: [tags.string], color: 'var(--ok)' },
  { tag: [tags.number, tags.unit], color: 'var(--warning)' },
  { tag: [tags.labelName], color: 'var(--text)' },
  { tag: [tags.comment], color: 'var(--muted)', fontStyle: 'italic' },
  { tag: [tags.invalid], color: 'var(--critical)' },
]);

/**
 * Replaces selected text before Chrome does: it would keep the old text's colours in an inline style, which the content policy
 * refuses, and says so in the console.
 */
function replaceOurselves(event: InputEvent, view: EditorView): boolean {
  const { from, to } = view.state.selection.main;
  const text = event.data;
  if (event.inputType !== 'insertText' || event.isComposing || text === null || from === to) return false;
  const replace = () => view.state.update(view.state.replaceSelection(text), { userEvent: 'input.type', scrollIntoView: true });
  event.preventDefault();
  if (!view.state.facet(EditorView.inputHandler).some((handle) => handle(view, from, to, text, replace))) view.dispatch(replace());
  return true;
}

export function createEditor(options: EditorOptions): Editor {
  const shadow = options.host.shadowRoot ?? options.host.attachShadow({ mode: 'open' });
  shadow.replaceChildren();
  const parent = document.createElement('div');
  shadow.append(parent);
  const promql = new PromQLExtension().activateLinter(false).setComplete({ remote: { url: options.prefix, httpMethod: 'GET', cache: { maxAge: 60_000 } }, maxMetricsMetadata: 10_000 });
  const darkness = new Compartment();
  let quiet = false;
  const view = new EditorView({
    root: shadow,
    parent,
    state: EditorState.create({
      doc: options.text,
      extensions: [
        theme,
        darkness.of(EditorView.darkTheme.of(options.dark)),
        highlightSpecialChars(),
        history(),
        indentOnInput(),
        bracketMatching(),
        closeBrackets(),
        autocompletion({ icons: false, maxRenderedOptions: 60 }),
        syntaxHighlighting(colors),
        promql.asExtension(),
        EditorView.lineWrapping,
        placeholder(options.hint),
        EditorView.contentAttributes.of({ 'aria-label': options.label, 'aria-multiline': 'true' }),
        EditorView.domEventHandlers({ beforeinput: replaceOurselves }),
        Prec.highest(
          keymap.of([
            { key: 'Ctrl-Enter', mac: 'Cmd-Enter', run: () => (options.onrun(), true) },
            { key: 'Enter', run: (editor) => (completionStatus(editor.state) === 'active' ? false : (options.onrun(), true)) },
            { key: 'Shift-Enter', run: insertNewlineAndIndent },
            { key: 'Ctrl-Space', run: startCompletion },
            // Tab goes on to the next control, as everywhere on the page; Escape closes the list first.
          ]),
        ),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap]),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !quiet) options.onchange(update.state.doc.toString());
        }),
      ],
    }),
  });
  return {
    setText(text) {
      if (text === view.state.doc.toString()) return;
      quiet = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } });
      quiet = false;
    },
    getText: () => view.state.doc.toString(),
    focus: () => view.focus(),
    setDark: (dark) => view.dispatch({ effects: darkness.reconfigure(EditorView.darkTheme.of(dark)) }),
    setError(message, position) {
      if (!message) {
        view.dispatch(setDiagnostics(view.state, []));
        return;
      }
      const { doc } = view.state;
      const line = doc.line(Math.max(1, Math.min(position?.line ?? 1, doc.lines)));
      const from = position ? Math.min(line.to, line.from + Math.max(0, position.column - 1)) : 0;
      const word = /^[\w:]+/.exec(doc.sliceString(from))?.[0].length ?? 1;
      const to = position ? Math.min(doc.length, from + word) : doc.length;
      view.dispatch(setDiagnostics(view.state, [{ from: from === to ? Math.max(0, from - 1) : from, to, severity: 'error', message }]));
    },
    destroy: () => view.destroy(),
  };
}
