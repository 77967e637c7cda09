import { expect, test } from 'vitest';
import { modelPart } from './client';

test('a model that is called like a route is reached by its whole name', () => {
  expect(modelPart('pulls')).toBe('pulls%3Alatest');
  expect(modelPart('qwen3:0.6b')).toBe('qwen3%3A0.6b');
  expect(modelPart('localhost:5000/me/catalogue')).toBe(
    'localhost%3A5000%2Fme%2Fcatalogue%3Alatest',
  );
});
