import { describe, expect, it } from 'vitest';

import { readTurn } from './turn';
import type { TurnEvent } from './types';

function bodyOf(chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  const rest = [...chunks];
  return new ReadableStream({
    pull: (controller) => {
      const next = rest.shift();
      if (next) controller.enqueue(next);
      else controller.close();
    },
  });
}

async function collect(body: ReadableStream<Uint8Array>): Promise<TurnEvent[]> {
  const events: TurnEvent[] = [];
  for await (const event of readTurn(body)) events.push(event);
  return events;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const finished = 'event: finished\ndata: {"assistant_message":{"id":"m"},"chat":{"id":"c"}}\n\n';
const whole = [
  'event: started\ndata: {"chat":{"id":"c"},"user_message":null,"assistant_message":{"id":"m"}}\n\n',
  ': keep-alive\n\n',
  'event: delta\ndata: {"text":"héllo 你好 🔥"}\n\n',
  'event: later-invention\ndata: not json\n\n',
  finished,
].join('');

describe('readTurn', () => {
  it('reads the same events however the bytes are cut', async () => {
    const all = bytes(whole);
    const expected = await collect(bodyOf([all]));
    expect(expected.map((event) => event.name)).toEqual(['started', 'delta', 'finished']);
    expect(expected[1]).toEqual({ name: 'delta', text: 'héllo 你好 🔥' });
    for (const size of [1, 2, 3, 7, 50]) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < all.length; at += size) chunks.push(all.slice(at, at + size));
      expect(await collect(bodyOf(chunks)), `${size} bytes`).toEqual(expected);
    }
  });

  it('ends at finished, whatever follows', async () => {
    const events = await collect(
      bodyOf([bytes(`${finished}event: delta\ndata: {"text":"x"}\n\n`)]),
    );
    expect(events.map((event) => event.name)).toEqual(['finished']);
  });

  it('says so when the stream breaks off', async () => {
    await expect(collect(bodyOf([bytes('event: delta\ndata: {"text":"a"}\n\n')]))).rejects.toThrow(
      expect.objectContaining({ code: 'stream_cut' }),
    );
  });

  it('refuses an event that is not JSON', async () => {
    await expect(collect(bodyOf([bytes('event: delta\ndata: {oops\n\n')]))).rejects.toThrow(
      expect.objectContaining({ code: 'bad_answer' }),
    );
  });

  it('closes the connection when the reader leaves', async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(bytes(whole)),
      cancel: () => void (cancelled = true),
    });
    for await (const event of readTurn(body)) {
      expect(event.name).toBe('started');
      break;
    }
    expect(cancelled).toBe(true);
  });
});
