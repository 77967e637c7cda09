import { describe, expect, it } from 'vitest';

import { gone, mappingOf, privateHostOf, textOfMapping } from './channel';

describe('a mapping of names', () => {
  it('is read back as it was written', () => {
    const mapping = { fast: 'gpt-5-mini', 'org/model': 'a=b' };
    expect(mappingOf(textOfMapping(mapping))).toEqual(mapping);
  });

  it('leaves out lines that name nothing', () => {
    expect(mappingOf(' \n = x\ny =\nsame')).toEqual({ same: 'same' });
  });

  it('takes a name away by null', () => {
    expect({ ...gone({ a: 'b', c: 'd' }), ...mappingOf('a = x') }).toEqual({ a: 'x', c: null });
  });
});

it('a private host is known by its address', () => {
  expect(privateHostOf('http://127.0.0.1:11434')).toBe('127.0.0.1');
  expect(privateHostOf('http://gpu.local/v1')).toBe('gpu.local');
  expect(privateHostOf('https://10.0.0.7/v1')).toBe('10.0.0.7');
  expect(privateHostOf('https://api.openai.com/v1')).toBeNull();
  expect(privateHostOf('https://10.example.com')).toBeNull();
  expect(privateHostOf('')).toBeNull();
});
