// Sorts chats into the headings of the sidebar by the local calendar, not by 24-hour spans.

export type Period = 'today' | 'yesterday' | 'week' | 'month' | 'older';

export const periods: readonly Period[] = ['today', 'yesterday', 'week', 'month', 'older'];

function startOfDay(now: Date, days_back: number): number {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() - days_back).getTime();
}

/** The heading for a time in unix seconds. The future counts as today: clocks differ. */
export function periodOf(at: number, now: Date): Period {
  const time_ms = at * 1000;
  if (time_ms >= startOfDay(now, 0)) return 'today';
  if (time_ms >= startOfDay(now, 1)) return 'yesterday';
  if (time_ms >= startOfDay(now, 7)) return 'week';
  if (time_ms >= startOfDay(now, 30)) return 'month';
  return 'older';
}

export function groupByPeriod<T extends { updated_at: number }>(
  items: readonly T[],
  now: Date,
): { period: Period; items: T[] }[] {
  const groups = new Map<Period, T[]>();
  for (const item of items) {
    const period = periodOf(item.updated_at, now);
    const group = groups.get(period);
    if (group) group.push(item);
    else groups.set(period, [item]);
  }
  return periods.flatMap((period) => {
    const group = groups.get(period);
    return group ? [{ period, items: group }] : [];
  });
}
