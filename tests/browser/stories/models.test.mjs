// The models page: find a model, see whether it fits, pull it, stop a pull, load, unload, delete.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { setUpAdmin, startServer } from '../harness/server.mjs';

const shared =
  process.env.HEARTH_SHARED ?? fileURLToPath(new URL('../../../../shared', import.meta.url));

let registry;
let server;
let browser;
let view;
let page;

/** Ollama's registry with `me/small` and `me/slow`, whose file never ends. */
async function startRegistry() {
  const gguf = await readFile(join(shared, 'models/stories260k/stories260K-q8_0.gguf'));
  const slow = Buffer.alloc(64 << 20, 7);
  const config = Buffer.from('{"model_format":"gguf"}');
  const files = new Map();
  const layer = (kind, content) => {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    files.set(digest, content);
    const mediaType = `application/vnd.ollama.image.${kind}`;
    return { mediaType, digest, size: content.length };
  };
  const manifest = (content) =>
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'm',
      config: layer('config', config),
      layers: [layer('model', content)],
    });
  const manifests = { small: manifest(gguf), slow: manifest(slow) };
  const http = createServer((request, response) => {
    const [, kind, reference] = /\/(manifests|blobs)\/([^/]+)$/.exec(request.url) ?? [];
    const model = request.url.split('/')[3];
    if (kind === 'manifests' && manifests[model]) return response.end(manifests[model]);
    const content = files.get(reference);
    if (!content) return response.writeHead(404).end();
    const [, first, last] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? [];
    const part = first === undefined ? content : content.subarray(Number(first), Number(last) + 1);
    const headers = { 'content-length': part.length };
    if (first !== undefined) headers['content-range'] = `bytes ${first}-${last}/${content.length}`;
    response.writeHead(first === undefined ? 200 : 206, headers);
    if (model === 'small') return response.end(part);
    // A piece comes, and then nothing more: the pull shows progress until it is cancelled.
    response.write(part.subarray(0, 5 << 20));
    return response;
  });
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return { http, host: `127.0.0.1:${http.address().port}` };
}

before(async () => {
  registry = await startRegistry();
  process.env.HEARTH_HUB_REGISTRIES = registry.host;
  process.env.HEARTH_HUB_PLAIN_HTTP = registry.host;
  process.env.HEARTH_HUB_PRIVATE_HOSTS = '127.0.0.1';
  server = await startServer();
  browser = await launch();
  view = await openPage(browser, server.url);
  ({ page } = view);
  await setUpAdmin(server, view.context);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  registry?.http.closeAllConnections();
  registry?.http.close();
});

const search = () => page.getByLabel('Search known models');
const pullOf = (name) => page.getByRole('heading', { name, level: 3 });

test('the catalogue is searched and says what fits this machine', async () => {
  await page.goto('/admin/models');
  await page.getByRole('heading', { name: 'Get a model' }).waitFor();
  await search().fill('qwen3:0.6b');
  const card = page.getByRole('listitem').filter({ hasText: 'qwen3:0.6b' }).last();
  await card.waitFor();
  await card.getByText(/Fits/).waitFor();
  await card.getByText(/Needs .* free \(main memory\)/).waitFor();
  await search().fill('llama3.1:405b thinking nothing');
  await page.getByText('The catalogue has nothing of that.').waitFor();
  await search().fill('google');
  await page.getByRole('heading', { name: 'Gemma 3' }).waitFor();
  await checkAccessibility(page, 'models page with the catalogue');
  await screenshot(page, 'models-catalogue');
});

test('a pull shows its progress and can be cancelled', async () => {
  const name = `${registry.host}/me/slow`;
  await search().fill(name);
  await page.getByRole('button', { name: `Pull ${name}` }).click();
  await pullOf(name).waitFor();
  const bar = page.getByRole('progressbar');
  await bar.waitFor();
  await page.waitForFunction(() => {
    const shown = document.querySelector('[role=progressbar], progress');
    return Number(shown?.getAttribute('aria-valuenow') ?? shown?.value ?? 0) > 0;
  });
  await checkAccessibility(page, 'a running pull');
  await screenshot(page, 'models-pull');
  await page.getByRole('button', { name: `Cancel ${name}` }).click();
  await pullOf(name).waitFor({ state: 'hidden' });
});

test('a model is pulled, loaded, unloaded and deleted', async () => {
  const name = `${registry.host}/me/small`;
  await search().fill(name);
  await page.getByRole('button', { name: `Pull ${name}` }).click();
  const card = page.getByRole('listitem').filter({ has: page.getByRole('heading', { name }) });
  await card.waitFor();
  await card.getByRole('button', { name: `Load ${name}` }).click();
  await card.getByRole('button', { name: `Unload ${name}` }).waitFor();
  await checkAccessibility(page, 'a loaded model');
  await card.getByRole('button', { name: `Unload ${name}` }).click();
  await card.getByRole('button', { name: `Load ${name}` }).waitFor();
  await card.getByRole('button', { name: /^Actions for/ }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await card.waitFor({ state: 'hidden' });
  const listed = await view.context.request.get(`${server.url}/hearth/models`);
  const { models } = await listed.json();
  assert.deepEqual(
    models.map((model) => model.source),
    ['builtin'],
  );
  view.check();
});
