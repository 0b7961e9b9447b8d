/** Whether the server answers. While it does not, pages keep their values; this asks again and heals by itself. */

class Connection {
  /** When the server last answered, milliseconds since 1970. */
  last = $state(Date.now());
  away = $state(false);
  retryAt = $state(0);
  #tries = 0;
  #probe: (() => Promise<boolean>) | undefined;
  #healed: (() => void)[] = [];

  /** Says how to ask whether the server is back. */
  probeBy(probe: () => Promise<boolean>): void {
    this.#probe = probe;
  }

  onHealed(act: () => void): void {
    this.#healed.push(act);
  }

  found(): void {
    this.last = Date.now();
    if (!this.away) return;
    this.away = false;
    this.#tries = 0;
    for (const act of this.#healed) act();
  }

  lost(): void {
    if (this.away) return;
    this.away = true;
    this.#retry();
  }

  async now(): Promise<void> {
    if ((await this.#probe?.()) ?? false) this.found();
    else if (this.away) this.#retry();
  }

  #retry(): void {
    const wait = Math.min(2 ** this.#tries, 15) * 1000;
    this.#tries += 1;
    this.retryAt = Date.now() + wait;
    setTimeout(() => this.away && void this.now(), wait);
  }
}

export const connection = new Connection();
