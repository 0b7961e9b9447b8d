/// How the pages look: each as a coarse grid of greys, compared with the one that was kept (looks.json). A page that lost its style sheet, a
/// column or a chart differs; another second, another font or a moved line do not. `LOOKS=write` keeps what is seen now: look at the pictures first.
import { readFileSync, writeFileSync } from 'node:fs';
import { PAGES } from './pages.mjs';

const COLUMNS = 24;
const ROWS = 18;
/// Of 255: how far a cell may be off, on average over the page, and how many cells may be far off.
const MEAN_MAX = 10;
const FAR = 60;
const FAR_MAX = 0.08;
const FILE = new URL('./looks.json', import.meta.url);

const THINGS = ['/hosts/web1%3A9100', '/alerts/0a1b2c3d4e5f6071', '/rules/hosts/TargetDown', '/explore?q=node_load1', '/dashboards', '/dashboards/hosts-full'];

export default async function ({ on, expect, settled, together, browser, picture }) {
  const kept = process.env.LOOKS === 'write' ? undefined : JSON.parse(readFileSync(FILE, 'utf8'));
  const seen = {};
  const desk = await (await browser.newContext()).newPage();
  const grid = (png) => desk.evaluate(async ([data, columns, rows]) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
    const canvas = new OffscreenCanvas(columns, rows);
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, columns, rows);
    const { data: pixels } = context.getImageData(0, 0, columns, rows);
    return Array.from({ length: columns * rows }, (_, at) => Math.round(0.3 * pixels[at * 4] + 0.6 * pixels[at * 4 + 1] + 0.1 * pixels[at * 4 + 2]));
  }, [png.toString('base64'), COLUMNS, ROWS]);

  const works = [];
  for (const path of [...PAGES.map(([one]) => one), ...THINGS]) {
    for (const [theme, width] of [['light', 1280], ['dark', 1280], ['light', 360]]) {
      const name = `${path} ${theme} ${width}`;
      works.push(() => on(path, { mode: 'looks', theme, width, quiet: true, reducedMotion: 'reduce' }, async (page) => {
        await settled(page);
        await picture(page, `looks ${name}`);
        const now = await grid(await page.screenshot());
        seen[name] = Buffer.from(now).toString('base64');
        if (!kept) return;
        expect(kept[name] !== undefined, `${name} was never looked at: LOOKS=write`);
        const then = [...Buffer.from(kept[name] ?? '', 'base64')];
        const off = now.map((grey, at) => Math.abs(grey - (then[at] ?? 0)));
        const mean = off.reduce((sum, one) => sum + one, 0) / off.length;
        const far = off.filter((one) => one > FAR).length / off.length;
        expect(mean <= MEAN_MAX && far <= FAR_MAX, `${name} looks different: ${mean.toFixed(1)} of 255 off, ${(far * 100).toFixed(1)} % of it far off`);
      }));
    }
  }
  await together(works);
  if (!kept) writeFileSync(FILE, `${JSON.stringify(Object.fromEntries(Object.entries(seen).sort()), null, 1)}\n`);
}
