/**
 * `resource()`: data of the server under a key. All who ask for one key share one request and one answer; the last answer stays while
 * a new one loads; failures are asked again with growing pauses; nothing is asked in a hidden tab.
 */
import { untrack } from 'svelte';
import { ApiError } from './api';
import { connection } from './connection.svelte';
import { live, type Topic } from './live.svelte';

type Load<T> = (signal: AbortSignal) => Promise<T>;

export interface ResourceOptions {
  /** Events that make the answer old. */
  topics?: Topic[];
  /** `live`: asked again at the scrape interval (rarely, where events come); a number: after so many milliseconds; 0: never. */
  every?: 'live' | number;
  /** Keep showing the answer of the key before, until the new one is there. */
  keep?: boolean;
}

class Entry<T> {
  data = $state.raw<T | undefined>(undefined);
  error = $state.raw<ApiError | undefined>(undefined);
  loading = $state(false);
  at = $state(0);
  users = 0;
  topics: Topic[] = [];
  every: 'live' | number = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;
  #failures = 0;

  constructor(public load: Load<T>) {}

  async run(): Promise<void> {
    if (this.#running) return;
    clearTimeout(this.#timer);
    const controller = new AbortController();
    this.#running = controller;
    this.loading = true;
    try {
      const data = await this.load(controller.signal);
      if (controller.signal.aborted) return;
      this.data = data;
      this.error = undefined;
      this.at = Date.now();
      this.#failures = 0;
    } catch (error) {
      if (controller.signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError('http', String(error));
      this.#failures += 1;
    } finally {
      if (this.#running === controller) {
        this.#running = undefined;
        this.loading = false;
        this.plan();
      }
    }
  }

  cancel(): void {
    const running = this.#running;
    this.#running = undefined;
    this.loading = false;
    clearTimeout(this.#timer);
    running?.abort();
  }

  plan(): void {
    clearTimeout(this.#timer);
    if (!this.users || !this.every) return;
    const pause = this.every === 'live' ? live.pauseFor(this.topics) : this.every;
    const wait = this.#failures ? Math.max(pause, Math.min(2 ** this.#failures, 60) * 1000) : pause;
    this.#timer = setTimeout(() => {
      // A hidden tab asks nothing; `refresh` catches up when it is shown.
      if (!document.hidden && !connection.away) void this.run();
    }, wait);
  }

  get isOld(): boolean {
    const pause = this.every === 'live' ? live.pauseFor(this.topics) : this.every || Infinity;
    return this.at === 0 || Date.now() - this.at > pause;
  }
}

const entries = new Map<string, Entry<unknown>>();

function entryOf<T>(key: string, load: Load<T>): Entry<T> {
  let entry = entries.get(key) as Entry<T> | undefined;
  if (!entry) {
    entry = new Entry(load);
    entries.set(key, entry as Entry<unknown>);
    // Answers nobody looks at go, the oldest first.
    if (entries.size > 120) {
      for (const [name, old] of entries) {
        if (entries.size <= 80) break;
        if (old.users === 0) entries.delete(name);
      }
    }
  }
  return entry;
}

function acquire<T>(key: string, load: Load<T>, options: ResourceOptions): () => void {
  const entry = entryOf(key, load);
  entry.load = load;
  entry.users += 1;
  entry.topics = options.topics ?? [];
  entry.every = options.every ?? 0;
  if (entry.data === undefined || entry.isOld || Date.now() - entry.at > 2000) void entry.run();
  else entry.plan();
  return () => {
    entry.users -= 1;
    if (entry.users === 0) entry.cancel();
  };
}

/** Asks again for all that is shown; `only` narrows it. */
export function refresh(only?: (key: string, topics: Topic[]) => boolean): void {
  for (const [key, entry] of entries) {
    if (entry.users > 0 && (!only || only(key, entry.topics))) void entry.run();
    else if (entry.users === 0) entry.at = 0;
  }
}

export interface Resource<T> {
  readonly data: T | undefined;
  readonly error: ApiError | undefined;
  readonly loading: boolean;
  /** When `data` came. */
  readonly at: number;
  /** Nothing to show yet, neither data nor an error. */
  readonly first: boolean;
  /** `data` belongs to the key before. */
  readonly old: boolean;
  reload(): Promise<void>;
  cancel(): void;
}

export function resource<T>(key: () => string | undefined, load: Load<T>, options: ResourceOptions = {}): Resource<T> {
  const initial = untrack(key);
  let entry = $state.raw<Entry<T> | undefined>(initial === undefined ? undefined : entryOf(initial, load));
  let before = $state.raw<T | undefined>(undefined);
  $effect(() => {
    const name = key();
    return untrack(() => {
      if (name === undefined) {
        entry = undefined;
        return undefined;
      }
      if (options.keep && entry?.data !== undefined) before = entry.data;
      const release = acquire(name, load, options);
      entry = entryOf(name, load);
      return release;
    });
  });
  return {
    get data() {
      return entry?.data ?? (options.keep ? before : undefined);
    },
    get error() {
      return entry?.error;
    },
    get loading() {
      return entry?.loading ?? false;
    },
    get at() {
      return entry?.at ?? 0;
    },
    get first() {
      return entry !== undefined && entry.data === undefined && entry.error === undefined;
    },
    get old() {
      return entry !== undefined && entry.data === undefined && before !== undefined;
    },
    async reload() {
      await entry?.run();
    },
    cancel() {
      entry?.cancel();
    },
  };
}

connection.onHealed(() => refresh());
live.onEvent((topic) => refresh((_, topics) => topics.includes(topic)));
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) for (const entry of entries.values()) if (entry.users > 0 && entry.isOld) void entry.run();
});
