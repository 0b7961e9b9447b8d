/// Writes `.br` and `.gz` beside each text file of `dist/`, and prints what the first page weighs on the wire.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = join(dirname(fileURLToPath(import.meta.url)), '../dist');
const text = /\.(html|js|css|svg|json|txt)$/;

function* files(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* files(path);
    else if (text.test(name)) yield path;
  }
}

const weights = new Map();
for (const path of files(dist)) {
  const bytes = readFileSync(path);
  const brotli = brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
  const gzip = gzipSync(bytes, { level: 9 });
  // A packed form that is not smaller is not worth its header.
  if (brotli.length < bytes.length) writeFileSync(`${path}.br`, brotli);
  if (gzip.length < bytes.length) writeFileSync(`${path}.gz`, gzip);
  weights.set(relative(dist, path), { br: brotli.length, gz: gzip.length });
}

const index = readFileSync(join(dist, 'index.html'), 'utf8');
const first = ['index.html', ...[...index.matchAll(/["']\/(assets\/[^"']+)["']/g)].map((match) => match[1])];
const sum = (names, kind) => names.reduce((total, name) => total + (weights.get(name)?.[kind] ?? 0), 0);
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;
for (const [name, weight] of [...weights].sort((a, b) => b[1].gz - a[1].gz)) console.log(`${kilobytes(weight.gz).padStart(9)} gz ${kilobytes(weight.br).padStart(9)} br  ${name}`);
console.log(`linked from index.html: ${kilobytes(sum(first, 'gz'))} gz, ${kilobytes(sum(first, 'br'))} br; all: ${kilobytes(sum([...weights.keys()], 'gz'))} gz, ${kilobytes(sum([...weights.keys()], 'br'))} br`);
