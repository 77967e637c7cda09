// Every request this page makes. Nothing else calls fetch.
import { readCompletion, type CompletionPiece } from './completion';
import { ApiError, errorFromFailure, errorFromResponse } from './error';
import { readPull } from './pull';
import { readTurn } from './turn';
import type {
  Chat,
  ChatSettings,
  ChatSummary,
  ChatView,
  ChatWindow,
  Folder,
  ForeignChat,
  Hit,
  Message,
  Model,
  NewShelfItem,
  PullLine,
  Remaining,
  Share,
  SharedChat,
  ShelfItem,
  Status,
  TurnEvent,
  TurnRequest,
  User,
} from './types';

const answer_limit_ms = 20_000;
/** Loading weights from a slow disk takes minutes. */
const load_limit_ms = 600_000;

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

interface Options {
  body?: unknown;
  /** A file as the whole body, in place of JSON. */
  file?: Blob;
  limit_ms?: number;
  signal?: AbortSignal;
}

let onSignInRequired: () => void = () => undefined;

/** Tells the client whom to call when the session is gone. */
export function whenSignInRequired(callback: () => void): void {
  onSignInRequired = callback;
}

function init(method: Method, body: unknown, signal: AbortSignal): RequestInit {
  const headers: Record<string, string> = { accept: 'application/json' };
  if (body !== undefined) headers['content-type'] = 'application/json';
  return {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: 'same-origin',
    cache: 'no-store',
    redirect: 'error',
    signal,
  };
}

async function refuse(response: Response): Promise<never> {
  const error = await errorFromResponse(response);
  if (error.code === 'sign_in_required') onSignInRequired();
  throw error;
}

/** One request with a JSON answer. */
export async function call<T>(method: Method, path: string, options: Options = {}): Promise<T> {
  const timer = AbortSignal.timeout(options.limit_ms ?? answer_limit_ms);
  const signal = options.signal ? AbortSignal.any([timer, options.signal]) : timer;
  try {
    const wish = init(method, options.body, signal);
    const response = await fetch(path, options.file ? { ...wish, body: options.file } : wish);
    if (!response.ok) await refuse(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  } catch (failure) {
    throw errorFromFailure(failure);
  }
}

const part = encodeURIComponent;

export const api = {
  /** The description of the whole API. */
  description: () => call<{ paths: Record<string, unknown> }>('GET', '/hearth/openapi.json'),
  myBudget: () => call<{ budget: Remaining }>('GET', '/hearth/me/budget'),
  status: () => call<Status>('GET', '/hearth/status'),
  setup: (body: { code: string; name: string; password: string }) =>
    call<{ user: User }>('POST', '/hearth/setup', { body }),

  signIn: (body: { name: string; password: string; code?: string }) =>
    call<{ user: User }>('POST', '/hearth/session', { body }),
  signInByProxy: () => call<{ user: User }>('POST', '/hearth/session/proxy'),
  join: (body: { invite: string; name: string; password: string }) =>
    call<{ user: User }>('POST', '/hearth/join', { body }),
  session: () => call<{ user: User }>('GET', '/hearth/session'),
  signOut: () => call<undefined>('DELETE', '/hearth/session'),

  updateMe: (body: Partial<Pick<User, 'language' | 'theme' | 'default_model'>>) =>
    call<{ user: User }>('PATCH', '/hearth/me', { body }),

  models: () => call<{ models: Model[]; default_model: string | null }>('GET', '/hearth/models'),
  watchPull,

  chats: (view: ChatView, before: string | null = null) =>
    call<{ chats: ChatSummary[]; next: string | null }>(
      'GET',
      `/hearth/chats?view=${view}&limit=50${before ? `&before=${part(before)}` : ''}`,
    ),
  chatsIn: (folder: string) =>
    call<{ chats: ChatSummary[] }>('GET', `/hearth/chats?folder=${part(folder)}&limit=100`),
  searchChats: (words: string, signal?: AbortSignal) =>
    call<{ hits: Hit[] }>('GET', `/hearth/chats/search?q=${part(words)}`, signal ? { signal } : {}),
  addChat: (body: { model?: string; settings?: ChatSettings; folder_id?: string }) =>
    call<{ chat: Chat }>('POST', '/hearth/chats', { body }),
  chat: (id: string, before?: string) =>
    call<ChatWindow>('GET', `/hearth/chats/${part(id)}${before ? `?before=${part(before)}` : ''}`),
  message: (chat: string, id: string) =>
    call<{ message: Message }>('GET', `/hearth/chats/${part(chat)}/messages/${part(id)}`),
  updateChat: (
    id: string,
    body: Partial<
      Pick<
        Chat,
        'title' | 'model' | 'current_message_id' | 'folder_id' | 'pinned' | 'archived' | 'settings'
      >
    >,
  ) => call<{ chat: Chat }>('PATCH', `/hearth/chats/${part(id)}`, { body }),
  deleteChat: (id: string) => call<undefined>('DELETE', `/hearth/chats/${part(id)}`),
  deleteMessage: (chat: string, id: string) =>
    call<{ chat: Chat }>('DELETE', `/hearth/chats/${part(chat)}/messages/${part(id)}`),
  exportChat: (id: string) =>
    call<{ chat: Chat; messages: Message[] }>('GET', `/hearth/chats/${part(id)}/export`),
  importChats: (chats: ForeignChat[]) =>
    call<{ imported: number; refused: { title: string; message: string }[] }>(
      'POST',
      '/hearth/chats/import',
      { body: { chats }, limit_ms: load_limit_ms },
    ),
  stopTurns: (id: string) => call<undefined>('DELETE', `/hearth/chats/${part(id)}/turns`),

  shareOf: (chat: string) =>
    call<{ share: Share | null }>('GET', `/hearth/chats/${part(chat)}/share`),
  share: (chat: string, open: boolean) =>
    call<{ share: Share }>('POST', `/hearth/chats/${part(chat)}/share`, { body: { open } }),
  unshare: (chat: string) => call<undefined>('DELETE', `/hearth/chats/${part(chat)}/share`),
  shared: (id: string, signedIn: boolean) =>
    call<SharedChat>('GET', `/hearth/${signedIn ? 'shared' : 'open'}/${part(id)}`),

  folders: () => call<{ folders: Folder[] }>('GET', '/hearth/folders'),
  addFolder: (name: string) =>
    call<{ folder: Folder }>('POST', '/hearth/folders', { body: { name } }),
  renameFolder: (id: string, name: string) =>
    call<{ folder: Folder }>('PATCH', `/hearth/folders/${part(id)}`, { body: { name } }),
  deleteFolder: (id: string) => call<undefined>('DELETE', `/hearth/folders/${part(id)}`),

  shelf: () => call<{ items: ShelfItem[] }>('GET', '/hearth/shelf'),
  addToShelf: (body: NewShelfItem) => call<{ item: ShelfItem }>('POST', '/hearth/shelf', { body }),
  updateShelf: (id: string, body: NewShelfItem) =>
    call<{ item: ShelfItem }>('PATCH', `/hearth/shelf/${part(id)}`, { body }),
  deleteFromShelf: (id: string) => call<undefined>('DELETE', `/hearth/shelf/${part(id)}`),

  turn: (chat: string, body: TurnRequest, signal: AbortSignal) =>
    events('POST', `/hearth/chats/${part(chat)}/turns`, body, signal),
  /** Reads along with an answer that is being written. */
  follow: (chat: string, message: string, signal: AbortSignal) =>
    events('GET', `/hearth/chats/${part(chat)}/turns/${part(message)}`, undefined, signal),
  complete,
};

/** Tells of a pull until it ends. It has no time limit, and leaving stops no detached pull. */
async function* watchPull(name: string): AsyncGenerator<Extract<PullLine, { stage: string }>> {
  try {
    const request = init('POST', { name }, new AbortController().signal);
    const response = await fetch('/hearth/models/pull', request);
    if (!response.ok) await refuse(response);
    if (!response.body) throw new ApiError('bad_answer', 'The answer has no body.');
    yield* readPull(response.body);
  } catch (failure) {
    throw errorFromFailure(failure);
  }
}

/** The events of an answer. They have no time limit: aborting `signal` ends the reading. */
async function* events(
  method: Method,
  path: string,
  body: unknown,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent> {
  try {
    const response = await fetch(path, init(method, body, signal));
    if (!response.ok) await refuse(response);
    if (!response.body) throw new ApiError('bad_answer', 'The answer has no body.');
    yield* readTurn(response.body);
  } catch (failure) {
    if (signal.aborted) return;
    throw errorFromFailure(failure);
  }
}

/** An answer that the server keeps nothing of, by the OpenAI dialect. */
async function* complete(body: object, signal: AbortSignal): AsyncGenerator<CompletionPiece> {
  try {
    const whole = { ...body, stream: true, stream_options: { include_usage: true } };
    const response = await fetch('/v1/chat/completions', init('POST', whole, signal));
    if (!response.ok) await refuse(response);
    if (!response.body) throw new ApiError('bad_answer', 'The answer has no body.');
    yield* readCompletion(response.body);
  } catch (failure) {
    if (signal.aborted) return;
    throw errorFromFailure(failure);
  }
}

/** An answer as it comes over the wire, refusals too. */
export async function rawCompletion(
  body: object,
): Promise<{ status: number; text: string; took_ms: number; requestId: string | null }> {
  const began = performance.now();
  try {
    const signal = AbortSignal.timeout(load_limit_ms);
    const response = await fetch('/v1/chat/completions', init('POST', body, signal));
    const text = await response.text();
    const took_ms = Math.round(performance.now() - began);
    const { status } = response;
    const requestId = response.headers.get('x-request-id');
    try {
      const pretty = JSON.stringify(JSON.parse(text), null, 2);
      return { status, text: pretty, took_ms, requestId };
    } catch {
      return { status, text, took_ms, requestId };
    }
  } catch (failure) {
    throw errorFromFailure(failure);
  }
}
