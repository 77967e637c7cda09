import { expect, it } from 'vitest';

import { browserOf } from './browser';

it('names the browser and the system that an agent tells of', () => {
  const windows =
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)';
  expect(browserOf(`${windows} Chrome/126.0 Safari/537.36 Edg/126.0`)).toBe('Edge · Windows');
  expect(browserOf(`${windows} Chrome/126.0 Safari/537.36`)).toBe('Chrome · Windows');
  expect(browserOf('Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0')).toBe(
    'Firefox · Linux',
  );
});

it('knows nothing of what it does not know', () => {
  expect(browserOf(null)).toBeNull();
  expect(browserOf('something of my own')).toBeNull();
});
