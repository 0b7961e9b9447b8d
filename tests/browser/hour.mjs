/// An hour on the Overview, in a minute: the page's clock is ours. The heap does not grow, nothing is asked faster than the data come,
/// and nothing at all in a tab that nobody sees.
const SCRAPE_MS = 15_000;
const HOUR = 3600_000;
/// What the heap may have grown by between ten minutes and the hour: noise of the collector, and marks of the list of requests.
const GROWTH_BYTES = 1_000_000;

export default async function ({ on, expect, base, settled }) {
  const hide = () => {
    let hidden = false;
    Object.defineProperty(document, 'hidden', { get: () => hidden });
    globalThis.hideTab = (now) => {
      hidden = now;
      document.dispatchEvent(new Event('visibilitychange'));
    };
  };
  await on('/?mode=hour', { mode: 'bad', init: hide }, async (page) => {
    await page.clock.install();
    await page.reload();
    await page.locator('main:not([aria-busy=true])').waitFor();
    await settled(page, false);
    const asked = new Map();
    let count = false;
    page.on('request', (request) => {
      const path = request.url().slice(base.length);
      if (count && path.startsWith('/api/')) asked.set(path.replace(/\b(time|start|end)=[\d.]+/g, ''), (asked.get(path.replace(/\b(time|start|end)=[\d.]+/g, '')) ?? 0) + 1);
    });
    const session = await page.context().newCDPSession(page);
    const heap = async () => {
      await page.evaluate(() => performance.clearResourceTimings());
      await session.send('HeapProfiler.collectGarbage');
      return (await session.send('Runtime.getHeapUsage')).usedSize;
    };
    const live = async (ms) => {
      for (let at = 0; at < ms; at += SCRAPE_MS) {
        await page.clock.runFor(SCRAPE_MS);
        await settled(page, false);
      }
    };
    await live(HOUR / 6);
    const before = await heap();
    count = true;
    await live((HOUR * 5) / 6);
    count = false;
    const after = await heap();
    const most = [...asked].sort((a, b) => b[1] - a[1])[0] ?? ['', 0];
    console.log(`an hour open: heap ${(before / 1e6).toFixed(2)} -> ${(after / 1e6).toFixed(2)} MB; ${[...asked.values()].reduce((sum, n) => sum + n, 0)} requests, most of ${most[0]}: ${most[1]}`);
    expect(after - before <= GROWTH_BYTES, `the heap grew from ${before} to ${after} bytes within 50 minutes`);
    expect(most[1] > 20 && most[1] <= (HOUR * 5) / 6 / SCRAPE_MS + 5, `${most[0]} was asked ${most[1]} times in 50 minutes of scrapes each ${SCRAPE_MS / 1000} s`);
    await page.evaluate(() => globalThis.hideTab(true));
    await settled(page, false);
    asked.clear();
    count = true;
    await live(HOUR / 12);
    expect(asked.size === 0, `a tab that nobody sees asked: ${[...asked.keys()].slice(0, 3).join(', ')}`);
    await page.evaluate(() => globalThis.hideTab(false));
    await settled(page, false);
    expect(asked.size > 0, 'and catches up when it is seen again');
  });
}
