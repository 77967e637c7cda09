// A turn of which the server keeps nothing: the whole conversation is sent with each question.
import { api } from '../api/client';
import { ApiError, errorFromFailure } from '../api/error';
import type { Chat, ChatSettings, Message, TextFile, TurnEvent, TurnRequest } from '../api/types';
import { unsentId } from '../chat/rows';

/** A message that no server knows. */
export function localMessage(
  id: string,
  role: Message['role'],
  content: string,
  parent: string | null,
): Message {
  return {
    id,
    parent_id: parent,
    role,
    content,
    model: null,
    status: 'complete',
    finish_reason: null,
    usage: null,
    error: null,
    created_at: Math.floor(Date.now() / 1000),
  };
}

/** A question that was just sent. */
export function localQuestion(
  content: string,
  parent: string | null,
  files: readonly TextFile[],
): Message {
  const question = localMessage(unsentId(), 'user', content, parent);
  if (files.length > 0) {
    question.files = files.map(({ name, text }) => ({ name, bytes: text.length }));
  }
  return question;
}

/** A chat that no server knows. */
export function localChat(id: string, model: string | null): Chat {
  const now = Math.floor(Date.now() / 1000);
  return {
    id,
    title: '',
    model,
    current_message_id: null,
    folder_id: null,
    pinned: false,
    archived: false,
    settings: {},
    created_at: now,
    updated_at: now,
  };
}

/** A question as the model reads it: the files first, each between marks that name it. */
export function withFiles(content: string, files: readonly TextFile[]): string {
  const blocks = files.map(({ name, text }) => {
    const clean = name.replace(/["<>\n\r]/g, ' ');
    return `<file name="${clean}">\n${text.trimEnd()}\n</file>\n\n`;
  });
  return blocks.join('') + content;
}

/** The body of a request to `/v1/chat/completions`. */
export function completionBody(
  model: string,
  path: readonly Pick<Message, 'role' | 'content'>[],
  settings: ChatSettings,
): Record<string, unknown> {
  const system = settings.system?.trim() ? [{ role: 'system', content: settings.system }] : [];
  const said = path
    .filter((message) => message.content !== '')
    .map(({ role, content }) => ({ role, content }));
  // The dialect has no name for a shorter context; the whole conversation is sent anyway.
  const plain = { ...settings.parameters };
  const { thinking } = plain;
  delete plain.thinking;
  delete plain.context_tokens;
  return {
    model,
    messages: [...system, ...said],
    ...plain,
    ...(thinking && thinking !== 'off' ? { reasoning_effort: thinking } : {}),
  };
}

/** The events of an answer, as the server would tell them of a chat that it keeps. */
export async function* temporaryTurn(
  chat: Chat,
  question: Message | null,
  answer: Message,
  body: Record<string, unknown>,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent> {
  const began = Date.now();
  let first: number | null = null;
  let pieces = 0;
  const row: Message = { ...answer };
  yield { name: 'started', chat, user_message: question, assistant_message: { ...answer } };
  try {
    for await (const piece of api.complete(body, signal)) {
      if (piece.text !== '' || piece.thinking !== '') first ??= Date.now();
      if (piece.thinking !== '') {
        pieces += 1;
        row.reasoning = (row.reasoning ?? '') + piece.thinking;
        yield { name: 'thinking', text: piece.thinking, pieces };
      }
      if (piece.text !== '') {
        pieces += 1;
        row.content += piece.text;
        yield { name: 'delta', text: piece.text, pieces };
      }
      row.finish_reason = piece.finish ?? row.finish_reason;
      if (piece.usage) {
        const now = Date.now();
        row.usage = {
          ...piece.usage,
          cost_micros: null,
          queue_ms: 0,
          first_token_ms: (first ?? now) - began,
          total_ms: now - began,
        };
      }
    }
    if (signal.aborted) row.status = 'stopped';
    yield { name: 'finished', assistant_message: row, chat };
  } catch (failure) {
    const { code, message } = failure instanceof ApiError ? failure : errorFromFailure(failure);
    row.status = 'failed';
    row.error = { code, message };
    yield { name: 'failed', assistant_message: row, error: { code, message } };
  }
}

/** What of a conversation a temporary turn looks at. */
interface Talk {
  id: string;
  chat: Chat | null;
  leafId: string | null;
  path: Message[];
  settings: ChatSettings;
  message: (id: string | null) => Message | undefined;
}

/** The events of the answer to what was said last. */
export function temporaryEvents(
  talk: Talk,
  request: TurnRequest,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent> {
  const model = request.model ?? '';
  const question = talk.message(talk.leafId);
  // The next turns send it again, so the files stay part of it.
  if (question && 'content' in request) {
    question.content = withFiles(request.content, request.files ?? []);
  }
  const answer = localMessage(unsentId(), 'assistant', '', talk.leafId);
  answer.model = model;
  const body = completionBody(model, talk.path, talk.settings);
  return temporaryTurn(talk.chat ?? localChat(talk.id, model), null, answer, body, signal);
}
