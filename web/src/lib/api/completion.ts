// Reads an answer in the OpenAI dialect, for chats that the server keeps nothing of.
import { createParser } from 'eventsource-parser';

import { ApiError } from './error';

/** What one chunk adds. */
export interface CompletionPiece {
  text: string;
  thinking: string;
  finish: string | null;
  usage: { prompt_tokens: number; completion_tokens: number; cached_tokens: number } | null;
}

interface Chunk {
  choices?: {
    delta?: { content?: string | null; reasoning_content?: string | null };
    finish_reason?: string | null;
  }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens?: number };
  } | null;
  error?: { code?: string | null; message?: string };
}

function pieceOf(data: string): CompletionPiece {
  const chunk = JSON.parse(data) as Chunk;
  if (chunk.error) {
    throw new ApiError(chunk.error.code ?? 'internal', chunk.error.message ?? '');
  }
  const choice = chunk.choices?.[0];
  const { usage } = chunk;
  return {
    text: choice?.delta?.content ?? '',
    thinking: choice?.delta?.reasoning_content ?? '',
    finish: choice?.finish_reason ?? null,
    usage: usage
      ? {
          prompt_tokens: usage.prompt_tokens,
          completion_tokens: usage.completion_tokens,
          cached_tokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
        }
      : null,
  };
}

/** Yields what each chunk adds; throws `stream_cut` without the last word. */
export async function* readCompletion(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<CompletionPiece> {
  const ready: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => ready.push(data) });
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      parser.feed(done ? decoder.decode() : decoder.decode(value, { stream: true }));
      for (const data of ready.splice(0)) {
        if (data === '[DONE]') return;
        yield pieceOf(data);
      }
      if (done) throw new ApiError('stream_cut', 'The answer broke off.');
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
