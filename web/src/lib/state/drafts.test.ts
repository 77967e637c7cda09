import { beforeEach, describe, expect, it } from 'vitest';

import { DraftStore } from './drafts';

const key = 'hearth.drafts.7';

describe('DraftStore', () => {
  beforeEach(() => localStorage.clear());

  it('keeps a draft per chat over a reload', () => {
    new DraftStore(localStorage, key).write('a', 'half a sent', 1);
    new DraftStore(localStorage, key).write('b', 'another', 2);
    const later = new DraftStore(localStorage, key);
    expect([later.read('a'), later.read('b'), later.read('c')]).toEqual([
      'half a sent',
      'another',
      '',
    ]);
  });

  it('keeps accounts apart', () => {
    new DraftStore(localStorage, key).write('a', 'mine', 1);
    expect(new DraftStore(localStorage, 'hearth.drafts.8').read('a')).toBe('');
  });

  it('forgets a draft that was emptied, and all on clear', () => {
    const store = new DraftStore(localStorage, key);
    store.write('a', 'text', 1);
    store.write('a', '', 2);
    expect(localStorage.getItem(key)).toBe('{}');
    store.write('b', 'text', 3);
    store.clear();
    expect(localStorage.getItem(key)).toBeNull();
  });

  it('is bounded: the oldest drafts make room and a long one is cut', () => {
    const store = new DraftStore(localStorage, key);
    for (let i = 0; i < 60; i += 1) store.write(`chat${i}`, `text ${i}`, i);
    expect(store.read('chat9')).toBe('');
    expect(store.read('chat10')).toBe('text 10');
    store.write('long', 'x'.repeat(200_000), 99);
    expect(store.read('long')).toHaveLength(100_000);
  });

  it('survives a damaged entry and a full storage', () => {
    for (const damaged of ['not json', 'null', '[]', '{"a":5}', '{"a":{"text":1}}']) {
      localStorage.setItem(key, damaged);
      expect(new DraftStore(localStorage, key).read('a')).toBe('');
    }
    const full = {
      getItem: () => null,
      removeItem: () => undefined,
      setItem: () => {
        throw new DOMException('full', 'QuotaExceededError');
      },
    };
    expect(() => new DraftStore(full, key).write('a', 'text', 1)).not.toThrow();
  });
});
