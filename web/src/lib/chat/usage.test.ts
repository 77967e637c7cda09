import { expect, it } from 'vitest';

import { contextShare, formatCost, tokensPerSecond } from './usage';

const usage = { prompt_tokens: 5, completion_tokens: 101, first_token_ms: 500, total_ms: 2500 };

it('divides the tokens after the first by the time after the first', () => {
  expect(tokensPerSecond(usage)).toBe(50);
});

it('says nothing when there is too little to divide', () => {
  expect(tokensPerSecond({ ...usage, completion_tokens: 1 })).toBeNull();
  expect(tokensPerSecond({ ...usage, total_ms: 500 })).toBeNull();
});

it('shows small costs with the digits they need', () => {
  expect(formatCost(1_250_000, 'en')).toBe('$1.25');
  expect(formatCost(42, 'en')).toBe('$0.000042');
  expect(formatCost(0, 'en')).toBe('$0.00');
});

it('knows how full the context is', () => {
  const whole = { ...usage, cached_tokens: 0, cost_micros: null, queue_ms: 0 };
  expect(contextShare(whole, 212)).toBe(0.5);
  expect(contextShare(whole, 50)).toBe(1);
  expect(contextShare(null, 212)).toBeNull();
  expect(contextShare(whole, 0)).toBeNull();
});
