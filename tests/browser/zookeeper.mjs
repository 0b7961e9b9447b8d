/// The ZooKeeper pages: the ensemble, the rule editor, conflicts, history, the way back.
export default async function ({ on, expect, accessible, sound, together }) {
  const editor = (page, name) => page.getByRole('textbox', { name: `Text of ${name}` });

  await on('/zookeeper', { mode: 'bad' }, async (page) => {
    await page.getByText('team/web.yml was refused at', { exact: false }).waitFor();
    await page.getByText(/The version of .* stays in force\./).waitFor();
    await page.getByRole('button', { name: 'Diff' }).first().click();
    await page.getByRole('region', { name: 'Diff' }).getByText('expr: rat(up[5m]) > 1').waitFor();
    const servers = page.getByRole('table', { name: 'Servers' });
    expect(await servers.getByRole('row', { name: /zk1:2181.*leader.*1 of 2 in sync.*410 µs/s }).isVisible(), 'the leader is told with its followers and latency');
    expect(await servers.getByRole('row', { name: /zk3:2181.*No answer.*connection refused/s }).isVisible(), 'a server that does not answer says why');
    expect(await page.getByRole('table', { name: 'Members' }).getByRole('row', { name: /web2.*standby.*Behind/s }).isVisible(), 'a member whose rules are old is behind');
    expect(await page.getByText('this server: leader: first in the election').isVisible(), 'it is said why this server leads');
    await accessible(page, 'ZooKeeper with a difference');
    await page.getByRole('table', { name: 'Rule files' }).getByRole('link', { name: 'hosts.yml' }).click();
    await page.getByRole('heading', { level: 1, name: 'hosts.yml' }).waitFor();
  });
  await on('/zookeeper', { mode: 'away' }, async (page) => {
    await page.getByText(/^ZooKeeper is away since .*\. Everything goes on with the rules of .*\. Retrying\.$/).waitFor();
    await page.getByText('Not enough servers answer for a quorum.').waitFor();
    await accessible(page, 'ZooKeeper away');
  });

  for (const theme of ['light', 'dark']) {
    await on('/zookeeper/rules/hosts.yml', { mode: 'bad', theme }, async (page) => {
      const text = editor(page, 'hosts.yml');
      await page.getByText('No errors').waitFor();
      const fires = page.getByRole('region', { name: 'Would fire now' });
      await fires.getByText(/^\d+ would be pending, then fire$/).first().waitFor();
      await accessible(page, `rule editor ${theme}`);
      // A mistake is told at its line while it is typed, and leads there.
      await text.fill((await text.inputValue()).replace('up == 0', 'rat(up[5m]) == 0'));
      await page.getByText('1 error', { exact: true }).waitFor();
      expect((await text.getAttribute('aria-invalid')) === 'true', 'the field says that it is wrong');
      expect((await page.getByRole('button', { name: 'Review and save…' }).getAttribute('aria-disabled')) === 'true', 'what is wrong cannot be saved');
      await page.getByRole('button', { name: 'line 7' }).click();
      expect((await text.evaluate((area) => area.value.slice(area.selectionStart, area.selectionEnd))).includes('rat(up[5m])'), 'an error leads to its line');
      await accessible(page, `rule editor with an error ${theme}`);
      await page.getByRole('button', { name: 'Undo my changes' }).click();
      await page.getByText('No errors').waitFor();
      // Tab indents, and Escape lets it leave.
      await text.evaluate((area) => area.setSelectionRange(0, 0));
      await text.focus();
      await page.keyboard.press('Tab');
      expect((await text.inputValue()).startsWith('  groups:'), 'Tab indents');
      await page.keyboard.press('Shift+Tab');
      expect((await text.inputValue()).startsWith('groups:'), 'Shift-Tab takes it back');
      await page.keyboard.press('Escape');
      await page.keyboard.press('Tab');
      expect(!(await text.evaluate((area) => area === document.activeElement)), 'Escape, then Tab leaves the field');
    });
  }

  // The browser tells of an answer of 409 in its console: not clean on purpose.
  await on('/zookeeper', { mode: 'bad', quiet: true }, async (page) => {
    const text = editor(page, 'hosts.yml');
    await page.getByRole('table', { name: 'Rule files' }).getByRole('link', { name: 'hosts.yml' }).click();
    await page.getByText('No errors').waitFor();
    await text.fill((await text.inputValue()).replace('for: 1m', 'for: 2m'));
    await page.getByText('new or changed').waitFor();
    await page.getByRole('region', { name: 'Would fire now' }).getByText(/Would have fired 2 times/).waitFor();
    // Leaving asks, and staying keeps what was typed.
    await page.getByRole('link', { name: 'All rule files' }).click();
    await page.getByRole('dialog', { name: 'Leave without saving?' }).getByRole('button', { name: 'Stay' }).click();
    expect((await text.inputValue()).includes('for: 2m'), 'staying keeps the text');
    await page.evaluate(() => history.back());
    await page.getByRole('dialog', { name: 'Leave without saving?' }).getByRole('button', { name: 'Stay' }).click();
    expect(/hosts\.yml/.test(page.url()) && (await text.inputValue()).includes('for: 2m'), 'going back asks too');
    // A conflict shows both sides and loses nothing; changes that do not touch each other merge.
    const base = await page.evaluate(async () => (await (await fetch('/api/watchkeeper/v1/zookeeper/rules/file?name=hosts.yml')).json()).data);
    await page.evaluate(async (there) => {
      const theirs = there.text.replace('severity: warning', 'severity: info');
      await fetch('/api/watchkeeper/v1/zookeeper/rules', { method: 'POST', body: JSON.stringify({ changes: [{ name: 'hosts.yml', text: theirs, base: there.sha256 }], reason: 'less noise', author: 'wang' }) });
    }, base);
    await page.getByRole('button', { name: 'Review and save…' }).click();
    let dialog = page.getByRole('dialog', { name: 'Save hosts.yml' });
    await dialog.getByRole('region', { name: 'What changes' }).getByText('for: 2m').waitFor();
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await dialog.getByRole('alert').getByText('Say why').waitFor();
    await dialog.getByRole('textbox', { name: 'Author' }).fill('li');
    await dialog.getByRole('textbox', { name: 'Why' }).fill('<i>calmer</i>');
    await accessible(page, 'save dialog');
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    dialog = page.getByRole('dialog', { name: 'Somebody else changed hosts.yml' });
    await dialog.getByText('changed meanwhile by push 4 by wang@127.0.0.1').waitFor();
    await dialog.getByRole('region', { name: 'What they changed' }).last().getByText('severity: info').waitFor();
    await dialog.getByRole('region', { name: 'What you changed' }).last().getByText('for: 2m').waitFor();
    await accessible(page, 'conflict');
    await dialog.getByRole('button', { name: 'Merge both' }).click();
    dialog = page.getByRole('dialog', { name: 'Save hosts.yml' });
    await dialog.getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByRole('status').getByText('hosts.yml is saved').waitFor();
    await dialog.waitFor({ state: 'detached' });
    const now = await text.inputValue();
    expect(now.includes('for: 2m') && now.includes('severity: info'), 'both changes are in the text');
    // The history of the file, and an earlier text again.
    await page.getByRole('tab', { name: 'History' }).click();
    const list = page.getByRole('list', { name: 'Rule history' });
    await list.getByText('<i>calmer</i>').waitFor();
    await list.getByRole('button', { name: 'Diff: version 5' }).click();
    await page.getByRole('region', { name: 'Diff: version 5' }).getByText('for: 2m').waitFor();
    await accessible(page, 'history of a rule file');
    await page.getByRole('button', { name: 'Use this text: version 1' }).click();
    await page.getByRole('tab', { name: 'Edit' }).waitFor();
    expect((await text.inputValue()).includes('for: 5m'), 'the earlier text is in the editor');
    await page.getByRole('button', { name: 'Undo my changes' }).click();
  });

  await on('/zookeeper?tab=history', { mode: 'bad' }, async (page) => {
    await page.getByRole('button', { name: 'Roll back: to version 2' }).click();
    const dialog = page.getByRole('dialog', { name: 'Roll back to version 2?' });
    await dialog.getByRole('region', { name: 'team/web.yml' }).getByText('expr: up < 1').waitFor();
    await accessible(page, 'roll back');
    await dialog.getByRole('textbox', { name: 'Why' }).fill('the edit was wrong');
    await dialog.getByRole('button', { name: 'Roll back' }).click();
    await page.getByRole('status').getByText('Rolled back to version 2').waitFor();
    await page.getByRole('list', { name: 'Rule history' }).getByText('restores version 2').waitFor();
  });

  await on('/zookeeper/rules/new?starter=1', { mode: 'well' }, async (page) => {
    await page.getByText('1 group, 6 rules').waitFor();
    expect((await page.getByRole('textbox', { name: 'File name' }).inputValue()) === 'hosts.yml', 'the six rules have a name');
    await page.getByRole('textbox', { name: 'File name' }).fill('six.yml');
    await accessible(page, 'new rule file');
    await page.getByRole('button', { name: 'Review and save…' }).click();
    await page.getByRole('dialog').getByRole('textbox', { name: 'Why' }).fill('to begin with');
    await page.getByRole('dialog').getByRole('button', { name: 'Save', exact: true }).click();
    await page.getByRole('heading', { level: 1, name: 'six.yml' }).waitFor();
    await page.getByRole('button', { name: 'Delete…' }).click();
    const dialog = page.getByRole('dialog', { name: 'Delete six.yml?' });
    await dialog.getByRole('textbox', { name: 'Why' }).fill('tried');
    await dialog.getByRole('button', { name: 'Delete file' }).click();
    await page.getByRole('heading', { level: 1, name: 'ZooKeeper' }).waitFor();
    await page.getByRole('status').getByText('six.yml was deleted').waitFor();
  });
  await on('/zookeeper/rules/hosts.yml', { mode: 'viewer' }, async (page) => {
    await page.getByText('You may read this file, not change it.').waitFor();
    expect((await editor(page, 'hosts.yml').getAttribute('readonly')) !== null, 'viewers read');
    expect((await page.getByRole('button', { name: /Review|Delete/ }).count()) === 0, 'and are offered nothing to change');
    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByRole('button', { name: 'Diff: version 2' }).waitFor();
    expect((await page.getByRole('button', { name: /Use this text/ }).count()) === 0, 'nor an earlier text');
  });
  await on('/silences', { mode: 'viewer' }, async (page) => {
    await page.getByRole('tab', { name: 'Calendar' }).waitFor();
    // Who looks is known a moment after the page.
    await page.getByRole('button', { name: 'New silence' }).waitFor({ state: 'detached' });
    expect((await page.getByRole('button', { name: /^(New silence|Expire |Extend )/ }).count()) === 0, 'viewers silence nothing');
  });
  await on('/zookeeper/rules/nosuch.yml', { mode: 'bad', quiet: true }, async (page) => {
    await page.getByText('There is no rule file nosuch.yml in ZooKeeper.').waitFor();
  });
  const works = [];
  for (const width of [360, 768]) for (const path of ['/zookeeper', '/zookeeper?tab=history&push=2', '/zookeeper/rules/hosts.yml', '/zookeeper/rules/team%2Fweb.yml', '/rules/hosts']) works.push(() => sound(path, undefined, { mode: 'bad', width, theme: 'dark' }));
  for (const path of ['/zookeeper', '/zookeeper?tab=history', '/zookeeper/rules/hosts.yml', '/rules/hosts']) works.push(() => sound(path, undefined, { mode: 'bad', language: 'zh' }));
  await together(works);

  // Rules: those that are not there say so; groups have a page; files and states filter.
  await on('/rules/hosts/nosuch', { mode: 'bad' }, async (page) => {
    await page.getByText('There is no rule nosuch in the group hosts.').waitFor();
  });
  await on('/rules/nosuch', { mode: 'bad' }, async (page) => {
    await page.getByText('There is no rule or group nosuch.').waitFor();
  });
  await on('/rules/hosts', { mode: 'bad' }, async (page) => {
    await page.getByRole('table', { name: 'Rules' }).getByRole('link', { name: 'HighLoad' }).waitFor();
    await page.getByRole('link', { name: 'hosts.yml:2' }).waitFor();
    await accessible(page, 'a group of rules');
  });
  await on('/rules?file=rules%2Frecords.yml&state=err', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'Rules' });
    await table.getByText('found duplicate series').waitFor();
    expect((await table.getByRole('row').count()) === 2, 'only the failing rule of the file is shown');
  });
  await on('/targets/nosuch/x', { mode: 'bad' }, async (page) => {
    await page.getByText('There is no target nosuch x.').waitFor();
  });
  await on('/targets?tab=discovery&show=dropped', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'Discovered targets of node' });
    await table.getByText('by relabeling rule 1').waitFor();
    await page.getByText('dns: app.example.org: no such host').waitFor();
    await table.getByRole('button', { name: /^Show steps of old1/ }).click();
    await table.getByText('action: drop · source_labels: __meta_zone · regex: c').waitFor();
    await accessible(page, 'dropped targets');
  });
}
