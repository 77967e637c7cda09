// What people were writing, kept per account and chat in this browser until it is sent.

const draft_limit = 50;
const draft_limit_chars = 100_000;

interface Entry {
  text: string;
  at: number;
}

/** The name a draft has before its chat exists. */
export const newChatDraft = 'new';

export class DraftStore {
  constructor(
    private readonly storage: Pick<Storage, 'getItem' | 'setItem' | 'removeItem'>,
    private readonly key: string,
  ) {}

  read(chat: string): string {
    return this.#load()[chat]?.text ?? '';
  }

  /** Keeps `text` for `chat`; an empty text forgets it. The oldest drafts make room. */
  write(chat: string, text: string, now_ms: number): void {
    const { [chat]: previous, ...others } = this.#load();
    if (text === '' && !previous) return;
    const entries = Object.entries(others);
    if (text !== '') entries.push([chat, { text: text.slice(0, draft_limit_chars), at: now_ms }]);
    entries.sort(([, a], [, b]) => b.at - a.at);
    this.#save(Object.fromEntries(entries.slice(0, draft_limit)));
  }

  clear(): void {
    this.storage.removeItem(this.key);
  }

  #load(): Record<string, Entry> {
    try {
      const value: unknown = JSON.parse(this.storage.getItem(this.key) ?? '{}');
      if (typeof value !== 'object' || value === null) return {};
      const valid = Object.entries(value as Record<string, Partial<Entry>>).filter(
        ([, entry]) => typeof entry?.text === 'string' && typeof entry.at === 'number',
      );
      return Object.fromEntries(valid) as Record<string, Entry>;
    } catch {
      return {};
    }
  }

  #save(entries: Record<string, Entry>): void {
    try {
      this.storage.setItem(this.key, JSON.stringify(entries));
    } catch {
      // A full storage loses the draft on reload but must not stop the typing.
    }
  }
}
