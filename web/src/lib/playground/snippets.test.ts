import { expect, it } from 'vitest';

import { snippets } from './snippets';

const body = { model: "it's", stream: false, stop: ['a'], messages: [{ role: 'user', x: null }] };

it('quotes for the shell', () => {
  expect(snippets.curl('http://h', body)).toContain(`"model": "it'\\''s"`);
});

it('writes Python’s own words', () => {
  const text = snippets.python('http://h', body);
  expect(text).toContain('"stream": False');
  expect(text).toContain('"x": None');
  expect(text).not.toContain('null');
});

it('writes JSON for JavaScript', () => {
  expect(snippets.javascript('http://h', body)).toContain('"stream": false');
});
