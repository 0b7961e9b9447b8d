/**
 * Rows that do not jump: while the pointer is over a table its values change in place and what is gone goes, but new rows wait, and
 * the order stays. Another filter (`scope`) is another table.
 */
export class Held<T> {
  #fresh: () => T[];
  #key: (row: T) => string;
  #scope: () => string;
  #over = $state(false);
  /** Grows when somebody wants to see what waits. */
  #wanted = $state(0);
  #order: string[] = [];
  #seen = '';

  constructor(fresh: () => T[], key: (row: T) => string, scope: () => string = () => '') {
    this.#fresh = fresh;
    this.#key = key;
    this.#scope = scope;
  }

  #view = $derived.by((): { rows: T[]; waiting: number } => {
    const all = this.#fresh();
    const seen = `${this.#wanted} ${this.#scope()}`;
    if (!this.#over || seen !== this.#seen || !this.#order.length) {
      this.#seen = seen;
      this.#order = all.map(this.#key);
      return { rows: all, waiting: 0 };
    }
    const byKey = new Map(all.map((row) => [this.#key(row), row]));
    const rows = this.#order.flatMap((key) => byKey.get(key) ?? []);
    return { rows, waiting: byKey.size - rows.length };
  });

  get rows(): T[] {
    return this.#view.rows;
  }

  get waiting(): number {
    return this.#view.waiting;
  }

  show(): void {
    this.#wanted += 1;
  }

  /** For the element around the table. Fingers do not hover. */
  readonly pointer = {
    onpointerenter: (event: PointerEvent) => {
      this.#over = event.pointerType === 'mouse';
    },
    onpointerleave: () => {
      this.#over = false;
    },
  };
}
