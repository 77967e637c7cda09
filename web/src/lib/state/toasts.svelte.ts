// Short notices in the corner, for what happened away from where the reader looks.
import { errorFromFailure } from '../api/error';
import { language } from '../i18n/language.svelte';

export interface Toast {
  id: number;
  kind: 'info' | 'error';
  text: string;
}

const shown_ms = { info: 4000, error: 9000 };
const toast_limit = 4;

class Toasts {
  items = $state<Toast[]>([]);
  #next = 1;

  show = (text: string, kind: Toast['kind'] = 'info'): void => {
    const id = this.#next++;
    this.items = [...this.items, { id, kind, text }].slice(-toast_limit);
    setTimeout(() => this.dismiss(id), shown_ms[kind]);
  };

  fail = (failure: unknown): void => {
    const error = errorFromFailure(failure);
    // The sign-in page already says so.
    if (error.code !== 'sign_in_required') this.show(language.explain(error), 'error');
  };

  dismiss = (id: number): void => {
    this.items = this.items.filter((toast) => toast.id !== id);
  };
}

export const toasts = new Toasts();
