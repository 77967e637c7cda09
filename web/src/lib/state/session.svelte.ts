// Who is signed in, and what that decides: language, theme, which pages exist.
import { tick } from 'svelte';

import { api, whenSignInRequired } from '../api/client';
import { errorFromFailure, type ApiError } from '../api/error';
import type { Status, Theme, User } from '../api/types';
import { language } from '../i18n/language.svelte';
import { DraftStore } from './drafts';

type Phase = 'starting' | 'unreachable' | 'setup' | 'signed-out' | 'signed-in';

const retry_ms = 3000;

class Session {
  phase = $state<Phase>('starting');
  user = $state<User | null>(null);
  status = $state<Status | null>(null);
  error = $state<ApiError | null>(null);
  /** Set when the server ended the session under the reader's hands. */
  expired = $state(false);

  /** Set by a reader of a link who would rather sign in. */
  wantsIn = $state(false);

  isAdmin = $derived(this.user?.role === 'admin' || this.user?.role === 'owner');

  constructor() {
    whenSignInRequired(() => {
      if (this.phase !== 'signed-in') return;
      this.expired = true;
      this.phase = 'signed-out';
    });
  }

  /** Finds out where things stand; keeps trying while the server does not answer. */
  start = async (): Promise<void> => {
    try {
      this.status = await api.status();
      if (this.status.setup_required) this.phase = 'setup';
      else await this.#resume();
      this.error = null;
    } catch (failure) {
      this.error = errorFromFailure(failure);
      this.phase = 'unreachable';
      setTimeout(() => {
        if (this.phase === 'unreachable') void this.start();
      }, retry_ms);
    }
  };

  async #resume(): Promise<void> {
    try {
      await this.enter((await api.session()).user);
    } catch (failure) {
      const error = errorFromFailure(failure);
      if (error.status !== 401) throw error;
      this.phase = 'signed-out';
    }
  }

  /** Takes over an account that has just proved itself. */
  enter = async (user: User): Promise<void> => {
    // After an expiry the same person goes on where they were; anyone else starts afresh.
    if (this.user && this.user.id !== user.id) {
      location.assign('/');
      return;
    }
    this.user = user;
    this.expired = false;
    this.wantsIn = false;
    applyTheme(user.theme);
    if (user.language) await language.use(user.language);
    this.phase = 'signed-in';
  };

  askToSignIn = (): void => {
    this.wantsIn = true;
  };

  update = async (change: Parameters<typeof api.updateMe>[0]): Promise<void> => {
    const { user } = await api.updateMe(change);
    this.user = user;
    applyTheme(user.theme);
    if (change.language !== undefined) await language.use(user.language);
  };

  signOut = async (): Promise<void> => {
    await api.signOut().catch((failure: unknown) => {
      if (errorFromFailure(failure).status !== 401) throw failure;
    });
    // First the pages go, which keep their drafts as they leave; then the drafts.
    this.phase = 'signed-out';
    await tick();
    this.drafts.clear();
    // A fresh page: nothing of this account stays in memory.
    location.assign('/');
  };

  get drafts(): DraftStore {
    return new DraftStore(localStorage, `hearth.drafts.${this.user?.id ?? 0}`);
  }
}

export function applyTheme(theme: Theme): void {
  const root = document.documentElement;
  if (theme === 'system') {
    delete root.dataset['theme'];
    localStorage.removeItem('hearth.theme');
  } else {
    root.dataset['theme'] = theme;
    localStorage.setItem('hearth.theme', theme);
  }
}

export const session = new Session();
