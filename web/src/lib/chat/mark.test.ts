import { describe, expect, it } from 'vitest';

import { markWords } from './mark';

const marked = (text: string, query: string): string =>
  markWords(text, query)
    .map((part) => (part.marked ? `[${part.text}]` : part.text))
    .join('');

describe('markWords', () => {
  it('marks the words of both scripts, whatever their case', () => {
    expect(marked('Bring an Umbrella', 'umbr')).toBe('Bring an [Umbr]ella');
    expect(marked('今天天气很好', '天气')).toBe('今天[天气]很好');
    expect(marked('用GPU跑', 'gpu跑')).toBe('用[GPU][跑]');
  });

  it('takes signs of regular expressions as what they are', () => {
    expect(marked('a.b (c)', '.*( c')).toBe('a.b ([c])');
    expect(marked('plain', '  ')).toBe('plain');
  });
});
