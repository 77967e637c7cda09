// What people do in a chat, by the names they see.

export const composer = (page) => page.getByRole('textbox', { name: /^(Message|消息)$/ });
export const answers = (page) => page.getByRole('article', { name: /^(Answer of|.* 的回答)/ });
export const questions = (page) => page.getByRole('article', { name: /^(You|您)$/ });
export const stopButton = (page) =>
  page.getByRole('button', { name: /^(Stop the answer|停止回答)$/ });
export const sendButton = (page) => page.getByRole('button', { name: /^(Send|发送)$/ });

/** Writes and sends a message. */
export async function ask(page, text) {
  await composer(page).fill(text);
  await composer(page).press('Enter');
}

/** Adds sampling settings to the turns this page asks for, until that route is removed. */
export async function sampleWith(page, sampling) {
  await page.route('**/turns', (route) => {
    const body = { ...route.request().postDataJSON(), sampling };
    return route.continue({ postData: JSON.stringify(body) });
  });
}

/** Waits until nothing is running and the last answer is complete: its figures are shown. */
export async function answered(page) {
  await stopButton(page).waitFor({ state: 'hidden' });
  await answers(page).last().getByRole('note').waitFor();
}

/** Notes each length the last answer has on the screen from now on. */
export async function watchGrowth(page) {
  await page.evaluate(() => {
    window.lengthsSeen = [];
    new MutationObserver(() => {
      const length = [...document.querySelectorAll('.prose')].at(-1)?.textContent.length ?? 0;
      if (length > 0 && length !== window.lengthsSeen.at(-1)) window.lengthsSeen.push(length);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
}

export const lengthsSeen = (page) => page.evaluate(() => window.lengthsSeen);

/**
 * Presses the stop button as soon as the next answer shows a word. Done inside the page: a tiny model
 * would be finished before a press from out here arrived.
 */
export async function stopAtFirstWord(page) {
  await page.evaluate(() => {
    new MutationObserver((_, observer) => {
      const writing = document.querySelector('article[aria-busy=true] .prose');
      if (!writing?.textContent) return;
      observer.disconnect();
      document.querySelector('button[aria-label="Stop the answer"]').click();
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
}
