/// Signing in, and what a viewer may not do.
export default async function ({ on, expect, accessible }) {
  await on('/alerts', { mode: 'login', quiet: true }, async (page) => {
    await page.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
    await accessible(page, 'sign in');
    await page.getByRole('textbox', { name: 'Name' }).fill('li');
    await page.getByLabel('Password').fill('wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('This name and password do not fit together.').waitFor();
    expect((await page.getByRole('textbox', { name: 'Name' }).inputValue()) === 'li', 'what was typed stays');
    await page.getByLabel('Password').fill('secret');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Alerts' }).waitFor();
    await page.getByRole('table', { name: 'Alerts' }).waitFor();
    await page.getByText('signed in as li').waitFor();
    // A session that ends in the middle loses nothing that was typed.
    await page.getByRole('table', { name: 'Alerts' }).getByRole('row', { name: /app1/ }).getByRole('button', { name: /^Silence/ }).click();
    const silence = page.getByRole('dialog', { name: 'New silence' });
    await silence.getByRole('textbox', { name: 'Comment' }).fill('half a sentence');
    await page.context().clearCookies({ name: 'watchkeeper_session' });
    await silence.getByRole('button', { name: 'Create silence' }).click();
    const again = page.getByRole('dialog', { name: 'Your session has ended: sign in again' });
    await accessible(page, 'a session that ended');
    await again.getByRole('textbox', { name: 'Name' }).fill('li');
    await again.getByLabel('Password').fill('secret');
    await page.keyboard.press('Enter');
    await again.waitFor({ state: 'detached' });
    expect((await silence.getByRole('textbox', { name: 'Comment' }).inputValue()) === 'half a sentence', 'a comment outlives its session');
    await silence.getByRole('button', { name: 'Close' }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { level: 1, name: 'Sign in' }).waitFor();
  });
  for (const path of ['/', '/alerts', '/alerts/0a1b2c3d4e5f6071', '/silences', '/dashboards', '/dashboards/my-graphs', '/notifications', '/notifications/n1']) {
    await on(path, { mode: 'viewer', quiet: true }, async (page) => {
      await page.getByText('who may look but not change anything').waitFor();
      const acts = await page.locator('main').getByRole('button', { name: /^(Silence(?!d)|Acknowledge|Expire(?!d)|Extend|New silence|Try again|Retry|Send a test|Upload|New dashboard|Delete|Edit|Save|Roll back)/ }).allTextContents();
      expect(acts.length === 0, `${path}: a viewer is offered: ${acts.join(', ')}`);
    });
  }
}
