import { expect, it } from 'vitest';

import type { UsageSpan, UsageSum } from '../api/admin';
import { firstTokenMs, seriesOf, totals } from './sums';

const sum = (rest: Partial<UsageSum>): UsageSum => ({
  key: '',
  name: null,
  requests: 0,
  failed: 0,
  prompt_tokens: 0,
  cached_tokens: 0,
  completion_tokens: 0,
  cost_micros: 0,
  first_token_ms: 0,
  total_ms: 0,
  ...rest,
});
const spans: UsageSpan[] = [
  { start: 0, end: 1, sums: [] },
  {
    start: 1,
    end: 2,
    sums: [
      sum({ requests: 3, failed: 1, prompt_tokens: 10, completion_tokens: 5, first_token_ms: 400 }),
      sum({ requests: 1, cost_micros: 2_500_000 }),
    ],
  },
];

it('adds up what spans have', () => {
  expect(totals(spans)).toMatchObject({ requests: 4, prompt_tokens: 10, cost_micros: 2_500_000 });
});

it('gives one figure per span, also for an empty one', () => {
  expect(seriesOf(spans, 'tokens')).toEqual([0, 15]);
  expect(seriesOf(spans, 'cost')).toEqual([0, 2.5]);
  expect(seriesOf(spans, 'first')).toEqual([0, 400 / 3 / 1000]);
});

it('knows no time where nothing was answered', () => {
  expect(firstTokenMs(sum({ requests: 2, failed: 2 }))).toBeNull();
});
