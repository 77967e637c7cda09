// The chats of the sidebar: pinned ones, folders, the rest by day, and what a search has found.
import { api } from '../api/client';
import { errorFromFailure, type ApiError } from '../api/error';
import type { Chat, ChatSummary, Folder, Hit } from '../api/types';

const search_after_ms = 120;

class Chats {
  /** Every chat that is known here, the latest first. */
  items = $state.raw<ChatSummary[]>([]);
  folders = $state.raw<Folder[]>([]);
  query = $state('');
  hits = $state.raw<Hit[] | null>(null);
  searchError = $state<ApiError | null>(null);
  error = $state<ApiError | null>(null);
  ready = $state(false);
  loading = $state(false);
  #next = $state<string | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;
  #search: AbortController | null = null;

  hasMore = $derived(this.#next !== null);
  pinned = $derived(this.items.filter((chat) => chat.pinned && !chat.archived));
  loose = $derived(
    this.items.filter((chat) => !chat.pinned && !chat.archived && chat.folder_id === null),
  );

  in = (folder: string): ChatSummary[] =>
    this.items.filter((chat) => chat.folder_id === folder && !chat.archived);

  /** Loads the sidebar, or the next page of it. */
  load = async (): Promise<void> => {
    if (this.loading || (this.ready && !this.hasMore)) return;
    this.loading = true;
    try {
      if (!this.ready) {
        const [pinned, folders] = await Promise.all([api.chats('pinned'), api.folders()]);
        this.#take(pinned.chats);
        this.folders = folders.folders;
      }
      const { chats, next } = await api.chats('loose', this.#next);
      this.#take(chats);
      this.#next = next;
      this.ready = true;
      this.error = null;
    } catch (failure) {
      this.error = errorFromFailure(failure);
    } finally {
      this.loading = false;
    }
  };

  openFolder = async (id: string): Promise<void> => {
    this.#take((await api.chatsIn(id)).chats);
  };

  refreshFolders = async (): Promise<void> => {
    this.folders = (await api.folders()).folders;
  };

  addFolder = async (name: string): Promise<Folder> => {
    const { folder } = await api.addFolder(name);
    await this.refreshFolders();
    return folder;
  };

  renameFolder = async (id: string, name: string): Promise<void> => {
    await api.renameFolder(id, name);
    await this.refreshFolders();
  };

  removeFolder = async (id: string): Promise<void> => {
    await this.openFolder(id);
    await api.deleteFolder(id);
    const out = (chat: ChatSummary): ChatSummary =>
      chat.folder_id === id ? { ...chat, folder_id: null } : chat;
    this.items = this.items.map(out);
    await this.refreshFolders();
  };

  /** Takes a new or changed chat into its place: newest first. */
  put = (chat: ChatSummary): void => this.#take([chat]);

  change = async (
    id: string,
    change: Partial<Pick<Chat, 'title' | 'pinned' | 'archived' | 'folder_id'>>,
  ): Promise<void> => {
    this.put((await api.updateChat(id, change)).chat);
    if ('folder_id' in change || 'archived' in change) await this.refreshFolders();
  };

  rename = (id: string, title: string): Promise<void> => this.change(id, { title });

  remove = async (id: string): Promise<void> => {
    await api.deleteChat(id).catch((failure: unknown) => {
      // Already gone is what was wanted.
      if (errorFromFailure(failure).status !== 404) throw failure;
    });
    const folder = this.find(id)?.folder_id;
    this.items = this.items.filter((chat) => chat.id !== id);
    this.hits = this.hits?.filter((hit) => hit.chat.id !== id) ?? null;
    if (folder) await this.refreshFolders();
  };

  find(id: string | null): ChatSummary | undefined {
    return this.items.find((chat) => chat.id === id);
  }

  /** Asks the server for the words, once the typing rests. An empty search shows all again. */
  search = (query: string): void => {
    this.query = query;
    clearTimeout(this.#timer);
    this.#search?.abort();
    if (query.trim() === '') {
      this.hits = null;
      this.searchError = null;
      return;
    }
    this.#timer = setTimeout(() => void this.#ask(query), search_after_ms);
  };

  async #ask(query: string): Promise<void> {
    const abort = new AbortController();
    this.#search = abort;
    try {
      const { hits } = await api.searchChats(query, abort.signal);
      if (abort.signal.aborted) return;
      this.hits = hits;
      this.searchError = null;
    } catch (failure) {
      if (abort.signal.aborted) return;
      this.hits = [];
      this.searchError = errorFromFailure(failure);
    }
  }

  #take(list: readonly ChatSummary[]): void {
    const ids = new Set(list.map((chat) => chat.id));
    const others = this.items.filter((chat) => !ids.has(chat.id));
    this.items = [...list, ...others].sort((a, b) => b.updated_at - a.updated_at);
  }
}

export const chats = new Chats();
