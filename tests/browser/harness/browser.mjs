// Opens pages in headless Chromium and holds them to the rules: no console error, no policy violation,
// no request to another host, no accessibility violation.
import assert from 'node:assert/strict';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { chromium } from 'playwright-core';

const require = createRequire(import.meta.url);
const artifacts = fileURLToPath(new URL('../artifacts', import.meta.url));
const axeSource = await readFile(require.resolve('axe-core/axe.min.js'), 'utf8');
const wait_limit_ms = 15_000;

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A page with its list of faults. `expected` patterns name console errors a story provokes. */
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({
    baseURL: url,
    viewport: { width: 1280, height: 800 },
    locale: 'en-GB',
    permissions: ['clipboard-read', 'clipboard-write'],
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(wait_limit_ms);
  const faults = [];
  const expected = [];
  page.on('console', (message) => {
    const text = `${message.text()} (${message.location().url})`;
    const known = expected.some((pattern) => pattern.test(text));
    if (['error', 'warning'].includes(message.type()) && !known) faults.push(text);
  });
  page.on('pageerror', (error) => faults.push(`uncaught: ${error.stack ?? error.message}`));
  page.on('request', (request) => {
    const address = request.url();
    if (!address.startsWith(url) && !address.startsWith('data:')) faults.push(`asked ${address}`);
  });
  return {
    context,
    page,
    expected,
    check: () => assert.deepEqual(faults, [], 'the page reported faults'),
  };
}

/** Fails on any violation of WCAG 2.0 to 2.2, A and AA, and of the best practices axe knows. */
export async function checkAccessibility(page, name) {
  // Evaluated by the debugger, so the page's policy neither blocks nor sees it.
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    // A cancelled animation rejects; it is over as well.
    await Promise.allSettled(document.getAnimations().map((animation) => animation.finished));
    const result = await window.axe.run(document);
    return result.violations.map((violation) => ({
      id: violation.id,
      help: violation.help,
      nodes: violation.nodes.map((node) => `${node.target.join(' ')}: ${node.failureSummary}`),
    }));
  });
  assert.deepEqual(violations, [], `accessibility of ${name}`);
}

export async function screenshot(page, name) {
  await mkdir(artifacts, { recursive: true });
  const path = join(artifacts, `${name}.png`);
  await page.screenshot({ path });
  return path;
}

/** Keeps a screenshot as the picture of the README when asked to. */
export async function publish(path) {
  if (process.env.UPDATE_SCREENSHOT !== '1') return;
  const target = fileURLToPath(new URL('../../../web/docs/chat.png', import.meta.url));
  await mkdir(dirname(target), { recursive: true });
  await copyFile(path, target);
}
