// One open chat: the part of its tree that is here, the path on screen and the running answers.
import { SvelteSet } from 'svelte/reactivity';

import { api } from '../api/client';
import { ApiError, errorFromFailure } from '../api/error';
import type {
  Chat,
  ChatSettings,
  Message,
  MessageError,
  TextFile,
  TurnEvent,
  TurnRequest,
} from '../api/types';
import { isUnsent, withRows } from '../chat/rows';
import { newestLeaf, pathTo, versionsOf } from '../chat/tree';
import { chats } from './chats.svelte';
import { models } from './models.svelte';
import { session } from './session.svelte';
import { localQuestion, temporaryEvents } from './temporary';
import { advance, newTurn, pause, turnEvents, type Turn } from './turn';

/** A lost connection to a running answer is taken up again this often. */
const follow_tries = 6;
const follow_pause_ms = 500;
/** Pages of earlier messages that are fetched to reach one that was searched for. */
const seek_pages = 40;

/** The id of the chat that is never kept. */
export const temporaryId = 'temporary';

/** The ids of chats whose answer is being written now. */
export const answering = new SvelteSet<string>();

export class Conversation {
  chat = $state<Chat | null>(null);
  messages = $state<Message[]>([]);
  leafId = $state<string | null>(null);
  phase = $state<'loading' | 'ready' | 'absent' | 'failed'>('loading');
  turns = $state<Turn[]>([]);
  /** What the reader is writing. A message the server did not take comes back here. */
  draft = $state('');
  /** Files that go with the next message. */
  files = $state<TextFile[]>([]);
  /** Why the last turn did not start, or why the chat could not be loaded. */
  error = $state<ApiError | null>(null);
  /** The last finished answer as plain text, for screen readers. */
  announcement = $state('');
  /** A message to bring to the screen. */
  sought = $state<string | null>(null);

  /** The last move between branches that was sent to the server. */
  #moved: Promise<unknown> = Promise.resolve();

  path = $derived(pathTo(this.messages, this.leafId));
  /** The running answer that the reader waits for. */
  turn = $derived(this.turns[0] ?? null);
  hasEarlier = $derived((this.path[0]?.parent_id ?? null) !== null);
  settings = $derived<ChatSettings>(this.chat?.settings ?? {});

  readonly isTemporary: boolean;

  constructor(readonly id: string) {
    this.isTemporary = id === temporaryId;
    this.draft = session.drafts.read(id);
  }

  load = async (): Promise<void> => {
    try {
      const { chat, messages, running } = await api.chat(this.id);
      this.chat = chat;
      this.#take(messages);
      this.leafId = messages.at(-1)?.id ?? null;
      this.phase = 'ready';
      this.error = null;
      for (const id of running) void this.#follow(id);
      if (this.sought) await this.seek(this.sought);
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

  /** Fetches what stands before the first message on the screen. */
  earlier = async (): Promise<void> => {
    const first = this.path[0];
    if (!first || !this.hasEarlier) return;
    const { messages } = await api.chat(this.id, first.id);
    this.#take(messages);
  };

  /** Brings a message to the screen, on whichever branch and however early it stands. */
  seek = async (id: string): Promise<void> => {
    this.sought = id;
    if (this.phase !== 'ready') return;
    if (!this.path.some((message) => message.id === id) && !this.hasEarlier) await this.show(id);
    for (let page = 0; page < seek_pages; page += 1) {
      if (this.path.some((message) => message.id === id)) return;
      if (!this.hasEarlier) break;
      await this.earlier();
    }
    await this.show(id);
  };

  /** Sends a message below `parent`. What the server does not take becomes the draft again. */
  send = async (
    content: string,
    model: string,
    options: { parent?: string | null; files?: TextFile[]; filesOf?: string } = {},
  ): Promise<void> => {
    const { parent = this.leafId, files = [], filesOf } = options;
    const before = this.leafId;
    const shown = localQuestion(content, parent, files);
    this.messages.push(shown);
    this.leafId = shown.id;
    const request: TurnRequest = {
      model,
      content,
      parent_id: parent,
      ...(files.length > 0 ? { files } : {}),
      ...(filesOf ? { files_of: filesOf } : {}),
    };
    await this.#run(request, model, (taken) => {
      if (!this.isTemporary) this.#drop(shown.id, before);
      if (taken) return;
      if (this.draft === '') this.draft = content;
      if (this.files.length === 0) this.files = files;
    });
  };

  regenerate = async (message: Message, model: string): Promise<void> => {
    const before = this.leafId;
    this.leafId = message.parent_id;
    await this.#run({ model, regenerate: message.id }, model, (taken) => {
      if (!taken) this.leafId = before;
    });
  };

  /** Goes on with an answer that stopped too early. */
  goOn = (message: Message, model: string): Promise<void> =>
    this.#run({ model, continue: message.id }, model, () => undefined);

  stop = (): void => {
    const named = this.turns.some((turn) => turn.messageId !== null);
    for (const turn of this.turns) {
      if (turn.messageId === null || this.isTemporary) turn.abort.abort();
    }
    if (this.isTemporary) return;
    // An answer that has begun ends with the server's last row, which tells all that was said.
    void api.stopTurns(this.id).catch((failure: unknown) => {
      if (named) this.error = errorFromFailure(failure);
    });
  };

  /** Brings the branch of `id` to the screen and remembers it on the server. */
  show = async (id: string): Promise<void> => {
    if (this.message(id)) this.leafId = newestLeaf(this.messages, id);
    if (this.isTemporary) return;
    const moved = api.updateChat(this.id, { current_message_id: id });
    this.#moved = moved;
    const { chat } = await moved;
    if (this.chat) this.chat.current_message_id = chat.current_message_id;
    if (this.message(chat.current_message_id)) this.leafId = chat.current_message_id;
    else await this.#reload();
  };

  setModel = (model: string): Promise<void> => this.#change({ model });

  setSettings = (settings: ChatSettings): Promise<void> => this.#change({ settings });

  async #change(change: { model: string } | { settings: ChatSettings }): Promise<void> {
    if (this.chat) Object.assign(this.chat, change);
    if (!this.isTemporary) await api.updateChat(this.id, change);
  }

  /** Deletes one message; what follows it stays. */
  remove = async (message: Message): Promise<void> => {
    if (this.isTemporary) {
      const { id, parent_id } = message;
      for (const other of this.messages) if (other.parent_id === id) other.parent_id = parent_id;
      this.#drop(id, parent_id);
    } else {
      await api.deleteMessage(this.id, message.id);
      this.messages = [];
      await this.#reload();
    }
  };

  /** Fetches versions that are not on the path. */
  fetch = async (ids: readonly string[]): Promise<void> => {
    const missing = ids.filter((id) => !this.message(id));
    const found = await Promise.all(missing.map((id) => api.message(this.id, id)));
    this.#take(found.map(({ message }) => message));
  };

  /** Forgets a refusal that signing in again has settled. */
  forgive(): void {
    if (this.error?.status === 401) this.error = null;
  }

  message(id: string | null): Message | undefined {
    return this.messages.find((message) => message.id === id);
  }

  versions(message: Message): string[] {
    return versionsOf(this.messages, message);
  }

  turnOf(message: Message): Turn | undefined {
    return this.turns.find((turn) => turn.messageId === message.id);
  }

  async #reload(): Promise<void> {
    const { chat, messages } = await api.chat(this.id);
    this.chat = chat;
    this.#take(messages);
    this.leafId = messages.at(-1)?.id ?? null;
  }

  #take(rows: readonly Message[]): void {
    const writing = this.turns.map((turn) => turn.messageId);
    if (rows.length > 0) this.messages = withRows(this.messages, rows, writing);
  }

  #drop(id: string, leaf: string | null): void {
    if (!this.messages.some((message) => message.id === id)) return;
    this.messages = this.messages.filter((message) => message.id !== id);
    if (this.leafId === id) this.leafId = leaf;
  }

  /** Runs a turn to its end. `ended` learns at once whether the server had taken it. */
  async #run(
    request: TurnRequest,
    model: string,
    ended: (taken: boolean) => void,
    isBeside = false,
  ): Promise<void> {
    if (!isBeside) this.error = null;
    const turn = this.#begin(newTurn(model));
    let taken = false;
    try {
      for await (const event of this.#events(request, turn.abort.signal)) {
        taken = true;
        this.#apply(turn, event, isBeside);
        if (event.name === 'started' && event.user_message && !isBeside) {
          this.#runBeside(event.user_message.id);
        }
      }
    } catch (failure) {
      const error = errorFromFailure(failure);
      if (turn.messageId) await this.#resume(turn, error);
      else this.error = error;
    }
    this.#end(turn);
    ended(taken);
    if (turn.abort.signal.aborted && !this.isTemporary) await this.#stopped();
  }

  /** Lets the chat's further models answer the same question. */
  #runBeside(question: string): void {
    if (this.isTemporary) return;
    for (const model of this.settings.beside ?? []) {
      void this.#run({ model, answer: question }, model, () => undefined, true);
    }
  }

  /** Reads along with an answer that was begun elsewhere, or before this page was loaded. */
  async #follow(messageId: string): Promise<void> {
    const turn = this.#begin(newTurn(this.message(messageId)?.model ?? null, messageId));
    await this.#resume(turn, null);
    this.#end(turn);
  }

  #begin(turn: Turn): Turn {
    this.turns.push(turn);
    answering.add(this.id);
    return this.turns[this.turns.length - 1] ?? turn;
  }

  #end(turn: Turn): void {
    this.turns = this.turns.filter((other) => other !== turn);
    if (this.turns.length === 0) answering.delete(this.id);
  }

  /** Takes a running answer up where it is, as often as the connection is lost. */
  async #resume(turn: Turn, first: ApiError | null): Promise<void> {
    if (this.isTemporary && first) return this.#broke(turn, first);
    const id = turn.messageId ?? '';
    let lost = first;
    for (let tries = 0; tries < follow_tries; tries += 1) {
      if (lost && !['network_lost', 'stream_cut', 'too_slow'].includes(lost.code)) break;
      if (lost) await pause(follow_pause_ms * tries);
      try {
        for await (const event of api.follow(this.id, id, turn.abort.signal)) {
          this.#apply(turn, event, true);
        }
        return;
      } catch (failure) {
        lost = errorFromFailure(failure);
        if (lost.status !== 404) continue;
        // It has ended meanwhile: what the server has stored is the whole of it.
        const stored = await api.message(this.id, id).catch(() => null);
        return stored ? this.#put(stored.message) : this.#broke(turn, first ?? lost);
      }
    }
    if (lost) this.#broke(turn, lost);
  }

  #events(request: TurnRequest, signal: AbortSignal): AsyncGenerator<TurnEvent> {
    if (this.isTemporary) return temporaryEvents(this, request, signal);
    // A move that arrived after the turn would lead the server away from the new answer.
    return turnEvents(this.id, request, signal, this.#moved);
  }

  #apply(turn: Turn, event: TurnEvent, isBeside: boolean): void {
    advance(turn, event, Date.now());
    const message = this.message(turn.messageId);
    switch (event.name) {
      case 'started':
        this.#started(turn, event, isBeside);
        break;
      case 'thinking':
        if (message) message.reasoning = (message.reasoning ?? '') + event.text;
        break;
      case 'calls':
        if (message) message.calls = event.calls;
        break;
      case 'delta':
        if (message) message.content += event.text;
        break;
      case 'finished':
        this.#put(event.assistant_message);
        this.#takeChat(event.chat);
        // Answering has loaded the model if it was not.
        if (models.find(event.assistant_message.model)?.state !== 'loaded') void models.refresh();
        this.announcement = event.assistant_message.content;
        break;
      case 'failed':
        this.#broke(turn, event.error, event.assistant_message);
        break;
    }
  }

  #started(turn: Turn, event: Extract<TurnEvent, { name: 'started' }>, isBeside: boolean): void {
    const answer = event.assistant_message;
    const rows = event.user_message ? [event.user_message, answer] : [answer];
    const kept = this.isTemporary
      ? this.messages
      : this.messages.filter(({ id, role }) => role !== 'user' || !isUnsent(id));
    this.messages = withRows(kept, rows, []);
    // Beside another answer, or read along: the reader stays where they are.
    const stays = isBeside && this.path.some((message) => message.parent_id === answer.parent_id);
    if (!stays) this.leafId = answer.id;
    Object.assign(turn, { messageId: answer.id, model: answer.model });
    this.#takeChat(event.chat);
  }

  #put(row: Message): void {
    const index = this.messages.findIndex((message) => message.id === row.id);
    if (index >= 0) this.messages[index] = row;
  }

  #takeChat(chat: Chat): void {
    this.chat = { ...chat, settings: this.settings };
    if (!this.isTemporary) chats.put(chat);
  }

  /** Marks a running answer as failed, with the server's last row of it where there is one. */
  #broke(turn: Turn, { code, message }: MessageError, row: Message | null = null): void {
    if (row) this.#put(row);
    const answer = this.message(turn.messageId);
    if (!answer) return;
    answer.status = 'failed';
    answer.error = { code, message };
  }

  /** Stopped before the server named the answer; it may have taken the question all the same. */
  async #stopped(): Promise<void> {
    await pause(follow_pause_ms);
    if (this.turns.length > 0) return;
    try {
      const draft = this.draft;
      const known = this.messages.map((message) => message.id);
      await this.#reload();
      const stored = this.messages.some(
        ({ id, content }) => !known.includes(id) && content === draft,
      );
      if (stored) this.draft = '';
    } catch {
      // The next load shows the server's rows; there is nothing for the reader to do.
    }
  }
}
