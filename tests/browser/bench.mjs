/// How long the main thread is busy with a graph, in a real browser. Run after `make web`:
///
///     node tests/browser/bench.mjs [series points]...      50 1000 and 200 2000 without arguments
///
/// From the click on "Run query" until the graph stands and nothing is left to do: the sum of the renderer's own task time (the
/// browser's `TaskDuration`), less what an idle page takes. The answer comes from this process, so that a server's speed is not in it;
/// reading it (JSON) is. Then the pointer goes over the graph, and what one move takes is told.
import { isBuilt, openKit } from './lib.mjs';
import { serve } from '../../web/dev/mock.mjs';

if (!isBuilt()) {
  console.log('SKIPPED: needs Chromium and web/dist');
  process.exit(0);
}
const given = process.argv.slice(2).map(Number);
const sizes = given.length >= 2 ? [[given[0], given[1]]] : [[50, 1000], [200, 2000]];
const ROUNDS = 5;
const MOVES = 60;

const server = await serve();
const base = `http://127.0.0.1:${server.port}`;
const kit = await openKit({ base, given: false });

function matrix(series, points) {
  const end = Math.floor(Date.now() / 1000);
  const result = Array.from({ length: series }, (_, one) => ({
    metric: { __name__: 'made_up', instance: `host${one}:9100`, job: 'node' },
    values: Array.from({ length: points }, (_, at) => [end - (points - 1 - at), (50 + 40 * Math.sin(at / 60 + one) + ((at * 7919 + one * 104729) % 97) / 20).toFixed(3)]),
  }));
  return JSON.stringify({ status: 'success', data: { resultType: 'matrix', result } });
}

const middle = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

for (const [series, points] of sizes) {
  const body = matrix(series, points);
  // Its end is fixed, so that the graph does not move on by itself while it is measured.
  await kit.on(`/explore?range=${points}s&end=${Math.floor(Date.now() / 1000)}&step=1s`, { mode: 'plain' }, async (page) => {
    await page.route(/\/query_range/, (route) => route.fulfill({ status: 200, contentType: 'application/json', body }));
    const devtools = await page.context().newCDPSession(page);
    // Time of the thread itself: what else the machine does is not in it.
    await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
    const busy = async () => Object.fromEntries((await devtools.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value])).TaskDuration * 1000;
    const run = page.getByRole('button', { name: 'Run query' });
    const box = page.getByRole('textbox', { name: 'PromQL expression' });
    const took = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      // A new question each time: an answer that is known already is not drawn again.
      await box.fill(`made_up + ${round}`);
      await page.waitForTimeout(300);
      const before = await busy();
      await run.click();
      await page.getByRole('img', { name: new RegExp(`^Graph of made_up \\+ ${round}`) }).locator('canvas').waitFor();
      await kit.settled(page);
      await page.waitForTimeout(300);
      took.push((await busy()) - before);
      if (series > 20 && round === 0) await page.getByRole('button', { name: 'Show all' }).click();
    }
    // The first round loads the drawing code and shows the 20 biggest; the others draw all.
    const all = took.slice(1);
    const frame = await page.locator('figure').boundingBox();
    const before = await busy();
    for (let move = 0; move < MOVES; move += 1) await page.mouse.move(frame.x + 80 + move * 12, frame.y + 60 + (move % 20) * 8);
    const pointer = ((await busy()) - before) / MOVES;
    console.log(`${series} series x ${points} points: ${middle(all).toFixed(0)} ms of main thread (${all.map((one) => one.toFixed(0)).join(', ')}); first, 20 drawn: ${took[0].toFixed(0)} ms; a move of the pointer: ${pointer.toFixed(1)} ms`);
  });
}
await kit.close();
server.server.close();
server.server.closeAllConnections();
process.exit(kit.counts.failures ? 1 : 0);
