// A chat is a tree of messages; the screen shows one path through it.
import type { Message } from '../api/types';

type Node = Pick<Message, 'id' | 'parent_id' | 'created_at'>;

/** The path from the root to `leafId`. A broken or circular chain ends the path early. */
export function pathTo<T extends Node>(messages: readonly T[], leafId: string | null): T[] {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const path: T[] = [];
  const seen = new Set<string>();
  for (let id = leafId; id !== null && !seen.has(id);) {
    const message = byId.get(id);
    if (!message) break;
    seen.add(id);
    path.push(message);
    id = message.parent_id;
  }
  return path.reverse();
}

/** All messages that share the parent of `message`, itself included, oldest first. */
export function siblingsOf<T extends Node>(messages: readonly T[], message: Node): T[] {
  return messages.filter((other) => other.parent_id === message.parent_id);
}

/** The newest leaf below `id`: where a switch to that branch lands. */
export function newestLeaf<T extends Node>(messages: readonly T[], id: string): string {
  const children = new Map<string, T[]>();
  for (const message of messages) {
    if (message.parent_id === null) continue;
    const list = children.get(message.parent_id);
    if (list) list.push(message);
    else children.set(message.parent_id, [message]);
  }
  const seen = new Set<string>();
  let leaf = id;
  for (;;) {
    seen.add(leaf);
    const next = children.get(leaf)?.at(-1);
    if (!next || seen.has(next.id)) return leaf;
    leaf = next.id;
  }
}

/** Where to stand when the chat does not say: the newest message and its path. */
export function newestMessage<T extends Node>(messages: readonly T[]): string | null {
  return messages.at(-1)?.id ?? null;
}
