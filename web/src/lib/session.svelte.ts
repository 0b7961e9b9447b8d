/**
 * Who looks at this: the server's users and tokens, where it has any. A viewer sees everything and changes nothing, so that what would be
 * refused is not offered. Until the server said otherwise, and on a server without users, everybody may.
 */
import { onDenied, request } from './api';

export interface Who {
  authentication: boolean;
  user: string | null;
  role: 'operator' | 'viewer' | null;
}

const PATH = '/api/watchkeeper/v1/session';

class Session {
  who = $state.raw<Who>({ authentication: false, user: null, role: null });
  /** The server wants to know who asks: nothing else can be shown. */
  needed = $state(false);
  /** It did know before: what is on the page, and what was typed there, stays. */
  ended = $state(false);
  #known = false;
  #opened: (() => Promise<void>)[] = [];

  get canChange(): boolean {
    return this.who.role !== 'viewer';
  }

  /** Called after somebody signed in. */
  onOpened(act: () => Promise<void>): void {
    this.#opened.push(act);
  }

  async load(): Promise<void> {
    this.who = (await request<{ data: Who }>(PATH)).data;
    this.#known = true;
  }

  async open(credentials: { user: string; password: string } | { token: string }): Promise<void> {
    this.who = (await request<{ data: Who }>(PATH, { method: 'POST', json: credentials })).data;
    this.needed = this.ended = false;
    this.#known = true;
    for (const act of this.#opened) await act();
  }

  /** The server refused to answer without a name. */
  denied(): void {
    if (this.#known) this.ended = true;
    else this.needed = true;
    this.who = { ...this.who, user: null };
  }

  async close(): Promise<void> {
    await request(PATH, { method: 'DELETE' });
    location.reload();
  }
}

export const session = new Session();
onDenied(() => {
  session.denied();
});
