// The chats that are open or still answering. Leaving a chat must not stop its answer.
import { api } from '../api/client';
import type { ChatSettings, TextFile } from '../api/types';
import { chats } from './chats.svelte';
import { Conversation, temporaryId } from './conversation.svelte';
import { newChatDraft } from './drafts';
import { session } from './session.svelte';
import { localChat } from './temporary';

const kept_limit = 12;

/** What the page for a new chat holds before the chat exists. */
class NewChat {
  draft = $state(session.drafts.read(newChatDraft));
  /** The model picked for it; null means the preferred one. */
  model = $state<string | null>(null);
  settings = $state<ChatSettings>({});
  files = $state<TextFile[]>([]);
}

class Conversations {
  #open = new Map<string, Conversation>();
  #newChat: NewChat | null = null;

  /** Made on first use, when it is known whose drafts to read. */
  get newChat(): NewChat {
    this.#newChat ??= new NewChat();
    return this.#newChat;
  }

  /** The chat with this id, from memory or loading. */
  get(id: string): Conversation {
    const known = this.#open.get(id);
    if (known && known.phase !== 'failed') return known;
    const conversation = new Conversation(id);
    if (id === temporaryId) conversation.adopt(localChat(id, null));
    else void conversation.load();
    return this.#keep(conversation);
  }

  /** Makes a chat on the server and opens it. */
  create = async (model: string, settings: ChatSettings = {}): Promise<Conversation> => {
    const { chat } = await api.addChat({ model, settings });
    const conversation = new Conversation(chat.id);
    conversation.adopt(chat);
    chats.put(chat);
    return this.#keep(conversation);
  };

  forget(id: string): void {
    const known = this.#open.get(id);
    if (known?.turn) known.stop();
    this.#open.delete(id);
  }

  #keep(conversation: Conversation): Conversation {
    this.#open.delete(conversation.id);
    this.#open.set(conversation.id, conversation);
    for (const [id, other] of this.#open) {
      if (this.#open.size <= kept_limit) break;
      if (!other.turn && id !== conversation.id && id !== temporaryId) this.#open.delete(id);
    }
    return conversation;
  }
}

export const conversations = new Conversations();
