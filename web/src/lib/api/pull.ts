// Turns the lines of a running pull into what they say.
import { ApiError } from './error';
import type { Model, PullLine } from './types';

/** A line is a few hundred bytes; one that never ends is refused. */
const line_limit_chars = 1024 * 1024;

function parse(line: string): PullLine {
  try {
    return JSON.parse(line) as PullLine;
  } catch {
    throw new ApiError('bad_answer', 'A line of the pull is not JSON.');
  }
}

/** Yields progress and returns the model; throws the pull's failure, or `stream_cut` without an end. */
export async function* readPull(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<Extract<PullLine, { stage: string }>, Model> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      if (rest.length > line_limit_chars) {
        throw new ApiError('bad_answer', 'One line of the pull is too large.');
      }
      for (const text of lines) {
        if (text === '') continue;
        const line = parse(text);
        if ('model' in line) return line.model;
        if ('error' in line) throw new ApiError(line.error.code, line.error.message);
        yield line;
      }
      if (done) throw new ApiError('stream_cut', 'The pull was no longer told of.');
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
