import { describe, expect, it } from 'vitest';

import { en } from './en';
import { fill, formatBytes, formatCount } from './translate';
import { zh } from './zh';

const places = (text: string): string[] => [...text.matchAll(/\{\w+\}/g)].map(String).sort();

describe('languages', () => {
  it('have the same keys', () => {
    expect(Object.keys(zh).sort()).toEqual(Object.keys(en).sort());
  });

  it('say something for every key, with the same places to fill', () => {
    for (const [key, text] of Object.entries(en)) {
      const other = zh[key as keyof typeof en];
      expect(other.trim(), key).not.toBe('');
      expect(places(other), key).toEqual(places(text));
    }
  });

  it('are written in Chinese where they claim to be', () => {
    const same = Object.entries(en).filter(([key, text]) => zh[key as keyof typeof en] === text);
    expect(same.map(([key]) => key).sort()).toEqual([
      'app.name',
      'models.importCommand',
      'settings.version',
    ]);
  });

  it('use every key somewhere in the app', () => {
    const sources = import.meta.glob('../../**/*.{svelte,ts}', {
      query: '?raw',
      import: 'default',
      eager: true,
    });
    const code = Object.entries(sources)
      .filter(([path]) => !/\/(en|zh)(\.ts$|\/)|\.test\.ts$/.test(path))
      .map(([, text]) => String(text))
      .join('\n');
    // Keys that are put together from a prefix and a value known only at run time.
    const computed =
      /^(error\.|catalogue\.(fits|fits_shorter|too_large)$|pull\.(waiting|manifest|verifying|writing)$|sidebar\.(today|yesterday|week|month|older)$|models\.(idle|loaded)$|controls\.|prompts\.(prompt|preset)$|usage\.(range|metric|by)\.|log\.(complete|stopped|failed)$|money\.(kind|period|unit)\.|policy\.|sessions\.method\.)/;
    const unused = Object.keys(en).filter((key) => !computed.test(key) && !code.includes(key));
    expect(unused).toEqual([]);
  });
});

describe('fill', () => {
  it('puts values into their places and leaves unknown places visible', () => {
    expect(fill('{a} and {b}', { a: 1 })).toBe('1 and {b}');
  });

  it('does not read places from the prototype', () => {
    expect(fill('{toString}', {})).toBe('{toString}');
  });
});

describe('figures', () => {
  it('are short and decimal', () => {
    expect(formatBytes(999, 'en')).toBe('999 B');
    expect(formatBytes(3_800_000, 'en')).toBe('3.8 MB');
    expect(formatBytes(85_000_000_000, 'en')).toBe('85 GB');
    expect(formatCount(260_000)).toBe('260K');
  });
});
