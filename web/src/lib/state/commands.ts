// What the command palette can do beside opening chats.
import { t } from '../i18n/language.svelte';
import { layout } from './layout.svelte';
import { router } from './router.svelte';
import { session } from './session.svelte';
import { openNewChat, openSearch, openTemporaryChat } from './shortcuts';
import { sectionWords, shownAdmin, shownSettings } from './sections';
import { toasts } from './toasts.svelte';

export interface Command {
  id: string;
  words: string;
  /** What kind of thing it is. */
  detail: string;
  run: () => void;
}

function page(path: string, words: string): Command {
  return { id: path, words, detail: t('palette.page'), run: () => router.go(path) };
}

export function commands(): Command[] {
  const action = (id: string, words: string, run: () => void): Command => ({
    id,
    words,
    detail: t('palette.action'),
    run,
  });
  const theme = (value: 'light' | 'dark' | 'system', words: string): Command =>
    action(`theme-${value}`, `${t('settings.theme')}: ${words}`, () => {
      session.update({ theme: value }).catch(toasts.fail);
    });
  return [
    action('new', t('sidebar.newChat'), openNewChat),
    action('temporary', t('chat.temporary'), openTemporaryChat),
    action('search', t('sidebar.search'), openSearch),
    action('help', t('shortcuts.title'), () => (layout.shortcuts = true)),
    ...shownSettings().map((name) =>
      page(`/settings/${name}`, `${t('settings.title')}: ${t(sectionWords[name])}`),
    ),
    ...(session.isAdmin
      ? shownAdmin().map((name) =>
          page(`/admin/${name}`, `${t('settings.admin')}: ${t(sectionWords[name])}`),
        )
      : []),
    theme('light', t('settings.themeLight')),
    theme('dark', t('settings.themeDark')),
    theme('system', t('settings.themeSystem')),
    action('out', t('sidebar.signOut'), () => void session.signOut().catch(toasts.fail)),
  ];
}
