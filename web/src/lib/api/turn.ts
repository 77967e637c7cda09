// Turns the byte stream of a running answer into typed events.
import { createParser } from 'eventsource-parser';

import { ApiError } from './error';
import type { TurnEvent } from './types';

const names = new Set(['started', 'queue', 'thinking', 'calls', 'delta', 'finished', 'failed']);

/** One line of a stream may hold a whole message; beyond this the stream is refused. */
const pending_limit_chars = 16 * 1024 * 1024;

function parseEvent(name: string | undefined, data: string): TurnEvent | null {
  // Unknown names are skipped: a newer server may say more than this page knows.
  if (!name || !names.has(name)) return null;
  try {
    return { name, ...(JSON.parse(data) as object) } as TurnEvent;
  } catch {
    throw new ApiError('bad_answer', `The event ${name} is not JSON.`);
  }
}

async function drain(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    while (!(await reader.read()).done);
  } catch {
    // The answer is complete; how the connection ends no longer matters.
  }
}

/** Yields the events of a turn; throws `stream_cut` when it ends without finished or failed. */
export async function* readTurn(body: ReadableStream<Uint8Array>): AsyncGenerator<TurnEvent> {
  const ready: TurnEvent[] = [];
  const parser = createParser({
    maxBufferSize: pending_limit_chars,
    onEvent: ({ event, data }) => {
      const parsed = parseEvent(event, data);
      if (parsed) ready.push(parsed);
    },
    onError: (error) => {
      if (error.type === 'max-buffer-size-exceeded') {
        throw new ApiError('bad_answer', 'One event of the answer is too large.');
      }
    },
  });
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let complete = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      parser.feed(done ? decoder.decode() : decoder.decode(value, { stream: true }));
      for (const event of ready.splice(0)) {
        yield event;
        if (event.name === 'finished' || event.name === 'failed') {
          complete = true;
          return;
        }
      }
      if (done) throw new ApiError('stream_cut', 'The answer broke off.');
    }
  } finally {
    // Leaving early must close the connection: that is how the server learns of a stop. After the
    // last event the server closes it, and reading up to there is what makes that a clean end.
    if (complete) void drain(reader);
    else await reader.cancel().catch(() => undefined);
  }
}
