/** Addresses to pages and back, over the History API. Everything visible is in the address; `range` and `end` go along from page to page. */
import { prefix, search, type Params } from './api';

export type PageName =
  | 'overview' | 'hosts' | 'services' | 'dashboards' | 'explore' | 'targets' | 'alerts' | 'rules' | 'silences' | 'notifications' | 'zookeeper' | 'status' | 'missing';

export interface Route {
  page: PageName;
  /** The parts of the path after the page's own. */
  parts: string[];
}

const PAGES = new Set<string>(['hosts', 'services', 'dashboards', 'explore', 'targets', 'alerts', 'rules', 'silences', 'notifications', 'zookeeper', 'status']);

export function routeOf(path: string): Route {
  const parts = path.split('/').filter(Boolean).map(decode);
  const first = parts.shift();
  if (first === undefined) return { page: 'overview', parts: [] };
  return PAGES.has(first) ? { page: first as PageName, parts } : { page: 'missing', parts: [first, ...parts] };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Old addresses of Prometheus's and Alertmanager's pages lead to the page that replaces them. */
export function replacement(path: string, query: string, hash: string): string | undefined {
  const params = new URLSearchParams(query);
  if ((path === '/' || path === '') && hash.startsWith('#/')) {
    const [page = '', rest = ''] = hash.slice(2).split('?');
    const filter = new URLSearchParams(rest).get('filter');
    if (page === 'alerts') return `/alerts${search({ find: filter ?? undefined })}`;
    if (page === 'silences/new') return `/silences/new${search({ filter: filter ?? undefined })}`;
    if (page.startsWith('silences')) return `/${page}`;
    if (page === 'status') return '/status';
    return undefined;
  }
  // Their lists are searched by `search`, ours by `find`.
  if (['/targets', '/alerts', '/rules', '/service-discovery'].includes(path) && params.get('search')) {
    const find = params.get('search') ?? '';
    return path === '/service-discovery' ? `/targets${search({ tab: 'discovery', find })}` : `${path}${search({ find })}`;
  }
  switch (path) {
    case '/graph':
    case '/query':
      return `/explore${explore(params)}`;
    case '/tsdb-status':
      return '/status/cardinality';
    case '/config':
      return '/status/configuration';
    case '/flags':
    case '/runtime-info':
      return '/status/runtime';
    case '/service-discovery':
      return '/targets?tab=discovery';
    default:
      return undefined;
  }
}

function explore(params: URLSearchParams): string {
  const expressions: string[] = [];
  for (let index = 0; params.has(`g${index}.expr`); index += 1) expressions.push(params.get(`g${index}.expr`) ?? '');
  const end = params.get('g0.end_input');
  const tab = params.get('g0.tab');
  const view = tab === '1' || tab === 'table' ? 'table' : tab === '0' || tab === 'graph' ? 'graph' : tab === 'explain' ? 'explain' : undefined;
  return search({
    q: expressions,
    range: params.get('g0.range_input') ?? undefined,
    end: end ? `${end.replace(' ', 'T')}Z` : undefined,
    view,
    stacked: params.get('g0.stacked') === '1' || params.get('g0.display_mode') === 'stacked' ? 1 : undefined,
    step: params.get('g0.step_input') ?? undefined,
  });
}

class Router {
  path = $state('/');
  query = $state.raw(new URLSearchParams());
  /** Grows with each change of page: the heading takes the focus then. */
  visits = $state(0);
  route = $derived(routeOf(this.path));

  start(): void {
    this.#read();
    addEventListener('popstate', () => {
      const before = this.path;
      if (this.guard && location.pathname !== prefix + before) {
        const wanted = location.href;
        history.pushState(null, '', this.#here());
        this.#ask(wanted);
        return;
      }
      this.#read();
      if (this.path !== before) this.visits += 1;
    });
    addEventListener('hashchange', () => this.#read());
    document.addEventListener('click', (event) => this.#click(event));
  }

  #read(): void {
    let { pathname } = location;
    if (prefix && pathname.startsWith(prefix)) pathname = pathname.slice(prefix.length) || '/';
    const better = replacement(pathname, location.search, location.hash);
    if (better !== undefined) {
      history.replaceState(null, '', prefix + better);
      this.#read();
      return;
    }
    this.path = pathname;
    this.query = new URLSearchParams(location.search);
  }

  get(name: string): string | undefined {
    return this.query.get(name) ?? undefined;
  }

  all(name: string): string[] {
    return this.query.getAll(name);
  }

  /** The full address of a path of ours, with the time range going along. */
  href(path: string): string {
    const [bare = '', query = ''] = path.split('?');
    const params = new URLSearchParams(query);
    for (const name of ['range', 'end', 'kiosk']) {
      const value = this.query.get(name);
      if (value !== null && !params.has(name)) params.set(name, value);
    }
    const text = params.toString();
    return prefix + bare + (text ? `?${text}` : '');
  }

  /** Asked before this page is left: something typed would be lost. It is given what goes on. */
  guard: ((leave: () => void) => void) | undefined;

  #here(): string {
    const text = this.query.toString();
    return prefix + this.path + (text ? `?${text}` : '');
  }

  #ask(href: string): void {
    this.guard?.(() => {
      this.guard = undefined;
      this.go(href);
    });
  }

  go(href: string): void {
    const before = this.path;
    if (this.guard && new URL(href, location.href).pathname !== prefix + before) {
      this.#ask(href);
      return;
    }
    history.pushState(null, '', href);
    this.#read();
    if (this.path !== before) {
      this.visits += 1;
      scrollTo(0, 0);
    }
  }

  /** Changes parameters of this page's address. An `undefined` or empty value takes the name out. */
  set(patch: Params, how: 'push' | 'replace' = 'replace'): void {
    const params = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(patch)) {
      params.delete(name);
      if (Array.isArray(value)) for (const one of value) params.append(name, one);
      else if (value !== undefined && value !== '' && value !== false) params.set(name, String(value));
    }
    const text = params.toString();
    if (text === this.query.toString()) return;
    const address = prefix + this.path + (text ? `?${text}` : '');
    if (how === 'push') history.pushState(null, '', address);
    else history.replaceState(null, '', address);
    this.query = params;
  }

  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = (event.target as Element | null)?.closest?.('a[href]');
    if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download')) return;
    const address = new URL(link.href);
    if (address.origin !== location.origin || !address.pathname.startsWith(`${prefix}/`)) return;
    const path = address.pathname.slice(prefix.length);
    if (routeOf(path).page === 'missing' || (address.hash && address.pathname === location.pathname)) return;
    event.preventDefault();
    this.go(address.pathname + address.search);
  }
}

export const router = new Router();

/** The path of one thing, its name made safe for an address. */
export const at = (...parts: string[]): string => `/${parts.map(encodeURIComponent).join('/')}`;
