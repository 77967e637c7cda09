// The keyboard shortcuts that work anywhere in the app.
import type { Key } from '../i18n/en';
import { layout } from './layout.svelte';
import { router } from './router.svelte';
import { session } from './session.svelte';

export interface Shortcut {
  words: Key;
  keys: string[];
}

/** What the help shows; the last three are handled where the focus is. */
export const shortcuts: Shortcut[] = [
  { words: 'shortcuts.newChat', keys: ['Ctrl', 'Shift', 'O'] },
  { words: 'shortcuts.search', keys: ['Ctrl', 'K'] },
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

function openSearch(): void {
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
    return null;
  }
  if (key === 'k') return openSearch;
  if (key === '/') return () => (layout.shortcuts = !layout.shortcuts);
  return null;
}

export function handleShortcut(event: KeyboardEvent): void {
  if (session.phase !== 'signed-in' || event.altKey || !(event.ctrlKey || event.metaKey)) return;
  const action = actionFor(event);
  if (!action) return;
  event.preventDefault();
  action();
}
