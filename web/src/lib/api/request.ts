// The desk's door to the server: method, path, parameters and body are held to the server's own
// description of its API (`schema.ts`, generated from it), and answers to `answers.ts`.
import type { Answers } from './answers';
import { call, type Method } from './client';
import { errorFromFailure } from './error';
import type { paths } from './schema';

/** An operation of the description, by its method and path: `GET /hearth/users`. */
type Operation<C> = C extends `${infer M extends Method} ${infer P extends keyof paths & string}`
  ? Lowercase<M> extends keyof paths[P]
    ? NonNullable<paths[P][Lowercase<M>]>
    : never
  : never;

type Value = string | number | boolean | null | undefined;

type PathOf<O> = O extends { parameters: { path: infer P extends object } }
  ? { path: { [K in keyof P]: string | number } }
  : { path?: never };
type QueryOf<O> = O extends { parameters: { query?: infer Q } }
  ? { query?: { [K in keyof NonNullable<Q>]?: Value } }
  : { query?: never };
type BodyOf<O> = O extends { requestBody: { content: { 'application/json': infer B } } }
  ? { body: B }
  : { body?: never };

/** What a call may be given, and what it must. */
export type Given<C> = PathOf<Operation<C>> &
  QueryOf<Operation<C>> &
  BodyOf<Operation<C>> & {
    /** A file as the whole body. */
    file?: Blob;
    limit_ms?: number;
  };
type Rest<C> = Record<never, never> extends Given<C> ? [given?: Given<C>] : [given: Given<C>];

/** The calls whose answers are known; one that the server does not have cannot be made. */
export type Call = { [C in keyof Answers]: Operation<C> extends never ? never : C }[keyof Answers];

let proveAgain: () => Promise<boolean> = () => Promise.resolve(false);

/** Tells whom to ask when the server wants to know again who is there; false when they would not. */
export function whenProofIsAsked(ask: () => Promise<boolean>): void {
  proveAgain = ask;
}

/** The address of a call, with its parameters filled in. */
export function addressOf(path: string, given: { path?: object; query?: object }): string {
  const parts = (given.path ?? {}) as Record<string, string | number>;
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) =>
    encodeURIComponent(parts[name] ?? ''),
  );
  const asked = Object.entries(given.query ?? {}).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  if (asked.length === 0) return filled;
  return `${filled}?${new URLSearchParams(asked.map(([key, value]) => [key, String(value)])).toString()}`;
}

/** The same without what TypeScript knows of the call. */
interface Wishes {
  path?: object;
  query?: object;
  body?: unknown;
  file?: Blob;
  limit_ms?: number;
}

/** Makes a call. One that needs a fresh proof of who is there asks for it, then is made again. */
export async function request<C extends Call>(name: C, ...[given]: Rest<C>): Promise<Answers[C]> {
  const wishes = (given as unknown as Wishes | undefined) ?? {};
  const [method, path] = name.split(' ') as [Method, string];
  const { body, file, limit_ms } = wishes;
  const make = (): Promise<Answers[C]> =>
    call(method, addressOf(path, wishes), { body, file, limit_ms });
  try {
    return await make();
  } catch (failure) {
    const wantsProof = errorFromFailure(failure).code === 'confirm_required';
    if (!wantsProof || !(await proveAgain())) throw failure;
    return make();
  }
}
