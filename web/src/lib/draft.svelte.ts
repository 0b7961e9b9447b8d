/** A rule file while it is edited: its text, what it was made of, and what the server says about it. */
import { checkText, type Judged } from './rulestore';

/** How long nothing is typed before it is checked. */
const PAUSE_MS = 350;

export class Draft {
  name = $state('');
  text = $state('');
  /** What was read: `sha256` is `null` where there is no such file yet. */
  base = $state.raw<{ sha256: string | null; text: string }>({ sha256: null, text: '' });
  judged = $state.raw<Judged | undefined>();
  /** The text that `judged` is about. */
  judgedText = $state.raw<string | undefined>();
  checking = $state(false);
  /** Why it could not be checked. */
  problem = $state('');
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;

  get isChanged(): boolean {
    return this.text !== this.base.text;
  }

  /** Checked, and without an error. */
  get isGood(): boolean {
    return this.judged?.errors.length === 0 && this.judgedText === this.text;
  }

  /** Begins with what was read. */
  open(name: string, text: string, sha256: string | null): void {
    this.name = name;
    this.base = { sha256, text };
    this.write(text, 0);
  }

  write(text: string, pause = PAUSE_MS): void {
    this.text = text;
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#running = undefined;
    this.checking = true;
    this.#timer = setTimeout(() => void this.#check(), pause);
  }

  async #check(): Promise<void> {
    const running = new AbortController();
    this.#running = running;
    const { text } = this;
    try {
      const judged = await checkText(this.name || 'new.yml', text, running.signal);
      if (running.signal.aborted) return;
      this.judged = judged;
      this.judgedText = text;
      this.problem = '';
    } catch (error) {
      if (running.signal.aborted) return;
      this.problem = error instanceof Error ? error.message : String(error);
    }
    this.checking = false;
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
  }
}
