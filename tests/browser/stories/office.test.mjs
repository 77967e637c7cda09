// Channels against a real provider, routes, money, limits and the server's own page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { admin, setUpAdmin, startServer } from '../harness/server.mjs';
import { startProvider } from '../harness/upstream.mjs';

const words = 'Far away it is fine.';
let server;
let provider;
let browser;
let view;
let page;

before(async () => {
  server = await startServer();
  provider = await startProvider({
    models: ['far-one', 'far-two'],
    keys: ['sk-good-key'],
    words,
  });
  browser = await launch();
  view = await openPage(browser, server.url);
  ({ page } = view);
  view.expected.push(/status of (400|401|404|502|503)/);
  await setUpAdmin(server, view.context);
});

after(async () => {
  await browser?.close();
  await server?.stop();
  provider?.stop();
});

const dialog = () => page.getByRole('dialog');
const save = () => dialog().getByRole('button', { name: 'Save' }).click();

test('a channel is added, tested with its answer, and its keys are changed', async () => {
  await page.goto('/admin/channels');
  await page.getByRole('heading', { name: 'No channels yet' }).waitFor();
  await page.getByRole('button', { name: 'Add a channel' }).click();
  await dialog().getByLabel('Provider').selectOption('openai-compatible');
  await dialog().getByLabel('Name', { exact: true }).fill('far');
  await dialog().getByLabel('Address').fill(provider.url);
  await dialog().getByRole('button', { name: 'Allow 127.0.0.1' }).click();
  await dialog().getByLabel('Keys').fill('sk-wrong-key');
  await dialog().getByText('Finer settings').click();
  await dialog().getByLabel('Other names').fill('nearby = far-one');
  await checkAccessibility(page, 'channel dialog');
  await screenshot(page, 'admin-channel-dialog');
  await save();
  await page.getByRole('heading', { name: 'far' }).waitFor();
  await page.getByRole('button', { name: 'Test far' }).click();
  await page.getByText('It does not answer.').waitFor();
  await checkAccessibility(page, 'channels, a test failed');
  await screenshot(page, 'admin-channels-failed');

  await page.getByRole('button', { name: 'Edit far' }).click();
  await dialog().getByLabel('Further keys').fill('sk-good-key');
  await save();
  await dialog().waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Edit far' }).click();
  await dialog()
    .getByRole('button', { name: /^Remove the key/ })
    .first()
    .click();
  await dialog()
    .getByRole('button', { name: /^Remove the key/ })
    .nth(1)
    .waitFor({ state: 'detached' });
  await save();
  await dialog().waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Test far' }).click();
  await page.getByText('It answers.').waitFor();
  await page.getByText(words).waitFor();
  await checkAccessibility(page, 'channels');
  await screenshot(page, 'admin-channels');
});

test('a route is made of two models in order, and a try says who answered', async () => {
  await page.goto('/admin/routes');
  await page.getByRole('heading', { name: 'No routes' }).waitFor();
  await checkAccessibility(page, 'routes, none');
  await page.getByRole('button', { name: 'Add a route' }).click();
  await dialog().getByLabel('Name that people ask for').fill('house');
  await dialog().getByRole('button', { name: 'Add one more' }).click();
  await dialog().getByLabel('Model 1').fill('hearth-guide');
  await dialog().getByRole('button', { name: 'Add one more' }).click();
  await dialog().getByLabel('Model 2').fill('far-two');
  await dialog().getByLabel('By channel 2').selectOption('far');
  await dialog().getByRole('button', { name: 'Ask far-two earlier' }).click();
  assert.equal(await dialog().getByLabel('Model 1').inputValue(), 'far-two');
  await dialog().getByLabel('Order').selectOption({ label: 'Providers first' });
  await checkAccessibility(page, 'route dialog');
  await screenshot(page, 'admin-route-dialog');
  await save();
  await page.getByText('far-two (far)').waitFor();
  const before = provider.asked;
  await page.getByRole('button', { name: 'Try house' }).click();
  await page.getByText(/^far answered in/).waitFor();
  assert.equal(provider.asked, before + 1);
  await checkAccessibility(page, 'routes');
  await screenshot(page, 'admin-routes');
  await page.getByRole('button', { name: 'Edit the route of house' }).click();
  await dialog().getByRole('button', { name: 'Leave far-two out' }).click();
  await save();
  await dialog().waitFor({ state: 'hidden' });
  await page.getByRole('button', { name: 'Try house' }).click();
  await page.getByText(/^This machine answered in/).waitFor();
  await page.getByRole('button', { name: 'Delete house' }).click();
  await dialog().getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('heading', { name: 'No routes' }).waitFor();
});

test('money is granted and budgeted by name, with its use over time', async () => {
  await page.goto('/admin/money');
  await page.getByRole('button', { name: 'Grant' }).click();
  await dialog().getByLabel('Who').selectOption(admin.name);
  await dialog().getByRole('button', { name: 'Go on' }).click();
  await dialog().getByLabel('What to do').selectOption({ label: 'Set what is left' });
  await dialog().getByLabel('Dollars').fill('12.5');
  await save();
  await page.getByText('$12.50 left').waitFor();
  await page.getByRole('button', { name: 'Set a budget' }).click();
  await dialog().getByLabel('Who').selectOption(admin.name);
  await dialog().getByLabel('Of', { exact: true }).selectOption({ label: 'Requests' });
  await dialog().getByLabel('At most').fill('50');
  await checkAccessibility(page, 'budget dialog');
  await save();
  await page.getByText(`${admin.name} · Month`).waitFor();
  await page.getByText('Use of it, day by day').click();
  await page.getByRole('img', { name: 'Use of it, day by day' }).waitFor();
  await page.getByRole('button', { name: 'Set a limit' }).click();
  await dialog().getByLabel('Requests a minute').fill('600');
  await dialog().getByLabel('Requests at once').fill('4');
  await checkAccessibility(page, 'limit dialog');
  await save();
  await page.getByText('Each User without its own').waitFor();
  await page.getByText('600 requests a minute · 4 at once').waitFor();
  await checkAccessibility(page, 'money');
  await screenshot(page, 'admin-money-all');
});

test('the server says that its data is whole and how it is backed up', async () => {
  await page.goto('/admin/server');
  await page.getByRole('button', { name: 'Check now' }).click();
  await page.getByText('The database and the ledger are whole.').waitFor();
  await checkAccessibility(page, 'server');
  await screenshot(page, 'admin-server');
});

test('nothing was reported by the browser', () => view.check());
