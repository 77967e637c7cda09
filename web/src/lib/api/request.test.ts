import { afterEach, describe, expect, it, vi } from 'vitest';

import { addressOf, request, whenProofIsAsked } from './request';

const refusal = (code: string): Response =>
  new Response(JSON.stringify({ error: { code, message: '' } }), { status: 403 });

/** Answers one call after the other, and notes what was asked. */
function serve(...answers: Response[]): string[] {
  const asked: string[] = [];
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    asked.push(`${init.method ?? ''} ${path}`);
    const answer = answers.shift();
    return answer ? Promise.resolve(answer) : Promise.reject(new TypeError('no network'));
  });
  return asked;
}

afterEach(() => {
  vi.unstubAllGlobals();
  whenProofIsAsked(() => Promise.resolve(false));
});

describe('addressOf', () => {
  it('fills parameters in so that no name can leave its place', () => {
    const address = addressOf('/hearth/routes/{model}', { path: { model: 'a/../b?c' } });
    expect(address).toBe('/hearth/routes/a%2F..%2Fb%3Fc');
  });

  it('leaves out what has no value', () => {
    const query = { before: null, limit: 50, model: undefined };
    expect(addressOf('/hearth/usage', { query })).toBe('/hearth/usage?limit=50');
  });
});

describe('request', () => {
  it('asks for a proof when the server wants one, then makes the call again', async () => {
    const asked = serve(refusal('confirm_required'), new Response(null, { status: 204 }));
    whenProofIsAsked(() => Promise.resolve(true));
    await request('DELETE /hearth/users/{id}', { path: { id: 7 } });
    expect(asked).toEqual(['DELETE /hearth/users/7', 'DELETE /hearth/users/7']);
  });

  it('fails with the refusal when nobody proves anything', async () => {
    const asked = serve(refusal('confirm_required'));
    const call = request('DELETE /hearth/users/{id}', { path: { id: 7 } });
    await expect(call).rejects.toMatchObject({ code: 'confirm_required' });
    expect(asked).toHaveLength(1);
  });

  it('sends a file as it is', async () => {
    let sent: unknown;
    vi.stubGlobal('fetch', (_: string, init: RequestInit) => {
      sent = init.body;
      return Promise.resolve(Response.json({ users: 1, dry_run: true }));
    });
    const file = new Blob(['name\nbo\n']);
    await request('POST /hearth/users/import', { query: { dry_run: true }, file });
    expect(sent).toBe(file);
  });
});
