// The messages of a chat that are here, as a list.
import type { Message } from '../api/types';

let unsent = 0;

/** An id for a message the server has not seen; it sorts behind all ids of the server. */
export function unsentId(): string {
  unsent += 1;
  return `unsent-${String(unsent).padStart(6, '0')}`;
}

export function isUnsent(id: string): boolean {
  return id.startsWith('unsent-');
}

/** `messages` with these rows in their places, or at the end; what is being written stays. */
export function withRows(
  messages: readonly Message[],
  rows: readonly Message[],
  writing: readonly (string | null)[],
): Message[] {
  const newer = new Map(rows.map((row) => [row.id, row]));
  const known = new Set(messages.map((message) => message.id));
  return [
    ...messages.map((message) =>
      writing.includes(message.id) ? message : (newer.get(message.id) ?? message),
    ),
    ...rows.filter((row) => !known.has(row.id)),
  ];
}
