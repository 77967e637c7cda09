// The chosen language and the lookup that pages use. Changing it redraws whatever called `t`.
import type { ApiError } from '../api/error';
import type { LanguageCode } from '../api/types';
import { en, type Key, type Words } from './en';
import { fill, formatBytes, type Params } from './translate';

const storage_key = 'hearth.language';
const loaders: Record<LanguageCode, () => Promise<Words>> = {
  en: () => Promise.resolve(en),
  zh: () => import('./zh').then((module) => module.zh),
};

/** Refusals whose own sentence names figures or fields that a translation would lose. */
const telling = new Set([
  'model_too_big',
  'context_full',
  'invalid_request',
  'bad_model',
  'disk_full',
  'not_offered',
  'provider_failed',
  'upstream_failed',
]);

class Language {
  code = $state<LanguageCode>('en');
  #words = $state.raw<Words>(en);

  /** The best language without an account: the last one used here, else the browser's. */
  static preferred(): LanguageCode {
    const known = [localStorage.getItem(storage_key), ...navigator.languages];
    for (const name of known) {
      const code = name?.toLowerCase().split('-')[0];
      if (code === 'en' || code === 'zh') return code;
    }
    return 'en';
  }

  /** Loads the words and switches. `null` follows the browser. */
  async use(code: LanguageCode | null): Promise<void> {
    if (code) localStorage.setItem(storage_key, code);
    else localStorage.removeItem(storage_key);
    const next = code ?? Language.preferred();
    this.#words = await loaders[next]();
    this.code = next;
    document.documentElement.lang = next === 'zh' ? 'zh-CN' : next;
  }

  t = (key: Key, params?: Params): string => fill(this.#words[key], params);

  bytes = (bytes: number): string => formatBytes(bytes, this.code);

  number = (value: number, digits = 0): string =>
    value.toLocaleString(this.code, { maximumFractionDigits: digits });

  date = (at: number): string =>
    new Date(at * 1000).toLocaleDateString(this.code, { dateStyle: 'medium' });

  time = (at: number): string =>
    new Date(at * 1000).toLocaleString(this.code, { dateStyle: 'medium', timeStyle: 'short' });

  /** What happened, in the reader's language where the code is known, else in the server's words. */
  explain = (error: ApiError | { code: string; message: string }): string => {
    const key = `error.${error.code}`;
    const known = Object.hasOwn(this.#words, key);
    const words = known ? this.t(key as Key) : error.message || this.t('error.unknown');
    const base = known && telling.has(error.code) ? `${words} (${error.message})` : words;
    const wait = 'retryAfterSeconds' in error ? error.retryAfterSeconds : null;
    return wait ? `${base} ${this.t('error.retryAfter', { seconds: wait })}` : base;
  };
}

export const language = new Language();
export const preferredLanguage = Language.preferred;
export const { t } = language;
