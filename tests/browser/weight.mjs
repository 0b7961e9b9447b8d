/// The budgets: what comes over the wire, what is drawn how fast. Sizes are judged; times are printed, for they are the machine's.
import { existsSync, readdirSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FIRST_MAX = 100_000;
const ALL_MAX = 250_000;
const dist = fileURLToPath(new URL('../../web/dist/', import.meta.url));

/// What all pages together weigh, packed as they are sent.
function allRoutes() {
  const packed = (path) => statSync(existsSync(`${path}.br`) ? `${path}.br` : path).size;
  const assets = readdirSync(`${dist}assets`).filter((name) => !/\.(br|gz)$/.test(name));
  return packed(`${dist}index.html`) + assets.reduce((sum, name) => sum + packed(`${dist}assets/${name}`), 0);
}

export default async function ({ on, expect, settled }) {
  const all = allRoutes();
  console.log(`all routes: ${(all / 1000).toFixed(1)} kB`);
  expect(all <= ALL_MAX, `all routes weigh ${all} bytes`);
  await on('/', { mode: 'bad' }, async (page) => {
    await settled(page);
    const sizes = await page.evaluate(() => [...performance.getEntriesByType('resource'), ...performance.getEntriesByType('navigation')].filter((entry) => !entry.name.includes('/api/')).map((entry) => [entry.name, entry.encodedBodySize]));
    const sum = sizes.reduce((total, [, size]) => total + size, 0);
    console.log(`first route: ${(sum / 1000).toFixed(1)} kB in ${sizes.length} files`);
    expect(sum <= FIRST_MAX, `the first route weighs ${sum} bytes`);
    await page.reload();
    await settled(page);
    const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime);
    console.log(`first contentful paint, warm: ${Math.round(paint)} ms`);
    const started = performance.now();
    await page.getByRole('navigation', { name: 'Main' }).getByRole('link', { name: 'Rules' }).click();
    await page.getByRole('table', { name: 'Rules' }).waitFor();
    console.log(`from Overview to Rules: ${Math.round(performance.now() - started)} ms`);
  });
}
