/** What a person chose for this browser: kept in local storage where that is allowed. */

export type Theme = 'system' | 'light' | 'dark';
export type Zone = 'local' | 'utc';
export type Language = 'en' | 'zh';

function read(name: string): string | null {
  try {
    return localStorage.getItem(`watchkeeper.${name}`);
  } catch {
    return null;
  }
}

export function keep(name: string, value: string): void {
  try {
    localStorage.setItem(`watchkeeper.${name}`, value);
  } catch {
    // Not kept then; it holds until the page is closed.
  }
}

export function recall(name: string): string | null {
  return read(name);
}

const system = matchMedia('(prefers-color-scheme: dark)');

class Settings {
  theme = $state<Theme>((read('theme') as Theme | null) ?? 'system');
  zone = $state<Zone>((read('zone') as Zone | null) ?? 'local');
  /** Single-key shortcuts. */
  keys = $state(read('keys') !== 'off');
  author = $state(read('author') ?? '');
  systemDark = $state(system.matches);

  constructor() {
    system.addEventListener('change', (event) => {
      this.systemDark = event.matches;
      this.#show();
    });
  }

  get dark(): boolean {
    return this.theme === 'dark' || (this.theme === 'system' && this.systemDark);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    keep('theme', theme);
    this.#show();
  }

  toggleTheme(): void {
    this.setTheme(this.dark ? 'light' : 'dark');
  }

  setZone(zone: Zone): void {
    this.zone = zone;
    keep('zone', zone);
  }

  setKeys(on: boolean): void {
    this.keys = on;
    keep('keys', on ? 'on' : 'off');
  }

  setAuthor(name: string): void {
    this.author = name;
    keep('author', name);
  }

  #show(): void {
    document.documentElement.dataset['theme'] = this.dark ? 'dark' : 'light';
  }
}

export const settings = new Settings();
