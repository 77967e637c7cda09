// Files that leave the page and files that come in.
import type { TextFile } from './api/types';

/** Longest text of one file; the server takes a megabyte of everything together. */
export const file_limit_bytes = 512 * 1024;

/** Offers `text` as a download. */
export function saveFile(name: string, type: string, text: string): void {
  const address = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
}

/** The text of a file, or null if it is no text or too long. */
export async function readTextFile(file: File): Promise<TextFile | null> {
  if (file.size > file_limit_bytes) return null;
  const bytes = new Uint8Array(await file.arrayBuffer());
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return text.includes('\u0000') ? null : { name: file.name || 'text.txt', text };
  } catch {
    return null;
  }
}
