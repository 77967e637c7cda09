// What the reader may still spend, for the line below the composer.
import { api } from '../api/client';
import type { Remaining } from '../api/types';
import { features } from './features.svelte';

class RemainingBudget {
  value = $state.raw<Remaining | null>(null);

  /** Asked again after each answer; a server without the route has no budgets. */
  refresh = async (): Promise<void> => {
    await features.load();
    if (!features.has('/hearth/me/budget')) return;
    try {
      this.value = (await api.myBudget()).budget;
    } catch {
      // The last figure stays; a refused question says more than a missing line.
    }
  };
}

export const budget = new RemainingBudget();
