/// Builds the dashboard into `dist/`. Names in `assets/` carry a hash of their content, so that they may be cached for ever.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { licences } from './build/licences.mjs';
import { page } from './build/page.mjs';

/// The server that `npx vite` shows the dashboard of.
const server = process.env['WATCHKEEPER_SERVER'] ?? 'http://127.0.0.1:9090';

export default defineConfig({
  // Chunks find each other relatively, so that a reverse proxy's prefix needs no second build; `page` makes the
  // links of index.html absolute, and the server rewrites `"/assets/` there when it has a prefix.
  base: './',
  plugins: [svelte(), page(), licences()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
    // Pages that are used together are one chunk: Brotli finds in one what it cannot in the other, a fifth of their weight.
    rolldownOptions: {
      output: {
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            { name: 'common', test: /parts\/(Ago|Dialog|Failed|Icon|LabelChips|Meter|Note|PageHead|SilenceButton|Snippet|SortHead|Status|Tabs|Waiting)\.svelte|lib\/(ago|api|connection|copy|data|format|held|hosts|i18n|keys|labels|live|matrix|page|resource|router|session|settings|status|threshold|time|toasts|watchkeeper)(\.svelte)?\.ts/ },
            { name: 'charts', test: /parts\/(Chart|ChartMenu|GraphPanel|Legend|Tracks)\.svelte|lib\/marks|node_modules\/uplot/ },
            { name: 'watch', test: /pages\/(Alert|Notification|Rule|Silence|ZooKeeper)|parts\/(Diff|PastAlerts|RefusedRules|Rule|Silence(?!Button)|Why\.)|lib\/(calendar|diff|draft|recurrence|rule|silences|starter|yaml|zookeeper)/ },
            { name: 'status', test: /pages\/(Status|Target)|parts\/(Discovery|FailingLine|SubNav)|lib\/itself/ },
            { name: 'hosts', test: /pages\/(Host|Services)/ },
            { name: 'dashboards', test: /pages\/Dashboard|parts\/(panels|AddToDashboard)|lib\/grafana/ },
          ],
        },
      },
    },
  },
  server: { proxy: { '/api': server, '/-': server } },
  resolve: process.env['VITEST'] ? { conditions: ['browser'] } : {},
  test: { environment: 'jsdom', include: ['tests/**/*.test.ts'], setupFiles: ['tests/setup.ts'] },
});
