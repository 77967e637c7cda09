// The models of this server as the chat sees them.
import { api } from '../api/client';
import { errorFromFailure, type ApiError } from '../api/error';
import type { Model } from '../api/types';
import { session } from './session.svelte';

/** The built-in model that answers questions about Hearth itself. */
export const guideModel = 'hearth-guide';

class Models {
  items = $state.raw<Model[]>([]);
  error = $state<ApiError | null>(null);
  ready = $state(false);
  #serverDefault = $state<string | null>(null);

  chatModels = $derived(this.items.filter((model) => model.chat));

  /** What a new chat starts with: the reader's choice, the server's, or the first there is. */
  preferred = $derived.by(() => {
    const wished = [session.user?.default_model, this.#serverDefault];
    const found = wished.find((name) => this.chatModels.some((model) => model.name === name));
    return found ?? this.chatModels[0]?.name ?? null;
  });

  refresh = async (): Promise<void> => {
    try {
      const { models, default_model } = await api.models();
      this.items = models;
      this.#serverDefault = default_model;
      this.error = null;
      this.ready = true;
    } catch (failure) {
      this.error = errorFromFailure(failure);
    }
  };

  find(name: string | null): Model | undefined {
    return this.items.find((model) => model.name === name);
  }
}

export const models = new Models();
