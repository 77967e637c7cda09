// What the small line under an answer says.
import type { Usage } from '../api/types';

/** Tokens per second after the first one; null when there is too little to divide. */
export function tokensPerSecond(usage: Usage): number | null {
  const span_ms = usage.total_ms - usage.first_token_ms;
  const tokens = usage.completion_tokens - 1;
  return span_ms > 0 && tokens > 0 ? (tokens * 1000) / span_ms : null;
}
