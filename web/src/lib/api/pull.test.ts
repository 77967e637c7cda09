import { describe, expect, it } from 'vitest';

import { readPull } from './pull';

function body(...pieces: string[]): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder();
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(bytes.encode(piece));
      controller.close();
    },
  });
}

async function read(...pieces: string[]): Promise<{ stages: string[]; name: string }> {
  const stages: string[] = [];
  const lines = readPull(body(...pieces));
  for (;;) {
    const { done, value } = await lines.next();
    if (done) return { stages, name: value.name };
    stages.push(`${value.stage} ${value.completed}`);
  }
}

const manifest = '{"stage":"manifest","digest":null,"total":0,"completed":0}\n';

describe('a pull', () => {
  it('tells its progress and ends with the model, however the bytes are cut', async () => {
    const told = await read(
      manifest + '{"stage":"fetch',
      'ing","digest":"sha256:ab","total":10,"completed":4}\n\n{"model":{"na',
      'me":"qwen3:0.6b"}}\n',
    );
    expect(told).toEqual({ stages: ['manifest 0', 'fetching 4'], name: 'qwen3:0.6b' });
  });

  it('fails with the server’s own code and words', async () => {
    const failed = read(manifest, '{"error":{"code":"disk_full","message":"No room."}}\n');
    await expect(failed).rejects.toMatchObject({ code: 'disk_full', message: 'No room.' });
  });

  it('that ends without an end is cut, and nonsense is named', async () => {
    await expect(read(manifest)).rejects.toMatchObject({ code: 'stream_cut' });
    await expect(read('<html>\n')).rejects.toMatchObject({ code: 'bad_answer' });
    await expect(read('x'.repeat(1024 * 1024 + 1))).rejects.toMatchObject({ code: 'bad_answer' });
  });
});
