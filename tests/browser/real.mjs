/// A new user's walk over a real server: a bad night, a fresh start, ZooKeeper away, a server that dies and comes back.
///
///     node tests/browser/real.mjs target/debug/watchkeeper
///
/// Needs what run.mjs needs, and prometheus-node-exporter.
import { existsSync, mkdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { isBuilt, openKit } from './lib.mjs';
import pages from './pages.mjs';
import { HOSTS } from '../../web/dev/mock_dashboards.mjs';
import { exporter, freePort, program, refusingMailServer, scratch, until, watchkeeper } from './world.mjs';

// The servers run in folders of their own.
const binary = resolve(process.argv[2] ?? 'target/debug/watchkeeper');
const required = process.env.WATCHKEEPER_REQUIRE_BROWSER === '1';
if (!isBuilt() || !existsSync(binary)) {
  console.log(`SKIPPED: needs Chromium, web/dist and ${binary}`);
  process.exit(required ? 1 : 0);
}

const RULES = `groups:
- name: hosts
  interval: 1s
  rules:
  - alert: TargetDown
    expr: up == 0
    labels: {severity: critical}
    annotations: {summary: '{{ $labels.instance }} does not answer'}
  - alert: QueueLong
    expr: app_queue > 10
    labels: {severity: warning}
    annotations: {summary: 'the queue has {{ $value }}'}
  - record: instance:cpu:ratio
    expr: 1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[30s]))
`;

const REFUSAL = '554 5.7.1 nobody here takes mail';

function configuration({ node, bad, app, mail }) {
  return `global: {scrape_interval: 1s, scrape_timeout: 900ms}
rule_files: [rules.yml]
scrape_configs:
- job_name: node
  static_configs: [{targets: ['${node}']}]
- job_name: bad
  static_configs: [{targets: ['${bad}']}]
- job_name: app
  static_configs: [{targets: ['${app}']}]
alertmanager:
  global: {smtp_smarthost: '127.0.0.1:${mail}', smtp_from: 'watchkeeper@example.org', smtp_require_tls: false}
  route: {receiver: ops, group_by: [alertname], group_wait: 1s, group_interval: 1s}
  receivers:
  - name: ops
    email_configs: [{to: ops@example.org}]
`;
}

/// What broke, since when, who was told, what do I do?
async function badNight(kit, { server, app, bad }) {
  const { on, expect, accessible } = kit;
  await on('/', {}, async (page) => {
    const health = page.getByRole('region', { name: 'Health' });
    await health.getByRole('link', { name: /targets? down/ }).waitFor({ timeout: 20_000 });
    await health.getByRole('link', { name: /target(s)? down/ }).click();
    // One click from the first page: the target, its error and the line that is none.
    const table = page.getByRole('table', { name: 'Targets' });
    await table.getByText('this is { not a metric').first().waitFor();
    await table.getByText('line 2').first().waitFor();
    expect(page.url().endsWith('/targets?state=down'), `the link leads to what is down: ${page.url()}`);
    await accessible(page, 'targets that are down');
  });

  await on('/alerts', {}, async (page) => {
    const table = page.getByRole('table', { name: 'Alerts' });
    const row = table.getByRole('row', { name: new RegExp(`TargetDown.*${bad.address}`) });
    // Two acts.
    await row.getByRole('button', { name: /^Silence/ }).click();
    const dialog = page.getByRole('dialog', { name: 'New silence' });
    await dialog.getByText('Matches 1 alert').waitFor();
    await dialog.getByRole('button', { name: 'Create silence' }).click();
    await page.getByRole('status').getByText('Silence created').waitFor();
    await row.getByText('Silenced', { exact: true }).waitFor();
    const silences = await server.get('/api/v2/silences');
    expect(silences.length === 1 && silences[0].status.state === 'active', `the server has the silence: ${JSON.stringify(silences)}`);
    await table.getByRole('link', { name: 'TargetDown' }).first().click();
    await page.getByRole('heading', { level: 1, name: 'TargetDown' }).waitFor();
    await page.getByRole('img', { name: /^Graph of/ }).locator('canvas').waitFor();
    await page.getByRole('heading', { name: 'Timeline' }).waitFor();
    await accessible(page, 'an alert');
  });

  await on('/notifications', {}, async (page) => {
    const row = page.getByRole('table', { name: 'Notifications' }).getByRole('row', { name: /TargetDown/ }).first();
    await row.getByText(REFUSAL.slice(10)).waitFor({ timeout: 20_000 });
    await row.getByRole('link').first().click();
    await page.getByRole('heading', { level: 1, name: /TargetDown/ }).waitFor();
    const frame = page.frameLocator('iframe');
    await frame.getByText(/does not answer/).first().waitFor();
    expect((await page.locator('iframe').getAttribute('sandbox')) === '', 'the mail is shown in a sandbox');
  });

  await on('/hosts', {}, async (page) => {
    await page.getByRole('table', { name: 'Hosts' }).getByRole('link').first().click();
    await page.getByRole('img', { name: /^Graph of/ }).nth(3).locator('canvas').waitFor({ timeout: 20_000 });
  });
  await on('/services', {}, async (page) => {
    await page.getByRole('link', { name: app.address }).click();
    await page.getByRole('img', { name: /^Graph of app_queue/ }).locator('canvas').waitFor({ timeout: 20_000 });
  });
  await on('/rules', {}, async (page) => {
    await page.getByRole('table', { name: 'Rules' }).getByRole('link', { name: 'TargetDown' }).click();
    await page.getByText(/Evaluated .* ago in .* ms/).waitFor();
    await page.getByRole('region', { name: 'State history' }).waitFor();
    await page.getByRole('img', { name: /^Graph of/ }).locator('canvas').waitFor();
  });
  await on('/explore', {}, async (page) => {
    const box = page.getByRole('textbox', { name: 'PromQL expression' });
    await box.click();
    await box.pressSequentially('app_q');
    await page.getByRole('option', { name: /app_queue/ }).waitFor();
    await page.keyboard.press('Escape');
    await box.fill('app_queue');
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByRole('img', { name: /^Graph of app_queue/ }).locator('canvas').waitFor();
    await page.getByRole('tab', { name: 'Explain' }).click();
    await page.getByRole('tab', { name: 'Table' }).click();
    await page.getByRole('table').getByText('app_queue').first().waitFor();
  });
}

/// A Grafana dashboard in a folder, on real data; and one made from Explore.
async function dashboards(kit, { server }) {
  const { on, expect, accessible } = kit;
  await on('/dashboards', {}, async (page) => {
    await page.getByRole('link', { name: HOSTS.title }).click();
    await page.getByRole('heading', { level: 1, name: HOSTS.title }).waitFor();
    await page.locator('canvas').first().waitFor({ timeout: 20_000 });
    await accessible(page, 'a Grafana dashboard');
    await kit.picture(page, 'grafana dashboard');
  });
  await on('/explore?q=app_queue', {}, async (page) => {
    await page.getByRole('button', { name: 'Add to dashboard' }).first().click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('textbox', { name: /title/i }).first().waitFor();
    for (const box of await dialog.getByRole('textbox').all()) if (!(await box.inputValue())) await box.fill('Queues');
    await dialog.getByRole('button', { name: /^(Add|Save|Create)/ }).click();
    await page.getByRole('status').getByText(/dashboard/i).first().waitFor();
    const { data } = await server.get('/api/watchkeeper/v1/dashboards');
    expect(data.dashboards.some((one) => one.source === 'own'), `the server keeps it: ${JSON.stringify(data.dashboards.map((one) => one.title))}`);
  });
}

/// Pages change by themselves, and outlive the server.
async function live(kit, { server, app }) {
  const { on, expect, accessible } = kit;
  await on('/', { quiet: true }, async (page) => {
    const menu = page.getByRole('navigation', { name: 'Main' });
    await page.getByRole('region', { name: 'Health' }).getByRole('link', { name: '1 target down' }).waitFor({ timeout: 20_000 });
    await app.stop();
    await page.getByRole('region', { name: 'Health' }).getByRole('link', { name: '2 targets down' }).waitFor({ timeout: 20_000 });
    await menu.getByRole('link', { name: /Targets.*2/ }).waitFor();
    await page.getByText(`${app.address} (app) went down: connection refused`).waitFor();
    await app.start();
    await page.getByRole('region', { name: 'Health' }).getByRole('link', { name: '1 target down' }).waitFor({ timeout: 20_000 });
  });
  await on('/explore', { quiet: true }, async (page) => {
    const box = page.getByRole('textbox', { name: 'PromQL expression' });
    await box.fill('sum(app_queue)');
    await server.stop('SIGKILL');
    await page.getByText('Connection lost').waitFor({ timeout: 30_000 });
    await accessible(page, 'connection lost');
    await server.start();
    await page.getByText('Connection lost').waitFor({ state: 'detached', timeout: 30_000 });
    expect(/sum\(app_queue\)/.test((await box.inputValue().catch(() => undefined)) ?? (await box.textContent()) ?? ''), 'what was typed is still there');
  });
}

/// A configuration that is refused is told, with its place; what held goes on.
async function badConfiguration(kit, { server, folder, config }) {
  folder.write('watchkeeper.yml', `${config}\nglobel: {}\n`);
  await fetch(`${server.base}/-/reload`, { method: 'POST' });
  await kit.on('/status/configuration', {}, async (page) => {
    await page.getByText(/globel/).first().waitFor();
    await kit.accessible(page, 'a refused configuration');
  });
  folder.write('watchkeeper.yml', config);
  const answer = await fetch(`${server.base}/-/reload`, { method: 'POST' });
  kit.expect(answer.ok, `the good configuration is taken again: ${answer.status}`);
}

async function fresh(binary) {
  const folder = scratch();
  const server = await watchkeeper(binary, folder.folder);
  const kit = await openKit({ base: server.base, given: true });
  await kit.on('/', {}, async (page) => {
    await page.getByText('Watching this host and itself').waitFor({ timeout: 20_000 });
    await kit.accessible(page, 'a fresh start');
    await kit.picture(page, 'fresh overview');
  });
  await kit.on('/zookeeper', {}, async (page) => {
    await page.getByText('Not configured').first().waitFor();
    await kit.picture(page, 'fresh zookeeper');
  });
  await kit.on('/notifications', {}, async (page) => {
    await page.getByText(/no mail server is configured/).first().waitFor();
  });
  await kit.close();
  await server.stop();
  folder.remove();
  return kit.counts;
}

async function zooKeeperAway(binary) {
  const folder = scratch();
  const config = folder.write('watchkeeper.yml', `zookeeper: {connect: '127.0.0.1:${await freePort()}/watchkeeper'}\n`);
  const server = await watchkeeper(binary, folder.folder, config);
  const kit = await openKit({ base: server.base, given: true });
  await kit.on('/zookeeper', {}, async (page) => {
    await page.getByText(/ZooKeeper is away/).first().waitFor({ timeout: 20_000 });
    await kit.accessible(page, 'ZooKeeper away');
    await kit.picture(page, 'zookeeper away');
  });
  await kit.close();
  await server.stop();
  folder.remove();
  return kit.counts;
}

/// Users: the page asks who one is; a viewer changes nothing; the operator does.
async function users(binary) {
  const folder = scratch();
  // Of `sesame`.
  const hash = '$2b$04$abcdefghijklmnopqrstuuinwY/tkBVrn3xrxQI/TgnMHhkvl85RW';
  const config = folder.write('watchkeeper.yml', `web:
  basic_auth_users: {li: '${hash}', guest: '${hash}'}
  roles: {guest: viewer}
  api_tokens: [{name: ci, role: operator, token: of-ci}]
`);
  const server = await watchkeeper(binary, folder.folder, config);
  const kit = await openKit({ base: server.base, given: true });
  const { on, expect, accessible } = kit;
  const enter = async (page, name, password) => {
    await page.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
    await page.getByRole('textbox', { name: 'Name' }).fill(name);
    await page.getByLabel('Password').fill(password);
    await page.getByRole('button', { name: 'Sign in' }).click();
  };
  await on('/silences', { quiet: true }, async (page) => {
    await accessible(page, 'sign in');
    await enter(page, 'li', 'wrong');
    await page.getByRole('alert').getByText('do not fit').waitFor();
    await enter(page, 'li', 'sesame');
    await page.getByRole('heading', { level: 1, name: 'Silences' }).waitFor();
    await page.getByText('signed in as li').waitFor();
    const made = await page.evaluate(async () => (await fetch('/api/v2/silences', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ matchers: [{ name: 'a', value: 'b', isRegex: false, isEqual: true }], startsAt: new Date().toISOString(), endsAt: new Date(Date.now() + 60_000).toISOString(), createdBy: 'li', comment: 'x' }) })).status);
    expect(made === 200, `an operator makes a silence: ${made}`);
    await page.getByRole('table', { name: 'Silences' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await enter(page, 'guest', 'sesame');
    await page.getByText('who may look but not change anything').waitFor();
    const refused = await page.evaluate(async () => (await fetch('/api/v2/silences', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' })).status);
    expect(refused === 403, `a viewer does not: ${refused}`);
    expect((await page.getByRole('button', { name: 'New silence' }).count()) === 0, 'and is not offered to');
  });
  const bare = await fetch(server.base, { headers: { Accept: '*/*' } });
  expect(bare.status === 401 && /^Basic/.test(bare.headers.get('www-authenticate') ?? ''), `a script is asked as by Prometheus: ${bare.status}`);
  await kit.close();
  await server.stop();
  folder.remove();
  return kit.counts;
}

async function full(binary) {
  const folder = scratch();
  const bad = await exporter('good 1\nthis is { not a metric <img src=x onerror=alert(1)>\n');
  const app = await exporter('# HELP app_queue Jobs that wait.\n# TYPE app_queue gauge\napp_queue 12\n');
  const mail = await refusingMailServer(REFUSAL);
  const nodePort = await freePort();
  const node = program('prometheus-node-exporter', [`--web.listen-address=127.0.0.1:${nodePort}`]);
  const config = configuration({ node: `127.0.0.1:${nodePort}`, bad: bad.address, app: app.address, mail: mail.port });
  folder.write('rules.yml', RULES);
  mkdirSync(`${folder.folder}/dashboards`);
  folder.write('dashboards/hosts.json', JSON.stringify(HOSTS));
  const server = await watchkeeper(binary, folder.folder, folder.write('watchkeeper.yml', config));
  const kit = await openKit({ base: server.base, given: true });
  try {
    await until('all are scraped, and the alert fires', async () => {
      const { data } = await server.get('/api/v1/query?query=ALERTS{alertstate="firing",alertname="TargetDown"} and on() (count(up) >= 4) and on() node_load1');
      return data.result.length > 0;
    });
    const world = { server, app, bad, folder, config };
    await badNight(kit, world);
    await dashboards(kit, world);
    await pages(kit);
    await badConfiguration(kit, world);
    await live(kit, world);
  } finally {
    if (kit.counts.failures) console.log(server.said().slice(-3000));
    await kit.close();
    await Promise.all([server.stop(), node.stop(), app.stop(), bad.stop(), mail.stop()]);
    folder.remove();
  }
  return kit.counts;
}

const scenes = { users, full, fresh, zooKeeperAway };
const only = process.env.ONLY?.split(',');
let [failures, checks] = [0, 0];
for (const [name, scene] of Object.entries(scenes)) {
  if (only && !only.includes(name)) continue;
  const started = performance.now();
  const counts = await scene(binary);
  failures += counts.failures;
  checks += counts.checks;
  console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
console.log(`${checks - failures} of ${checks} checks on real servers passed`);
process.exit(failures ? 1 : 0);
