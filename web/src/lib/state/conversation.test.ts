import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Chat, Message } from '../api/types';
import { Conversation } from './conversation.svelte';

const chat: Chat = {
  id: 'c1',
  title: 'A chat',
  model: 'guide',
  current_message_id: null,
  folder_id: null,
  pinned: false,
  archived: false,
  settings: {},
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

  push(answer: (signal: AbortSignal | null) => Promise<Response>): void {
    this.#answers.push(answer);
  }

  json(status: number, body: unknown): void {
    const response =
      status === 204 ? new Response(null, { status }) : Response.json(body, { status });
    this.#answers.push(() => Promise.resolve(response));
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
const loaded = (messages: Message[], running: string[] = []): object => ({
  chat,
  messages,
  running,
  has_earlier: false,
});
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

  it('takes a lost answer up again where it is', async () => {
    const question = row('u1', null, { content: 'Hi' });
    line.events([started(question, row('a1', 'u1')), ['delta', { text: 'Hel', pieces: 1 }]]);
    line.events([
      started(null, row('a1', 'u1', { content: 'Hello' })),
      ['delta', { text: ' you', pieces: 3 }],
      finished(row('a1', 'u1', { content: 'Hello you' })),
    ]);
    await conversation.send('Hi', 'guide');
    expect(line.asked[1]?.path).toBe('/hearth/chats/c1/turns/a1');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hello you']);
    expect(conversation.message('a1')?.status).toBe('complete');
  });

  it('reads the whole answer if it has ended while the connection was lost', async () => {
    line.events([
      started(row('u1', null, { content: 'Hi' }), row('a1', 'u1')),
      ['delta', { text: 'Hel', pieces: 1 }],
    ]);
    line.refuse(404, 'not_found');
    line.json(200, { message: row('a1', 'u1', { content: 'Hello you' }) });
    await conversation.send('Hi', 'guide');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hello you']);
  });

  it('keeps what was said when the answer stays lost', async () => {
    line.events([
      started(row('u1', null, { content: 'Hi' }), row('a1', 'u1')),
      ['delta', { text: 'Hel', pieces: 1 }],
    ]);
    line.refuse(500, 'internal');
    line.refuse(500, 'internal');
    await conversation.send('Hi', 'guide');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hel']);
    expect(conversation.message('a1')?.error?.code).toBe('internal');
  });

  it('reads along with an answer that runs when the chat is opened', async () => {
    const rows = [row('u1', null, { content: 'Hi' }), row('a1', 'u1')];
    line.json(200, loaded(rows, ['a1']));
    line.events([
      started(null, row('a1', 'u1', { content: 'So ' })),
      ['thinking', { text: 'hm', pieces: 1 }],
      ['delta', { text: 'far', pieces: 2 }],
      finished(row('a1', 'u1', { content: 'So far' })),
    ]);
    await conversation.load();
    expect(conversation.turn?.messageId).toBe('a1');
    await vi.waitFor(() => expect(conversation.turn).toBeNull());
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: So far']);
  });

  it('lets further models answer beside the first without leaving it', async () => {
    conversation.adopt({ ...chat, settings: { beside: ['other'] } });
    const question = row('u1', null, { content: 'Hi' });
    line.events([started(question, row('a1', 'u1')), finished(row('a1', 'u1', { content: 'A' }))]);
    const beside = row('a2', 'u1', { model: 'other', content: 'B' });
    line.events([started(null, row('a2', 'u1', { model: 'other' })), finished(beside)]);
    await conversation.send('Hi', 'guide');
    await vi.waitFor(() => expect(conversation.turn).toBeNull());
    expect(line.asked[1]?.body).toEqual({ model: 'other', answer: 'u1' });
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: A']);
    expect(conversation.versions(row('a1', 'u1'))).toEqual(['a1', 'a2']);
    expect(conversation.message('a2')?.content).toBe('B');
  });

  it('fetches earlier messages when they are asked for', async () => {
    line.json(200, loaded([row('u2', 'a1', { content: 'two' })]));
    await conversation.load();
    expect(conversation.hasEarlier).toBe(true);
    line.json(200, loaded([row('u1', null, { content: 'one' }), row('a1', 'u1')]));
    await conversation.earlier();
    expect(line.asked[1]?.path).toBe('/hearth/chats/c1?before=u2');
    expect(shown(conversation)).toEqual(['u1: one', 'a1: ', 'u2: two']);
    expect(conversation.hasEarlier).toBe(false);
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

  it('asks the server to stop and shows its last row', async () => {
    const question = row('u1', null, { content: 'Hi' });
    let end: (() => void) | undefined;
    line.push(() => {
      const text = (list: [string, object][]): Uint8Array =>
        new TextEncoder().encode(
          list.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join(''),
        );
      const body = new ReadableStream({
        start(controller) {
          const begin: [string, object][] = [
            started(question, row('a1', 'u1')),
            ['delta', { text: 'Hel', pieces: 1 }],
          ];
          controller.enqueue(text(begin));
          end = () => {
            const last = row('a1', 'u1', { content: 'Hell', status: 'stopped' });
            controller.enqueue(text([finished(last)]));
            controller.close();
          };
        },
      });
      return Promise.resolve(new Response(body));
    });
    line.push(() => {
      end?.();
      return Promise.resolve(new Response(null, { status: 204 }));
    });
    const sent = conversation.send('Hi', 'guide');
    await vi.waitFor(() => expect(conversation.message('a1')?.content).toBe('Hel'));
    conversation.stop();
    await sent;
    expect(line.asked[1]).toMatchObject({ path: '/hearth/chats/c1/turns' });
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: Hell']);
    expect(conversation.message('a1')?.status).toBe('stopped');
  });

  it('has a message either as draft or in the chat after an early stop', async () => {
    line.events([], true);
    const stored = [row('u1', null, { content: 'Hi' }), row('a1', 'u1', { status: 'stopped' })];
    line.json(204, undefined);
    line.json(200, loaded(stored));
    const sent = conversation.send('Hi', 'guide');
    await vi.waitFor(() => expect(line.asked).toHaveLength(1));
    conversation.stop();
    await sent;
    expect(conversation.draft).toBe('');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: ']);
  });

  it('answers again beside the first answer and walks between both', async () => {
    const rows = [row('u1', null, { content: 'Hi' }), row('a1', 'u1', { content: 'One' })];
    line.json(200, loaded(rows));
    await conversation.load();
    const second = row('a2', 'u1', { content: 'Two' });
    line.events([started(null, row('a2', 'u1')), finished(second)]);
    await conversation.regenerate(row('a1', 'u1'), 'guide');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a2: Two']);
    line.json(200, { chat: { ...chat, current_message_id: 'a1' } });
    await conversation.show('a1');
    expect(shown(conversation)).toEqual(['u1: Hi', 'a1: One']);
    expect(line.asked.at(-1)?.body).toEqual({ current_message_id: 'a1' });
  });

  it('tells the server of a move before it asks for the next answer', async () => {
    const rows = ['a1', 'a2'].map((id) => row(id, 'u1', { content: id }));
    line.json(200, loaded([row('u1', null), ...rows]));
    await conversation.load();
    line.json(200, { chat: { ...chat, current_message_id: 'a1' } });
    line.events([started(null, row('a3', 'u1')), finished(row('a3', 'u1'))]);
    const moved = conversation.show('a1');
    const asked = conversation.regenerate(row('a1', 'u1'), 'guide');
    expect(line.asked.map(({ path }) => path)).toEqual(['/hearth/chats/c1', '/hearth/chats/c1']);
    await Promise.all([moved, asked]);
    expect(line.asked[2]?.path).toBe('/hearth/chats/c1/turns');
  });

  it('goes back to the answer on screen when another one is refused', async () => {
    const rows = [row('u1', null, { content: 'Hi' }), row('a1', 'u1', { content: 'One' })];
    line.json(200, loaded(rows));
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
