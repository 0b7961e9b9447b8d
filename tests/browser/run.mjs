/// The dashboard in a real browser: names, accessibility, console, acts. Run after `make web`:
///
///     node tests/browser/run.mjs                      against the made-up server of web/dev/mock.mjs, all its moods
///     node tests/browser/run.mjs http://localhost:9090   against a running server: reads and one silence
///
/// `ONLY=zookeeper,status` runs some of the modules. Needs `npm ci` in web/ (playwright-core and axe-core) and a Chromium, by CHROMIUM or at
/// /usr/bin/chromium. Pictures of the pages are kept in the folder that WATCHKEEPER_SCREENSHOTS names.
import acts from './acts.mjs';
import dashboards from './dashboards.mjs';
import explore from './explore.mjs';
import hour from './hour.mjs';
import { isBuilt, openKit } from './lib.mjs';
import pages from './pages.mjs';
import session from './session.mjs';
import silences from './silences.mjs';
import status from './status.mjs';
import weight from './weight.mjs';
import zookeeper from './zookeeper.mjs';

if (!isBuilt()) {
  console.log('SKIPPED: needs Chromium and web/dist');
  process.exit(process.env.WATCHKEEPER_REQUIRE_BROWSER === '1' ? 1 : 0);
}

const given = process.argv[2];
let server;
let base = given?.replace(/\/$/, '');
if (!base) {
  const mock = await import('../../web/dev/mock.mjs');
  server = await mock.serve();
  base = `http://127.0.0.1:${server.port}`;
}

/// What is run on any server, and what on the made-up one alone.
const ANYWHERE = { pages };
const MADE_UP = { acts, dashboards, explore, hour, session, silences, status, zookeeper, weight };

const kit = await openKit({ base, given: given !== undefined });
const only = process.env.ONLY?.split(',');
for (const [name, run] of Object.entries(given ? ANYWHERE : { ...ANYWHERE, ...MADE_UP })) {
  if (only && !only.includes(name)) continue;
  const started = performance.now();
  await run(kit);
  console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(1)} s`);
}
await kit.close();
server?.server.close();
server?.server.closeAllConnections();
console.log(`${kit.counts.checks - kit.counts.failures} of ${kit.counts.checks} checks passed`);
process.exit(kit.counts.failures ? 1 : 0);
