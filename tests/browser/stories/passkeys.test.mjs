// Passkeys, with Chromium's own authenticator that needs no finger.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { composer } from '../harness/chat.mjs';
import { admin, setUpAdmin, startServer } from '../harness/server.mjs';

let server;
let browser;
let view;
let page;
let authenticator;

before(async () => {
  server = await startServer();
  // Passkeys belong to a name, not to an address.
  server.url = server.url.replace('127.0.0.1', 'localhost');
  browser = await launch();
  view = await openPage(browser, server.url);
  ({ page } = view);
  view.expected.push(/status of 40[13]/);
  await setUpAdmin(server, view.context);
  const debug = await view.context.newCDPSession(page);
  await debug.send('WebAuthn.enable');
  const options = {
    protocol: 'ctap2',
    ctap2Version: 'ctap2_1',
    transport: 'internal',
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
  };
  const { authenticatorId } = await debug.send('WebAuthn.addVirtualAuthenticator', { options });
  authenticator = {
    forget: () => debug.send('WebAuthn.clearCredentials', { authenticatorId }),
  };
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const dialog = () => page.getByRole('dialog');

test('a passkey is made and named', async () => {
  await page.goto('/settings/security');
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await dialog().getByLabel('Name').fill('laptop');
  await checkAccessibility(page, 'passkey dialog');
  await dialog().getByRole('button', { name: 'Go on' }).click();
  await page.getByRole('button', { name: 'Rename: laptop' }).click();
  await dialog().getByLabel('Name').fill('desk machine');
  await dialog().getByRole('button', { name: 'Save' }).click();
  await page.getByText('desk machine').waitFor();
  await page.getByText(/^localhost · made/).waitFor();
  await checkAccessibility(page, 'passkeys');
  await screenshot(page, 'settings-passkeys');
});

test('it signs in without name and password', async () => {
  await view.context.clearCookies();
  await page.goto('/');
  await page.getByRole('button', { name: 'Sign in with a passkey' }).waitFor();
  await checkAccessibility(page, 'sign-in with passkeys');
  await screenshot(page, 'sign-in-passkey');
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await composer(page).waitFor();
});

test('it is asked for beside the password where that is wished', async () => {
  await page.goto('/settings/security');
  await page.getByRole('heading', { name: 'Passkeys' }).waitFor();
  await page.getByLabel('Ask for a passkey when I sign in by my password').check();
  await dialog().getByRole('heading', { name: 'Keep your recovery codes' }).waitFor();
  await dialog().getByRole('button', { name: 'I have kept them' }).click();
  await view.context.clearCookies();
  await page.goto('/');
  await page.getByLabel('Name').fill(admin.name);
  await page.getByLabel('Password', { exact: true }).fill(admin.password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('button', { name: 'Use a passkey instead' }).click();
  await composer(page).waitFor();
  await page.goto('/settings/security');
  await page.getByLabel('Ask for a passkey when I sign in by my password').uncheck();
});

test('a passkey that is removed signs nobody in, and the page says so', async () => {
  await page.getByRole('button', { name: 'Remove: desk machine' }).click();
  await dialog().getByRole('button', { name: 'Remove' }).click();
  await page.getByText('desk machine', { exact: true }).waitFor({ state: 'detached' });
  await view.context.clearCookies();
  await page.goto('/');
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.getByRole('alert').waitFor();
  assert.equal(await composer(page).count(), 0);
  await authenticator.forget();
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.getByRole('alert').getByText('No passkey was shown.').waitFor();
  await screenshot(page, 'sign-in-passkey-refused');
});

test('nothing was reported by the browser', () => view.check());
