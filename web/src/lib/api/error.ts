// One error for everything that can go wrong between this page and the server.

/** Codes that this page gives itself; all others come from the server. */
export type LocalCode = 'network_lost' | 'too_slow' | 'bad_answer' | 'stream_cut';

export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 0,
    readonly requestId: string | null = null,
    readonly retryAfterSeconds: number | null = null,
  ) {
    super(message);
    this.name = 'ApiError';
  }
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

/** Reads the server's error shape; an answer of another shape becomes `bad_answer`. */
export async function errorFromResponse(response: Response): Promise<ApiError> {
  const retryAfter = Number.parseInt(response.headers.get('retry-after') ?? '', 10);
  const seconds = Number.isFinite(retryAfter) ? retryAfter : null;
  try {
    const body = (await response.json()) as { error?: Record<string, unknown> };
    const code = text(body.error?.['code']);
    const message = text(body.error?.['message']) ?? '';
    const requestId = text(body.error?.['request_id']);
    if (code) return new ApiError(code, message, response.status, requestId, seconds);
  } catch {
    // Not JSON: a proxy's own page, for instance.
  }
  return new ApiError('bad_answer', `HTTP ${response.status}`, response.status, null, seconds);
}

/** What a failed fetch means. An abort by the user is passed on unchanged by the caller. */
export function errorFromFailure(failure: unknown): ApiError {
  if (failure instanceof ApiError) return failure;
  const name = (failure as { name?: unknown } | null)?.name;
  if (name === 'TimeoutError') return new ApiError('too_slow', 'The server took too long.');
  if (failure instanceof SyntaxError) return new ApiError('bad_answer', 'Not JSON.');
  return new ApiError('network_lost', 'The server cannot be reached.');
}
