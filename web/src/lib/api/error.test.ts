import { describe, expect, it } from 'vitest';

import { errorFromFailure, errorFromResponse } from './error';

describe('errorFromResponse', () => {
  it('reads the shape of the server and the time to wait', async () => {
    const body = { error: { code: 'busy', message: 'Wait.', request_id: 'r1' } };
    const response = new Response(JSON.stringify(body), {
      status: 429,
      headers: { 'retry-after': '7' },
    });
    expect(await errorFromResponse(response)).toMatchObject({
      code: 'busy',
      message: 'Wait.',
      status: 429,
      requestId: 'r1',
      retryAfterSeconds: 7,
    });
  });

  it('makes sense of a page that a proxy sent instead', async () => {
    for (const body of ['<html>Bad gateway</html>', '[]', 'null', '{"error":"x"}', '']) {
      const error = await errorFromResponse(new Response(body, { status: 502 }));
      expect([error.code, error.status], body).toEqual(['bad_answer', 502]);
    }
  });
});

describe('errorFromFailure', () => {
  it('tells a slow server from a lost network', () => {
    expect(errorFromFailure(new DOMException('', 'TimeoutError')).code).toBe('too_slow');
    expect(errorFromFailure(new TypeError('Failed to fetch')).code).toBe('network_lost');
    expect(errorFromFailure(new SyntaxError('JSON')).code).toBe('bad_answer');
  });
});
