// The shapes of Hearth's own JSON API. Times are unix seconds.

export type Role = 'user' | 'admin' | 'owner';
export type Theme = 'system' | 'light' | 'dark';
export type LanguageCode = 'en' | 'zh';

export interface Status {
  version: string;
  setup_required: boolean;
  languages: string[];
}

export interface User {
  id: number;
  name: string;
  role: Role;
  disabled: boolean;
  language: LanguageCode | null;
  theme: Theme;
  default_model: string | null;
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

export interface Chat {
  id: string;
  title: string;
  model: string | null;
  current_message_id: string | null;
  created_at: number;
  updated_at: number;
}

/** A chat as the list gives it: without its place in the tree. */
export type ChatSummary = Omit<Chat, 'current_message_id'>;

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
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
  model: string | null;
  status: 'complete' | 'stopped' | 'failed';
  finish_reason: string | null;
  usage: Usage | null;
  error: MessageError | null;
  created_at: number;
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
  kv_pages_used: number;
  kv_pages_total: number;
}

export type TurnRequest =
  | { model?: string; content: string; parent_id?: string | null }
  | { model?: string; regenerate: string };

export type TurnEvent =
  | { name: 'started'; chat: Chat; user_message: Message | null; assistant_message: Message }
  | { name: 'delta'; text: string }
  | { name: 'finished'; assistant_message: Message; chat: Chat }
  /** Without a message when its last row could not be stored. */
  | { name: 'failed'; assistant_message: Message | null; error: MessageError };
