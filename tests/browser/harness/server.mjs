// Starts the real binary on a free port with a data directory of its own, and ends it again.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const start_limit_ms = 30_000;
const stop_limit_ms = 10_000;
/** Of each turn of a slow machine the process runs so long and then stands so long, or as asked. */
const slow_run_ms = 4;
const slow_stand_ms = 36;

function binary() {
  const path = process.env.HEARTH_BIN;
  if (!path) throw new Error('set HEARTH_BIN to the path of the hearth binary');
  return path;
}

/** Resolves with the first capture of `pattern` in what the process prints. */
function printed(lines, pattern) {
  return new Promise((resolve) => {
    lines.push((text) => {
      const found = pattern.exec(text);
      if (found) resolve(found[1]);
    });
  });
}

function limited(promise, limit_ms, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took over ${limit_ms} ms`)), limit_ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/**
 * Lets a process run a tenth of the time, as a slow machine would: the starter model is so small
 * that its whole answer is there before a browser has drawn a word. Returns what ends it.
 */
function slowDown(child, stand_ms) {
  let timer;
  const stand = () => {
    child.kill('SIGSTOP');
    timer = setTimeout(run, stand_ms);
  };
  const run = () => {
    child.kill('SIGCONT');
    timer = setTimeout(stand, slow_run_ms);
  };
  run();
  return () => {
    clearTimeout(timer);
    child.kill('SIGCONT');
  };
}

/** A running server: `url`, `setupCode`, what it printed so far, `stop()`, `slowDown()`. */
export async function startServer() {
  const data = await mkdtemp(join(tmpdir(), 'hearth-browser-'));
  const child = spawn(binary(), ['serve', '--data', data, '--listen', '127.0.0.1:0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const watchers = [];
  const server = { log: '', data };
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (text) => {
      server.log += text;
      for (const watcher of watchers) watcher(server.log);
    });
  }
  const ended = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`hearth ended with ${code ?? signal}:\n${server.log}`);
  });
  ended.catch(() => undefined);
  const ready = Promise.all([
    printed(watchers, /listening on (http:\/\/[\d.]+:\d+)/),
    printed(watchers, /setup code: (\S+)/),
  ]);
  [server.url, server.setupCode] = await limited(
    Promise.race([ready, ended]),
    start_limit_ms,
    'starting hearth',
  );
  await limited(Promise.race([becomesReady(server.url), ended]), start_limit_ms, '/readyz');
  server.slowDown = (stand_ms = slow_stand_ms) => slowDown(child, stand_ms);
  server.stop = async () => {
    const exit = child.exitCode === null ? once(child, 'exit') : Promise.resolve();
    child.kill('SIGTERM');
    await limited(exit, stop_limit_ms, 'ending hearth').catch(() => child.kill('SIGKILL'));
    await rm(data, { recursive: true, force: true });
  };
  return server;
}

async function becomesReady(url) {
  for (;;) {
    const response = await fetch(`${url}/readyz`);
    if (response.ok) return;
    // The answer itself is the wait: 503 until the server is ready, bounded by the caller.
    await response.arrayBuffer();
  }
}

export const admin = { name: 'ada', password: 'a calm sentence to keep' };

/** Makes the first account by the API; for stories that are not about setup. */
export async function setUpAdmin(server, context) {
  const response = await context.request.post(`${server.url}/hearth/setup`, {
    data: { code: server.setupCode, ...admin },
    headers: { origin: server.url },
  });
  if (!response.ok())
    throw new Error(`setup failed: ${response.status()} ${await response.text()}`);
}

/** Brings the weights of the guide in a second time, under this name. */
export async function importGuide(server, name) {
  const weights = fileURLToPath(
    new URL('../../../models/starter/hearth-guide-q8_0.gguf', import.meta.url),
  );
  const args = ['models', 'import', weights, '--name', name, '--data', server.data];
  const child = spawn(binary(), args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`importing ended with ${code}`);
}
