// What this server can do, by the description of its API: pages without their routes are not shown.
import { api } from '../api/client';

class Features {
  #paths = $state.raw<ReadonlySet<string> | null>(null);
  #loading: Promise<void> | null = null;

  ready = $derived(this.#paths !== null);

  /** Whether the server has a route at this path; false until that is known. */
  has = (path: string): boolean => this.#paths?.has(path) ?? false;

  load = (): Promise<void> => {
    if (this.#paths) return Promise.resolve();
    this.#loading ??= api.description().then(
      ({ paths }) => void (this.#paths = new Set(Object.keys(paths))),
      // Then those pages stay away; the next page that asks tries again.
      () => void (this.#loading = null),
    );
    return this.#loading;
  };
}

export const features = new Features();
