// How fast bytes come and when they will all be here, from what was seen of late. Pure: the caller
// brings the time.

const window_ms = 8000;
const least_ms = 1000;

interface Sample {
  at_ms: number;
  bytes: number;
}

export class Pace {
  #samples: Sample[] = [];

  /** Notes how many bytes of a file are here. A smaller number than before begins anew. */
  note(bytes: number, at_ms: number): void {
    const last = this.#samples.at(-1);
    if (last && bytes < last.bytes) this.#samples = [];
    this.#samples.push({ at_ms, bytes });
    this.#samples = this.#samples.filter((sample) => at_ms - sample.at_ms <= window_ms);
  }

  /** Forgets what was seen: another file has begun. */
  reset(): void {
    this.#samples = [];
  }

  /** Bytes per second; `null` until there is something to tell it from. */
  get bytesPerSecond(): number | null {
    const [first, last] = [this.#samples.at(0), this.#samples.at(-1)];
    if (!first || !last || last.at_ms - first.at_ms < least_ms) return null;
    return ((last.bytes - first.bytes) * 1000) / (last.at_ms - first.at_ms);
  }

  /** Seconds until so many bytes are here; `null` if nobody can tell. */
  remaining(total: number): number | null {
    const speed = this.bytesPerSecond;
    const bytes = this.#samples.at(-1)?.bytes;
    if (!speed || bytes === undefined) return null;
    return Math.max(0, Math.ceil((total - bytes) / speed));
  }
}

/** `2:05`, `1:02:05`. */
export function clock(seconds: number): string {
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const shown = parts[0] === 0 ? parts.slice(1) : parts;
  return shown.map((part, at) => (at === 0 ? `${part}` : `${part}`.padStart(2, '0'))).join(':');
}
