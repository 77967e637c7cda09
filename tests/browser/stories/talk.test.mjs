// What a chat can do beyond question and answer: settings, files, side by side, temporary chats, answers
// that outlive the page, and long chats.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { answered, answers, ask, composer, questions, sampleWith } from '../harness/chat.mjs';
import { importGuide, setUpAdmin, startServer } from '../harness/server.mjs';

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

const headers = () => ({ origin: server.url });

test('a second model is imported', async () => {
  await importGuide(server, 'second');
});

test('a running answer is picked up by a second tab, which stops it for both', async () => {
  await page.goto('/');
  // The model is in memory before the machine becomes slow.
  await view.context.request.post(`${server.url}/hearth/models/hearth-guide/load`, {
    headers: headers(),
  });
  // So random that the answer hardly finds its end.
  await sampleWith(page, {
    temperature: 2,
    top_k: 1_000_000,
    top_p: 1,
    min_p: 0,
    seed: 5,
  });
  // Slow enough for two pages to be loaded while it is written.
  const hurryUp = server.slowDown(300);
  try {
    await ask(page, 'Tell me a long story');
    await page.locator('article[aria-busy=true] .prose').waitFor();
    const address = page.url();
    const tab = await view.context.newPage();
    await tab.goto(address);
    await tab.locator('article[aria-busy=true] .prose').waitFor();
    await screenshot(tab, 'chat-picked-up');
    await tab.getByRole('button', { name: 'Stop the answer' }).click();
    await page.getByText('Stopped', { exact: true }).waitFor();
    await tab.getByText('Stopped', { exact: true }).waitFor();
    const [here, there] = await Promise.all(
      [page, tab].map((one) => answers(one).last().locator('.prose').textContent()),
    );
    assert.equal(here, there);
    await tab.close();
  } finally {
    hurryUp();
  }
  await page.unroute('**/turns');
});

test('a stopped answer goes on, and a message is deleted', async () => {
  const before = await answers(page).last().locator('.prose').textContent();
  await answers(page).last().getByRole('button', { name: 'Go on with the answer' }).click();
  await answered(page);
  const whole = await answers(page).last().locator('.prose').textContent();
  assert.ok(whole.length >= before.length);
  await answers(page).last().getByRole('button', { name: 'Delete the answer' }).click();
  await checkAccessibility(page, 'delete a message');
  await page.getByRole('dialog').getByRole('button', { name: 'Delete', exact: true }).click();
  await answers(page).first().waitFor({ state: 'detached' });
  assert.equal(await questions(page).count(), 1);
});

test('a chat has instructions and parameters, and two models answer side by side', async () => {
  await page.keyboard.press('Control+Shift+O');
  await page.getByRole('button', { name: 'Settings of this chat' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Instructions').fill('Answer in one sentence.');
  await dialog.getByText('Parameters', { exact: true }).click();
  await dialog.getByLabel('Temperature').fill('0');
  await dialog.getByLabel('Seed').fill('7');
  await dialog.getByText('Models side by side').click();
  await dialog.getByLabel('second').check();
  await checkAccessibility(page, 'settings of a chat');
  await screenshot(page, 'controls');
  await dialog.getByRole('button', { name: 'Save' }).click();
  const asked = page.waitForRequest(
    (request) => request.url().endsWith('/hearth/chats') && request.method() === 'POST',
  );
  await ask(page, 'How do I add a user?');
  const { settings } = (await asked).postDataJSON();
  assert.deepEqual(settings.parameters, { temperature: 0, seed: 7 });
  await page.getByRole('group', { name: 'Models side by side' }).waitFor();
  await answered(page);
  await page.getByRole('button', { name: 'Go on with this answer' }).waitFor();
  assert.equal(await answers(page).count(), 2);
  await checkAccessibility(page, 'side by side');
  await screenshot(page, 'side-by-side');
  await page.getByRole('button', { name: 'Go on with this answer' }).click();
  await page.reload();
  await page.getByRole('group', { name: 'Models side by side' }).waitFor();
  assert.equal(await answers(page).count(), 2);
});

test('text files go with a message, others are refused', async () => {
  await page.keyboard.press('Control+Shift+O');
  const picker = page.locator('input[type=file]');
  await picker.setInputFiles([
    {
      name: 'notes.txt',
      mimeType: 'text/plain',
      buffer: Buffer.from('The code word is flame.'),
    },
    {
      name: 'picture.png',
      mimeType: 'image/png',
      buffer: Buffer.from([0x89, 0x50, 0, 0xff]),
    },
  ]);
  await page.getByText('picture.png is not a text file').waitFor();
  await page.getByRole('list', { name: 'Files' }).getByText('notes.txt').waitFor();
  await checkAccessibility(page, 'composer with a file');
  await screenshot(page, 'composer-file');
  await ask(page, 'What is the code word?');
  await answered(page);
  await questions(page).last().getByText('notes.txt').waitFor();
});

test('the figures of an answer open with the keyboard', async () => {
  await answers(page).last().getByRole('note').getByRole('button').press('Enter');
  await page.getByText('Until the first token').waitFor();
  await checkAccessibility(page, 'figures');
  await screenshot(page, 'usage');
  await page.keyboard.press('Escape');
});

test('a temporary chat leaves nothing behind', async () => {
  await page.keyboard.press("Control+Shift+'");
  await page.getByRole('heading', { level: 1, name: 'Temporary chat' }).first().waitFor();
  await checkAccessibility(page, 'temporary chat');
  await screenshot(page, 'temporary');
  await ask(page, 'Where is my data?');
  await answered(page);
  await page.reload();
  await page.getByText('Nothing of it is kept').waitFor();
  const { chats } = await (await view.context.request.get(`${server.url}/hearth/chats`)).json();
  assert.ok(chats.every((chat) => chat.title !== 'Where is my data?'));
});

test('a chat of a thousand messages opens at once and by its end', async () => {
  const messages = Array.from({ length: 1000 }, (_, index) => ({
    id: `m${index}`,
    parent_id: index > 0 ? `m${index - 1}` : null,
    role: index % 2 === 0 ? 'user' : 'assistant',
    content: `Message ${index}. ${'Some words to fill the line with. '.repeat(6)}`,
    created_at: 1_700_000_000 + index,
  }));
  const chat = {
    title: 'A long one',
    created_at: 1,
    updated_at: 2_000_000_000,
    messages,
  };
  const imported = await view.context.request.post(`${server.url}/hearth/chats/import`, {
    data: { chats: [chat] },
    headers: headers(),
  });
  assert.ok(imported.ok(), await imported.text());
  await page.goto('/');
  const link = page.getByRole('link', { name: 'A long one' });
  await link.waitFor();
  const opening = page.waitForResponse((response) =>
    /\/hearth\/chats\/[^/?]+$/.test(response.url()),
  );
  const began = Date.now();
  await link.click();
  const response = await opening;
  await page.getByText('Message 999.').waitFor();
  const opened_ms = Date.now() - began;
  const bytes = (await response.body()).length;
  console.log(`a chat of 1,000 messages: ${bytes} bytes, shown after ${opened_ms} ms`);
  assert.ok(bytes < 50_000, `${bytes} bytes`);
  const region = page.getByRole('region', { name: 'Messages' });
  for (let tries = 0; tries < 60; tries += 1) {
    await region.evaluate((box) => (box.scrollTop = 0));
    if ((await page.getByText('Message 800.').count()) > 0) break;
    await page.waitForFunction(() => !document.querySelector('.column > .button:disabled'));
  }
  await page.getByText('Message 800.').waitFor({ state: 'attached' });
});

test('formulas, tables and thoughts are drawn', async () => {
  const chat = {
    title: 'Drawn',
    created_at: 1,
    updated_at: 2_000_000_001,
    messages: [
      {
        id: 'q',
        parent_id: null,
        role: 'user',
        content: 'Show me',
        created_at: 1,
      },
      {
        id: 'a',
        parent_id: 'q',
        role: 'assistant',
        model: 'hearth-guide',
        reasoning: 'First I **think**.',
        content:
          'Euler: $e^{i\\pi} + 1 = 0$ and\n\n$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$\n\n| a | b |\n|---|--:|\n| one | 1 |\n\n<script>alert(1)</script>',
        created_at: 2,
      },
    ],
  };
  await view.context.request.post(`${server.url}/hearth/chats/import`, {
    data: { chats: [chat] },
    headers: headers(),
  });
  await page.goto('/');
  await page.getByRole('link', { name: 'Drawn' }).click();
  await page.locator('math').nth(1).waitFor();
  await page.getByText('Thoughts', { exact: true }).click();
  await page.getByText('First I think.').waitFor();
  await page.locator('.table').hover();
  await page.locator('.table').getByRole('button', { name: 'Copy' }).click();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), 'a\tb\none\t1');
  await checkAccessibility(page, 'formulas and tables');
  await screenshot(page, 'drawn');
});

test('nothing was reported by the browser', () => view.check());
