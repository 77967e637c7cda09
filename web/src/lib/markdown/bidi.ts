// Text that models and file names bring may hold characters that reorder what is shown, so that
// code reads differently from what it is. They are made visible instead of obeyed.

// Embeddings and overrides (202A-202E) and isolates (2066-2069).
const reordering = /[\u202a-\u202e\u2066-\u2069]/g;

/** Replaces each reordering character by a visible mark. */
export function showReordering(text: string): string {
  return text.replace(reordering, '\ufffd');
}
