/** Kept dashboards: `/api/watchkeeper/v1/dashboards`. Small, since other pages ask for the list as well. */
import { request } from '../api';
import { settings } from '../settings.svelte';
import type { Json } from './json';

export interface Entry {
  id: string;
  title: string;
  tags: string[];
  source: 'own' | 'file' | 'zookeeper';
  path: string;
  version: string;
  editable: boolean;
  modified: string | null;
  by: string | null;
  /** Why it cannot be shown. */
  error: string | null;
}

export interface Kept extends Entry {
  /** As stored, in Grafana's format. */
  dashboard: Json;
}

export interface All {
  dashboards: Entry[];
  /** ZooKeeper can keep dashboards now. */
  zookeeper: boolean;
}

export interface Save {
  id: string | null;
  dashboard: Json;
  /** The version that was read; `null` for a new one. */
  base: string | null;
  to: 'own' | 'zookeeper';
  overwrite?: boolean;
}

const PATH = '/api/watchkeeper/v1/dashboards';
const get = async <T>(path: string, signal?: AbortSignal): Promise<T> => (await request<{ data: T }>(path, { signal })).data;

export const dashboards = (signal?: AbortSignal): Promise<All> => get<All>(PATH, signal);
export const dashboard = (id: string, signal?: AbortSignal): Promise<Kept> => get<Kept>(`${PATH}/${encodeURIComponent(id)}`, signal);
export const save = async (what: Save): Promise<{ id: string; version: string }> => (await request<{ data: { id: string; version: string } }>(PATH, { method: 'POST', json: { author: settings.author, overwrite: false, ...what } })).data;
export const remove = (id: string, version: string): Promise<unknown> => request(`${PATH}/${encodeURIComponent(id)}`, { method: 'DELETE', params: { base: version } });
export const order = (ids: string[]): Promise<unknown> => request(`${PATH}/order`, { method: 'POST', json: { ids } });
