// The prompts and presets that the reader may use.
import { api } from '../api/client';
import { errorFromFailure, type ApiError } from '../api/error';
import type { NewShelfItem, PresetItem, PromptItem, ShelfItem } from '../api/types';

class Shelf {
  items = $state.raw<ShelfItem[]>([]);
  error = $state<ApiError | null>(null);
  ready = $state(false);
  #loading: Promise<void> | null = null;

  prompts = $derived(this.items.filter((item): item is PromptItem => item.kind === 'prompt'));
  presets = $derived(this.items.filter((item): item is PresetItem => item.kind === 'preset'));

  /** Reads once; `refresh` reads again. */
  load = (): Promise<void> => {
    if (this.ready) return Promise.resolve();
    this.#loading ??= this.refresh().finally(() => (this.#loading = null));
    return this.#loading;
  };

  refresh = async (): Promise<void> => {
    try {
      this.items = (await api.shelf()).items;
      this.ready = true;
      this.error = null;
    } catch (failure) {
      this.error = errorFromFailure(failure);
    }
  };

  keep = async (item: NewShelfItem, id: string | null): Promise<void> => {
    if (id === null) await api.addToShelf(item);
    else await api.updateShelf(id, item);
    await this.refresh();
  };

  remove = async (id: string): Promise<void> => {
    await api.deleteFromShelf(id);
    await this.refresh();
  };
}

export const shelf = new Shelf();
