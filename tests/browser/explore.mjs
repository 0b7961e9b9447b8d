/// Explore in a real browser, against the made-up server: the editor and what it completes.

const BOX = { name: 'PromQL expression' };

async function editor({ on, expect, accessible }) {
  await on('/explore', { mode: 'bad' }, async (page) => {
    const box = page.getByRole('textbox', BOX);
    const options = page.getByRole('option');
    const picked = page.locator('[role=option][aria-selected=true]');
    const has = async (text, what) => expect((await box.inputValue()) === text, `${what}: the text is ${await box.inputValue()}, not ${text}`);
    const clear = async () => {
      await box.press('Control+a');
      await box.press('Delete');
    };

    await box.click();
    await box.pressSequentially('node_lo');
    await options.first().waitFor();
    expect((await options.count()) <= 60, 'at most 60 options');
    expect((await box.getAttribute('aria-activedescendant')) === (await picked.getAttribute('id')), 'the field names the option that is picked');
    await accessible(page, 'completion');
    await box.press('ArrowDown');
    await box.press('ArrowUp');
    await box.press('Enter');
    await has('node_load1', 'Enter accepts');
    expect(!page.url().includes('q='), 'and does not run');
    await box.press('Control+z');
    await has('node_lo', 'undo takes the completion back');
    await clear();

    // Brackets and quotes close, are stepped over, and go together.
    await box.pressSequentially('rat');
    await options.first().waitFor();
    await box.press('Tab');
    await has('rate()', 'a function brings its brackets');
    await box.pressSequentially('node_load1');
    await box.press('Escape');
    expect((await options.count()) === 0, 'Escape closes');
    await box.pressSequentially('{');
    await options.filter({ hasText: 'instance' }).waitFor();
    await has('rate(node_load1{})', 'a brace closes');
    await box.pressSequentially('inst');
    await box.press('Enter');
    await options.filter({ hasText: 'web1:9100' }).waitFor();
    await has('rate(node_load1{instance=""})', 'a label brings its quotes');
    await box.pressSequentially('web1');
    await box.press('Enter');
    await has('rate(node_load1{instance="web1:9100"})', 'a value is written');
    await box.pressSequentially('}[');
    await options.filter({ hasText: '5m' }).first().waitFor();
    await box.pressSequentially('5');
    await options.filter({ hasText: '5s' }).waitFor();
    await box.press('Enter');
    await box.pressSequentially('])');
    await has('rate(node_load1{instance="web1:9100"}[5m])', 'closing brackets are stepped over');
    await box.press('Control+Enter');
    await page.getByRole('img', { name: /^Graph of rate\(node_load1/ }).locator('canvas').waitFor();

    await clear();
    await box.pressSequentially('sum(');
    await box.press('Backspace');
    await has('sum', 'an empty pair goes together');
    await box.press('Control+z');
    await has('sum()', 'and comes back');
    await clear();
    await box.pressSequentially('up');
    await box.press('Control+a');
    await box.press('(');
    await has('(up)', 'what is selected is put in brackets');
    await clear();

    // What stands there whole is run at once.
    await box.pressSequentially('node_load1');
    await box.press('Enter');
    await page.waitForURL(/q=node_load1/);
    await box.press('End');
    await box.press('Shift+Enter');
    await has('node_load1\n', 'Shift-Enter makes a line');
    await box.pressSequentially('o');
    await options.first().waitFor();
    await box.press('Backspace');

    // By hand, with the mouse, and what closes it.
    await clear();
    await box.press('Control+Space');
    await options.first().waitFor();
    expect((await options.count()) === 60, 'all there is, but no more than 60');
    await box.press('PageDown');
    expect((await options.nth(8).getAttribute('aria-selected')) === 'true', 'a page down');
    await options.nth(1).click();
    expect((await box.inputValue()).length > 0, 'a click accepts');
    await clear();
    await box.pressSequentially('no');
    await options.first().waitFor();
    await page.getByRole('heading', { level: 1 }).click();
    await options.first().waitFor({ state: 'detached' });
  });

  await on('/explore?q=sum(', { mode: 'bad', quiet: true }, async (page) => {
    await page.getByRole('alert').getByText('parse error').waitFor();
    expect((await page.locator('pre .wrong').count()) === 1, 'the place of the error is underlined');
    expect((await page.getByRole('textbox', BOX).getAttribute('aria-invalid')) === 'true', 'the field is said to be wrong');
    await accessible(page, 'a query error');
  });
}

const json = (status, body) => ({ status, contentType: 'application/json', body: JSON.stringify(body) });
const asked = (route) => new URL(route.request().url()).searchParams.get('query') ?? new URLSearchParams(route.request().postData() ?? '').get('query') ?? '';

/** Errors and empty answers say what to do, and do it. */
async function answers({ on, expect, accessible }) {
  await on('/explore?q=rate(up)', { mode: 'bad', quiet: true }, async (page) => {
    await page.route(/\/query_range/, (route) => (asked(route) === 'rate(up)' ? route.fulfill(json(400, { status: 'error', errorType: 'bad_data', error: 'invalid parameter "query": 1:6: parse error: expected type range vector in call to function "rate", got instant vector' })) : route.continue()));
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByRole('alert').getByText('rate() needs a window').waitFor();
    await accessible(page, 'an error with a hint');
    await page.getByRole('button', { name: 'Try rate(up[5m])' }).click();
    await page.waitForURL(/q=rate%28up%5B5m%5D%29/);
  });

  await on('/explore', { mode: 'bad', quiet: true }, async (page) => {
    await page.route(/\/query_range/, (route) => route.fulfill(json(422, { status: 'error', errorType: 'execution', error: 'a selector would read about 61000000 samples, more than the limit of 50000000 samples for one selector' })));
    const box = page.getByRole('textbox', BOX);
    await box.fill('node_load1');
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByRole('alert').getByText('This needs 61 million samples; the limit is 50 million. Shorten the range or aggregate first.').waitFor();
  });

  await on('/explore?q=node_cpu', { mode: 'bad', init: () => undefined }, async (page) => {
    await page.route(/\/query_range/, (route) => (/^node_cpu(\{|$)/.test(asked(route)) ? route.fulfill(json(200, { status: 'success', data: { resultType: 'matrix', result: [] } })) : route.continue()));
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByText('No series is named `node_cpu`').waitFor();
    await accessible(page, 'no such metric');
    await page.getByRole('button', { name: 'node_cpu_seconds_total' }).click();
    await page.waitForURL(/q=node_cpu_seconds_total/);
  });

  await on('/explore', { mode: 'bad' }, async (page) => {
    await page.route(/\/query_range/, (route) => route.fulfill(json(200, { status: 'success', data: { resultType: 'matrix', result: [] } })));
    const box = page.getByRole('textbox', BOX);
    await box.fill('up{job="nod"}');
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByText('No series has job=`nod`').waitFor();
    expect(await page.getByRole('button', { name: 'node', exact: true }).isVisible(), 'what is close is offered');
    const last = Math.floor(Date.now() / 1000) - 7500;
    await page.route(/\/api\/v1\/query\?/, (route) => (/ts_of_last_over_time/.test(asked(route)) ? route.fulfill(json(200, { status: 'success', data: { resultType: 'vector', result: [{ metric: {}, value: [last, String(last)] }] } })) : route.continue()));
    await box.fill('node_load1');
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByText(/No data between .* The last sample is from|The last sample is from/).first().waitFor();
    await page.getByRole('button', { name: 'Go there' }).click();
    await page.waitForURL(/end=/);
  });

  // An address may say anything.
  await on(`/explore?range=abc&end=xyz&step=-1&view=foo&only=none&q=node_load1`, { mode: 'bad' }, async (page) => {
    for (const text of ['“abc” is no range: 1h is used.', '“xyz” is no end', '“-1” is no step', '“foo” is no view']) await page.getByText(text).waitFor();
    await page.getByRole('img', { name: /^Graph of node_load1/ }).locator('canvas').waitFor();
    await accessible(page, 'an address that is not understood');
  });
  await on(`/explore?range=99999999999y&end=99999999999999999999&q=node_load1`, { mode: 'bad' }, async (page) => {
    await page.getByRole('img', { name: /^Graph of node_load1/ }).locator('canvas').waitFor();
  });
  await on('/explore', { mode: 'bad', quiet: true }, async (page) => {
    const long = `node_load1${' + node_load1'.repeat(8000)}`;
    const started = Date.now();
    await page.goto(`${page.url()}?view=graph#`);
    await page.getByRole('textbox', BOX).fill(long);
    await page.getByRole('textbox', BOX).press('Control+Enter');
    await page.getByRole('button', { name: 'Add query' }).click({ timeout: 20_000 });
    expect(Date.now() - started < 30_000, 'a query of 100 kB does not freeze the page');
  });
}

/** Cancel stops the request itself; the old graph stays. */
async function cancelling({ on, expect }) {
  await on('/explore?q=node_load1', { mode: 'bad' }, async (page) => {
    await page.getByRole('img', { name: /^Graph of node_load1/ }).locator('canvas').waitFor();
    await page.route(/\/query_range/, (route) => (asked(route) === 'slow' ? undefined : route.continue()));
    const gone = page.waitForEvent('requestfailed', (request) => request.url().includes('query=slow'));
    await page.getByRole('textbox', BOX).fill('slow');
    await page.getByRole('button', { name: 'Run query' }).click();
    await page.getByRole('button', { name: 'Cancel' }).click();
    expect(((await gone).failure()?.errorText ?? '').includes('ABORTED'), 'the request is aborted');
    await page.getByText('Cancelled. The server has stopped as well.').waitFor();
    expect((await page.getByRole('img', { name: /^Graph of/ }).count()) === 1, 'the old graph stays');
  });
}

/** The rest of the page: legend, table, explain, metrics, history, marks, menu, embedding. */
async function page(tools) {
  const { on, expect, accessible } = tools;
  await on('/explore?q=node_load1', { mode: 'bad' }, async (page) => {
    const legend = page.getByRole('table', { name: 'Legend' });
    await legend.getByRole('button', { name: /web1/ }).click();
    await page.waitForURL(/only=/);
    expect((await legend.getByRole('button', { name: /web1/ }).getAttribute('aria-pressed')) === 'true', 'one series alone');
    await legend.getByRole('button', { name: /web1/ }).click();
    await page.waitForURL((address) => !address.search.includes('only='));
    await legend.getByRole('button', { name: 'Max' }).click();
    await legend.locator('th[aria-sort=ascending]').waitFor();

    // What changed stands below the graph, and can be reached by keyboard.
    const strip = page.getByRole('group', { name: 'What happened' });
    await strip.waitFor();
    const mark = strip.getByRole('link').or(strip.getByRole('button')).first();
    await mark.focus();
    await strip.locator('.told').waitFor();
    await accessible(page, 'marks below a graph');

    await page.getByRole('tab', { name: 'Table' }).click();
    const table = page.getByRole('table', { name: 'Result' });
    await table.getByRole('button', { name: 'Value' }).click();
    await table.locator('th[aria-sort=ascending]').waitFor();
    const numbers = (await table.locator('tbody td:last-child').allTextContents()).map(Number);
    expect(numbers.length > 1 && numbers.every((one, index) => index === 0 || one >= numbers[index - 1]), 'sorted by value');
    await accessible(page, 'the table');

    await page.getByRole('tab', { name: 'Explain' }).click();
    await page.getByRole('list', { name: 'The query, step by step' }).getByText('ms').first().waitFor();
    await accessible(page, 'explain');
  });

  await on('/explore', { mode: 'bad' }, async (page) => {
    await page.getByRole('button', { name: 'Metrics' }).click();
    await page.getByRole('searchbox').fill('cpu sec');
    await page.getByRole('list', { name: 'Metrics' }).getByRole('button', { name: /node_cpu_seconds_total/ }).click();
    const one = page.getByRole('region', { name: 'node_cpu_seconds_total' });
    await one.getByText('12 series').waitFor();
    await one.getByRole('button', { name: /^idle/ }).click();
    await one.getByText('3 series').waitFor();
    await accessible(page, 'the metric browser');
    await one.getByRole('button', { name: 'Show rate' }).click();
    await page.waitForURL(/q=rate/);
    expect((await page.getByRole('textbox', BOX).inputValue()) === 'rate(node_cpu_seconds_total{mode="idle"}[5m])', 'the chips make the selector');
    await page.getByRole('button', { name: 'History' }).click();
    const history = page.getByRole('list', { name: 'History' });
    await history.getByRole('button', { name: /^Keep/ }).click();
    await accessible(page, 'history');
    await history.getByRole('button', { name: /^Delete/ }).click();
    await page.getByText('No queries yet.').waitFor();
  });

  await on('/explore?q=node_load1', { mode: 'plain' }, async (page) => {
    const graph = page.getByRole('img', { name: /^Graph of node_load1/ });
    await graph.locator('canvas').waitFor();
    // Shift and a drag take it along the time; a double click goes back.
    const frame = await graph.boundingBox();
    await page.keyboard.down('Shift');
    await page.mouse.move(frame.x + frame.width / 2, frame.y + 100);
    await page.mouse.down();
    await page.mouse.move(frame.x + frame.width / 2 + 200, frame.y + 100, { steps: 4 });
    await page.mouse.up();
    await page.keyboard.up('Shift');
    await page.waitForURL(/end=/);
    expect(!page.url().includes('range=') || /range=1h/.test(page.url()), `panning keeps the range: ${page.url()}`);
    await graph.locator('canvas').waitFor();
    await graph.dblclick({ position: { x: 300, y: 100 } });
    await page.waitForURL((address) => !address.search.includes('end='));
    await page.locator('summary').click();
    await accessible(page, "a graph's menu");
    await page.getByRole('button', { name: 'Make an alert from this' }).click();
    await page.getByRole('dialog', { name: 'Make an alert from this' }).getByText('node_load1').waitFor();
  });

  await on('/explore?q=node_load1&embed=1', { mode: 'bad' }, async (page) => {
    await page.getByRole('img', { name: /^Graph of node_load1/ }).locator('canvas').waitFor();
    expect(!(await page.getByRole('navigation', { name: 'Main' }).isVisible()) && (await page.getByRole('textbox').count()) === 0, 'embedded there is the graph alone');
  });
  for (const language of ['en', 'zh']) await on('/explore?q=node_load1', { mode: 'bad', width: 360, theme: 'dark', language }, async (page) => {
    await page.locator('figure canvas').waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(wide <= 0, `Explore on a phone scrolls sideways by ${wide} px`);
    await accessible(page, `Explore on a phone, ${language}`);
  });
}

export default async function (tools) {
  await editor(tools);
  await answers(tools);
  await cancelling(tools);
  await page(tools);
}
