// Every page of settings and administration with real rows, long names and long numbers: light and
// dark, wide and on a phone, English and Chinese.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { setUpAdmin, startServer } from '../harness/server.mjs';
import { startProvider } from '../harness/upstream.mjs';

const pages = [
  'settings/general',
  'settings/account',
  'settings/security',
  'settings/prompts',
  'settings/data',
  'settings/tokens',
  'settings/usage',
  'settings/playground',
  'admin/models',
  'admin/channels',
  'admin/routes',
  'admin/users',
  'admin/groups',
  'admin/invites',
  'admin/usage',
  'admin/money',
  'admin/log',
  'admin/audit',
  'admin/server',
];
const looks = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  'phone-light': {
    colorScheme: 'light',
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
  },
  'phone-dark-zh': {
    colorScheme: 'dark',
    locale: 'zh-CN',
    viewport: { width: 390, height: 844 },
    isMobile: true,
    hasTouch: true,
  },
  zh: { locale: 'zh-CN' },
};

let server;
let provider;
let browser;
let state;

const long = 'department-of-all-that-has-no-other';
const chinese = '人工智能与数据科学联合研究中心';

async function fill({ request }) {
  const send = async (method, path, data) => {
    const headers = { origin: server.url };
    const response = await request[method](server.url + path, { data, headers });
    assert.ok(response.ok(), `${path}: ${await response.text()}`);
  };
  await send('post', '/hearth/groups', { name: long, models: ['hearth-guide', 'qwen*', 'far*'] });
  await send('post', '/hearth/groups', { name: chinese });
  const password = 'a calm sentence to keep';
  await send('post', '/hearth/users', {
    name: 'wolfeschlegelsteinhausenbergerdorff.the.elder',
    role: 'user',
    password,
    group: long,
    email: 'wolfeschlegelsteinhausenbergerdorff@a-very-long-host-name.example.org',
  });
  await send('post', '/hearth/users', { name: '张小明', role: 'admin', password, group: chinese });
  await send('patch', '/hearth/users/3', { disabled: true });
  await send('post', '/hearth/invites', { note: '新同事 ' + long, group: chinese, uses: 100 });
  await send('post', '/hearth/tokens', { name: `laptop of the ${long}`, models: ['hearth-guide'] });
  await send('post', '/hearth/channels', {
    name: `far ${long}`,
    type: 'openai-compatible',
    base_url: provider.url,
    keys: ['sk-only-for-this-test', 'sk-another-for-this-test'],
    settings: {
      models: ['far-one', `far-${long}-72b-instruct`],
      network: { allow_private: ['127.0.0.1'] },
    },
  });
  await send('post', '/hearth/channels/1/test', {});
  await send('post', '/hearth/routes', {
    model: `house-${long}`,
    policy: 'prefer-remote',
    targets: [{ model: 'far-one', channel: `far ${long}` }, { model: 'hearth-guide' }],
  });
  await send('put', '/hearth/budgets', {
    kind: 'group',
    holder: chinese,
    period: 'month',
    unit: 'tokens',
    most: 9_007_199_254_740_991,
  });
  await send('put', '/hearth/budgets', {
    kind: 'user',
    holder: '1',
    period: 'day',
    unit: 'money',
    most: 5_000_000,
  });
  await send('put', '/hearth/quota/user/2', { action: 'set', usd: '123456.789' });
  await send('put', '/hearth/quota/group/2', { action: 'unlimited' });
  await send('put', '/hearth/limits', { kind: 'group', holder: '1', tokens_per_minute: 1_000_000 });
  await send('put', '/hearth/prices', {
    model: `far-${long}-72b-instruct`,
    input_micros_per_million: 3_000_000,
    output_micros_per_million: 15_000_000,
  });
  await send('post', '/hearth/shelf', {
    name: `翻译-${long}`,
    prompt: { text: 'Translate.' },
  });
  for (const model of ['hearth-guide', 'far-one']) {
    const messages = [{ role: 'user', content: 'How do I add a user?' }];
    await send('post', '/v1/chat/completions', { model, messages, max_tokens: 40 });
  }
}

before(async () => {
  server = await startServer();
  provider = await startProvider({
    models: ['far-one'],
    keys: ['sk-only-for-this-test', 'sk-another-for-this-test'],
    words: 'It is well.',
  });
  browser = await launch();
  const { context } = await openPage(browser, server.url);
  await setUpAdmin(server, context);
  await fill(context);
  state = await context.storageState();
  await context.close();
});

after(async () => {
  await browser?.close();
  await server?.stop();
  provider?.stop();
});

/** Names of elements whose text is cut off without an ellipsis, or that reach out of the screen. */
function clipped() {
  const named = (element) =>
    `${element.tagName.toLowerCase()}.${element.className}: ${element.textContent.trim().slice(0, 60)}`;
  const scrolls = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (['auto', 'scroll'].includes(getComputedStyle(at).overflowX)) return true;
    }
    return false;
  };
  return [...document.querySelectorAll('main *')]
    .filter((element) => !element.closest('.sr-only, svg, select, dialog:not([open])'))
    .filter((element) => {
      const box = element.getBoundingClientRect();
      if (box.width === 0) return false;
      const style = getComputedStyle(element);
      const isCut = element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
      const hides = style.overflowX === 'hidden' && style.textOverflow !== 'ellipsis';
      const leaves = box.right > innerWidth + 1 && !scrolls(element.parentElement);
      return (isCut && hides) || leaves;
    })
    .map(named);
}

for (const [look, options] of Object.entries(looks)) {
  test(`every page of the desk is laid out: ${look}`, async () => {
    const view = await openPage(browser, server.url, { storageState: state, ...options });
    const { page } = view;
    for (const path of pages) {
      await page.goto(`/${path}`);
      await page.getByRole('heading', { level: 1 }).waitFor();
      await page.locator('main [aria-busy=true]').first().waitFor({ state: 'detached' });
      assert.deepEqual(await page.evaluate(clipped), [], `${path} in ${look}`);
      const overflow = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      assert.equal(overflow, 0, `${path} scrolls sideways in ${look}`);
      await checkAccessibility(page, `${path}, ${look}`);
      await screenshot(page, `desk-${path.replace('/', '-')}-${look}`);
    }
    view.check();
    await view.context.close();
  });
}
