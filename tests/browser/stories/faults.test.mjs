// What the page says when the server, the network or the reader cuts things short.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { answered, answers, ask, composer, stopButton } from '../harness/chat.mjs';
import { setUpAdmin, startServer } from '../harness/server.mjs';

let server;
let browser;
let view;
let page;

before(async () => {
  server = await startServer();
  browser = await launch();
  view = await openPage(browser, server.url);
  ({ page } = view);
  await setUpAdmin(server, view.context);
  view.expected.push(/status of (500|503|429|404)/, /ERR_INTERNET_DISCONNECTED/, /ERR_FAILED/);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const fault = (status, code) => ({
  status,
  contentType: 'application/json',
  body: JSON.stringify({
    error: { code, message: 'A fault for the test.', request_id: 'r-42' },
  }),
});

test('a fault in the list of chats is told and can be tried again', async () => {
  await page.route('**/hearth/chats?*', (route) => route.fulfill(fault(500, 'internal')));
  await page.goto('/');
  await page.getByText('The server had a fault.').waitFor();
  await page.getByText('Request r-42').waitFor();
  await screenshot(page, 'fault-list');
  await checkAccessibility(page, 'fault in the list');
  await page.unroute('**/hearth/chats?*');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('Your chats will be listed here.').waitFor();
});

test('a lost network keeps the message for another try', async () => {
  await view.context.setOffline(true);
  await ask(page, 'How do I add a user?');
  await page.getByRole('alert').getByText('The server cannot be reached.').waitFor();
  assert.equal(await composer(page).inputValue(), 'How do I add a user?');
  await screenshot(page, 'network-lost');
  await view.context.setOffline(false);
  await composer(page).press('Enter');
  await answered(page);
});

test('a busy server keeps the message and says when to come back', async () => {
  await page.route('**/turns', (route) =>
    route.fulfill({ ...fault(429, 'busy'), headers: { 'retry-after': '7' } }),
  );
  await ask(page, 'Where is my data?');
  await page.getByText('Try again in 7 s.').waitFor();
  assert.equal(await composer(page).inputValue(), 'Where is my data?');
  await page.unroute('**/turns');
  await composer(page).fill('');
});

test('a stopped wait leaves the chat usable', async () => {
  // Held back, so that the stop comes before the server has heard of the turn.
  let held;
  await page.route('**/turns', (route) => void (held = route));
  await ask(page, 'Where is my data?');
  await stopButton(page).waitFor();
  await screenshot(page, 'waiting');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Send' }).waitFor();
  await held.abort().catch(() => undefined); // The page has ended it already.
  await page.unroute('**/turns');
  await ask(page, 'How do I make an API token?');
  await answered(page);
});

test('an answer whose stream breaks off is read to its end all the same', async () => {
  await page.route('**/turns', async (route) => {
    const response = await route.fetch();
    const text = await response.text();
    const cut = text.slice(0, text.lastIndexOf('event: finished'));
    await route.fulfill({ response, body: cut });
  });
  await ask(page, 'Where is my data?');
  await answered(page);
  assert.equal(await page.getByText('The connection broke off.').count(), 0);
  await page.unroute('**/turns');
});

test('a server that does not answer is waited for', async () => {
  await page.route('**/hearth/status', (route) => route.abort());
  await page.goto('/');
  await page.getByText('Hearth does not answer').waitFor();
  await checkAccessibility(page, 'unreachable');
  await screenshot(page, 'unreachable');
  await page.unroute('**/hearth/status');
  await composer(page).waitFor();
});

test('nothing else was reported by the browser', () => view.check());
