// Finds the words of a search in what it has found, so that they can be marked.

export interface Part {
  text: string;
  marked: boolean;
}

const dense = /[\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+/u;
const word = new RegExp(`${dense.source}|[\\p{L}\\p{N}]+`, 'gu');

/** `text` in parts; the marked ones are words of `query`. */
export function markWords(text: string, query: string): Part[] {
  // A run of letters may hold both scripts; each part of it was searched for by itself.
  const words = (query.match(word) ?? [])
    .flatMap((run) => run.split(new RegExp(`(${dense.source})`, 'u')))
    .filter((part) => part !== '');
  if (words.length === 0) return [{ text, marked: false }];
  const any = new RegExp(`(${words.map((part) => part).join('|')})`, 'giu');
  return text
    .split(any)
    .map((part, index) => ({ text: part, marked: index % 2 === 1 }))
    .filter((part) => part.text !== '');
}
