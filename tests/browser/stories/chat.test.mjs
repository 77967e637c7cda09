// A chat with the starter model, from the first suggestion to deletion.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, publish, screenshot } from '../harness/browser.mjs';
import {
  answered,
  answers,
  ask,
  composer,
  lengthsSeen,
  questions,
  sampleWith,
  stopAtFirstWord,
  watchGrowth,
} from '../harness/chat.mjs';
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

test('an empty chat suggests questions to the guide', async () => {
  await page.goto('/');
  await page.getByRole('list', { name: 'Suggested questions' }).waitFor();
  await checkAccessibility(page, 'empty chat');
  await screenshot(page, 'chat-empty');
});

test('a suggested question is answered, and the answer is seen growing', async () => {
  // The likeliest words, so that the picture below does not change from run to run.
  await sampleWith(page, { temperature: 0 });
  await watchGrowth(page);
  const hurryUp = server.slowDown();
  await page.getByRole('button', { name: 'How do I add a model?' }).click();
  await answered(page).finally(hurryUp);
  const lengths = await lengthsSeen(page);
  assert.ok(lengths.length >= 3, `the answer appeared in ${lengths.length} steps`);
  assert.ok(lengths.at(-1) > 20, 'the answer says something');
  assert.equal(await answers(page).count(), 1);
  await page.unroute('**/turns');
});

test('the figures and the title of the chat are shown', async () => {
  const figures = await answers(page).last().getByRole('note').textContent();
  assert.match(figures, /\d+ tokens.*first after [\d.]+ s/s);
  await page.getByRole('heading', { level: 1, name: 'How do I add a model?' }).waitFor();
  await checkAccessibility(page, 'chat');
  await publish(await screenshot(page, 'chat'));
});

test('answering again adds a sibling, and the arrows walk between both', async () => {
  await answers(page).last().getByRole('button', { name: 'Answer again' }).click();
  await page.getByRole('group', { name: 'Version 2 of 2' }).waitFor();
  await answered(page);
  await page.getByRole('button', { name: 'Previous version' }).click();
  await page.getByRole('group', { name: 'Version 1 of 2' }).waitFor();
  await screenshot(page, 'chat-versions');
});

test('a stopped answer keeps what was said, here and on the server', async () => {
  // So random that the answer hardly finds its end: there is time to stop it.
  await sampleWith(page, {
    temperature: 2,
    top_k: 1_000_000,
    top_p: 1,
    min_p: 0,
    seed: 5,
  });
  await stopAtFirstWord(page);
  const hurryUp = server.slowDown();
  await answers(page).last().getByRole('button', { name: 'Answer again' }).click();
  await page.getByText('Stopped', { exact: true }).waitFor().finally(hurryUp);
  await page.unroute('**/turns');
  await page.getByRole('group', { name: 'Version 3 of 3' }).waitFor();
  const said = await answers(page).last().locator('.prose').textContent();
  await page.reload();
  await page.getByText('Stopped', { exact: true }).waitFor();
  const kept = await answers(page).last().locator('.prose').textContent();
  assert.ok(
    kept.startsWith(said.trim()),
    `${JSON.stringify(kept)} does not begin with what was seen`,
  );
  await screenshot(page, 'chat-stopped');
});

test('editing a question makes a branch of its own', async () => {
  await questions(page).first().hover();
  await questions(page).first().getByRole('button', { name: 'Edit' }).click();
  await page.getByLabel('Edit your message').fill('How do I add a user?');
  await page.getByRole('button', { name: 'Send as a new branch' }).click();
  await questions(page).first().getByRole('group', { name: 'Version 2 of 2' }).waitFor();
  await answered(page);
  assert.match(await questions(page).first().textContent(), /How do I add a user\?/);
});

test('a reload shows the same branch again', async () => {
  const before = await answers(page).last().locator('.prose').textContent();
  await page.reload();
  await answered(page);
  assert.equal(await answers(page).last().locator('.prose').textContent(), before);
  await questions(page).first().getByRole('group', { name: 'Version 2 of 2' }).waitFor();
});

test('a draft survives a reload and belongs to its chat', async () => {
  await composer(page).fill('half a thought');
  await page.reload();
  await answered(page);
  assert.equal(await composer(page).inputValue(), 'half a thought');
  await page.keyboard.press('Control+Shift+O');
  await page.getByRole('list', { name: 'Suggested questions' }).waitFor();
  assert.equal(await composer(page).inputValue(), '');
});

test('two chats are told apart by a search', async () => {
  await ask(page, 'Where is my data?');
  await answered(page);
  await page.keyboard.press('Control+Shift+F');
  await page.keyboard.type('where is my dat');
  const hits = page.getByRole('list', { name: 'Found: 1' });
  await hits.getByRole('link', { name: /Where is my data\?/ }).waitFor();
  await page.keyboard.press('Escape');
});

test('a chat that outgrows the screen is followed to its end', async () => {
  for (const question of ['How do I make an API token?', 'How do I add a user?', 'Who are you?']) {
    await ask(page, question);
    await answered(page);
  }
  const beyond_px = await page
    .getByRole('region', { name: 'Messages' })
    .evaluate((box) => box.scrollHeight - box.scrollTop - box.clientHeight);
  assert.ok(beyond_px <= 1, `${beyond_px} px of the chat are below the screen`);
  assert.equal(await page.getByRole('button', { name: 'Scroll to the end' }).count(), 0);
  await screenshot(page, 'chat-long');
});

test('a chat is renamed and deleted from its menu', async () => {
  const title = 'A title that is long enough to be cut in the sidebar and in the header as well';
  await page
    .getByRole('main')
    .getByRole('button', { name: /^Actions for/ })
    .click();
  await page.getByRole('menuitem', { name: 'Rename' }).click();
  await page.getByLabel('Title').fill(title);
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
  await screenshot(page, 'chat-renamed');
  await page
    .getByRole('main')
    .getByRole('button', { name: /^Actions for/ })
    .click();
  await page.getByRole('menuitem', { name: 'Delete' }).click();
  await checkAccessibility(page, 'delete dialog');
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('list', { name: 'Suggested questions' }).waitFor();
  assert.equal(await page.getByText(title).count(), 0);
});

test('an absent chat says so', async () => {
  view.expected.push(/status of 404/);
  await page.goto('/c/01900000-0000-7000-8000-000000000000');
  await page.getByRole('heading', { name: 'This chat does not exist' }).waitFor();
  await checkAccessibility(page, 'absent chat');
});

test('nothing was reported by the browser', () => view.check());
