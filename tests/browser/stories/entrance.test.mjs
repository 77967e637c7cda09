// From the first start to signing in again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { composer } from '../harness/chat.mjs';
import { admin, startServer } from '../harness/server.mjs';

let server;
let browser;
let view;
let page;

before(async () => {
  server = await startServer();
  browser = await launch();
  view = await openPage(browser, server.url);
  ({ page } = view);
  // Chromium itself reports refused requests; the stories here are about being refused.
  view.expected.push(/status of 40[13]/);
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

async function fillSetup(code) {
  await page.getByLabel('Setup code').fill(code);
  await page.getByLabel('Your name').fill(admin.name);
  await page.getByLabel('Password', { exact: true }).fill(admin.password);
  await page.getByRole('button', { name: 'Create account' }).click();
}

test('the setup page asks for what it needs', async () => {
  await page.goto('/');
  await page.getByRole('heading', { name: 'Welcome to Hearth' }).waitFor();
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByText('Please fill this in.').first().waitFor();
  await checkAccessibility(page, 'setup');
  await screenshot(page, 'setup');
});

test('a short password is told before it is sent', async () => {
  await page.getByLabel('Setup code').fill(server.setupCode);
  await page.getByLabel('Your name').fill(admin.name);
  await page.getByLabel('Password', { exact: true }).fill('short');
  await page.getByRole('button', { name: 'Create account' }).click();
  await page.getByText('At least 8 characters, please.').waitFor();
});

test('a wrong setup code is refused and what was typed stays', async () => {
  await fillSetup('AAAA-BBBB-CCCC-DDDD');
  await page.getByRole('alert').getByText('That is not the setup code.').waitFor();
  assert.equal(await page.getByLabel('Your name').inputValue(), admin.name);
});

test('the right code makes the administrator and opens the chat', async () => {
  await fillSetup(server.setupCode);
  await composer(page).waitFor();
});

test('signing out leads to the sign-in page', async () => {
  await page.getByRole('button', { name: `Account of ${admin.name}` }).click();
  await page.getByRole('menuitem', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'Sign in to Hearth' }).waitFor();
  await checkAccessibility(page, 'sign-in');
  await screenshot(page, 'sign-in');
});

test('a wrong password is refused, the right one signs in', async () => {
  await page.getByLabel('Name').fill(admin.name);
  await page.getByLabel('Password', { exact: true }).fill('something else');
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('alert').getByText('The name or the password is not right.').waitFor();
  await screenshot(page, 'sign-in-refused');
  await page.getByLabel('Password', { exact: true }).fill(admin.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await composer(page).waitFor();
});

test('an ended session asks for the password and keeps the draft', async () => {
  await composer(page).fill('a thought in the making');
  await view.context.clearCookies();
  // The page may notice by itself before the button is pressed.
  const ended = page.getByText('Your session has ended.');
  const send = page.getByRole('button', { name: 'Send' });
  await Promise.race([send.click().catch(() => undefined), ended.waitFor()]);
  await ended.waitFor();
  await screenshot(page, 'session-ended');
  await page.getByLabel('Password', { exact: true }).fill(admin.password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await composer(page).waitFor();
  assert.equal(await composer(page).inputValue(), 'a thought in the making');
});

test('nothing was reported by the browser', () => view.check());
