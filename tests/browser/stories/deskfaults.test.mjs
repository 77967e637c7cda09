// A fault, a lost network and a slow server on each page of settings and administration: the page
// says what happened and goes on when it is tried again. And money that runs out during a chat.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { checkAccessibility, launch, openPage, screenshot } from '../harness/browser.mjs';
import { answered, ask } from '../harness/chat.mjs';
import { admin, setUpAdmin, startServer } from '../harness/server.mjs';

let server;
let browser;
let state;

// General, account, playground and server read nothing before they are asked to.
const pages = [
  'settings/security',
  'settings/prompts',
  'settings/data',
  'settings/tokens',
  'settings/usage',
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
];
/** What the page needs to be a page at all. */
const spared = /\/hearth\/(session|status|openapi\.json|me\/budget|chats\?view=[pl])/;
const fault = {
  status: 500,
  json: { error: { code: 'internal', message: 'A fault for the test.', request_id: 'r-42' } },
};
const faults = {
  'a fault': { answer: (route) => route.fulfill(fault), words: 'The server had a fault.' },
  'a lost network': {
    answer: (route) => route.abort('internetdisconnected'),
    words: 'The server cannot be reached.',
  },
  // Never answered: the page gives up by itself.
  'a slow server': { answer: () => undefined, words: 'The server took too long to answer.' },
};

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

async function signedIn() {
  const view = await openPage(browser, server.url, { storageState: state });
  view.expected.push(/status of (500|429|402|403)/, /ERR_INTERNET_DISCONNECTED/);
  return view;
}

const refused = (url) => url.pathname.startsWith('/hearth/') && !spared.test(url.href);

/** Presses a button, unless it went before: some pages try again by themselves. */
const press = (button) => button.click({ timeout: 2000 }).catch(() => undefined);

for (const [name, { answer, words }] of Object.entries(faults)) {
  test(`each page of the desk tells of ${name} and tries again`, async () => {
    const view = await signedIn();
    const { page } = view;
    if (name === 'a slow server') {
      // The patience of a test: a request is given up after two seconds instead of twenty.
      await view.context.addInitScript(() => {
        const timeout = AbortSignal.timeout.bind(AbortSignal);
        AbortSignal.timeout = (limit_ms) => timeout(limit_ms / 10);
      });
    }
    for (const path of pages) {
      await page.route(refused, answer);
      await page.goto(`/${path}`);
      const main = page.getByRole('main');
      await main.getByRole('alert').getByText(words).first().waitFor();
      const retry = main.getByRole('button', { name: 'Try again' });
      await retry.first().waitFor();
      if (name === 'a fault') await checkAccessibility(page, `${path}, ${name}`);
      if (path === 'admin/money') await screenshot(page, `desk-${name.replaceAll(' ', '-')}`);
      await page.unroute(refused);
      // From the last, so that one that goes does not move the others.
      for (let at = (await retry.count()) - 1; at >= 0; at -= 1) await press(retry.nth(at));
      await main.getByRole('alert').first().waitFor({ state: 'detached' });
      await main.locator('[aria-busy=true]').first().waitFor({ state: 'detached' });
    }
    view.check();
    await view.context.close();
  });
}

test('money that runs out in a chat is told, and the chat goes on when there is more', async () => {
  const view = await signedIn();
  const { page } = view;
  const send = async (method, path, data) => {
    const options = { data, headers: { origin: server.url } };
    const response = await view.context.request[method](server.url + path, options);
    assert.ok(response.ok(), await response.text());
  };
  await send('put', '/hearth/prices', {
    model: 'hearth-guide',
    input_micros_per_million: 1_000_000,
    output_micros_per_million: 100_000_000,
  });
  // Enough for one answer, not for two.
  await send('put', `/hearth/quota/user/${admin.name}`, { action: 'set', usd: '0.004' });
  await page.goto('/');
  await ask(page, 'How do I add a user?');
  await answered(page);
  const told = page.getByRole('alert').getByText('You have used up what you may spend.');
  for (let asked = 0; asked < 5 && (await told.count()) === 0; asked += 1) {
    await ask(page, 'How do I add a model?');
    await Promise.race([told.waitFor(), answered(page)]);
  }
  await told.waitFor();
  await checkAccessibility(page, 'money is gone');
  await screenshot(page, 'chat-money-gone');
  await send('put', `/hearth/quota/user/${admin.name}`, { action: 'unlimited' });
  await ask(page, 'How do I add a model?');
  await told.waitFor({ state: 'detached' });
  await answered(page);
  view.check();
  await view.context.close();
});
