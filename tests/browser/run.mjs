/// The dashboard in a real browser: names, accessibility, console, acts. Run after `make web`:
///
///     node tests/browser/run.mjs                      against the made-up server of web/dev/mock.mjs, all its moods
///     node tests/browser/run.mjs http://localhost:9090   against a running server: reads and one silence
///
/// Needs `npm ci` in web/ (playwright-core and axe-core) and a Chromium, by CHROMIUM or at /usr/bin/chromium.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
if (!existsSync(executablePath) || !existsSync(new URL('../../web/dist/index.html', import.meta.url))) {
  console.log('SKIPPED: needs Chromium and web/dist');
  process.exit(process.env.WATCHKEEPER_REQUIRE_BROWSER === '1' ? 1 : 0);
}

const FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
const given = process.argv[2];
let server;
let base = given?.replace(/\/$/, '');
if (!base) {
  const mock = await import('../../web/dev/mock.mjs');
  server = await mock.serve();
  base = `http://127.0.0.1:${server.port}`;
}

const profile = mkdtempSync(join(tmpdir(), 'watchkeeper-browser-'));
const browser = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS, viewport: { width: 1280, height: 900 } });
let failures = 0;
let checks = 0;

function expect(truth, what) {
  checks += 1;
  if (truth) return;
  failures += 1;
  console.log(`FAILED: ${what}`);
}

/** Opens a page, watches its console, and closes it after `act`. */
async function on(path, { mode, theme = 'light', width = 1280, quiet = false } = {}, act) {
  const page = await browser.newPage();
  const said = [];
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && said.push(message.text()));
  page.on('pageerror', (error) => said.push(String(error)));
  const elsewhere = [];
  page.on('request', (request) => !request.url().startsWith(base) && !/^(data|blob):/.test(request.url()) && elsewhere.push(request.url()));
  await browser.clearCookies();
  if (mode) await browser.addCookies([{ name: 'mode', value: mode, url: base }]);
  await page.setViewportSize({ width, height: 900 });
  await page.emulateMedia({ colorScheme: theme });
  try {
    await page.goto(base + path);
    await page.locator('main h1').waitFor({ timeout: 10_000 });
    await page.locator('main:not([aria-busy=true])').waitFor({ timeout: 10_000 });
    await act(page);
  } catch (error) {
    expect(false, `${path} (${mode ?? ''} ${theme} ${width}): ${String(error).split('\n').slice(0, 4).join(' ')}`);
  }
  if (!quiet) expect(said.length === 0, `${path} (${mode ?? ''} ${theme}): console: ${said.slice(0, 3).join(' | ')}`);
  expect(elsewhere.length === 0, `${path}: asked another host: ${elsewhere.join(', ')}`);
  await page.close();
}

async function accessible(page, where) {
  // As the debugger: the content policy forbids foreign scripts in the document.
  await page.evaluate(axe);
  // Without preloading, which makes style elements that the page's policy complains of; no rule of these needs it.
  const found = await page.evaluate(() => globalThis.axe.run(document, { preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  for (const violation of found.violations) {
    expect(false, `${where}: axe ${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${(node.any[0]?.message ?? '').slice(0, 160)}`).join(' || ')}`);
  }
  checks += 1;
}

const PAGES = [
  ['/', 'Overview'], ['/hosts', 'Hosts'], ['/services', 'Services'], ['/explore', 'Explore'], ['/targets', 'Targets'], ['/targets?tab=discovery', 'Targets'], ['/alerts', 'Alerts'],
  ['/rules', 'Rules'], ['/silences', 'Silences'], ['/notifications', 'Notifications'], ['/zookeeper', 'ZooKeeper'], ['/status', 'Status'], ['/status/cardinality', 'Status'], ['/status/configuration', 'Status'], ['/status/runtime', 'Status'],
];
// The made-up mail has a script, of which the browser says that it was blocked: that page's console is not clean on purpose.
const MORE = ['/hosts/web1%3A9100', '/targets/app/app1%3A8080', '/alerts/0a1b2c3d4e5f6071', '/rules/hosts/TargetDown', '/explore?q=node_load1', '/explore?q=node_load1&view=table', '/explore?q=up&view=explain', '/silences/new?filter=%7Bjob%3D%22node%22%7D', '/notifications/n1', '/no/such/page'];

async function sound(path, title, options) {
  await on(path, options, async (page) => {
    const where = `${path} (${options.mode ?? ''} ${options.theme ?? 'light'} ${options.width ?? 1280})`;
    await page.waitForTimeout(300);
    expect((await page.locator('h1').count()) === 1, `${where}: one h1`);
    if (title) {
      expect((await page.getByRole('heading', { level: 1 }).textContent()) === title, `${where}: h1 is ${title}`);
      expect((await page.title()).includes(title), `${where}: the document's title has ${title}`);
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(wide <= 0, `${where}: scrolls sideways by ${wide} px`);
    if (options.axe !== false) await accessible(page, where);
  });
}

for (const theme of ['light', 'dark']) {
  for (const [path, title] of PAGES) await sound(path, title, { theme, ...(given ? {} : { mode: 'bad' }) });
  if (!given) for (const path of MORE) await sound(path, undefined, { theme, mode: 'bad', quiet: path.startsWith('/notifications/') });
}
for (const [path, title] of PAGES) await sound(path, title, { width: 360, axe: false, ...(given ? {} : { mode: 'bad' }) });

if (!given) {
  for (const mode of ['well', 'empty', 'plain']) for (const [path, title] of PAGES) await sound(path, title, { mode, theme: mode === 'empty' ? 'dark' : 'light', axe: mode === 'empty' });
  for (const [path, title] of PAGES) await sound(path, title, { mode: 'error', quiet: true });

  await on('/', { mode: 'bad' }, async (page) => {
    const menu = page.getByRole('navigation', { name: 'Main' });
    for (const name of ['Overview', 'Hosts', 'Explore', 'Targets', 'Alerts', 'Rules', 'Silences', 'Notifications', 'ZooKeeper', 'Status']) expect((await menu.getByRole('link', { name }).count()) === 1, `the menu has ${name}`);
    const link = page.getByRole('region', { name: 'Health' }).getByRole('link', { name: '2 targets down' });
    expect((await link.getAttribute('href')) === '/targets?state=down', 'the link of Health leads to the targets that are down');
    expect(await page.getByRole('region', { name: 'Needs you' }).getByText('TargetDown').first().isVisible(), 'Needs you names the alert');
    await page.keyboard.press('Tab');
    expect((await page.evaluate(() => document.activeElement?.textContent)) === 'Skip to content', 'the first stop is the skip link');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
    await accessible(page, 'keyboard help');
    await page.keyboard.press('Escape');
    await page.keyboard.press('g');
    await page.keyboard.press('t');
    await page.getByRole('heading', { level: 1, name: 'Targets' }).waitFor();
    expect((await page.evaluate(() => document.activeElement?.tagName)) === 'H1', 'the heading has the focus after a change of page');
    await page.keyboard.press('/');
    await page.getByRole('combobox', { name: 'Find anything' }).fill('db2');
    await page.getByRole('listbox').getByRole('option').first().waitFor();
    await accessible(page, 'find');
    await page.keyboard.press('Enter');
    await page.waitForURL(/db2/);
    await page.goBack();
    await page.getByRole('heading', { level: 1, name: 'Targets' }).waitFor();
  });

  await on('/targets?state=down', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'Targets' });
    expect(await table.getByText('connection refused').isVisible(), 'a failing row shows its error');
    expect(await table.getByText('line 3').first().isVisible(), 'a parse error shows its line number');
    expect(await table.getByText('this is { not a metric <img src=x onerror=alert(1)>').isVisible(), 'and the line itself, as text');
    expect((await page.locator('main img').count()) === 0, 'nothing in it became HTML');
  });

  await on('/hosts', { mode: 'bad' }, async (page) => {
    await page.getByRole('table', { name: 'Hosts' }).getByRole('link', { name: 'web1:9100' }).click();
    await page.getByRole('heading', { level: 1, name: 'web1:9100' }).waitFor();
    await page.getByRole('img', { name: /^Graph of/ }).nth(3).waitFor();
  });

  await on('/explore', { mode: 'bad' }, async (page) => {
    const box = page.getByRole('textbox', { name: 'PromQL expression' });
    await box.click();
    await box.pressSequentially('node_lo');
    await page.getByRole('option').first().waitFor();
    await accessible(page, 'completion');
    await page.keyboard.press('Escape');
    // Replacing coloured text must not leave an inline style behind: the console would tell.
    await box.fill('sum(up)');
    await page.waitForTimeout(300);
    await box.fill('node_load1');
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByRole('img', { name: /^Graph of node_load1/ }).locator('canvas').waitFor();
    expect(/q=node_load1/.test(page.url()), 'the expression is in the address');
    await page.getByRole('button', { name: 'Copy link' }).click();
    await page.getByRole('tab', { name: 'Table' }).click();
    await page.getByRole('table').getByText('web1:9100').first().waitFor();
    await page.goBack();
  });
  await on('/explore?q=sum(', { mode: 'bad', quiet: true }, async (page) => {
    await page.getByRole('alert').getByText('parse error').waitFor();
  });
  await on('/graph?g0.expr=node_load1&g0.range_input=6h', { mode: 'bad' }, async (page) => {
    expect(/\/explore\?q=node_load1&range=6h/.test(page.url()), `an old link leads to Explore: ${page.url()}`);
  });

  await on('/alerts', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'Alerts' });
    expect(await table.getByText('Silenced', { exact: true }).isVisible(), 'silenced rows say so');
    await table.getByRole('row', { name: /TargetDown.*db2/ }).getByRole('button', { name: /^Silence/ }).click();
    const dialog = page.getByRole('dialog', { name: 'New silence' });
    await dialog.getByText('Matches 1 alert').waitFor();
    await accessible(page, 'silence dialog');
    await dialog.getByRole('textbox', { name: 'Created by' }).fill('Test');
    await dialog.getByRole('textbox', { name: 'Comment' }).fill('<b>trying</b>');
    await dialog.getByRole('button', { name: 'Create silence' }).click();
    await page.getByRole('status').getByText('Silence created').waitFor();
    await table.getByRole('row', { name: /TargetDown.*db2/ }).getByText('Silenced', { exact: true }).waitFor();
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Silences' }).click();
    const row = page.getByRole('table', { name: 'Silences' }).getByRole('row', { name: /trying/ });
    await row.getByRole('button', { name: /^Expire/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: /^Expire/ }).click();
    await row.waitFor({ state: 'detached' });
  });

  await on('/rules', { mode: 'bad' }, async (page) => {
    await page.getByRole('table', { name: 'Rules' }).getByRole('link', { name: 'TargetDown' }).click();
    await page.getByRole('heading', { level: 1, name: 'TargetDown' }).waitFor();
    await page.getByText(/Evaluated .* ago in .* ms/).waitFor();
    await page.getByRole('region', { name: 'State history' }).waitFor();
    const replay = page.getByRole('region', { name: 'What would this rule have done?' });
    await replay.getByRole('button', { name: 'Replay over the last 7 days' }).click();
    await replay.getByRole('status').getByText('Would have fired 2 times, for 1 h 30 min in all. Once it would have been pending without firing.').waitFor();
    await replay.getByRole('img', { name: /^Pending .*Firing/ }).waitFor();
    await accessible(page, 'replay of a rule');
    await page.getByRole('img', { name: /^Graph of/ }).waitFor();
  });

  await on('/', { mode: 'bad', quiet: true }, async (page) => {
    await page.route('**/*', (route) => route.abort());
    await page.getByText('Connection lost').waitFor({ timeout: 30_000 });
    await accessible(page, 'connection lost');
    await page.unroute('**/*');
    await page.getByText('Connection lost').waitFor({ state: 'detached', timeout: 30_000 });
  });

  // What the first page weighs on the wire.
  await on('/', { mode: 'bad' }, async (page) => {
    await page.waitForTimeout(1000);
    const sizes = await page.evaluate(() => [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')].filter((entry) => !entry.name.includes('/api/')).map((entry) => [entry.name, entry.encodedBodySize]));
    const sum = sizes.reduce((total, [, size]) => total + size, 0);
    console.log(`first route: ${(sum / 1000).toFixed(1)} kB in ${sizes.length} files`);
    expect(sum <= 100_000, `the first route weighs ${sum} bytes`);
  });
}

await browser.close();
rmSync(profile, { recursive: true, force: true });
server?.server.close();
server?.server.closeAllConnections();
console.log(`${checks - failures} of ${checks} checks passed`);
process.exit(failures ? 1 : 0);
