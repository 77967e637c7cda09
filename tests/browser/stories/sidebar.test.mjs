// Where chats are kept: folders, pinned, archived, found again, shared, taken in and out.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { answered, ask, composer } from '../harness/chat.mjs';
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
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const rows = () => page.getByRole('navigation', { name: 'Chats' }).getByRole('listitem');
const row = (title) => rows().filter({ hasText: title }).last();

async function act(title, item) {
  await row(title).hover();
  await row(title)
    .getByRole('button', { name: `Actions for ${title}` })
    .click();
  await page.getByRole('menuitem', { name: item }).click();
}

test('chats are begun in two languages', async () => {
  await page.goto('/');
  for (const question of [
    'How do I add a model?',
    '今天天气很好，我们去公园吧',
    'Where is my data?',
  ]) {
    await ask(page, question);
    await answered(page);
    await page.keyboard.press('Control+Shift+O');
    await page.getByRole('list', { name: 'Suggested questions' }).waitFor();
  }
  assert.equal(await rows().count(), 3);
});

test('a chat is pinned and stands above the others', async () => {
  await act('How do I add a model?', 'Pin');
  await page.getByRole('heading', { name: 'Pinned' }).waitFor();
  await page.getByRole('list', { name: 'Pinned' }).getByRole('listitem').waitFor();
});

test('a chat is moved into a new folder, which is opened, renamed and deleted', async () => {
  await act('Where is my data?', 'Move to a folder');
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Folder').selectOption({ label: 'A new folder' });
  await dialog.getByLabel('Name').fill('Work and other matters');
  await checkAccessibility(page, 'move dialog');
  await dialog.getByRole('button', { name: 'Move' }).click();
  const folder = page.getByRole('button', { name: /^Work and other matters/ });
  await folder.click();
  const inside = page.getByRole('list', { name: 'Work and other matters' });
  await inside.getByRole('link', { name: 'Where is my data?' }).waitFor();
  await checkAccessibility(page, 'sidebar with a folder');
  await screenshot(page, 'sidebar-folders');
  await folder.hover();
  await page.getByRole('button', { name: 'Actions for Work and other matters' }).click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByRole('dialog').getByLabel('Name').fill('Work');
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('button', { name: 'Actions for Work', exact: true }).waitFor();
  await page.getByRole('button', { name: 'Actions for Work', exact: true }).click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('list', { name: 'Today' }).getByText('Where is my data?').waitFor();
});

test('words of both scripts are found, and lead to the message', async () => {
  await page.keyboard.press('Control+Shift+F');
  const search = page.getByRole('textbox', { name: 'Search chats' });
  await search.fill('公园');
  const hits = page.getByRole('list', { name: 'Found: 1' });
  await hits.getByText('公园', { exact: true }).waitFor();
  await checkAccessibility(page, 'search in Chinese');
  await screenshot(page, 'search-zh');
  await search.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: /今天天气很好/ }).waitFor();
  await page.locator('.sought').first().waitFor();
  await search.fill('no such words anywhere');
  await page.getByText('Nothing says “no such words anywhere”.').waitFor();
  await search.press('Escape');
  await page.getByRole('heading', { name: 'Today' }).waitFor();
});

test('the palette finds pages, actions and chats', async () => {
  await page.keyboard.press('Control+K');
  const field = page.getByRole('combobox', { name: 'Go to anything' });
  await field.waitFor();
  await checkAccessibility(page, 'palette');
  await screenshot(page, 'palette');
  await field.fill('公园');
  await page.getByRole('option', { name: /今天天气很好/ }).waitFor();
  await field.fill('prompts and');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Prompts and presets' }).waitFor();
  await page.goBack();
});

test('a chat is archived, found in the settings and brought back', async () => {
  await act('Where is my data?', 'Archive');
  await page.getByText('Archived. Settings, Chats shows it.').waitFor();
  await page.goto('/settings/data');
  await page.getByRole('link', { name: 'Where is my data?' }).waitFor();
  await checkAccessibility(page, 'chats in the settings');
  await screenshot(page, 'settings-data');
  await page.getByRole('button', { name: 'Bring back' }).click();
  await page.getByRole('heading', { name: 'No archived chats' }).waitFor();
});

test('a link shows the chat to whom it is for', async () => {
  view.expected.push(/status of 404/);
  await page.goto('/');
  await act('Where is my data?', 'Share');
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Make the link' }).click();
  const address = await dialog.getByLabel('Link to the chat').inputValue();
  await checkAccessibility(page, 'share dialog');
  await screenshot(page, 'share');
  const stranger = await openPage(browser, server.url);
  stranger.expected.push(/status of 40[14]/);
  await stranger.page.goto(new URL(address).pathname);
  await stranger.page.getByRole('heading', { name: 'This link shows nothing' }).waitFor();
  await checkAccessibility(stranger.page, 'a link that is not open');
  await dialog.getByLabel('Who may read it').selectOption({ label: 'Everyone who has the link' });
  await dialog.getByRole('button', { name: 'Renew the link' }).click();
  await dialog.getByText(/^Open to everyone/).waitFor();
  await stranger.page.reload();
  await stranger.page.getByRole('heading', { name: 'Where is my data?' }).waitFor();
  await checkAccessibility(stranger.page, 'shared chat');
  await screenshot(stranger.page, 'shared');
  stranger.check();
  await stranger.context.close();
  await dialog.getByRole('button', { name: 'Take it back' }).click();
  await dialog.getByRole('button', { name: 'Make the link' }).waitFor();
  await dialog.getByRole('button', { name: 'Close' }).click();
});

test('a chat is written to a file, and comes back from it', async () => {
  await act('Where is my data?', 'Save to a file');
  await checkAccessibility(page, 'export dialog');
  const coming = page.waitForEvent('download');
  await page.getByRole('dialog').getByRole('button', { name: 'JSON' }).click();
  const path = await (await coming).path();
  const [row_] = JSON.parse(await readFile(path, 'utf8'));
  assert.equal(Object.keys(row_.chat.history.messages).length, 2);
  await page.goto('/settings/data');
  await page.locator('input[type=file]').setInputFiles(path);
  await page.getByText('1 chats imported.').waitFor();
  await page.goto('/');
  await page
    .getByRole('navigation', { name: 'Chats' })
    .getByText('Where is my data?')
    .nth(1)
    .waitFor();
});

test('a file of no known kind says so', async () => {
  await page.goto('/settings/data');
  await page.locator('input[type=file]').setInputFiles({
    name: 'notes.json',
    mimeType: 'application/json',
    buffer: Buffer.from('{"a": 1}'),
  });
  await page.getByText('notes.json holds no chats').waitFor();
});

test('a prompt is kept and called up by a stroke', async () => {
  await page.goto('/settings/prompts');
  await page.getByRole('heading', { name: 'Nothing kept yet' }).waitFor();
  await page.getByRole('button', { name: 'Add a prompt' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Command').fill('where');
  await dialog.getByLabel('Text').fill('Where is my data?');
  await checkAccessibility(page, 'prompt dialog');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await page.getByText('/where').waitFor();
  await checkAccessibility(page, 'prompts');
  await screenshot(page, 'settings-prompts');
  await page.goto('/');
  await composer(page).pressSequentially('/wh');
  await page.getByRole('option', { name: /where/ }).waitFor();
  await checkAccessibility(page, 'prompt offers');
  await screenshot(page, 'composer-prompts');
  await page.keyboard.press('Enter');
  assert.equal(await composer(page).inputValue(), 'Where is my data?');
  await composer(page).fill('');
});

test('nothing was reported by the browser', () => view.check());
