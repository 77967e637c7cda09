// The chat in other clothes: dark, Chinese, on a phone, with the keyboard alone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { answered, ask, composer } from '../harness/chat.mjs';
import { setUpAdmin, startServer } from '../harness/server.mjs';

let server;
let browser;
let state;

before(async () => {
  server = await startServer();
  browser = await launch();
  const { context } = await openPage(browser, server.url);
  await setUpAdmin(server, context);
  state = await context.storageState();
  await context.close();
});

after(async () => {
  await browser?.close();
  await server?.stop();
});

const dressed = (options) => openPage(browser, server.url, { storageState: state, ...options });

/** Nothing may be wider than the screen: a page that scrolls sideways is broken. */
async function checkFits(page) {
  const overflow = await page.evaluate(
    () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
  );
  assert.equal(overflow, 0, 'the page scrolls sideways');
}

test('the chat in the dark', async () => {
  const { page, context, check } = await dressed({ colorScheme: 'dark' });
  await page.goto('/');
  await ask(page, 'How do I add a model?');
  await answered(page);
  await checkAccessibility(page, 'chat, dark');
  await screenshot(page, 'chat-dark');
  await page.goto('/admin/models');
  await page.getByRole('heading', { name: 'hearth-guide' }).waitFor();
  await checkAccessibility(page, 'models, dark');
  await screenshot(page, 'admin-models-dark');
  for (const path of ['settings/prompts', 'settings/data', 'settings/playground']) {
    await page.goto(`/${path}`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await checkAccessibility(page, `${path}, dark`);
    await screenshot(page, `${path.replace('/', '-')}-dark`);
  }
  await page.goto('/');
  await page.getByRole('button', { name: 'Settings of this chat' }).click();
  await page.getByLabel('Instructions').waitFor();
  await checkAccessibility(page, 'settings of a chat, dark');
  await screenshot(page, 'controls-dark');
  check();
  await context.close();
});

test('the chat in Chinese follows the browser', async () => {
  const { page, context, check } = await dressed({ locale: 'zh-CN' });
  await page.goto('/');
  await page.getByRole('heading', { name: '想了解些什么？' }).waitFor();
  await checkAccessibility(page, 'empty chat, Chinese');
  await screenshot(page, 'chat-empty-zh');
  await ask(page, '请用一段很长很长的中文问题来测试布局：'.repeat(12));
  await answered(page);
  await checkFits(page);
  await screenshot(page, 'chat-zh');
  check();
  await context.close();
});

test('the phone has a drawer, and every page fits', async () => {
  const { page, context, check } = await dressed({
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
  });
  await page.goto('/');
  await composer(page).fill(`A word without an end: ${'endless'.repeat(40)}`);
  await page.getByRole('button', { name: 'Send' }).tap();
  await answered(page);
  await checkFits(page);
  await checkAccessibility(page, 'chat, phone');
  await screenshot(page, 'phone-chat');
  await page.getByRole('button', { name: 'Show the sidebar' }).tap();
  await page.getByRole('navigation', { name: 'Chats' }).waitFor();
  await checkAccessibility(page, 'drawer');
  await screenshot(page, 'phone-drawer');
  await page
    .getByRole('navigation', { name: 'Chats' })
    .getByRole('listitem')
    .first()
    .getByRole('link')
    .tap();
  await page.getByRole('navigation', { name: 'Chats' }).waitFor({ state: 'detached' });
  for (const path of [
    'settings/general',
    'settings/prompts',
    'settings/data',
    'settings/tokens',
    'settings/playground',
    'admin/models',
    'admin/users',
  ]) {
    await page.goto(`/${path}`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await checkFits(page);
    await checkAccessibility(page, `${path}, phone`);
    await screenshot(page, `phone-${path.replace('/', '-')}`);
  }
  check();
  await context.close();
});

test('the model picker is searched and walked with the keyboard', async () => {
  const { page, context, check } = await dressed();
  await page.goto('/');
  await page.getByRole('button', { name: 'Model: hearth-guide' }).press('Enter');
  const search = page.getByRole('combobox', { name: 'Search models' });
  await search.waitFor();
  await page.getByRole('option', { name: /hearth-guide/ }).waitFor();
  await checkAccessibility(page, 'model picker');
  await screenshot(page, 'picker');
  await page.keyboard.type('no such model');
  await page.getByText('No model is called that.').waitFor();
  await search.fill('guide');
  await page.keyboard.press('Enter');
  await search.waitFor({ state: 'hidden' });
  await page.keyboard.press('Control+/');
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor();
  await checkAccessibility(page, 'shortcuts');
  await screenshot(page, 'shortcuts');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Control+Shift+S');
  await page.getByRole('navigation', { name: 'Chats' }).waitFor({ state: 'detached' });
  await page.keyboard.press('Control+Shift+F');
  await page.getByLabel('Search chats').waitFor();
  assert.equal(
    await page.evaluate(() => document.activeElement.getAttribute('aria-label')),
    'Search chats',
  );
  check();
  await context.close();
});
