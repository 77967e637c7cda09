import { describe, expect, it } from 'vitest';

import answer from '../../../dev/answer.md?raw';
import { BlockRenderer } from './blocks';

const samples: Record<string, string> = {
  'a real answer': answer,
  'setext heading': 'first\n\ntitle\n=====\n\ntext',
  'loose list': '- a\n\n- b\n\n  more of b\n\n1. c\n2. d\n\nend',
  'unclosed fence': 'text\n\n```js\nlet a = 1;\n\nlet b = 2;',
  'tilde fence': '~~~\n```\n~~~\n\nafter',
  'carriage returns': 'one\r\n\r\ntwo\r\n- a\r\n- b\r\n\r\nthree\rfour',
  table: 'a | b\n--|--\n1 | 2\n\nend',
  quote: '> a\n> b\n\n> c\nlazy\n\nd',
  'late definition': 'see [x] and [y]\n\nmiddle\n\n[x]: https://x.example\n\nlast',
  'indented code': 'a\n\n    code\n\n    more\n\nb',
};

describe('BlockRenderer', () => {
  it.each(Object.entries(samples))('gives the same blocks grown as at once: %s', (_name, text) => {
    const whole = new BlockRenderer().update(text, true);
    const grown = new BlockRenderer();
    for (let end = 1; end < text.length; end += 3) grown.update(text.slice(0, end), false);
    const strip = (blocks: ReturnType<BlockRenderer['update']>) =>
      blocks.map(({ html, code }) => ({ html, code }));
    expect(strip(grown.update(text, true))).toEqual(strip(whole));
    // Before the end only links whose address has not come yet may differ.
    if (text !== samples['late definition']) {
      expect(strip(grown.update(text, false))).toEqual(strip(whole));
    }
  });

  it('keeps the very same settled blocks while the end grows', () => {
    const renderer = new BlockRenderer();
    const before = renderer.update('one\n\ntwo\n\nthr', false);
    const after = renderer.update('one\n\ntwo\n\nthree and more', false);
    expect(after[0]).toBe(before[0]);
    expect(after[1]).toBe(before[1]);
    expect(after[2]?.html).toContain('three and more');
  });

  it('renders each block of a long answer once', () => {
    const renderer = new BlockRenderer();
    const seen = new Set<unknown>();
    const paragraphs = 500;
    let text = '';
    for (let i = 0; i < paragraphs; i += 1) {
      text += `Some *words* with \`code\` in paragraph ${i}.\n\n`;
      for (const block of renderer.update(text, false)) seen.add(block);
    }
    // Each paragraph is made once as the last block and once more as it settles, never again.
    expect(seen.size).toBeLessThanOrEqual(paragraphs * 2);
  });

  it('starts again when the text is another one', () => {
    const renderer = new BlockRenderer();
    renderer.update('one\n\ntwo\n\nthree', false);
    expect(renderer.update('other', false).map(({ html }) => html)).toEqual(['<p>other</p>\n']);
  });

  it.each([
    ['nested quotes', '>'.repeat(20_000)],
    ['brackets', '['.repeat(20_000)],
    ['stars', '*a '.repeat(10_000)],
    ['underscores', '_a__b_'.repeat(5_000)],
    ['backticks', Array.from({ length: 300 }, (_, i) => '`'.repeat(i)).join('a')],
    ['one line of a megabyte', 'a'.repeat(1_000_000)],
  ])('stays quick on %s', (_name, text) => {
    const began = performance.now();
    new BlockRenderer().update(text, true);
    expect(performance.now() - began).toBeLessThan(2000);
  });
});
