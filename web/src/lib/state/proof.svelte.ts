// The question "is it still you?": a call waits for it, a dialog answers it.
import { whenProofIsAsked } from '../api/request';

class Proof {
  asked = $state(false);
  #answer: ((proved: boolean) => void) | null = null;

  constructor() {
    whenProofIsAsked(this.#ask);
  }

  #ask = (): Promise<boolean> => {
    this.settle(false);
    this.asked = true;
    return new Promise((resolve) => (this.#answer = resolve));
  };

  /** Lets the waiting call go on, or fail with what it was refused for. */
  settle = (proved: boolean): void => {
    this.asked = false;
    this.#answer?.(proved);
    this.#answer = null;
  };
}

export const proof = new Proof();
