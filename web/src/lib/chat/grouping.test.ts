import { describe, expect, it } from 'vitest';

import { groupByPeriod, periodOf } from './grouping';

const now = new Date(2026, 2, 15, 0, 30);
const at = (...parts: [number, number, number, number?, number?]): number =>
  new Date(...parts).getTime() / 1000;

describe('periodOf', () => {
  it('goes by the calendar, not by spans of 24 hours', () => {
    expect(periodOf(at(2026, 2, 15, 0, 1), now)).toBe('today');
    expect(periodOf(at(2026, 2, 14, 23, 59), now)).toBe('yesterday');
    expect(periodOf(at(2026, 2, 13, 23, 59), now)).toBe('week');
    expect(periodOf(at(2026, 2, 8, 0, 0), now)).toBe('week');
    expect(periodOf(at(2026, 2, 7, 23, 59), now)).toBe('month');
    expect(periodOf(at(2026, 1, 13, 0, 0), now)).toBe('month');
    expect(periodOf(at(2026, 1, 12, 23, 59), now)).toBe('older');
  });

  it('counts the future as today', () => {
    expect(periodOf(at(2026, 2, 16), now)).toBe('today');
  });
});

describe('groupByPeriod', () => {
  it('keeps the order inside a group and leaves empty groups out', () => {
    const items = [
      { id: 1, updated_at: at(2026, 2, 15) },
      { id: 2, updated_at: at(2020, 0, 1) },
      { id: 3, updated_at: at(2026, 2, 15, 0, 10) },
    ];
    const groups = groupByPeriod(items, now);
    expect(groups.map(({ period }) => period)).toEqual(['today', 'older']);
    expect(groups[0]?.items.map(({ id }) => id)).toEqual([1, 3]);
  });
});
