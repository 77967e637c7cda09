// What the small line under an answer says.
import type { Usage } from '../api/types';

/** Tokens per second after the first one; null when there is too little to divide. */
export function tokensPerSecond(
  usage: Pick<Usage, 'completion_tokens' | 'first_token_ms' | 'total_ms'>,
): number | null {
  const span_ms = usage.total_ms - usage.first_token_ms;
  const tokens = usage.completion_tokens - 1;
  return span_ms > 0 && tokens > 0 ? (tokens * 1000) / span_ms : null;
}

/** Micro-dollars as money: as many digits as it takes to see that it is not nothing. */
export function formatCost(micros: number, locale: string): string {
  const dollars = micros / 1_000_000;
  const small = dollars !== 0 && Math.abs(dollars) < 0.1;
  return dollars.toLocaleString(locale, {
    style: 'currency',
    currency: 'USD',
    minimumFractionDigits: 2,
    maximumFractionDigits: small ? 6 : 2,
  });
}

/** How much of the model's context the next question begins with, 0 to 1; null if unknown. */
export function contextShare(
  usage: Usage | null | undefined,
  context_tokens: number,
): number | null {
  if (!usage || context_tokens <= 0) return null;
  return Math.min(1, (usage.prompt_tokens + usage.completion_tokens) / context_tokens);
}
