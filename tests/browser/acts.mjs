/// What people do, on the made-up server.
export default async function ({ on, expect, accessible, together }) {
  const works = [];
  const act = (...given) => works.push(() => on(...given));

  act('/', { mode: 'bad' }, async (page) => {
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

  act('/targets?state=down', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'Targets' });
    expect(await table.getByText('connection refused').isVisible(), 'a failing row shows its error');
    expect(await table.getByText('line 3').first().isVisible(), 'a parse error shows its line number');
    expect(await table.getByText('this is { not a metric <img src=x onerror=alert(1)>').isVisible(), 'and the line itself, as text');
    expect((await page.locator('main img').count()) === 0, 'nothing in it became HTML');
  });

  act('/hosts', { mode: 'bad' }, async (page) => {
    await page.getByRole('table', { name: 'Hosts' }).getByRole('link', { name: 'web1:9100' }).click();
    await page.getByRole('heading', { level: 1, name: 'web1:9100' }).waitFor();
    await page.getByRole('img', { name: /^Graph of/ }).nth(3).waitFor();
  });

  act('/explore', { mode: 'bad' }, async (page) => {
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
  act('/explore?q=sum(', { mode: 'bad', quiet: true }, async (page) => {
    await page.getByRole('alert').getByText('parse error').waitFor();
  });
  act('/graph?g0.expr=node_load1&g0.range_input=6h', { mode: 'bad' }, async (page) => {
    expect(/\/explore\?q=node_load1&range=6h/.test(page.url()), `an old link leads to Explore: ${page.url()}`);
  });

  act('/alerts', { mode: 'bad' }, async (page) => {
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

  act('/rules', { mode: 'bad' }, async (page) => {
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

  act('/alerts?tab=history', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'History' });
    await table.getByRole('link', { name: 'LoadHigh' }).first().waitFor();
    expect((await table.getByText('3 times within 90 days').count()) === 3, 'an alert that comes often says so');
    await accessible(page, 'history of alerts');
    await page.getByRole('searchbox').fill('TargetDown');
    expect((await table.getByRole('row').count()) === 2, 'the history can be searched');
  });
  act('/', { mode: 'well' }, async (page) => {
    await page.getByText(/no alert since/).waitFor();
    await page.getByText('Last alert: LoadHigh on web2:9100').waitFor();
  });
  act('/?kiosk=1&cycle=5', { mode: 'bad', width: 1920, height: 1080 }, async (page) => {
    await page.getByText(/data \d+ s old/).waitFor();
    expect((await page.getByRole('navigation').count()) === 0, 'the wall has no menu');
    expect((await page.locator('main button:visible').count()) === 0, 'nothing to press on the wall');
    const fits = await page.evaluate(() => { const main = document.querySelector('main'); return [main.scrollHeight - main.clientHeight, document.documentElement.scrollHeight - innerHeight]; });
    expect(fits.every((over) => over <= 0), `the wall fits one screen: ${fits}`);
    await page.waitForURL(/\/hosts\?/, { timeout: 10_000 });
    expect(/kiosk=1/.test(page.url()) && /cycle=5/.test(page.url()), 'and goes round');
  });
  for (const path of ['/explore?q=node_load1', '/alerts']) {
    act(path, { mode: 'bad', theme: 'dark' }, async (page) => {
      await page.emulateMedia({ media: 'print' });
      expect((await page.getByRole('navigation', { name: 'Main' }).isVisible()) === false, `${path}: paper has no menu`);
      expect((await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor)) === 'rgb(255, 255, 255)', `${path}: paper is white`);
    });
  }

  act('/', { mode: 'bad', quiet: true }, async (page) => {
    await page.route('**/*', (route) => route.abort());
    await page.getByText('Connection lost').waitFor({ timeout: 30_000 });
    await accessible(page, 'connection lost');
    await page.unroute('**/*');
    await page.getByText('Connection lost').waitFor({ state: 'detached', timeout: 30_000 });
  });

  await together(works);
}
