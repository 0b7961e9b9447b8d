/**
 * Live events by SSE where the server has them. Without them pages ask again at the scrape interval; with them an event makes the
 * answers of its topic old, and asking by the clock becomes a safety net.
 */
import { connection } from './connection.svelte';

export type Topic = 'target' | 'alert' | 'silence' | 'rule' | 'notification' | 'config' | 'zookeeper';
const TOPICS: Topic[] = ['target', 'alert', 'silence', 'rule', 'notification', 'config', 'zookeeper'];

class Live {
  /** The shortest scrape interval of all targets. */
  scrapeMs = $state(15_000);
  /** The longest one: `rate()` must see at least two samples of every target. */
  slowestMs = $state(15_000);
  connected = $state(false);
  #source: EventSource | undefined;
  #listeners: ((topic: Topic) => void)[] = [];
  #waiting = new Set<Topic>();

  #heardOf = new Set<Topic>();

  /** How long an answer about these topics stays fresh. Events are trusted for a topic once one of it came; until then the clock is. */
  pauseFor(topics: Topic[]): number {
    const told = this.connected && topics.length > 0 && topics.every((topic) => this.#heardOf.has(topic));
    return told ? Math.max(30_000, this.scrapeMs) : this.scrapeMs;
  }

  onEvent(listener: (topic: Topic) => void): void {
    this.#listeners.push(listener);
  }

  start(address: string): void {
    if (this.#source) return;
    const source = new EventSource(address);
    this.#source = source;
    source.onopen = () => {
      this.connected = true;
      connection.found();
    };
    source.onerror = () => {
      this.connected = false;
      if (source.readyState === EventSource.CLOSED) {
        // The server said no: ask by the clock from now on.
        this.#source = undefined;
        return;
      }
      void connection.now();
      connection.lost();
    };
    for (const topic of TOPICS) source.addEventListener(topic, () => this.#heard(topic));
  }

  /** A burst of events is one reload: what comes within 200 ms is told once. */
  #heard(topic: Topic): void {
    this.#heardOf.add(topic);
    if (this.#waiting.size === 0) {
      setTimeout(() => {
        const topics = [...this.#waiting];
        this.#waiting.clear();
        for (const one of topics) for (const listener of this.#listeners) listener(one);
      }, 200);
    }
    this.#waiting.add(topic);
  }
}

export const live = new Live();
