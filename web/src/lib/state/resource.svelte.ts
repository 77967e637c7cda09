// One thing that is read from the server and shown: its value, or why there is none.
import { errorFromFailure, type ApiError } from '../api/error';

export class Resource<T> {
  value = $state.raw<T | null>(null);
  error = $state<ApiError | null>(null);

  constructor(private readonly read: () => Promise<T>) {
    void this.refresh();
  }

  /** Reads again. A failure keeps the last value on the screen. */
  refresh = async (): Promise<void> => {
    try {
      this.value = await this.read();
      this.error = null;
    } catch (failure) {
      this.error = errorFromFailure(failure);
    }
  };
}

/** Runs `task` every `interval_ms` while the page is looked at. Call it from an effect. */
export function whileVisible(task: () => void, interval_ms: number): () => void {
  const timer = setInterval(() => {
    if (document.visibilityState === 'visible') task();
  }, interval_ms);
  return () => clearInterval(timer);
}
