// A chat as a file: Markdown for people, and the JSON that Open WebUI writes and reads.
import type { Chat, Message } from '../api/types';
import { newestLeaf, pathTo } from './tree';

export interface WholeChat {
  chat: Chat;
  messages: Message[];
}

function leafOf({ chat, messages }: WholeChat): string | null {
  const newest = messages.at(-1)?.id;
  return chat.current_message_id ?? (newest ? newestLeaf(messages, newest) : null);
}

/** The branch that is shown, as a document. */
export function toMarkdown(whole: WholeChat): string {
  const { chat, messages } = whole;
  const parts = pathTo(messages, leafOf(whole)).map((message) => {
    const who = message.role === 'assistant' ? (message.model ?? 'Assistant') : 'You';
    const thought = message.reasoning
      ? `<details><summary>Thoughts</summary>\n\n${message.reasoning}\n\n</details>\n\n`
      : '';
    return `## ${who}\n\n${thought}${message.content}\n`;
  });
  return `# ${chat.title || 'Chat'}\n\n${parts.join('\n')}`;
}

function foreignMessage(message: Message, messages: readonly Message[]): object {
  const thought = message.reasoning
    ? `<details type="reasoning" done="true">\n<summary>Thought</summary>\n${message.reasoning}\n</details>\n`
    : '';
  return {
    id: message.id,
    parentId: message.parent_id,
    childrenIds: messages.filter((other) => other.parent_id === message.id).map(({ id }) => id),
    role: message.role,
    content: thought + message.content,
    timestamp: message.created_at,
    done: true,
    ...(message.model ? { model: message.model, modelName: message.model } : {}),
  };
}

/** All branches of these chats, as Open WebUI's own export. */
export function toOpenWebui(chats: readonly WholeChat[]): string {
  const rows = chats.map((whole) => {
    const { chat, messages } = whole;
    const currentId = leafOf(whole);
    const byId = Object.fromEntries(
      messages.map((message) => [message.id, foreignMessage(message, messages)]),
    );
    return {
      id: chat.id,
      title: chat.title,
      chat: {
        title: chat.title,
        models: chat.model ? [chat.model] : [],
        params: {},
        history: { currentId, messages: byId },
        messages: pathTo(messages, currentId).map((message) => byId[message.id]),
      },
      pinned: chat.pinned,
      archived: chat.archived,
      created_at: chat.created_at,
      updated_at: chat.updated_at,
    };
  });
  return JSON.stringify(rows, null, 2);
}
