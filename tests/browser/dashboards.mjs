/// Dashboards: what people bring, look at and make, on the made-up server.
const LIST = '/dashboards';
const HOSTS = '/dashboards/hosts-full';

export default async function ({ on, expect, accessible, sound, settled, together }) {
  const works = [];
  const act = (...given) => works.push(() => on(...given));
  const look = (...given) => works.push(() => sound(...given));

  for (const theme of ['light', 'dark']) {
    for (const [path, title] of [[LIST, 'Dashboards'], [HOSTS, 'Hosts in full'], ['/dashboards/old-days', 'Old days'], ['/dashboards/my-graphs', 'My graphs']]) look(path, title, { mode: 'bad', theme });
  }
  for (const [path, title] of [[LIST, 'Dashboards'], [HOSTS, 'Hosts in full'], ['/dashboards/old-days', 'Old days']]) {
    look(path, title, { mode: 'bad', width: 360, axe: false });
    look(path, undefined, { mode: 'bad', language: 'zh', axe: false });
  }
  look(LIST, 'Dashboards', { mode: 'empty' });
  look(LIST, 'Dashboards', { mode: 'plain' });
  look('/dashboards/nowhere', 'nowhere', { mode: 'bad', quiet: true });

  // What a big dashboard shows: gauges, figures, tables; what it does not support, in its place.
  act(HOSTS, { mode: 'bad', quiet: true }, async (page) => {
    expect((await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Services' }).getAttribute('aria-current')) === 'page', 'dashboards belong to Services');
    await page.getByRole('img', { name: /^CPU busy: [\d.]+ %/ }).waitFor();
    await page.getByRole('img', { name: 'Up: Up' }).waitFor();
    await page.getByRole('img', { name: /^Graph of CPU basic/ }).locator('canvas').waitFor();
    const table = page.getByRole('table', { name: 'File systems', exact: true });
    await page.getByRole('group', { name: 'File systems', exact: true }).scrollIntoViewIfNeeded();
    await table.getByRole('row').nth(1).getByText('91').first().waitFor();
    expect((await table.getByRole('columnheader').allTextContents()).join() === 'instance,Mounted on,Used,Again', 'columns are left out, named and ordered');
    await table.getByRole('button', { name: 'instance' }).click();
    expect((await table.getByRole('columnheader', { name: 'instance' }).getAttribute('aria-sort')) === 'ascending', 'a head sorts');
    const about = page.getByRole('group', { name: 'About', exact: true });
    expect(await about.getByText('<img src=x onerror=alert(1)> stays text').isVisible(), 'HTML in a text is text');
    expect((await page.locator('main img').count()) === 0, 'and nothing became an element');
    expect((await page.locator('main a[href^="javascript"]').count()) === 0, 'no address but http(s) and ours is a link');
    await page.getByRole('button', { name: /^Not supported/ }).click();
    await page.getByText('This kind of panel (heatmap) is not supported.').waitFor();
    await page.getByText('Data of “loki” is not supported.').waitFor();
    await page.getByText('Something in the JSON is wrong: targets: a list is expected').waitFor();
    await page.getByRole('group', { name: 'A bad query' }).getByText('parse error').waitFor();
    await page.getByRole('img', { name: /^Graph of A bad query/ }).waitFor();
    await settled(page);
    await accessible(page, 'a dashboard with what is not supported');
  });

  // Choices are in the address; what follows from them is chosen anew; rows are made for each value.
  act(HOSTS, { mode: 'bad' }, async (page) => {
    const unfilled = [];
    page.on('request', (request) => /\$\w/.test(decodeURIComponent(request.url())) && unfilled.push(request.url()));
    await page.reload();
    await page.getByRole('img', { name: /^CPU busy: [\d.]+ %/ }).waitFor();
    expect(unfilled.length === 0, `panels wait for the choices: ${unfilled[0]}`);
    await page.getByRole('button', { name: 'iowait' }).first().waitFor();
    await page.emulateMedia({ media: 'print' });
    for (const name of ['iowait', 'Quick look']) expect(await page.getByRole('button', { name }).first().isVisible(), `on paper "${name}" is still there`);
    expect(await page.locator('.printed', { hasText: 'db1:9100' }).isVisible(), 'and so is what is chosen');
    await page.emulateMedia({ media: 'screen' });
    await page.getByLabel('Name', { exact: true }).selectOption('web2');
    await page.waitForURL(/var-nodename=web2/);
    await page.locator('select', { hasText: 'web2:9100' }).waitFor();
    await page.getByRole('heading', { name: 'Notes for web2:9100' }).waitFor();
    expect((await page.getByRole('button', { name: /^For each device/ }).count()) === 2, 'a row for each device');
    await page.getByRole('button', { name: 'Device: All', exact: true }).or(page.locator('summary[aria-label="Device: All"]')).click();
    await page.getByRole('checkbox', { name: 'sda' }).check();
    await page.getByRole('button', { name: 'For each device: sda' }).waitFor();
    expect((await page.getByRole('button', { name: /^For each device/ }).count()) === 1, 'and only for the chosen one');
    await page.keyboard.press('Escape');
    await page.goBack();
    // Back takes a choice back.
    await page.getByRole('button', { name: 'For each device: nvme0n1' }).waitFor();
    await page.locator('summary[aria-label="Menu of CPU basic"]').click();
    await page.getByRole('button', { name: 'Show alone' }).click();
    await page.waitForURL(/viewPanel=/);
    await page.getByRole('img', { name: /^Graph of Network/ }).waitFor({ state: 'detached' });
    expect((await page.getByRole('img', { name: /^Graph of/ }).count()) === 1, 'one panel alone');
    await page.goBack();
    await page.locator('summary[aria-label="Menu of CPU basic"]').click();
    await page.getByRole('link', { name: 'Open in Explore' }).click();
    await page.waitForURL(/explore\?q=sum/);
    await page.getByRole('heading', { level: 1, name: 'Explore' }).waitFor();
  });

  // Files: good ones, and those that are none.
  act(LIST, { mode: 'bad' }, async (page) => {
    const files = page.locator('input[type=file]');
    const give = (name, text) => files.setInputFiles({ name, mimeType: 'application/json', buffer: Buffer.from(text) });
    await give('broken.json', '{\n  "panels": [1, 2\n}');
    await page.getByRole('alert').getByText('This is not JSON: line 3, column 1.').waitFor();
    await give('other.json', '{"name": "x"}');
    await page.getByText('it has neither panels nor rows').waitFor();
    await give('big.json', ' '.repeat(6 * 1024 * 1024));
    await page.getByText('This file has 6 MB; the limit is 5 MB.').waitFor();
    await accessible(page, 'a file that was refused');
    // By dropping, and with markup in its name.
    await page.evaluate(() => {
      const data = new DataTransfer();
      data.items.add(new File([JSON.stringify({ title: '<b>Dropped</b>', panels: [{ type: 'stat', title: '<i>one</i>', gridPos: { x: 0, y: 0, w: 6, h: 4 }, targets: [{ expr: 'up{instance="web1:9100"}', refId: 'A' }] }] })], 'dropped.json'));
      document.querySelector('main .stack')?.dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
    });
    await page.getByRole('heading', { level: 1, name: '<b>Dropped</b>' }).waitFor();
    await page.getByRole('img', { name: '<i>one</i>: 1' }).waitFor();
    await page.getByRole('button', { name: 'Edit' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    await page.goBack();
    const table = page.getByRole('table', { name: 'Dashboards' });
    await table.getByRole('button', { name: 'Delete <b>Dropped</b>' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
    await table.getByText('<b>Dropped</b>').waitFor({ state: 'detached' });
  });

  // The order by hand, with buttons and with keys; a file that cannot be shown says why; export.
  act(LIST, { mode: 'well' }, async (page) => {
    const table = page.getByRole('table', { name: 'Dashboards' });
    const titles = async () => (await table.locator('tbody th').allTextContents()).map((text) => text.trim());
    expect(await table.getByText('line 3, column 9').isVisible(), 'a file that cannot be shown says why');
    await table.getByRole('button', { name: 'Move Old days up' }).click();
    await page.getByRole('status').getByText('Old days is now number 2 of 4').waitFor();
    expect((await titles())[1] === 'Old days', 'a button moves a row');
    await table.getByRole('link', { name: 'Old days' }).focus();
    await page.keyboard.press('Alt+ArrowUp');
    await page.getByRole('status').getByText('Old days is now number 1 of 4').waitFor();
    await page.reload();
    await table.getByRole('link', { name: 'Old days' }).waitFor();
    expect((await titles())[0] === 'Old days', 'and the order stays');
    const waiting = page.waitForEvent('download');
    await table.getByRole('button', { name: 'Export My graphs' }).click();
    expect((await waiting).suggestedFilename() === 'my-graphs.json', 'a dashboard goes out as a file');
  });

  // From Explore onto a new dashboard, another graph onto the same, edited; a conflict loses nothing that was typed.
  act('/explore?q=node_load1', { mode: 'bad', quiet: true }, async (page) => {
    await page.getByRole('button', { name: 'Add to dashboard' }).click();
    const dialog = page.getByRole('dialog', { name: 'Add to dashboard' });
    await dialog.getByLabel('Dashboard', { exact: true }).selectOption('');
    await dialog.getByLabel('Name', { exact: true }).fill('Night watch');
    await dialog.getByLabel('Title of the graph').fill('Load of all');
    await accessible(page, 'add to dashboard');
    await dialog.getByRole('button', { name: 'Add to dashboard' }).click();
    await page.getByRole('heading', { level: 1, name: 'Night watch' }).waitFor();
    await page.getByRole('img', { name: /^Graph of Load of all/ }).waitFor();
    await page.goto(new URL('/services/node/web1%3A9100', page.url()).href);
    await page.locator('summary[aria-label="Menu of CPU"]').first().click();
    await page.getByRole('button', { name: 'Add to dashboard' }).first().click();
    await dialog.getByLabel('Dashboard', { exact: true }).selectOption({ label: 'Night watch' });
    await dialog.getByRole('button', { name: 'Add to dashboard' }).click();
    await page.getByRole('heading', { level: 1, name: 'Night watch' }).waitFor();
    await page.getByRole('img', { name: /^Graph of CPU/ }).waitFor();
    await page.getByRole('button', { name: 'Edit', exact: true }).click();
    await page.getByRole('button', { name: 'Move CPU up' }).click();
    await page.getByRole('button', { name: 'Full width for CPU' }).click();
    await page.getByLabel('Title of panel 2').fill('Renamed');
    await accessible(page, 'editing a dashboard');
    await page.getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByRole('status').getByText('Dashboard saved').waitFor();
    const order = await page.locator('main .grid h2').allTextContents();
    expect(order.join() === 'CPU,Renamed', `panels stand as they were put: ${order.join()}`);
    await page.getByRole('button', { name: 'Edit', exact: true }).click();
    await page.getByLabel('Title of panel 2').fill('Mine');
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Hosts' }).click();
    await page.getByRole('heading', { level: 1, name: 'Hosts' }).waitFor();
    await page.goBack();
    expect((await page.getByLabel('Title of panel 2').inputValue()) === 'Mine', 'what was typed is still there after a look elsewhere');
    const id = new URL(page.url()).pathname.split('/').pop();
    await page.evaluate(async (name) => {
      const kept = (await (await fetch(`/api/watchkeeper/v1/dashboards/${name}`)).json()).data;
      await fetch('/api/watchkeeper/v1/dashboards', { method: 'POST', body: JSON.stringify({ id: name, base: kept.version, to: 'own', author: 'zhang', dashboard: { ...kept.dashboard, tags: ['theirs'] } }) });
    }, id);
    await page.getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByText('zhang saved another version').waitFor();
    expect((await page.getByLabel('Title of panel 2').inputValue()) === 'Mine', 'a conflict loses nothing that was typed');
    await page.getByRole('button', { name: 'Save mine over it' }).click();
    await page.getByRole('group', { name: 'Mine', exact: true }).waitFor();
  });

  // Who may only look is offered nothing that changes.
  act(LIST, { mode: 'viewer' }, async (page) => {
    await page.getByRole('table', { name: 'Dashboards' }).getByRole('link', { name: 'My graphs' }).waitFor();
    for (const name of [/^Delete/, /^Move/, 'Upload', 'New dashboard']) expect((await page.getByRole('button', { name }).count()) === 0, `a viewer has no button ${name}`);
    await page.getByRole('link', { name: 'My graphs' }).click();
    await page.getByRole('heading', { level: 1, name: 'My graphs' }).waitFor();
    expect((await page.getByRole('button', { name: 'Edit' }).count()) === 0, 'a viewer edits no dashboard');
  });

  // Found by name, and by the link on Services.
  act('/services', { mode: 'bad' }, async (page) => {
    await page.getByRole('main').getByRole('link', { name: 'Dashboards' }).click();
    await page.getByRole('heading', { level: 1, name: 'Dashboards' }).waitFor();
    await page.keyboard.press('/');
    await page.getByRole('combobox', { name: 'Find anything' }).fill('old days');
    await page.getByRole('option', { name: /Old days/ }).first().waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Old days' }).waitFor();
    await page.getByRole('button', { name: /^More/ }).click();
    await page.getByText('from HTML & friends').waitFor();
  });
  await together(works);
}
