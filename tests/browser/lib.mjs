/// What the browser checks share: a browser, pages that are watched, accessibility, screenshots, counting.
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { openLooks } from './looks.mjs';

const require = createRequire(new URL('../../web/package.json', import.meta.url));
const { chromium } = require('playwright-core');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

export const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const isBuilt = () => existsSync(executablePath) && existsSync(new URL('../../web/dist/index.html', import.meta.url));

const FLAGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'];
/// What a page may take to show its first data.
const LOADS_WITHIN = 10_000;

/// `base`: the server's address without a slash at its end. `given`: it is a running server, not the made-up one.
export async function openKit({ base, given }) {
  const browser = await chromium.launch({ executablePath, headless: true, args: FLAGS });
  const shots = process.env.WATCHKEEPER_SCREENSHOTS;
  if (shots) mkdirSync(shots, { recursive: true });
  const counts = { checks: 0, failures: 0 };

  function expect(truth, what) {
    counts.checks += 1;
    if (truth) return;
    counts.failures += 1;
    console.log(`FAILED: ${what}`);
  }

  const looks = await openLooks(browser, expect);

  /// Opens a page in a context of its own, watches its console, and closes it after `act`.
  async function on(path, { mode, theme = 'light', width = 1280, height = 900, quiet = false, language = 'en', init, reducedMotion } = {}, act) {
    const where = `${path} (${[mode, theme, width, language].filter(Boolean).join(' ')})`;
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, locale: language === 'zh' ? 'zh-CN' : 'en-GB', timezoneId: 'Europe/Berlin', ...(reducedMotion ? { reducedMotion } : {}) });
    if (mode) await context.addCookies([{ name: 'mode', value: mode, url: base }]);
    if (init) await context.addInitScript(init);
    const page = await context.newPage();
    const said = [];
    page.on('console', (message) => ['error', 'warning'].includes(message.type()) && said.push(message.text()));
    page.on('pageerror', (error) => said.push(String(error)));
    const elsewhere = [];
    page.on('request', (request) => !request.url().startsWith(base) && !/^(data|blob):/.test(request.url()) && elsewhere.push(request.url()));
    try {
      await page.goto(base + path);
      await page.locator('main h1').waitFor({ timeout: LOADS_WITHIN });
      await page.locator('main:not([aria-busy=true])').waitFor({ timeout: LOADS_WITHIN });
      await act(page);
    } catch (error) {
      expect(false, `${where}: ${String(error).split('\n').slice(0, 4).join(' ')}`);
    }
    if (!quiet) expect(said.length === 0, `${where}: console: ${said.slice(0, 3).join(' | ')}`);
    expect(elsewhere.length === 0, `${where}: asked another host: ${elsewhere.join(', ')}`);
    await context.close();
  }

  /// Waits until nothing more came for a moment: charts and chunks load behind the first data. (The stream of events never ends, so that
  /// the network is never idle.)
  async function settled(page, ownClock = true) {
    // Where the page's clock is not its own, ours waits.
    if (!ownClock) {
      const seen = () => page.evaluate(() => performance.getEntriesByType('resource').length);
      for (let [before, tries] = [-1, 0], now = await seen(); now !== before && tries < 50; tries += 1) {
        before = now;
        await new Promise((resolve) => setTimeout(resolve, 40));
        now = await seen();
      }
      return;
    }
    await page.evaluate(async () => {
      const seen = () => performance.getEntriesByType('resource').length;
      const until = performance.now() + 5000;
      let [count, since] = [seen(), performance.now()];
      while (performance.now() < until && performance.now() - since < 250) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        if (seen() !== count) [count, since] = [seen(), performance.now()];
      }
    });
  }

  async function accessible(page, where) {
    // As the debugger: the content policy forbids foreign scripts in the document.
    await page.evaluate(axe);
    // Without preloading, which makes style elements that the page's policy complains of; no rule of these needs it.
    const found = await page.evaluate(() => globalThis.axe.run(document, { preload: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    for (const violation of found.violations) {
      expect(false, `${where}: axe ${violation.id}: ${violation.help}: ${violation.nodes.slice(0, 3).map((node) => `${node.target.join(' ')} ${(node.any[0]?.message ?? '').slice(0, 160)}`).join(' || ')}`);
    }
    counts.checks += 1;
  }

  /// Keeps a picture of the page, where `WATCHKEEPER_SCREENSHOTS` names a folder.
  async function picture(page, name) {
    if (shots) await page.screenshot({ path: join(shots, `${name.replace(/\W+/g, '-').replace(/^-|-$/g, '') || 'overview'}.png`), fullPage: true });
  }

  /// One page as anybody finds it: one heading, a title, no sideways scrolling, nothing for axe to say.
  async function sound(path, title, options = {}) {
    await on(path, options, async (page) => {
      const where = `${path} (${[options.mode, options.theme ?? 'light', options.width ?? 1280, options.language].filter(Boolean).join(' ')})`;
      await settled(page);
      expect((await page.locator('h1').count()) === 1, `${where}: one h1`);
      if (title) {
        expect((await page.getByRole('heading', { level: 1 }).textContent()) === title, `${where}: h1 is ${title}`);
        expect((await page.title()).includes(title), `${where}: the document's title has ${title}`);
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(wide <= 0, `${where}: scrolls sideways by ${wide} px`);
      if (options.language === 'zh') expect(/[\u4e00-\u9fff]/.test((await page.locator('h1').textContent()) ?? '') || !title, `${where}: speaks Chinese`);
      if (options.look) await looks.look(page, where);
      if (options.axe !== false) await accessible(page, where);
      await picture(page, [path, options.mode, options.theme ?? 'light', options.width ?? 1280, options.language].filter(Boolean).join(' '));
    });
  }

  /// Does all of these, a few at a time.
  async function together(works, lanes = 3) {
    const queue = [...works];
    await Promise.all(Array.from({ length: lanes }, async () => {
      for (let work = queue.shift(); work; work = queue.shift()) await work();
    }));
  }

  return { base, given, browser, counts, expect, on, settled, accessible, picture, sound, together, close: () => (looks.close(), browser.close()) };
}
