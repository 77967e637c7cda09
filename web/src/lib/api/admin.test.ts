import { expect, test } from 'vitest';

import { whole } from './admin';

test('a model that is called like a route is reached by its whole name', () => {
  expect(whole('pulls')).toBe('pulls:latest');
  expect(whole('qwen3:0.6b')).toBe('qwen3:0.6b');
  expect(whole('localhost:5000/me/catalogue')).toBe('localhost:5000/me/catalogue:latest');
});
