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

export default async function (tools) {
  await editor(tools);
}
