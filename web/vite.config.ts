/// Builds the dashboard into `dist/`. Names in `assets/` carry a hash of their content, so that they may be cached for ever.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vitest/config';
import { page } from './build/page.mjs';

/// The server that `npx vite` shows the dashboard of.
const server = process.env['WATCHKEEPER_SERVER'] ?? 'http://127.0.0.1:9090';

export default defineConfig({
  // Chunks find each other relatively, so that a reverse proxy's prefix needs no second build; `page` makes the
  // links of index.html absolute, and the server rewrites `"/assets/` there when it has a prefix.
  base: './',
  plugins: [svelte(), page()],
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1000,
  },
  server: { proxy: { '/api': server, '/-': server } },
  resolve: process.env['VITEST'] ? { conditions: ['browser'] } : {},
  test: { environment: 'jsdom', include: ['tests/**/*.test.ts'], setupFiles: ['tests/setup.ts'] },
});
