// The list of chats in the sidebar.
import { api } from '../api/client';
import { errorFromFailure, type ApiError } from '../api/error';
import type { ChatSummary } from '../api/types';

class Chats {
  items = $state.raw<ChatSummary[]>([]);
  filter = $state('');
  error = $state<ApiError | null>(null);
  ready = $state(false);
  loading = $state(false);
  #next = $state<string | null>(null);

  hasMore = $derived(this.#next !== null);
  matching = $derived.by(() => {
    const query = this.filter.trim().toLocaleLowerCase();
    if (query === '') return this.items;
    return this.items.filter((chat) => chat.title.toLocaleLowerCase().includes(query));
  });

  /** Loads the first page, or the next one. */
  load = async (): Promise<void> => {
    if (this.loading || (this.ready && !this.hasMore)) return;
    this.loading = true;
    try {
      const { chats, next } = await api.chats(this.#next);
      const known = new Set(this.items.map((chat) => chat.id));
      this.items = [...this.items, ...chats.filter((chat) => !known.has(chat.id))];
      this.#next = next;
      this.ready = true;
      this.error = null;
    } catch (failure) {
      this.error = errorFromFailure(failure);
    } finally {
      this.loading = false;
    }
  };

  /** Takes a new or changed chat into its place: newest first. */
  put = (chat: ChatSummary): void => {
    const others = this.items.filter((other) => other.id !== chat.id);
    this.items = [chat, ...others].sort((a, b) => b.updated_at - a.updated_at);
  };

  rename = async (id: string, title: string): Promise<void> => {
    this.put((await api.updateChat(id, { title })).chat);
  };

  remove = async (id: string): Promise<void> => {
    await api.deleteChat(id).catch((failure: unknown) => {
      // Already gone is what was wanted.
      if (errorFromFailure(failure).status !== 404) throw failure;
    });
    this.items = this.items.filter((chat) => chat.id !== id);
  };

  find(id: string | null): ChatSummary | undefined {
    return this.items.find((chat) => chat.id === id);
  }
}

export const chats = new Chats();
