// The keyboard shortcuts that work anywhere in the app.
import type { Key } from '../i18n/en';
import { t } from '../i18n/language.svelte';
import { temporaryId } from './conversation.svelte';
import { conversations } from './conversations.svelte';
import { layout } from './layout.svelte';
import { router } from './router.svelte';
import { session } from './session.svelte';
import { toasts } from './toasts.svelte';

export interface Shortcut {
  words: Key;
  keys: string[];
}

/** What the help shows; the last three are handled where the focus is. */
export const shortcuts: Shortcut[] = [
  { words: 'shortcuts.newChat', keys: ['Ctrl', 'Shift', 'O'] },
  { words: 'shortcuts.palette', keys: ['Ctrl', 'K'] },
  { words: 'shortcuts.search', keys: ['Ctrl', 'Shift', 'F'] },
  { words: 'shortcuts.temporary', keys: ['Ctrl', 'Shift', "'"] },
  { words: 'shortcuts.model', keys: ['Ctrl', 'Shift', 'M'] },
  { words: 'shortcuts.copyAnswer', keys: ['Ctrl', 'Shift', 'C'] },
  { words: 'shortcuts.copyCode', keys: ['Ctrl', 'Shift', ';'] },
  { words: 'shortcuts.focus', keys: ['Shift', 'Esc'] },
  { words: 'shortcuts.delete', keys: ['Ctrl', 'Shift', 'Backspace'] },
  { words: 'shortcuts.settings', keys: ['Ctrl', '.'] },
  { words: 'shortcuts.sidebar', keys: ['Ctrl', 'Shift', 'S'] },
  { words: 'shortcuts.help', keys: ['Ctrl', '/'] },
  { words: 'shortcuts.stop', keys: ['Esc'] },
  { words: 'shortcuts.send', keys: ['Enter'] },
  { words: 'shortcuts.newline', keys: ['Shift', 'Enter'] },
];

export function openNewChat(): void {
  router.go('/');
  layout.closeDrawer();
  layout.focusComposer += 1;
}

export function openTemporaryChat(): void {
  conversations.forget(temporaryId);
  router.go('/c/temporary');
  layout.closeDrawer();
  layout.focusComposer += 1;
}

function copyLast(selector: string): void {
  const found = [...document.querySelectorAll<HTMLElement>(selector)].at(-1);
  if (!found) return;
  navigator.clipboard
    .writeText(found.textContent)
    .then(() => toasts.show(t('common.copied')), toasts.fail);
}

/** Presses a button that is on the screen, as if the reader did. */
function press(selector: string): void {
  document.querySelector<HTMLElement>(selector)?.click();
}

export function openSearch(): void {
  if (router.route.page !== 'chat') router.go('/');
  layout.sidebar = true;
  layout.searchWished = true;
}

/** The action for a key press with Ctrl (or ⌘), or null. */
function actionFor(event: KeyboardEvent): (() => void) | null {
  const key = event.key.toLowerCase();
  if (event.shiftKey) {
    if (key === 'o') return openNewChat;
    if (key === 's') return layout.toggleSidebar;
    if (key === 'f') return openSearch;
    if (key === 'm') return () => press('[data-model-picker]');
    if (key === 'c') return () => copyLast('article .prose');
    if (event.code === 'Semicolon') return () => copyLast('article .prose pre code');
    if (event.code === 'Quote') return openTemporaryChat;
    if (key === 'backspace') return () => press('main header [data-delete-chat]');
    return null;
  }
  if (key === 'k') return () => (layout.palette = !layout.palette);
  if (key === '.') return () => router.go('/settings');
  if (key === '/') return () => (layout.shortcuts = !layout.shortcuts);
  return null;
}

export function handleShortcut(event: KeyboardEvent): void {
  if (session.phase !== 'signed-in' || event.altKey) return;
  if (event.key === 'Escape' && event.shiftKey) {
    event.preventDefault();
    layout.focusComposer += 1;
    return;
  }
  if (!(event.ctrlKey || event.metaKey)) return;
  const action = actionFor(event);
  if (!action) return;
  event.preventDefault();
  action();
}
