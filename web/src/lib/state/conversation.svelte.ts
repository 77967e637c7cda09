// One open chat: its tree of messages, the path on screen and the running answer.
import { SvelteSet } from 'svelte/reactivity';

import { api } from '../api/client';
import { ApiError, errorFromFailure } from '../api/error';
import type { Chat, Message, MessageError, TurnEvent, TurnRequest } from '../api/types';
import { newestLeaf, newestMessage, pathTo } from '../chat/tree';
import { chats } from './chats.svelte';
import { models } from './models.svelte';
import { session } from './session.svelte';

/** A stop takes the server a moment; a turn sent right after it is tried again this often. */
const busy_tries = 8;
const busy_pause_ms = 150;
const settle_ms = 300;

export interface Turn {
  phase: 'waiting' | 'streaming';
  /** The message that is being written; null until the server has named it. */
  messageId: string | null;
  model: string | null;
  started_ms: number;
  abort: AbortController;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Ids of messages the server has not seen; no id of the server starts like this. */
let unsent = 0;

function draftMessage(content: string, parent: string | null): Message {
  unsent += 1;
  return {
    id: `unsent-${unsent}`,
    parent_id: parent,
    role: 'user',
    content,
    model: null,
    status: 'complete',
    finish_reason: null,
    usage: null,
    error: null,
    created_at: Math.floor(Date.now() / 1000),
  };
}

/** The ids of chats whose answer is being written now. */
export const answering = new SvelteSet<string>();

export class Conversation {
  chat = $state<Chat | null>(null);
  messages = $state<Message[]>([]);
  leafId = $state<string | null>(null);
  phase = $state<'loading' | 'ready' | 'absent' | 'failed'>('loading');
  turn = $state<Turn | null>(null);
  /** What the reader is writing. A message the server did not take comes back here. */
  draft = $state('');
  /** Why the last turn did not start, or why the chat could not be loaded. */
  error = $state<ApiError | null>(null);
  /** The last finished answer as plain text, for screen readers. */
  announcement = $state('');

  /** The last move between branches that was sent to the server. */
  #moved: Promise<unknown> = Promise.resolve();
  /** Turns begun so far: what a stop reads late belongs to the screen only while none is newer. */
  #turns = 0;

  path = $derived(pathTo(this.messages, this.leafId));

  constructor(readonly id: string) {
    this.draft = session.drafts.read(id);
  }

  load = async (): Promise<void> => {
    try {
      const { chat, messages } = await api.chat(this.id);
      this.chat = chat;
      this.messages = messages;
      this.leafId = chat.current_message_id ?? newestMessage(messages);
      this.phase = 'ready';
      this.error = null;
    } catch (failure) {
      this.error = errorFromFailure(failure);
      if (this.error.status === 404) this.phase = 'absent';
      else if (this.phase !== 'ready') this.phase = 'failed';
    }
  };

  /** Shows a chat that was just made, without asking for it again. */
  adopt(chat: Chat): void {
    this.chat = chat;
    this.phase = 'ready';
  }

  /** Sends a message below `parent`. What the server does not take becomes the draft again. */
  send = async (content: string, model: string, parent = this.leafId): Promise<void> => {
    const before = this.leafId;
    const shown = draftMessage(content, parent);
    this.messages.push(shown);
    this.leafId = shown.id;
    await this.#run({ model, content, parent_id: parent }, model, (taken) => {
      this.#drop(shown.id, before);
      if (!taken && this.draft === '') this.draft = content;
    });
  };

  regenerate = async (message: Message, model: string): Promise<void> => {
    const before = this.leafId;
    this.leafId = message.parent_id;
    await this.#run({ model, regenerate: message.id }, model, (taken) => {
      if (!taken) this.leafId = before;
    });
  };

  stop = (): void => this.turn?.abort.abort();

  /** Brings the branch of `id` to the screen and remembers it on the server. */
  show = async (id: string): Promise<void> => {
    this.leafId = newestLeaf(this.messages, id);
    this.#moved = api.updateChat(this.id, { current_message_id: this.leafId });
    await this.#moved;
  };

  setModel = async (model: string): Promise<void> => {
    if (this.chat) this.chat.model = model;
    await api.updateChat(this.id, { model });
  };

  /** Forgets a refusal that signing in again has settled. */
  forgive(): void {
    if (this.error?.status === 401) this.error = null;
  }

  message(id: string | null): Message | undefined {
    return this.messages.find((message) => message.id === id);
  }

  #drop(id: string, leaf: string | null): void {
    if (!this.messages.some((message) => message.id === id)) return;
    this.messages = this.messages.filter((message) => message.id !== id);
    if (this.leafId === id) this.leafId = leaf;
  }

  /** Runs a turn to its end. `ended` learns at once whether the server had taken it. */
  async #run(request: TurnRequest, model: string, ended: (taken: boolean) => void): Promise<void> {
    const abort = new AbortController();
    this.#turns += 1;
    this.error = null;
    this.turn = { phase: 'waiting', messageId: null, model, started_ms: Date.now(), abort };
    answering.add(this.id);
    let taken = false;
    try {
      for await (const event of this.#events(request, abort.signal)) {
        taken = true;
        this.#apply(event);
      }
    } catch (failure) {
      const error = errorFromFailure(failure);
      if (this.turn?.messageId) this.#broke(error);
      else this.error = error;
    }
    const named = this.turn?.messageId ?? null;
    this.turn = null;
    answering.delete(this.id);
    ended(taken);
    if (abort.signal.aborted) await this.#stopped(named);
  }

  async *#events(request: TurnRequest, signal: AbortSignal): AsyncGenerator<TurnEvent> {
    // A move that arrived after the turn would lead the server away from the new answer.
    await this.#moved.catch(() => undefined);
    for (let tries = 1; ; tries += 1) {
      try {
        yield* api.turn(this.id, request, signal);
        return;
      } catch (failure) {
        const running = failure instanceof ApiError && failure.code === 'turn_running';
        if (!running || tries === busy_tries) throw failure;
        await pause(busy_pause_ms * tries);
      }
    }
  }

  #apply(event: TurnEvent): void {
    switch (event.name) {
      case 'started':
        this.#started(event);
        break;
      case 'delta':
        this.#delta(event.text);
        break;
      case 'finished':
        this.#put(event.assistant_message);
        this.#takeChat(event.chat);
        // Answering has loaded the model if it was not.
        if (models.find(event.assistant_message.model)?.state !== 'loaded') void models.refresh();
        this.announcement = event.assistant_message.content;
        break;
      case 'failed':
        this.#broke(event.error, event.assistant_message);
        break;
    }
  }

  #started(event: Extract<TurnEvent, { name: 'started' }>): void {
    const kept = this.messages.filter((message) => !message.id.startsWith('unsent-'));
    const added = event.user_message ? [event.user_message] : [];
    this.messages = [...kept, ...added, event.assistant_message];
    this.leafId = event.assistant_message.id;
    if (this.turn) this.turn.messageId = event.assistant_message.id;
    this.#takeChat(event.chat);
  }

  #delta(text: string): void {
    const message = this.message(this.turn?.messageId ?? null);
    if (!message || !this.turn) return;
    message.content += text;
    this.turn.phase = 'streaming';
  }

  #put(row: Message): void {
    const index = this.messages.findIndex((message) => message.id === row.id);
    if (index >= 0) this.messages[index] = row;
  }

  #takeChat(chat: Chat): void {
    this.chat = chat;
    chats.put(chat);
  }

  /** Marks the running answer as failed, with the server's last row of it where there is one. */
  #broke({ code, message }: MessageError, row: Message | null = null): void {
    if (row) this.#put(row);
    const answer = this.message(this.turn?.messageId ?? null);
    if (!answer) return;
    answer.status = 'failed';
    answer.error = { code, message };
  }

  /** After a stop the server holds the final row; what was seen here is never taken back. */
  async #stopped(messageId: string | null): Promise<void> {
    const seen = this.message(messageId);
    if (seen) seen.status = 'stopped';
    const turns = this.#turns;
    await pause(settle_ms);
    if (this.#turns !== turns) return;
    try {
      const { chat, messages } = await api.chat(this.id);
      const row = messages.find((message) => message.id === messageId);
      if (this.#turns !== turns) return;
      if (seen && (row?.content.length ?? 0) < seen.content.length) return;
      const stored = messages.some((m) => !this.message(m.id) && m.content === this.draft);
      // Stopped before it was confirmed, yet the server has it: then it is no draft any more.
      if (stored) this.draft = '';
      this.messages = messages;
      this.leafId = messageId ?? chat.current_message_id ?? newestMessage(messages);
      this.#takeChat(chat);
    } catch {
      // The next load shows the server's row; there is nothing for the reader to do.
    }
  }
}
