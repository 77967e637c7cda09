// Writes .gz and .br beside each text file of dist/, so that the server can send them as they are,
// and prints the first load: what index.html and its eager modules and styles weigh.
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const dist = fileURLToPath(new URL('../dist', import.meta.url));
const textual = new Set(['.html', '.js', '.css', '.svg', '.json', '.txt', '.webmanifest']);
const first_load_limit_bytes = 300_000;

const sizes = new Map();
for (const entry of readdirSync(dist, { recursive: true })) {
  const path = join(dist, entry);
  if (!statSync(path).isFile() || !textual.has(extname(path))) continue;
  const bytes = readFileSync(path);
  const gzip = gzipSync(bytes, { level: 9 });
  writeFileSync(`${path}.gz`, gzip);
  writeFileSync(
    `${path}.br`,
    brotliCompressSync(bytes, {
      params: {
        [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY,
        [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length,
      },
    }),
  );
  sizes.set(entry.replaceAll('\\', '/'), gzip.length);
}

const index = readFileSync(join(dist, 'index.html'), 'utf8');
const eager = ['index.html', ...[...index.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((m) => m[1])];
const first_load_bytes = eager.reduce((sum, name) => sum + (sizes.get(name) ?? 0), 0);
const all_bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
console.log(`first load: ${first_load_bytes} bytes gzip, whole app: ${all_bytes} bytes gzip`);
if (first_load_bytes > first_load_limit_bytes) {
  console.error(`first load is over its limit of ${first_load_limit_bytes} bytes`);
  process.exit(1);
}
