/** Each page is a chunk of its own, loaded when it is first visited. */
import type { Component } from 'svelte';
import type { PageName, Route } from '../lib/router.svelte';

export type Page = Component<{ parts: string[] }>;
/** Pages without parameters of their own take no properties at all. */
type Loader = () => Promise<{ default: unknown }>;

const lists: Record<PageName, Loader> = {
  overview: () => import('./Overview.svelte'),
  hosts: () => import('./Hosts.svelte'),
  services: () => import('./Services.svelte'),
  dashboards: () => import('./Dashboards.svelte'),
  explore: () => import('./Explore.svelte'),
  targets: () => import('./Targets.svelte'),
  alerts: () => import('./Alerts.svelte'),
  rules: () => import('./Rules.svelte'),
  silences: () => import('./Silences.svelte'),
  notifications: () => import('./Notifications.svelte'),
  zookeeper: () => import('./ZooKeeper.svelte'),
  status: () => import('./Status.svelte'),
  missing: () => import('./Missing.svelte'),
};

/** Pages of one thing, below the page that lists all. */
const details: Partial<Record<PageName, Loader>> = {
  hosts: () => import('./Host.svelte'),
  services: () => import('./Host.svelte'),
  dashboards: () => import('./Dashboard.svelte'),
  targets: () => import('./Target.svelte'),
  alerts: () => import('./Alert.svelte'),
  rules: () => import('./Rule.svelte'),
  notifications: () => import('./Notification.svelte'),
  silences: () => import('./Silence.svelte'),
  zookeeper: () => import('./ZooKeeperRule.svelte'),
};

/** Paths below a list that are the list all the same. */
const LIST = /^(silences\/new|zookeeper\/rules)$/;

const loaded = new Map<Loader, Promise<Page>>();

function loaderOf(route: Route): Loader {
  const isList = route.parts.length === 0 || LIST.test([route.page, ...route.parts].join('/'));
  return (!isList && details[route.page]) || lists[route.page];
}

export function pageOf(route: Route): Promise<Page> {
  const loader = loaderOf(route);
  let page = loaded.get(loader);
  if (!page) {
    page = loader().then((module) => module.default as Page);
    page.catch(() => loaded.delete(loader));
    loaded.set(loader, page);
  }
  return page;
}

export function preload(page: PageName): void {
  void pageOf({ page, parts: [] }).catch(() => undefined);
}
