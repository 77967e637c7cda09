// What the dashboards count.
import type { Period, UsageSpan, UsageSum } from '../api/admin';

export type Metric = 'tokens' | 'cost' | 'requests' | 'first';

/** How far back, and in what steps. */
export const ranges = {
  week: { days: 7, period: 'day' },
  month: { days: 30, period: 'day' },
  quarter: { days: 91, period: 'week' },
  year: { days: 365, period: 'month' },
} as const satisfies Record<string, { days: number; period: Period }>;

export type RangeName = keyof typeof ranges;

type Counts = Omit<UsageSum, 'key' | 'name'>;

const nothing: Counts = {
  requests: 0,
  failed: 0,
  prompt_tokens: 0,
  cached_tokens: 0,
  completion_tokens: 0,
  cost_micros: 0,
  first_token_ms: 0,
  total_ms: 0,
};

function add(one: Counts, other: Counts): Counts {
  const names = Object.keys(nothing) as (keyof Counts)[];
  return Object.fromEntries(
    names.map((name) => [name, one[name] + other[name]]),
  ) as unknown as Counts;
}

/** The sum of all spans. */
export function totals(spans: readonly UsageSpan[]): Counts {
  return spans.flatMap((span) => span.sums).reduce(add, nothing);
}

/** Mean time to the first token; null where nothing was answered. */
export function firstTokenMs(sum: Counts): number | null {
  const answered = sum.requests - sum.failed;
  return answered > 0 ? sum.first_token_ms / answered : null;
}

/** One figure per span, for the chart: tokens, dollars, requests or seconds. */
export function seriesOf(spans: readonly UsageSpan[], metric: Metric): (number | null)[] {
  return spans.map((span) => {
    const sum = totals([span]);
    if (metric === 'cost') return sum.cost_micros / 1_000_000;
    if (metric === 'requests') return sum.requests;
    if (metric === 'first') return (firstTokenMs(sum) ?? 0) / 1000;
    return sum.prompt_tokens + sum.completion_tokens;
  });
}
