/// What the server says of itself.
export default async function ({ on, expect, accessible, sound, together }) {
  const works = [];
  const look = (...asked) => works.push(() => on(...asked));

  look('/status', { mode: 'bad' }, async (page) => {
    await page.getByText('The configuration was refused, line 31: unknown key `scrape_intervall`. The old one goes on.').waitFor();
    await page.getByText('The disk is full: new samples are not stored.').waitFor();
    await page.getByText('Samples that came too late').waitFor();
    await page.getByRole('region', { name: 'Blocks' }).getByText('126 MiB').waitFor();
    await page.getByText('All 3 blocks').click();
    await page.getByRole('table', { name: 'Blocks' }).waitFor();
    await accessible(page, 'storage');
    const nav = page.getByRole('navigation', { name: 'Status' });
    await nav.getByRole('link', { name: 'Cardinality' }).click();
    await page.getByRole('table', { name: 'Values of __name__' }).getByRole('link', { name: 'node_cpu_seconds_total' }).waitFor();
    expect((await nav.getByRole('link', { name: 'Cardinality' }).getAttribute('aria-current')) === 'page', 'the part that is shown is marked');
    await page.getByRole('combobox', { name: 'Label' }).selectOption('job');
    await page.getByRole('table', { name: 'Values of job' }).waitFor();
    expect(/label=job/.test(page.url()), 'the label is in the address');
    expect(await page.getByRole('table', { name: 'Came and went in the last day' }).getByRole('row', { name: /app.*2,?500/ }).isVisible(), 'what came and went is told');
    await accessible(page, 'cardinality');
    await page.getByRole('table', { name: 'Values of job' }).getByRole('link', { name: 'node' }).click();
    await page.waitForURL(/explore\?q=count/);
  });
  look('/status/configuration', { mode: 'bad' }, async (page) => {
    await page.getByText('/watchkeeper/config was refused, line 3: `web` may not be set here').waitFor();
    const origins = page.getByRole('table', { name: 'Where it comes from' });
    expect(await origins.getByRole('row', { name: /node.*ZooKeeper: \/watchkeeper\/config\/scrape\/node\.yml/ }).isVisible(), 'a job says which znode it is from');
    await accessible(page, 'configuration with origins');
  });
  look('/status/queries', { mode: 'bad' }, async (page) => {
    const running = page.getByRole('table', { name: 'Running now' });
    await running.getByRole('button', { name: /^Cancel/ }).click();
    await page.getByRole('status').getByText('The query is cancelled').waitFor();
    await running.waitFor({ state: 'detached' });
    const slowest = page.getByRole('table', { name: 'Slowest queries' });
    expect((await slowest.getByRole('row').nth(1).textContent()).includes('rate(http_request'), 'the longest is first');
    await page.getByRole('button', { name: 'Most time in all' }).click();
    expect((await slowest.getByRole('row').nth(1).textContent()).includes('up == 0'), 'or what took most in all');
    await accessible(page, 'queries');
  });
  look('/status/runtime', { mode: 'bad' }, async (page) => {
    await page.getByText('26 of 20 k').or(page.getByText(/^26 of /)).first().waitFor();
    const licences = page.getByRole('region', { name: 'Licences of what is built in' });
    await licences.getByText('tokio', { exact: true }).click();
    expect(await licences.getByText('<b>Copyright</b> (c) Tokio Contributors', { exact: false }).isVisible(), 'a notice is text');
    await accessible(page, 'runtime');
  });
  look('/status/queries', { mode: 'viewer' }, async (page) => {
    await page.getByRole('table', { name: 'Running now' }).waitFor();
    expect((await page.getByRole('button', { name: /^Cancel/ }).count()) === 0, 'viewers are not offered to cancel');
  });
  for (const part of ['storage', 'cardinality', 'configuration', 'runtime', 'queries']) {
    for (const [width, theme] of [[360, 'dark'], [768, 'light']]) works.push(() => sound(`/status/${part}`, 'Status', { mode: 'bad', width, theme }));
    works.push(() => sound(`/status/${part}`, undefined, { mode: 'bad', theme: 'dark', language: 'zh' }));
    works.push(() => sound(`/status/${part}`, 'Status', { mode: 'empty' }));
  }
  await together(works);
}
