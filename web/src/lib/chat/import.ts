// Reads what other programs export: ChatGPT's conversations.json and Open WebUI's chats. Nothing in
// such a file is trusted: what is not as expected is left out, and the server gives new ids.
import type { ForeignChat, ForeignMessage } from '../api/types';

type Dict = Record<string, unknown>;

function dict(value: unknown): Dict | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Dict)
    : null;
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function seconds(value: unknown, otherwise: number): number {
  const number = typeof value === 'string' ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number) || number <= 0) return otherwise;
  // Some versions count milliseconds or nanoseconds.
  let found = number;
  while (found > 10_000_000_000) found /= 1000;
  return Math.floor(found);
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
}

interface Node {
  id: string;
  parent: string | null;
  message: Omit<ForeignMessage, 'id' | 'parent_id'> | null;
}

/** The nodes that say something, parents before children; those that do not are stepped over. */
function inOrder(nodes: Map<string, Node>): ForeignMessage[] {
  const speaking = (id: string | null): string | null => {
    const seen = new Set<string>();
    for (let at = id; at !== null && !seen.has(at);) {
      seen.add(at);
      const node = nodes.get(at);
      if (!node) return null;
      if (node.message) return at;
      at = node.parent;
    }
    return null;
  };
  const children = new Map<string | null, Node[]>();
  for (const node of nodes.values()) {
    if (!node.message) continue;
    const parent = speaking(node.parent);
    children.set(parent, [...(children.get(parent) ?? []), node]);
  }
  const ordered: ForeignMessage[] = [];
  const waiting: (string | null)[] = [null];
  while (waiting.length > 0) {
    const parent = waiting.shift() ?? null;
    for (const node of children.get(parent) ?? []) {
      if (!node.message) continue;
      ordered.push({ id: node.id, parent_id: parent, ...node.message });
      waiting.push(node.id);
    }
  }
  return ordered;
}

function chatgptText(content: Dict | null): string {
  const parts = Array.isArray(content?.['parts']) ? content['parts'] : [];
  const said = parts.map((part) => text(part) ?? text(dict(part)?.['text']) ?? '');
  return said.filter((part) => part !== '').join('\n\n') || (text(content?.['text']) ?? '');
}

function fromChatgpt(row: Dict, now: number): ForeignChat | null {
  const mapping = dict(row['mapping']);
  if (!mapping) return null;
  const created_at = seconds(row['create_time'], now);
  const nodes = new Map<string, Node>();
  for (const [id, value] of Object.entries(mapping)) {
    const node = dict(value);
    const message = dict(node?.['message']);
    const role = text(dict(message?.['author'])?.['role']);
    const content = chatgptText(dict(message?.['content']));
    const says = (role === 'user' || role === 'assistant') && content !== '';
    const model = text(dict(message?.['metadata'])?.['model_slug']);
    nodes.set(id, {
      id,
      parent: text(node?.['parent']),
      message: says
        ? {
            role,
            content,
            created_at: seconds(message?.['create_time'], created_at),
            ...(role === 'assistant' && model ? { model } : {}),
          }
        : null,
    });
  }
  const current = text(row['current_node']);
  return {
    title: text(row['title']) ?? '',
    created_at,
    updated_at: seconds(row['update_time'], created_at),
    archived: row['is_archived'] === true,
    ...(current ? { current } : {}),
    messages: inOrder(nodes),
  };
}

const thought =
  /<details type="reasoning"[^>]*>\s*(?:<summary>[\s\S]*?<\/summary>)?([\s\S]*?)<\/details>\s*/g;

function fromOpenWebui(row: Dict, now: number): ForeignChat | null {
  const chat = dict(row['chat']) ?? row;
  const messages = dict(dict(chat['history'])?.['messages']);
  if (!messages) return null;
  const created_at = seconds(row['created_at'] ?? chat['timestamp'], now);
  const nodes = new Map<string, Node>();
  for (const [id, value] of Object.entries(messages)) {
    const message = dict(value);
    const role = message?.['role'];
    if (role !== 'user' && role !== 'assistant' && role !== 'system') continue;
    const thoughts: string[] = [];
    const whole = typeof message?.['content'] === 'string' ? message['content'] : '';
    const content = whole.replace(thought, (_, said: string) => {
      thoughts.push(said.trim().replace(/^&gt; ?|^> ?/gm, ''));
      return '';
    });
    const model = text(message?.['model']);
    nodes.set(id, {
      id,
      parent: text(message?.['parentId']),
      message: {
        role,
        content,
        created_at: seconds(message?.['timestamp'], created_at),
        ...(model ? { model } : {}),
        ...(thoughts.length > 0 ? { reasoning: thoughts.join('\n\n') } : {}),
      },
    });
  }
  const current = text(dict(chat['history'])?.['currentId']);
  const model = strings(chat['models'])[0];
  return {
    title: text(row['title']) ?? text(chat['title']) ?? '',
    created_at,
    updated_at: seconds(row['updated_at'], created_at),
    pinned: row['pinned'] === true,
    archived: row['archived'] === true,
    ...(current ? { current } : {}),
    ...(model ? { model } : {}),
    messages: inOrder(nodes),
  };
}

/** The chats in a file, whichever of the known programs wrote it; none if it is of no known kind. */
export function readExport(file: string, now: number): ForeignChat[] {
  let rows: unknown;
  try {
    rows = JSON.parse(file);
  } catch {
    // One object per line, as Open WebUI's API streams them.
    rows = file
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line) => {
        try {
          return JSON.parse(line) as unknown;
        } catch {
          return null;
        }
      });
  }
  const list = Array.isArray(rows) ? (rows as unknown[]) : [rows];
  return list.flatMap((value) => {
    const row = dict(value);
    const chat = row && (row['mapping'] ? fromChatgpt(row, now) : fromOpenWebui(row, now));
    return chat && chat.messages.length > 0 ? [chat] : [];
  });
}

const batch_limit_bytes = 3_000_000;
const batch_limit_chats = 50;

/** Chats in portions that the server takes in one request. */
export function inBatches(chats: readonly ForeignChat[]): ForeignChat[][] {
  const batches: ForeignChat[][] = [];
  let bytes = 0;
  for (const chat of chats) {
    // A character takes at most three bytes here.
    const size = JSON.stringify(chat).length * 2;
    const last = batches.at(-1);
    if (!last || bytes + size > batch_limit_bytes || last.length >= batch_limit_chats) {
      batches.push([chat]);
      bytes = size;
    } else {
      last.push(chat);
      bytes += size;
    }
  }
  return batches;
}
