// Every request this page makes. Nothing else calls fetch.
import { ApiError, errorFromFailure, errorFromResponse } from './error';
import { readPull } from './pull';
import { readTurn } from './turn';
import type {
  ApiToken,
  CatalogueCard,
  Chat,
  ChatSummary,
  Machine,
  Message,
  Model,
  PullLine,
  Role,
  Status,
  TurnEvent,
  TurnRequest,
  User,
} from './types';

const answer_limit_ms = 20_000;
/** Loading weights from a slow disk takes minutes. */
const load_limit_ms = 600_000;

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

interface Options {
  body?: unknown;
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

async function call<T>(method: Method, path: string, options: Options = {}): Promise<T> {
  const timer = AbortSignal.timeout(options.limit_ms ?? answer_limit_ms);
  const signal = options.signal ? AbortSignal.any([timer, options.signal]) : timer;
  try {
    const response = await fetch(path, init(method, options.body, signal));
    if (!response.ok) await refuse(response);
    return (response.status === 204 ? undefined : await response.json()) as T;
  } catch (failure) {
    throw errorFromFailure(failure);
  }
}

const part = encodeURIComponent;

export const api = {
  status: () => call<Status>('GET', '/hearth/status'),
  setup: (body: { code: string; name: string; password: string }) =>
    call<{ user: User }>('POST', '/hearth/setup', { body }),

  signIn: (body: { name: string; password: string }) =>
    call<{ user: User }>('POST', '/hearth/session', { body }),
  session: () => call<{ user: User }>('GET', '/hearth/session'),
  signOut: () => call<undefined>('DELETE', '/hearth/session'),

  updateMe: (body: Partial<Pick<User, 'language' | 'theme' | 'default_model'>>) =>
    call<{ user: User }>('PATCH', '/hearth/me', { body }),
  changePassword: (body: { current: string; new: string }) =>
    call<undefined>('POST', '/hearth/me/password', { body }),

  users: () => call<{ users: User[] }>('GET', '/hearth/users'),
  addUser: (body: { name: string; role: Role; password: string }) =>
    call<{ user: User }>('POST', '/hearth/users', { body }),
  updateUser: (id: number, body: { role?: Role; disabled?: boolean; password?: string }) =>
    call<{ user: User }>('PATCH', `/hearth/users/${id}`, { body }),

  tokens: () => call<{ tokens: ApiToken[] }>('GET', '/hearth/tokens'),
  addToken: (body: {
    name: string;
    expires_at?: number;
    models?: string[];
    allow_ips?: string[];
  }) => call<{ token: ApiToken; secret: string }>('POST', '/hearth/tokens', { body }),
  revokeToken: (id: number) => call<undefined>('DELETE', `/hearth/tokens/${id}`),

  models: () => call<{ models: Model[]; default_model: string | null }>('GET', '/hearth/models'),
  copyModel: (body: { source: string; destination: string }) =>
    call<{ model: Model }>('POST', '/hearth/models/copy', { body }),
  deleteModel: (name: string) => call<undefined>('DELETE', `/hearth/models/${part(name)}`),
  loadModel: (name: string) =>
    call<{ model: Model }>('POST', `/hearth/models/${part(name)}/load`, {
      limit_ms: load_limit_ms,
    }),
  unloadModel: (name: string) =>
    call<{ model: Model }>('POST', `/hearth/models/${part(name)}/unload`),
  catalogue: (words: string) =>
    call<{ models: CatalogueCard[] }>('GET', `/hearth/models/catalogue?q=${part(words)}`),
  startPull: (name: string) =>
    call<{ name: string }>('POST', '/hearth/models/pull', { body: { name, detach: true } }),
  pulls: () => call<{ pulls: { name: string }[] }>('GET', '/hearth/models/pulls'),
  cancelPull: (name: string) => call<undefined>('DELETE', `/hearth/models/pulls/${part(name)}`),
  watchPull,
  machine: () => call<Machine>('GET', '/hearth/machine'),

  chats: (before: string | null) =>
    call<{ chats: ChatSummary[]; next: string | null }>(
      'GET',
      `/hearth/chats?limit=50${before ? `&before=${part(before)}` : ''}`,
    ),
  addChat: (body: { model?: string }) => call<{ chat: Chat }>('POST', '/hearth/chats', { body }),
  chat: (id: string) =>
    call<{ chat: Chat; messages: Message[] }>('GET', `/hearth/chats/${part(id)}`),
  updateChat: (id: string, body: Partial<Pick<Chat, 'title' | 'model' | 'current_message_id'>>) =>
    call<{ chat: Chat }>('PATCH', `/hearth/chats/${part(id)}`, { body }),
  deleteChat: (id: string) => call<undefined>('DELETE', `/hearth/chats/${part(id)}`),

  turn,
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

/** Starts a turn. It has no time limit: aborting `signal` is how it is stopped. */
async function* turn(
  chatId: string,
  body: TurnRequest,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent> {
  try {
    const request = init('POST', body, signal);
    const response = await fetch(`/hearth/chats/${part(chatId)}/turns`, request);
    if (!response.ok) await refuse(response);
    if (!response.body) throw new ApiError('bad_answer', 'The answer has no body.');
    yield* readTurn(response.body);
  } catch (failure) {
    if (signal.aborted) return;
    throw errorFromFailure(failure);
  }
}
