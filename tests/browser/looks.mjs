/// How the pages look: each as a coarse grid of greys, compared with the one that was kept (looks.json). A page that lost its style sheet, a
/// column or a chart differs; another second, another font or a moved line do not. `LOOKS=write` keeps what is seen now: look at the pictures first.
import { readFileSync, writeFileSync } from 'node:fs';

const COLUMNS = 24;
const ROWS = 18;
/// Of 255: how far a cell may be off, on average over the page, and how many cells may be far off.
const MEAN_MAX = 10;
const FAR = 60;
const FAR_MAX = 0.08;
const DRAWN_WITHIN = 4000;
const FILE = new URL('./looks.json', import.meta.url);

export async function openLooks(browser, expect) {
  const isWriting = process.env.LOOKS === 'write';
  const kept = JSON.parse(readFileSync(FILE, 'utf8'));
  const seen = {};
  const desk = await (await browser.newContext()).newPage();
  const greys = async (png) => desk.evaluate(async ([data, columns, rows]) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
    const canvas = new OffscreenCanvas(columns, rows);
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, 0, 0, columns, rows);
    const { data: pixels } = context.getImageData(0, 0, columns, rows);
    return Array.from({ length: columns * rows }, (_, at) => Math.round(0.3 * pixels[at * 4] + 0.6 * pixels[at * 4 + 1] + 0.1 * pixels[at * 4 + 2]));
  }, [png.toString('base64'), COLUMNS, ROWS]);

  return {
    /// Compares what is seen of a page with what was kept under this name.
    async look(page, name) {
      if (isWriting) {
        seen[name] = Buffer.from(await greys(await page.screenshot())).toString('base64');
        return;
      }
      expect(kept[name] !== undefined, `${name} was never looked at: LOOKS=write`);
      const then = [...Buffer.from(kept[name] ?? '', 'base64')];
      let [mean, far] = [255, 1];
      // A graph may be drawn a moment after its data came.
      for (const end = performance.now() + DRAWN_WITHIN; (mean > MEAN_MAX || far > FAR_MAX) && performance.now() < end;) {
        const now = await greys(await page.screenshot());
        const off = now.map((grey, at) => Math.abs(grey - (then[at] ?? 0)));
        mean = off.reduce((sum, one) => sum + one, 0) / off.length;
        far = off.filter((one) => one > FAR).length / off.length;
      }
      expect(mean <= MEAN_MAX && far <= FAR_MAX, `${name} looks different: ${mean.toFixed(1)} of 255 off, ${(far * 100).toFixed(1)} % of it far off`);
    },
    close() {
      if (isWriting) writeFileSync(FILE, `${JSON.stringify(Object.fromEntries(Object.entries(seen).sort()), null, 1)}\n`);
    },
  };
}
