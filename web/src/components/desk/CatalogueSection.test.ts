import { flushSync, mount, unmount } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { CatalogueCard, Fit } from '../../lib/api/types';
import { Pulls } from '../../lib/state/pulls.svelte';
import CatalogueSection from './CatalogueSection.svelte';

const fit = (verdict: Fit['verdict']): Fit => ({
  verdict,
  device: 'gpu0',
  need_bytes: 6e9,
  free_bytes: 8e9,
  context_tokens: 4096,
});

const card = (name: string, verdict: Fit['verdict'], installed = false): CatalogueCard => ({
  name,
  title: name.toUpperCase(),
  about: 'A model.',
  maker: 'Somebody',
  capabilities: ['completion', 'tools'],
  variants: [
    {
      name: `${name}:1b`,
      source: `${name}:1b`,
      license: 'MIT',
      parameters: 1e9,
      file_bytes: 1e9,
      quantization: 'Q4_K_M',
      context_tokens: 4096,
      installed,
      fit: fit(verdict),
    },
  ],
});

/** What the server says, by method and path without its query. */
let answers: Record<string, () => Response>;
let asked: string[];
let section: Record<string, unknown> | null;
let pulled: number;

function show(): void {
  const pulls = new Pulls(() => {
    pulled += 1;
    return Promise.resolve();
  });
  section = mount(CatalogueSection, { target: document.body, props: { pulls, changed: 0 } });
  flushSync();
}

const text = (): string => document.body.textContent.replace(/\s+/g, ' ');
const button = (name: string): HTMLButtonElement => {
  const all = [...document.querySelectorAll('button')];
  const found = all.find((one) => one.textContent.replace(/\s+/g, ' ').trim() === name);
  if (!found)
    throw new Error(`no button ${name} among ${all.map((one) => one.textContent).join()}`);
  return found;
};

/** A body of which the test tells when the next line comes. */
function lines(): { response: Response; say: (line: unknown) => void; end: () => void } {
  const bytes = new TextEncoder();
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (own) => void (controller = own) });
  return {
    response: new Response(body),
    say: (line) => controller.enqueue(bytes.encode(`${JSON.stringify(line)}\n`)),
    end: () => controller.close(),
  };
}

beforeEach(() => {
  asked = [];
  pulled = 0;
  answers = {
    'GET /hearth/models/catalogue': () =>
      Response.json({ models: [card('small', 'fits'), card('large', 'too_large')] }),
  };
  vi.stubGlobal('fetch', (path: string, init: RequestInit) => {
    const request = `${init.method ?? 'GET'} ${path}`;
    asked.push(`${request}${typeof init.body === 'string' ? ` ${init.body}` : ''}`);
    const answer = answers[request.split('?')[0] ?? ''];
    return answer ? Promise.resolve(answer()) : Promise.reject(new TypeError('no network'));
  });
});

afterEach(async () => {
  if (section) await unmount(section);
  section = null;
  document.body.replaceChildren();
  vi.unstubAllGlobals();
});

describe('the catalogue', () => {
  it('shows what fits, with the numbers', async () => {
    show();
    await vi.waitFor(() => expect(text()).toContain('Fits this machine'));
    expect(text()).toContain('Too large for this machine');
    expect(text()).toContain('Needs 6 GB, 8 GB free (GPU0)');
    expect(document.querySelector('[role=status]')?.textContent).toContain('2 found');
  });

  it('says what to do when nothing is found and when the server fails', async () => {
    answers['GET /hearth/models/catalogue'] = () => Response.json({ models: [] });
    show();
    await vi.waitFor(() => expect(text()).toContain('Write a whole name'));
    answers = {};
    const input = document.querySelector('input');
    if (!input) throw new Error('no search box');
    input.value = 'qwen';
    input.dispatchEvent(new Event('input', { bubbles: true }));
    await vi.waitFor(() => expect(text()).toContain('The server cannot be reached.'));
    answers['GET /hearth/models/catalogue'] = () =>
      Response.json({ models: [card('qwen', 'fits', true)] });
    button('Try again').click();
    await vi.waitFor(() => expect(text()).toContain('In the library'));
    expect(asked.at(-1)).toBe('GET /hearth/models/catalogue?q=qwen');
  });

  it('offers a whole name that it does not know', async () => {
    show();
    await vi.waitFor(() => expect(text()).toContain('SMALL'));
    const input = document.querySelector('input');
    if (!input) throw new Error('no search box');
    input.value = 'hf.co/org/model:Q4_K_M';
    input.dispatchEvent(new Event('input', { bubbles: true }));
    await vi.waitFor(() => expect(button('Pull hf.co/org/model:Q4_K_M').disabled).toBe(false));
  });
});

describe('a pull', () => {
  const path = 'POST /hearth/models/pull';

  it('is started, watched and over', async () => {
    const stream = lines();
    const replies = [Response.json({ name: 'small:1b' }, { status: 202 }), stream.response];
    answers[path] = () => replies.shift() ?? Response.error();
    show();
    await vi.waitFor(() => expect(button('Pull small:1b')).toBeTruthy());
    button('Pull small:1b').click();
    stream.say({ stage: 'fetching', digest: 'sha256:a', total: 1000, completed: 250 });
    const bar = (): Element | null => document.querySelector('[role=progressbar]');
    await vi.waitFor(() => expect(bar()?.getAttribute('aria-valuenow')).toBe('25'));
    expect(bar()?.getAttribute('aria-valuetext')).toContain('250 B of 1 kB');
    expect(button('Pulling small:1b').disabled).toBe(true);
    stream.say({ model: { name: 'small:1b' } });
    await vi.waitFor(() => expect(bar()).toBeNull());
    expect(pulled).toBe(1);
    const sent = asked.filter((one) => one.startsWith(path));
    expect(sent).toEqual([
      `${path} {"name":"small:1b","detach":true}`,
      `${path} {"name":"small:1b"}`,
    ]);
  });

  it('that fails says why and can be tried again or put away', async () => {
    const stream = lines();
    const replies = [Response.json({ name: 'small:1b' }, { status: 202 }), stream.response];
    answers[path] = () => replies.shift() ?? Response.error();
    show();
    await vi.waitFor(() => expect(button('Pull small:1b')).toBeTruthy());
    button('Pull small:1b').click();
    stream.say({ error: { code: 'disk_full', message: '9 bytes are needed.' } });
    await vi.waitFor(() => expect(text()).toContain('The disk has no room for the model.'));
    expect(button('Try again small:1b').disabled).toBe(false);
    button('Put away small:1b').click();
    await vi.waitFor(() => expect(text()).not.toContain('The disk has no room'));
  });

  it('that is cancelled goes without a complaint', async () => {
    const stream = lines();
    const replies = [Response.json({ name: 'small:1b' }, { status: 202 }), stream.response];
    answers[path] = () => replies.shift() ?? Response.error();
    answers['DELETE /hearth/models/pulls/small%3A1b'] = () => new Response(null, { status: 204 });
    show();
    await vi.waitFor(() => expect(button('Pull small:1b')).toBeTruthy());
    button('Pull small:1b').click();
    await vi.waitFor(() => expect(button('Cancel small:1b')).toBeTruthy());
    button('Cancel small:1b').click();
    stream.say({ error: { code: 'cancelled', message: 'The pull was cancelled.' } });
    await vi.waitFor(() => expect(document.querySelector('[role=progressbar]')).toBeNull());
    expect(document.querySelector('[role=alert]')).toBeNull();
    expect(asked).toContain('DELETE /hearth/models/pulls/small%3A1b');
  });
});
