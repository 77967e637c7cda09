// Settings and administration, each with a real change.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { answered, ask } from '../harness/chat.mjs';
import { admin, setUpAdmin, startServer } from '../harness/server.mjs';

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
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

test('the theme and the language change at once and stay after a reload', async () => {
  await page.goto('/settings');
  await page.getByRole('heading', { name: 'General' }).waitFor();
  await checkAccessibility(page, 'general settings');
  await screenshot(page, 'settings-general');
  await page.getByText('Dark', { exact: true }).click();
  await page.locator('html[data-theme=dark]').waitFor();
  await page.getByLabel('Language').selectOption('zh');
  await page.getByRole('heading', { name: '通用' }).waitFor();
  await page.reload();
  await page.getByRole('heading', { name: '通用' }).waitFor();
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
  await checkAccessibility(page, 'general settings, dark, Chinese');
  await screenshot(page, 'settings-general-dark-zh');
  await page.getByText('跟随系统').click();
  await page.locator('html:not([data-theme])').waitFor();
  await page.getByLabel('语言').selectOption('en');
  await page.getByRole('heading', { name: 'General' }).waitFor();
});

test('a token is made, works, and is revoked', async () => {
  await page.goto('/settings/tokens');
  await page.getByRole('heading', { name: 'No tokens yet' }).waitFor();
  await checkAccessibility(page, 'no tokens');
  await screenshot(page, 'settings-tokens-empty');
  await page.getByRole('button', { name: 'Create token' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('laptop editor');
  await checkAccessibility(page, 'token dialog');
  await dialog.getByRole('button', { name: 'Create token' }).click();
  const secret = await dialog.getByLabel('API token').inputValue();
  await screenshot(page, 'settings-token-secret');
  await checkAccessibility(page, 'token secret');
  const ask = () =>
    fetch(`${server.url}/v1/models`, {
      headers: { authorization: `Bearer ${secret}` },
    });
  assert.equal((await ask()).status, 200);
  await dialog.getByRole('button', { name: 'I have copied it' }).click();
  await screenshot(page, 'settings-tokens');
  await page.getByRole('button', { name: 'Revoke: laptop editor' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.getByRole('heading', { name: 'No tokens yet' }).waitFor();
  assert.equal((await ask()).status, 401);
});

test('a password is changed only with the current one', async () => {
  view.expected.push(/status of 403/);
  await page.goto('/settings/account');
  await page.getByRole('heading', { name: 'Account' }).waitFor();
  await checkAccessibility(page, 'account settings');
  await screenshot(page, 'settings-account');
  const change = async (current, next) => {
    await page.getByLabel('Current password').fill(current);
    await page.getByLabel('New password').fill(next);
    await page.getByRole('button', { name: 'Change password' }).click();
  };
  await change('not the password', 'another calm sentence');
  await page.getByRole('alert').waitFor();
  await change(admin.password, 'another calm sentence');
  await page.getByText('Your password is changed.').waitFor();
});

test('a user is added, given a role, disabled and enabled', async () => {
  await page.goto('/admin/users');
  await page.getByRole('button', { name: 'Add user' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Name').fill('grace');
  await dialog.getByLabel('Password', { exact: true }).fill('a first password');
  await checkAccessibility(page, 'user dialog');
  await dialog.getByRole('button', { name: 'Add user' }).click();
  const role = page.getByLabel('Role of grace');
  await role.selectOption('admin');
  await page.reload();
  assert.equal(await role.inputValue(), 'admin');
  await page.getByRole('button', { name: 'Actions for grace' }).click();
  await page.getByRole('menuitem', { name: 'Disable' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
  await page.getByText('Disabled', { exact: true }).waitFor();
  await checkAccessibility(page, 'users');
  await screenshot(page, 'admin-users');
  await page.getByRole('button', { name: 'Actions for grace' }).click();
  await page.getByRole('menuitem', { name: 'Enable' }).click();
  await page.getByText('Disabled', { exact: true }).waitFor({ state: 'detached' });
});

test('the last owner stays one', async () => {
  view.expected.push(/status of 409/);
  await page.getByLabel(`Role of ${admin.name}`).selectOption('user');
  await page.getByText('This is the last owner.').waitFor();
  await page.reload();
  await page.getByLabel('Role of grace').selectOption('user');
  assert.equal(await page.getByLabel(`Role of ${admin.name}`).inputValue(), 'owner');
});

test('the guide is loaded, unloaded and cannot be deleted', async () => {
  await page.goto('/admin/models');
  await page.getByRole('heading', { name: 'hearth-guide' }).waitFor();
  await page.getByText('hearth models import').waitFor();
  await page.getByRole('button', { name: 'Load hearth-guide', exact: true }).click();
  await page.getByRole('button', { name: 'Unload hearth-guide' }).waitFor();
  await page.getByRole('meter', { name: 'hearth-guide' }).waitFor();
  await checkAccessibility(page, 'models');
  await screenshot(page, 'admin-models');
  await page.getByRole('button', { name: 'Actions for hearth-guide' }).click();
  assert.equal(await page.getByRole('menuitem', { name: 'Delete' }).count(), 0);
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Unload hearth-guide' }).click();
  await page.getByRole('button', { name: 'Load hearth-guide', exact: true }).waitFor();
});

test('the playground sends a request and shows the same call in three languages', async () => {
  await page.goto('/settings/playground');
  await page.getByRole('heading', { name: 'Playground' }).waitFor();
  await page.getByLabel('Message').fill('How do I add a user?');
  await page.getByLabel('Language').selectOption({ label: 'Python' });
  await page
    .getByRole('group', { name: 'The call' })
    .getByText('from openai import OpenAI')
    .waitFor();
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByRole('heading', { name: /^Answer: 200/ }).waitFor();
  await checkAccessibility(page, 'playground');
  await screenshot(page, 'settings-playground');
  await page.getByLabel('Parameters').fill('{ "temperature": ');
  await page.getByText('This is no JSON object yet.').waitFor();
});

test('a price and a budget are set, and what is left stands below the composer', async () => {
  await page.goto('/admin/money');
  await page.getByRole('heading', { name: 'No budgets' }).waitFor();
  await page.getByRole('button', { name: 'Set a price' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Model').fill('hearth-guide');
  await dialog.getByLabel('Tokens read, in dollars').fill('3');
  await dialog.getByLabel('Tokens written, in dollars').fill('15');
  await checkAccessibility(page, 'price dialog');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText('$3.00 read').waitFor();
  await page.getByRole('button', { name: 'Set a budget' }).click();
  await dialog.getByLabel('Who').selectOption(admin.name);
  await dialog.getByLabel('At most').fill('5');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText(`${admin.name} · Month`).waitFor();
  await checkAccessibility(page, 'prices and budgets');
  await screenshot(page, 'admin-money');
  await page.goto('/');
  await page.getByText('$5.00 left').waitFor();
  await ask(page, 'How do I add a user?');
  await answered(page);
  await screenshot(page, 'composer-budget');
});

test('usage, requests and acts are listed, with a chart', async () => {
  await page.goto('/admin/usage');
  await page.getByRole('img', { name: 'Tokens' }).waitFor();
  await page.getByRole('rowheader', { name: 'hearth-guide' }).waitFor();
  await checkAccessibility(page, 'usage');
  await screenshot(page, 'admin-usage');
  await page.getByLabel('Sums by').selectOption({ label: 'User' });
  await page.getByRole('rowheader', { name: admin.name }).waitFor();
  await page.goto('/admin/log');
  await page.getByRole('cell', { name: 'hearth-guide' }).first().waitFor();
  await checkAccessibility(page, 'requests');
  await screenshot(page, 'admin-log');
  await page.goto('/admin/audit');
  await page.getByRole('cell').first().waitFor();
  await checkAccessibility(page, 'audit');
  await screenshot(page, 'admin-audit');
  await page.goto('/settings/usage');
  await page.getByRole('img', { name: 'Tokens' }).waitFor();
});

test('an address that names nothing says so', async () => {
  await page.goto('/nowhere');
  await page.getByRole('heading', { name: 'There is nothing at this address' }).waitFor();
  await checkAccessibility(page, 'absent page');
});

test('nothing was reported by the browser', () => view.check());
