import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Chat, Message } from '../api/types';
import { Conversation } from './conversation.svelte';

const chat: Chat = {
  id: 'c1',
  title: 'A chat',
  model: 'guide',
  current_message_id: null,
  created_at: 1,
  updated_at: 1,
};

function row(id: string, parent_id: string | null, rest: Partial<Message> = {}): Message {
  const role = id.startsWith('u') ? 'user' : 'assistant';
  return {
    id,
    parent_id,
    role,
    content: '',
    model: role === 'assistant' ? 'guide' : null,
    status: 'complete',
    finish_reason: null,
    usage: null,
    error: null,
    created_at: 1,
    ...rest,
  };
}

/** Answers each request with what the test has put in line, and keeps what was asked. */
class Line {
  asked: { path: string; body: unknown; signal: AbortSignal | null }[] = [];
  #answers: ((signal: AbortSignal | null) => Promise<Response>)[] = [];

  json(status: number, body: unknown): void {
    this.#answers.push(() => Promise.resolve(Response.json(body, { status })));
  }

  refuse(status: number, code: string): void {
    this.json(status, { error: { code, message: code, request_id: 'r' } });
  }

  /** A stream of these events; `open` leaves it unfinished until the client goes away. */
  events(list: [string, object][], open = false): void {
    const text = list.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    this.#answers.push((signal) => {
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(new TextEncoder().encode(text.join('')));
          if (!open) controller.close();
          signal?.addEventListener('abort', () => controller.error(signal.reason));
        },
      });
      return Promise.resolve(new Response(body));
    });
  }

  fetch = (path: string, init: RequestInit): Promise<Response> => {
    const body: unknown = init.body ? JSON.parse(String(init.body)) : null;
    this.asked.push({ path, body, signal: init.signal ?? null });
    const next = this.#answers.shift();
    return next ? next(init.signal ?? null) : Promise.reject(new TypeError('nothing in line'));
  };
}

const started = (user: Message | null, assistant: Message): [string, object] => [
  'started',
  { chat, user_message: user, assistant_message: assistant },
];
const finished = (assistant: Message): [string, object] => [
  'finished',
  { assistant_message: assistant, chat },
];
const shown = (conversation: Conversation): string[] =>
  conversation.path.map(({ id, content }) => `${id}: ${content}`);

describe('Conversation', () => {
  let line: Line;
  let conversation: Conversation;

  beforeEach(() => {
    localStorage.clear();
    line = new Line();
    vi.stubGlobal('fetch', line.fetch);
    conversation = new Conversation(chat.id);
    conversation.adopt(chat);
  });
  afterEach(() => vi.unstubAllGlobals());

  it('shows a sent message at once and then the rows of the server', async () => {
    const answer = row('a1', 'u1', { content: 'Hello you', finish_reason: 'stop' });
    line.events([
      started(row('u1', null, { content: 'Hi' }), row('a1', 'u1', { status: 'stopped' })),
      ['delta', { text: 'Hel' }],
      ['delta', { text: 'lo' }],
      finished(answer),
    ]);
    const sent = conversation.send('Hi', 'guide');
    expect(conversation.path.map(({ content }) => content)).toEqual(['Hi']);
    expect(conversation.turn?.phase).toBe('waiting');
    await sent;
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hello you']);
    expect(conversation.turn).toBeNull();
    expect(line.asked[0]?.body).toEqual({ model: 'guide', content: 'Hi', parent_id: null });
  });

  it('gives a refused message back as the draft', async () => {
    line.refuse(429, 'busy');
    await conversation.send('Hi', 'guide');
    expect(conversation.draft).toBe('Hi');
    expect(conversation.error?.code).toBe('busy');
    expect(conversation.path).toEqual([]);
  });

  it('tries again while the stopped turn before it is still ending', async () => {
    line.refuse(409, 'turn_running');
    line.refuse(409, 'turn_running');
    const answer = row('a1', 'u1', { content: 'Hello' });
    line.events([started(row('u1', null, { content: 'Hi' }), answer), finished(answer)]);
    await conversation.send('Hi', 'guide');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hello']);
    expect(conversation.error).toBeNull();
  });

  it('keeps what was said when the stream breaks off', async () => {
    line.events([
      started(row('u1', null, { content: 'Hi' }), row('a1', 'u1')),
      ['delta', { text: 'Hel' }],
    ]);
    await conversation.send('Hi', 'guide');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hel']);
    expect(conversation.message('a1')?.error?.code).toBe('stream_cut');
  });

  it('marks an answer as failed, also when the server could not store it', async () => {
    line.events([
      started(row('u1', null, { content: 'Hi' }), row('a1', 'u1')),
      ['delta', { text: 'Hel' }],
      ['failed', { assistant_message: null, error: { code: 'internal', message: 'No.' } }],
    ]);
    await conversation.send('Hi', 'guide');
    expect(conversation.message('a1')).toMatchObject({ status: 'failed', content: 'Hel' });
    expect(conversation.message('a1')?.error?.code).toBe('internal');
  });

  it('closes the connection on stop and never takes back what was seen', async () => {
    const question = row('u1', null, { content: 'Hi' });
    line.events([started(question, row('a1', 'u1')), ['delta', { text: 'Hel' }]], true);
    line.json(200, { chat, messages: [question, row('a1', 'u1', { content: 'H' })] });
    const sent = conversation.send('Hi', 'guide');
    await vi.waitFor(() => expect(conversation.message('a1')?.content).toBe('Hel'));
    conversation.stop();
    await sent;
    expect(line.asked[0]?.signal?.aborted).toBe(true);
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hel']);
    expect(conversation.message('a1')?.status).toBe('stopped');
  });

  it('has a message either as draft or in the chat after an early stop', async () => {
    line.events([], true);
    const stored = [row('u1', null, { content: 'Hi' }), row('a1', 'u1', { status: 'stopped' })];
    line.json(200, { chat: { ...chat, current_message_id: 'a1' }, messages: stored });
    const sent = conversation.send('Hi', 'guide');
    await vi.waitFor(() => expect(line.asked).toHaveLength(1));
    conversation.stop();
    await sent;
    expect(conversation.draft).toBe('');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: ']);
  });

  it('leaves a turn alone that has ended since an early stop', async () => {
    line.events([], true);
    const stopped = conversation.send('Hi', 'guide');
    await vi.waitFor(() => expect(line.asked).toHaveLength(1));
    conversation.stop();
    await vi.waitFor(() => expect(conversation.turn).toBeNull());
    line.events([
      started(row('u1', null, { content: 'Ho' }), row('a1', 'u1')),
      ['delta', { text: 'Hel' }],
    ]);
    await conversation.send('Ho', 'guide');
    const whole = [row('u1', null, { content: 'Ho' }), row('a1', 'u1', { content: 'Hello' })];
    line.json(200, { chat, messages: whole });
    await stopped;
    expect(shown(conversation)).toEqual(['u1: Ho', 'a1: Hel']);
    expect(conversation.message('a1')?.error?.code).toBe('stream_cut');
  });

  it('answers again beside the first answer and walks between both', async () => {
    line.json(200, {
      chat: { ...chat, current_message_id: 'a1' },
      messages: [row('u1', null, { content: 'Hi' }), row('a1', 'u1', { content: 'One' })],
    });
    await conversation.load();
    const second = row('a2', 'u1', { content: 'Two' });
    line.events([started(null, row('a2', 'u1')), finished(second)]);
    await conversation.regenerate(row('a1', 'u1'), 'guide');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a2: Two']);
    line.json(200, { chat });
    await conversation.show('a1');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: One']);
    expect(line.asked.at(-1)?.body).toEqual({ current_message_id: 'a1' });
  });

  it('tells the server of a move before it asks for the next answer', async () => {
    const rows = ['a1', 'a2'].map((id) => row(id, 'u1', { content: id }));
    line.json(200, { chat, messages: [row('u1', null), ...rows] });
    await conversation.load();
    line.json(200, { chat });
    line.events([started(null, row('a3', 'u1')), finished(row('a3', 'u1'))]);
    const moved = conversation.show('a1');
    const asked = conversation.regenerate(row('a1', 'u1'), 'guide');
    expect(line.asked.map(({ path }) => path)).toEqual(['/hearth/chats/c1', '/hearth/chats/c1']);
    await Promise.all([moved, asked]);
    expect(line.asked[2]?.path).toBe('/hearth/chats/c1/turns');
  });

  it('goes back to the answer on screen when another one is refused', async () => {
    line.json(200, {
      chat: { ...chat, current_message_id: 'a1' },
      messages: [row('u1', null, { content: 'Hi' }), row('a1', 'u1', { content: 'One' })],
    });
    await conversation.load();
    line.refuse(404, 'model_not_found');
    await conversation.regenerate(row('a1', 'u1'), 'gone');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: One']);
    expect(conversation.error?.code).toBe('model_not_found');
  });

  it('tells an absent chat from a server at fault', async () => {
    line.refuse(404, 'not_found');
    const absent = new Conversation('x');
    await absent.load();
    expect(absent.phase).toBe('absent');
    line.refuse(500, 'internal');
    const broken = new Conversation('y');
    await broken.load();
    expect(broken.phase).toBe('failed');
  });
});
