// The shapes of Hearth's own JSON API. Times are unix seconds.

export type Role = 'user' | 'admin' | 'owner';
export type Theme = 'system' | 'light' | 'dark';
export type LanguageCode = 'en' | 'zh';

export interface Status {
  version: string;
  setup_required: boolean;
  languages: string[];
  /** Whether one can sign in at an OpenID provider, and by the proxy in front. */
  oidc: boolean;
  proxy: boolean;
}

export interface User {
  id: number;
  name: string;
  role: Role;
  disabled: boolean;
  language: LanguageCode | null;
  theme: Theme;
  default_model: string | null;
  email: string | null;
  group_id: number | null;
  group: string | null;
  created_at: number;
}

export interface ApiToken {
  id: number;
  name: string;
  user: string;
  prefix: string;
  created_at: number;
  last_used_at: number | null;
  expires_at: number | null;
  models: string[] | null;
  allow_ips: string[] | null;
}

export interface Model {
  name: string;
  source: 'builtin' | 'imported';
  format: 'gguf' | 'safetensors';
  architecture: string;
  quantization: string | null;
  parameters: number | null;
  size_bytes: number;
  context_tokens: number;
  state: 'idle' | 'loading' | 'loaded';
  chat: boolean;
  note: string | null;
  created_at: number;
}

export interface Fit {
  verdict: 'fits' | 'fits_shorter' | 'too_large';
  /** `cpu`, `gpu0`, `metal`. */
  device: string;
  need_bytes: number;
  free_bytes: number;
  context_tokens: number;
}

export interface CatalogueVariant {
  name: string;
  source: string;
  license: string;
  parameters: number;
  file_bytes: number;
  quantization: string;
  context_tokens: number;
  installed: boolean;
  fit: Fit;
}

/** A family of well-known models. */
export interface CatalogueCard {
  name: string;
  title: string;
  about: string;
  maker: string;
  capabilities: string[];
  variants: CatalogueVariant[];
}

/** A line of a pull: how far it is, or one of the two ends. */
export type PullLine =
  | {
      stage: 'waiting' | 'manifest' | 'fetching' | 'verifying' | 'writing';
      digest: string | null;
      total: number;
      completed: number;
    }
  | { model: Model }
  | { error: MessageError };

/** How words are drawn; what is absent is the model's own choice. */
export interface Parameters {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  max_tokens?: number;
  seed?: number;
  frequency_penalty?: number;
  presence_penalty?: number;
  repetition_penalty?: number;
  stop?: string[];
  context_tokens?: number;
  thinking?: 'off' | 'low' | 'medium' | 'high';
}

/** What a chat asks for with every turn. */
export interface ChatSettings {
  system?: string;
  parameters?: Parameters;
  /** Further models that answer beside the chat's own. */
  beside?: string[];
  preset?: string;
}

export interface Chat {
  id: string;
  title: string;
  model: string | null;
  current_message_id: string | null;
  folder_id: string | null;
  pinned: boolean;
  archived: boolean;
  settings: ChatSettings;
  created_at: number;
  updated_at: number;
}

/** A chat as the list gives it: without its place in the tree. */
export type ChatSummary = Omit<Chat, 'current_message_id' | 'settings'>;

export type ChatView = 'loose' | 'pinned' | 'archived';

export interface Folder {
  id: string;
  name: string;
  chats: number;
  created_at: number;
}

/** A chat in which something was found. */
export interface Hit {
  chat: ChatSummary;
  message_id: string | null;
  excerpt: string;
}

/** The end of a chat's branch, or what stands before a message of it. */
export interface ChatWindow {
  chat: Chat;
  messages: Message[];
  has_earlier: boolean;
  /** Answers that are being written now. */
  running: string[];
}

export interface Share {
  id: string;
  leaf_id: string;
  open: boolean;
  created_at: number;
}

/** What a link shows. */
export interface SharedChat {
  title: string;
  created_at: number;
  messages: Pick<
    Message,
    'id' | 'role' | 'content' | 'reasoning' | 'model' | 'files' | 'created_at'
  >[];
}

/** A chat from elsewhere, in the form that the server takes in. */
export interface ForeignChat {
  title: string;
  model?: string;
  folder?: string;
  pinned?: boolean;
  archived?: boolean;
  created_at: number;
  updated_at: number;
  current?: string;
  /** Parents before their children. */
  messages: ForeignMessage[];
}

export interface ForeignMessage {
  id: string;
  parent_id: string | null;
  role: 'user' | 'assistant' | 'system';
  content: string;
  reasoning?: string;
  model?: string;
  created_at: number;
}

export type Audience = 'me' | 'group' | 'all';

interface Kept {
  id: string;
  name: string;
  audience: Audience;
  group_id: number | null;
  mine: boolean;
  created_at: number;
}

/** A text behind a command. */
export interface PromptItem extends Kept {
  kind: 'prompt';
  body: { text: string };
}

/** A model with its instructions and parameters. */
export interface PresetItem extends Kept {
  kind: 'preset';
  body: { model: string | null; settings: ChatSettings };
}

export type ShelfItem = PromptItem | PresetItem;

export interface NewShelfItem {
  name: string;
  audience?: Audience;
  group_id?: number;
  prompt?: { text: string };
  preset?: { model: string | null; settings: ChatSettings };
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  /** Part of the prompt that was not computed again. */
  cached_tokens: number;
  cost_micros: number | null;
  queue_ms: number;
  first_token_ms: number;
  total_ms: number;
}

export interface MessageError {
  code: string;
  message: string;
}

export interface Message {
  id: string;
  parent_id: string | null;
  role: 'user' | 'assistant' | 'system';
  content: string;
  reasoning?: string;
  reasoning_ms?: number;
  calls?: ToolCall[];
  files?: { name: string; bytes: number }[];
  /** The channel that answered; absent for what runs on this server. */
  channel_id?: number;
  model: string | null;
  status: 'complete' | 'stopped' | 'failed';
  finish_reason: string | null;
  usage: Usage | null;
  error: MessageError | null;
  /** All versions of this message by id, itself included; absent if it is alone. */
  versions?: string[];
  created_at: number;
}

export interface ToolCall {
  id: string;
  name: string;
  /** JSON as the model wrote it, which may not be valid. */
  arguments: string;
}

export interface Machine {
  cores: number;
  memory_bytes: number;
  memory_free_bytes: number;
  process_memory_bytes: number;
  gpus: { name: string; memory_bytes: number; memory_free_bytes: number }[];
  models_loaded: LoadedModel[];
}

export interface LoadedModel {
  name: string;
  memory_bytes: number;
  running: number;
  waiting: number;
  queue_wait_ms: number;
  kv_pages_cached: number;
  kv_pages_used: number;
  kv_pages_total: number;
}

/** A file whose text the model reads with a question. */
export interface TextFile {
  name: string;
  text: string;
}

export type TurnRequest =
  | {
      model?: string;
      content: string;
      parent_id?: string | null;
      files?: TextFile[];
      files_of?: string;
    }
  | { model?: string; regenerate: string }
  | { model?: string; answer: string }
  | { model?: string; continue: string };

/** Who else wants the model, while nothing is said. */
export interface QueueNews {
  running: number;
  waiting: number;
  wait_ms: number;
  prompt_tokens: number;
}

export type TurnEvent =
  | { name: 'started'; chat: Chat; user_message: Message | null; assistant_message: Message }
  | ({ name: 'queue' } & QueueNews)
  | { name: 'thinking'; text: string; pieces: number }
  | { name: 'calls'; calls: ToolCall[] }
  | { name: 'delta'; text: string; pieces: number }
  | { name: 'finished'; assistant_message: Message; chat: Chat }
  /** Without a message when its last row could not be stored. */
  | { name: 'failed'; assistant_message: Message | null; error: MessageError };

/** What a caller may still spend, by the tightest of its wallets and budgets; null has no limit. */
export interface Remaining {
  money_micros: number | null;
  tokens: number | null;
  requests: number | null;
}
