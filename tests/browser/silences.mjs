/// Silences: list, one, calendar, form.
export default async function ({ on, expect, accessible, sound, together }) {
  const LI = '2a8e1f5c-0d53-4c9e-9a5c-111111111111';
  const works = [];
  const look = (...asked) => works.push(() => on(...asked));

  for (const theme of ['light', 'dark']) {
    look('/silences', { mode: 'bad', theme }, async (page) => {
      const table = page.getByRole('table', { name: 'Silences' });
      const row = table.getByRole('row', { name: /resizing/ });
      await row.getByText('Ends soon, still firing').waitFor();
      await row.getByText('1 now').waitFor();
      await row.getByText('1 since its start').waitFor();
      expect(await table.getByRole('row', { name: /nightly backup/ }).getByText('only Sat, Sun 02:00–04:00 Europe/Berlin').isVisible(), 'a recurring silence is told in words');
      await accessible(page, `silences ${theme}`);
    });
    look('/silences?tab=calendar', { mode: 'bad', theme }, async (page) => {
      const table = page.getByRole('table', { name: 'Calendar' });
      await table.getByRole('row', { name: /resizing/ }).waitFor();
      expect((await table.getByRole('row', { name: /nightly backup.*02:00–04:00/s }).count()) === 1, 'a recurring silence is drawn and told');
      await accessible(page, `calendar ${theme}`);
      await page.getByRole('button', { name: 'Month' }).click();
      await table.getByRole('row', { name: /kernel update|resizing/ }).first().waitFor();
      expect(/view=month/.test(page.url()), 'the view is in the address');
      await page.getByRole('button', { name: 'Earlier' }).click();
      expect(/day=\d{4}-\d\d-\d\d/.test(page.url()), 'and so is the day');
      await page.getByRole('button', { name: 'Today' }).click();
      expect(!/day=/.test(page.url()), 'today needs none');
      await accessible(page, `calendar of a month ${theme}`);
    });
  }
  look('/silences/00000000-0000-4000-8000-000000000000', { mode: 'bad' }, async (page) => {
    await page.getByText('This silence is no longer kept.').waitFor();
  });
  look('/silences?state=expired', { mode: 'bad' }, async (page) => {
    await page.getByRole('button', { name: 'Silence again: kernel update' }).click();
    await page.getByRole('dialog', { name: 'New silence' }).getByText('instance=~"web.*"').waitFor();
  });
  for (const path of ['/silences', '/silences?tab=calendar', `/silences/${LI}`]) {
    for (const width of [360, 768]) works.push(() => sound(path, undefined, { mode: 'bad', width }));
    works.push(() => sound(path, undefined, { mode: 'bad', language: 'zh', theme: 'dark' }));
  }
  await together(works);

  await on(`/silences/${LI}`, { mode: 'bad' }, async (page) => {
    await page.getByRole('heading', { level: 1, name: 'resizing' }).waitFor();
    await page.getByRole('region', { name: /^Silences now/ }).getByRole('link', { name: 'DiskFull' }).waitFor();
    await page.getByText(/^This silence ends at/).waitFor();
    await accessible(page, 'one silence');
    await page.getByRole('button', { name: 'Extend by 2 h: resizing' }).click();
    await page.getByRole('status').getByText('Silence changed').waitFor();
    await page.getByText(/^This silence ends at/).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Extend resizing' }).click();
    const dialog = page.getByRole('dialog', { name: 'Extend silence' });
    await dialog.getByText('+1d').waitFor();
    await page.keyboard.press('Escape');
  });
  await on('/silences/new?filter=%7Binstance%3D~%22.%2B%22%7D', { mode: 'bad' }, async (page) => {
    const dialog = page.getByRole('dialog', { name: 'New silence' });
    await dialog.getByText('Matches 3 alerts').waitFor();
    await dialog.getByRole('radio', { name: 'Until resolved' }).check();
    await dialog.getByText(/Ends when nothing that it covers fires any more/).waitFor();
    await dialog.getByRole('checkbox', { name: /^Recurs/ }).check();
    await dialog.getByRole('textbox', { name: 'Only at these times' }).fill('Sat,Sun 02:00-04:00');
    await dialog.getByText(/only Sat, Sun 02:00–04:00/).waitFor();
    await accessible(page, 'silence form');
    await dialog.getByRole('textbox', { name: 'Created by' }).fill('Test');
    await dialog.getByRole('textbox', { name: 'Comment' }).fill('everything');
    await dialog.getByRole('button', { name: 'Create silence' }).click();
    // One over everything asks twice.
    await dialog.getByRole('alert').waitFor();
    await dialog.getByRole('button', { name: 'Create silence' }).click();
    await page.getByRole('status').getByText('Silence created').waitFor();
    const row = page.getByRole('table', { name: 'Silences' }).getByRole('row', { name: /everything/ });
    await row.getByRole('button', { name: /^Expire/ }).click();
    await page.getByRole('dialog').getByRole('button', { name: /^Expire/ }).click();
    await row.waitFor({ state: 'detached' });
  });
  // New rows wait while the pointer is over the table.
  await on('/silences', { mode: 'bad' }, async (page) => {
    const table = page.getByRole('table', { name: 'Silences' });
    await table.getByRole('row', { name: /nightly/ }).hover();
    const id = await page.evaluate(async () => {
      const now = Date.now();
      const answer = await fetch('/api/v2/silences', { method: 'POST', body: JSON.stringify({ matchers: [{ name: 'a', value: 'b', isRegex: false, isEqual: true }], startsAt: new Date(now).toISOString(), endsAt: new Date(now + 60_000).toISOString(), createdBy: 'other', comment: 'made elsewhere' }) });
      return (await answer.json()).silenceID;
    });
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await page.getByRole('button', { name: '1 new' }).click({ timeout: 30_000 });
    await table.getByRole('row', { name: /made elsewhere/ }).waitFor();
    await page.evaluate((one) => fetch(`/api/v2/silence/${one}`, { method: 'DELETE' }), id);
  });
}
