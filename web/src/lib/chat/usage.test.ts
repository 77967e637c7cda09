import { expect, it } from 'vitest';

import { tokensPerSecond } from './usage';

const usage = { prompt_tokens: 5, completion_tokens: 101, first_token_ms: 500, total_ms: 2500 };

it('divides the tokens after the first by the time after the first', () => {
  expect(tokensPerSecond(usage)).toBe(50);
});

it('says nothing when there is too little to divide', () => {
  expect(tokensPerSecond({ ...usage, completion_tokens: 1 })).toBeNull();
  expect(tokensPerSecond({ ...usage, total_ms: 500 })).toBeNull();
});
