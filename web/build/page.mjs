/// A small Vite plugin for the three things of the page that are not modules:
/// the first script (it sets the theme before the style sheet, so that nothing flashes), the icon sprite, and the site's own icon.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ICONS } from './icons.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const require = createRequire(import.meta.url);

function hashed(name, extension, source) {
  const hash = createHash('sha256').update(source).digest('base64url').slice(0, 8);
  return { name: `assets/${name}-${hash}.${extension}`, source };
}

/// Makes one sprite of the icons we use. Lucide's notice (ISC) goes along.
export function sprite() {
  const folder = join(dirname(require.resolve('lucide-static/package.json')), 'icons');
  const symbols = Object.entries(ICONS).map(([id, file]) => {
    const svg = readFileSync(join(folder, `${file}.svg`), 'utf8');
    const inner = svg.replace(/<!--[\s\S]*?-->/g, '').replace(/^[\s\S]*?<svg[\s\S]*?>/, '').replace(/<\/svg>\s*$/, '');
    return `<symbol id="${id}" viewBox="0 0 24 24">${inner.replace(/\s*\n\s*/g, '').trim()}</symbol>`;
  });
  return `<!-- Icons: Lucide, https://lucide.dev, ISC License, Copyright (c) Lucide Contributors; parts by Cole Bemis (Feather), MIT License -->\n<svg xmlns="http://www.w3.org/2000/svg">${symbols.join('\n')}</svg>\n`;
}

export function page() {
  const theme = hashed('theme', 'js', readFileSync(join(here, '../src/theme.js'), 'utf8').replace(/^\/\/.*\n/gm, ''));
  const icons = hashed('icons', 'svg', sprite());
  const favicon = hashed('favicon', 'svg', readFileSync(join(here, '../src/favicon.svg'), 'utf8'));
  return {
    name: 'watchkeeper-page',
    resolveId(id) {
      return id === 'virtual:icons' ? '\0virtual:icons' : undefined;
    },
    load(id) {
      // The sprite's address follows from the module's own: both lie in assets/.
      if (id !== '\0virtual:icons') return undefined;
      return process.env.VITEST ? 'export default "/icons.svg"' : `export default new URL(/* @vite-ignore */ ${JSON.stringify(`./${icons.name.slice(7)}`)}, import.meta.url).pathname`;
    },
    generateBundle() {
      for (const file of [theme, icons, favicon]) this.emitFile({ type: 'asset', fileName: file.name, source: file.source });
    },
    transformIndexHtml: {
      order: 'post',
      handler(html) {
        return html
          .replace(/(["'])\.\/assets\//g, '$1/assets/')
          .replace('<title>', `<script src="/${theme.name}"></script>\n    <link rel="icon" type="image/svg+xml" href="/${favicon.name}" />\n    <title>`);
      },
    },
  };
}
