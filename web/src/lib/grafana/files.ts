/** Dashboards as files: brought by people, and handed out. */
import { t } from '../i18n.svelte';
import { whereNotJson, type Json } from './json';
import { notDashboard, unwrap } from './model';

/** No dashboard is bigger; a file that is, is not even read. */
export const MOST_BYTES = 5 * 1024 * 1024;

/** A dashboard from the text of a file, or a sentence why it is none. */
export function parseDashboard(source: string): Json | string {
  let json: unknown;
  try {
    json = JSON.parse(source.replace(/^\ufeff/, ''));
  } catch {
    const place = whereNotJson(source.replace(/^\ufeff/, ''));
    return t('dashboards.not_json', { line: place?.line ?? 1, column: place?.column ?? 1 });
  }
  const inner = unwrap(json);
  const why = notDashboard(inner);
  return why ? t(`dashboards.${why}`) : (inner as Json);
}

export async function readFile(file: File): Promise<Json | string> {
  if (file.size > MOST_BYTES) return t('dashboards.too_big', { size: Math.ceil(file.size / 1024 / 1024), most: MOST_BYTES / 1024 / 1024 });
  try {
    return parseDashboard(await file.text());
  } catch (error) {
    return t('dashboards.unreadable', { error: String(error) });
  }
}

/** Hands the JSON out as a file. Where it was stored with an `id` of another server's database, that is left out. */
export function download(dashboard: Json, title: string): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([`${JSON.stringify({ ...dashboard, id: null }, null, 2)}\n`], { type: 'application/json' }));
  link.download = `${title.replace(/[^\p{L}\p{N}]+/gu, '-').replace(/^-|-$/g, '').toLowerCase() || 'dashboard'}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
