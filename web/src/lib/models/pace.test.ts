import { describe, expect, it } from 'vitest';

import { clock, Pace } from './pace';

describe('the pace of a pull', () => {
  it('is told from the last seconds, not from the whole', () => {
    const pace = new Pace();
    expect(pace.bytesPerSecond).toBeNull();
    pace.note(0, 0);
    pace.note(100, 500);
    expect(pace.remaining(1000)).toBeNull();
    pace.note(1000, 10_000);
    pace.note(3000, 12_000);
    expect(pace.bytesPerSecond).toBe(1000);
    expect(pace.remaining(5500)).toBe(3);
    expect(pace.remaining(1)).toBe(0);
  });

  it('stands still when nothing comes, and begins anew with a file', () => {
    const pace = new Pace();
    pace.note(50, 0);
    pace.note(50, 5000);
    expect(pace.bytesPerSecond).toBe(0);
    expect(pace.remaining(100)).toBeNull();
    pace.note(10, 6000);
    expect(pace.bytesPerSecond).toBeNull();
    pace.reset();
    expect(pace.remaining(100)).toBeNull();
  });

  it('writes times as clocks do', () => {
    expect([5, 65, 3725].map(clock)).toEqual(['0:05', '1:05', '1:02:05']);
  });
});
