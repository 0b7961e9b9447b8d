/// Every page as anybody finds it: themes, languages, widths, and the server's moods.
export const PAGES = [
  ['/', 'Overview', '总览'], ['/hosts', 'Hosts'], ['/services', 'Services'], ['/explore', 'Explore'], ['/targets', 'Targets'], ['/targets?tab=discovery', 'Targets'], ['/alerts', 'Alerts'],
  ['/rules', 'Rules'], ['/silences', 'Silences'], ['/notifications', 'Notifications'], ['/zookeeper', 'ZooKeeper'], ['/status', 'Status'], ['/status/cardinality', 'Status'], ['/status/configuration', 'Status'], ['/status/runtime', 'Status'],
];
// The made-up mail has a script, of which the browser says that it was blocked: that page's console is not clean on purpose.
export const MORE = ['/hosts/web1%3A9100', '/targets/app/app1%3A8080', '/alerts/0a1b2c3d4e5f6071', '/rules/hosts/TargetDown', '/explore?q=node_load1', '/explore?q=node_load1&view=table', '/explore?q=up&view=explain', '/silences/new?filter=%7Bjob%3D%22node%22%7D', '/notifications/n1', '/dashboards', '/dashboards/hosts-full', '/no/such/page'];

export default async function ({ sound, together, given }) {
  const works = [];
  const look = (...args) => works.push(() => sound(...args));
  for (const theme of ['light', 'dark']) {
    for (const [path, title] of PAGES) look(path, title, { theme, ...(given ? {} : { mode: 'bad', look: true }) });
    if (!given) for (const path of MORE) look(path, undefined, { theme, mode: 'bad', look: true, quiet: path.startsWith('/notifications/') });
  }
  for (const [path, title] of PAGES) look(path, title, { width: 360, axe: false, ...(given ? {} : { mode: 'bad', look: true }) });
  if (!given) {
    for (const [path, title] of PAGES) look(path, title, { width: 768, axe: false, mode: 'bad' });
    for (const mode of ['well', 'empty', 'plain']) for (const [path, title] of PAGES) look(path, title, { mode, theme: mode === 'empty' ? 'dark' : 'light', axe: mode === 'empty' });
    for (const [path, title] of PAGES) look(path, title, { mode: 'error', quiet: true });
    for (const width of [360, 1280]) for (const [path] of PAGES) look(path, undefined, { mode: 'bad', language: 'zh', width, axe: false });
    for (const path of MORE) look(path, undefined, { mode: 'bad', language: 'zh', quiet: path.startsWith('/notifications/'), axe: false });
  }
  await together(works);
}
