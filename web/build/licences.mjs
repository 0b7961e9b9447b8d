/// A small Vite plugin that writes down whose code is in the bundle: `licences.json`, a list of `name`, `version`, `licence`, `url`, `text`.
/// It asks the bundle itself, so that what is not embedded is not named, and nothing that is embedded is forgotten.
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const require = createRequire(import.meta.url);

/// The folder of the package that a module belongs to; undefined: the module is ours.
export function packageOf(id) {
  const path = id.replace(/^\0/, '').replace(/[?#].*$/, '').replaceAll('\\', '/');
  const at = path.lastIndexOf('/node_modules/');
  if (at < 0) return undefined;
  const parts = path.slice(at + '/node_modules/'.length).split('/');
  return path.slice(0, at) + '/node_modules/' + parts.slice(0, parts[0].startsWith('@') ? 2 : 1).join('/');
}

function address(from) {
  const text = typeof from === 'string' ? from : from?.url;
  if (text === undefined) return null;
  const plain = text.replace(/^git\+/, '').replace(/^git:/, 'https:').replace(/\.git$/, '');
  return /^https?:/.test(plain) ? plain : /^[\w-]+\/[\w.-]+$/.test(plain) ? `https://github.com/${plain}` : null;
}

/// What a package says of itself.
export function notice(folder) {
  const about = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const files = readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice)\b/i.test(name)).sort();
  return {
    name: about.name,
    version: about.version,
    licence: typeof about.license === 'string' ? about.license : (about.license?.type ?? 'unknown'),
    url: about.homepage ?? address(about.repository),
    text: files.length === 0 ? null : files.map((name) => readFileSync(join(folder, name), 'utf8').trim()).join('\n\n'),
  };
}

export function licences() {
  return {
    name: 'watchkeeper-licences',
    generateBundle(_, bundle) {
      // The icons are in the sprite, which is no module.
      const folders = new Set([dirname(require.resolve('lucide-static/package.json'))]);
      for (const file of Object.values(bundle)) {
        for (const id of file.type === 'chunk' ? Object.keys(file.modules) : []) {
          const folder = packageOf(id);
          if (folder !== undefined) folders.add(folder);
        }
      }
      const list = [...folders].map(notice).sort((a, b) => a.name.localeCompare(b.name, 'en'));
      this.emitFile({ type: 'asset', fileName: 'licences.json', source: JSON.stringify(list) });
    },
  };
}
