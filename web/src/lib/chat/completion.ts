// Words of the composer that stand for something else: /prompt and @model.

export interface Completion {
  kind: 'prompt' | 'model';
  /** What is typed behind the sign. */
  word: string;
  start: number;
  end: number;
}

/** The word at the caret that may be completed; its sign begins a line or follows a space. */
export function completionAt(text: string, caret: number): Completion | null {
  const before = text.slice(0, caret);
  const found = /(?:^|\s)([/@])([^\s/@]*)$/.exec(before);
  if (!found) return null;
  const [, sign, word = ''] = found;
  // A stroke in the middle of a text is a path or an alternative more often than a command.
  if (sign === '/' && before.slice(0, -word.length - 1).trim() !== '') return null;
  const start = caret - word.length - 1;
  return { kind: sign === '/' ? 'prompt' : 'model', word, start, end: caret };
}

/** The text with the word replaced, and where the caret then stands. */
export function insert(
  text: string,
  at: Completion,
  words: string,
): { text: string; caret: number } {
  const rest = text.slice(at.end);
  const whole = text.slice(0, at.start) + words + (words === '' ? rest.trimStart() : rest);
  return { text: whole, caret: at.start + words.length };
}
