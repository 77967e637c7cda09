// The pulls of this server: started here or elsewhere, each watched until it ends.
import { SvelteSet } from 'svelte/reactivity';

import { admin } from '../api/admin';
import { api } from '../api/client';
import { errorFromFailure, type ApiError } from '../api/error';
import type { PullLine } from '../api/types';
import { Pace } from '../models/pace';

export interface Pull {
  name: string;
  stage: Extract<PullLine, { stage: string }>['stage'];
  total: number;
  completed: number;
  bytesPerSecond: number | null;
  remainingSeconds: number | null;
  /** Why it ended without a model; such a pull stays until it is put away. */
  error: ApiError | null;
}

export class Pulls {
  items = $state<Pull[]>([]);
  #watching = new SvelteSet<string>();

  constructor(private readonly onPulled: () => Promise<void>) {}

  find(name: string): Pull | undefined {
    return this.items.find((pull) => pull.name === name);
  }

  /** Starts a pull that goes on without this page, and watches it. */
  start = async (name: string): Promise<void> => {
    this.dismiss(name);
    this.#put({ name, ...waiting });
    try {
      const started = await admin.startPull(name);
      if (started.name !== name) this.dismiss(name);
      await this.watch(started.name);
    } catch (failure) {
      this.#fail(name, failure);
    }
  };

  /** Watches what runs already, for instance after a reload. */
  join = async (): Promise<void> => {
    const { pulls } = await admin.pulls();
    await Promise.all(pulls.map((pull) => this.watch(pull.name)));
  };

  cancel = async (name: string): Promise<void> => {
    try {
      await admin.cancelPull(name);
    } catch (failure) {
      // It may have ended in between.
      if (errorFromFailure(failure).code !== 'not_found') this.#fail(name, failure);
    }
  };

  dismiss = (name: string): void => {
    this.items = this.items.filter((pull) => pull.name !== name);
  };

  private watch = async (name: string): Promise<void> => {
    if (this.#watching.has(name)) return;
    this.#watching.add(name);
    if (!this.find(name)) this.#put({ name, ...waiting });
    const pace = new Pace();
    let file: string | null = null;
    try {
      for await (const line of api.watchPull(name)) {
        if (line.digest !== file) pace.reset();
        file = line.digest;
        if (line.stage === 'fetching') pace.note(line.completed, performance.now());
        this.#put({
          name,
          stage: line.stage,
          total: line.total,
          completed: line.completed,
          bytesPerSecond: pace.bytesPerSecond,
          remainingSeconds: pace.remaining(line.total),
          error: null,
        });
      }
      this.dismiss(name);
      await this.onPulled();
    } catch (failure) {
      // Whoever cancelled it knows.
      if (errorFromFailure(failure).code === 'cancelled') this.dismiss(name);
      else this.#fail(name, failure);
    } finally {
      this.#watching.delete(name);
    }
  };

  #put(pull: Pull): void {
    const at = this.items.findIndex((other) => other.name === pull.name);
    if (at < 0) this.items.push(pull);
    else this.items[at] = pull;
  }

  #fail(name: string, failure: unknown): void {
    this.#put({ ...(this.find(name) ?? { name, ...waiting }), error: errorFromFailure(failure) });
  }
}

const waiting = {
  stage: 'waiting',
  total: 0,
  completed: 0,
  bytesPerSecond: null,
  remainingSeconds: null,
  error: null,
} as const;
