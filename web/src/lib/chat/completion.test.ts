import { describe, expect, it } from 'vitest';

import { completionAt, insert } from './completion';

describe('completionAt', () => {
  it('knows prompts at the beginning and models after a space', () => {
    expect(completionAt('/sho', 4)).toMatchObject({ kind: 'prompt', word: 'sho', start: 0 });
    expect(completionAt('ask @qw', 7)).toMatchObject({ kind: 'model', word: 'qw', start: 4 });
    expect(completionAt('@', 1)).toMatchObject({ kind: 'model', word: '' });
  });

  it('leaves paths, addresses and finished words alone', () => {
    for (const text of ['see a/b', 'and /or', 'me@home', '/done ', 'x', '']) {
      expect(completionAt(text, text.length), text).toBeNull();
    }
  });
});

describe('insert', () => {
  it('replaces the word and keeps what follows', () => {
    const at = completionAt('/sho rest', 4);
    expect(at && insert('/sho rest', at, 'Be brief.')).toEqual({
      text: 'Be brief. rest',
      caret: 9,
    });
    const model = completionAt('ask @qw', 7);
    expect(model && insert('ask @qw', model, '')).toEqual({ text: 'ask ', caret: 4 });
  });
});
