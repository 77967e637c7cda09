// A chat is a tree of messages; the screen shows one path through it. Only part of the tree is here:
// the path's end, and what was shown before.
import type { Message } from '../api/types';

type Node = Pick<Message, 'id' | 'parent_id' | 'created_at' | 'versions'>;

/** The path to `leafId`, from its oldest message that is here. A circular chain ends it early. */
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

/** The ids of all versions of `message`, itself included, oldest first: ids grow with time. */
export function versionsOf(messages: readonly Node[], message: Node): string[] {
  const ids = new Set([message.id, ...(message.versions ?? [])]);
  for (const other of messages) {
    if (other.parent_id !== message.parent_id) continue;
    ids.add(other.id);
    for (const id of other.versions ?? []) ids.add(id);
  }
  return [...ids].sort();
}

/** The newest leaf below `id` among the messages that are here. */
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
