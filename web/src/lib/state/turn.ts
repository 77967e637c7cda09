// One answer that is being written, as the page knows it.
import { api } from '../api/client';
import { ApiError } from '../api/error';
import type { QueueNews, TurnEvent, TurnRequest } from '../api/types';

/** A stop takes the server a moment; a turn sent right after it is tried again this often. */
const busy_tries = 8;
const busy_pause_ms = 150;

export interface Turn {
  phase: 'waiting' | 'thinking' | 'streaming';
  /** The message that is being written; null until the server has named it. */
  messageId: string | null;
  model: string | null;
  started_ms: number;
  /** When the first word came. */
  first_ms: number | null;
  last_ms: number | null;
  /** Tokens so far, as far as the server tells pieces apart. */
  pieces: number;
  queue: QueueNews | null;
  abort: AbortController;
}

export function newTurn(model: string | null, messageId: string | null = null): Turn {
  return {
    phase: 'waiting',
    messageId,
    model,
    started_ms: Date.now(),
    first_ms: null,
    last_ms: null,
    pieces: 0,
    queue: null,
    abort: new AbortController(),
  };
}

/** Takes note of how far the answer is. */
export function advance(turn: Turn, event: TurnEvent, now_ms: number): void {
  if (event.name === 'queue') turn.queue = event;
  if (event.name === 'thinking' || event.name === 'delta') {
    turn.phase = event.name === 'thinking' ? 'thinking' : 'streaming';
    turn.first_ms ??= now_ms;
    turn.last_ms = now_ms;
    turn.pieces = event.pieces;
  }
}

/** Tokens per second so far; null while there is too little to divide. */
export function paceOf(turn: Turn): number | null {
  const span_ms = (turn.last_ms ?? 0) - (turn.first_ms ?? 0);
  return span_ms > 300 && turn.pieces > 4 ? ((turn.pieces - 1) * 1000) / span_ms : null;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The events of a turn, once what comes before it is done and the chat is free. */
export async function* turnEvents(
  chat: string,
  request: TurnRequest,
  signal: AbortSignal,
  before: Promise<unknown>,
): AsyncGenerator<TurnEvent> {
  await before.catch(() => undefined);
  for (let tries = 1; ; tries += 1) {
    try {
      yield* api.turn(chat, request, signal);
      return;
    } catch (failure) {
      const running = failure instanceof ApiError && failure.code === 'turn_running';
      if (!running || tries === busy_tries) throw failure;
      await pause(busy_pause_ms * tries);
    }
  }
}
