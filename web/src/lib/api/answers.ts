// What the server answers to the desk, and the shapes in it. Times are unix seconds.
import type { ApiToken, CatalogueCard, Machine, Model, Role, User } from './types';

export type Dimension = 'user' | 'token' | 'group' | 'model' | 'channel';
export type Period = 'day' | 'week' | 'month';

export interface UsageSum {
  key: string;
  name: string | null;
  requests: number;
  failed: number;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  cost_micros: number;
  first_token_ms: number;
  total_ms: number;
}

export interface UsageSpan {
  start: number;
  end: number;
  sums: UsageSum[];
}

export interface UsageRow {
  id: string;
  request_id: string | null;
  user_id: number | null;
  user: string | null;
  token: string | null;
  model: string;
  channel_id: number | null;
  prompt_tokens: number;
  cached_tokens: number;
  completion_tokens: number;
  queue_ms: number;
  first_token_ms: number;
  total_ms: number;
  cost_micros: number;
  outcome: 'complete' | 'stopped' | 'failed';
  reason: string | null;
  created_at: number;
}

export type Unit = 'money' | 'tokens' | 'requests';
export type HolderKind = 'user' | 'token' | 'group';

export interface Budget {
  id: number;
  holder: { kind: HolderKind; id: number };
  period: Period;
  unit: Unit;
  time_zone: string;
  most: number;
  window_start: number;
  window_end: number;
  held: number;
  used: number;
}

export interface Price {
  model: string;
  channel_id: number | null;
  input_micros_per_million: number;
  cached_micros_per_million: number;
  output_micros_per_million: number;
  call_micros: number;
}

/** What a holder may spend. */
export interface Wallet {
  holder: { kind: HolderKind; id: number };
  is_unlimited: boolean;
  granted_micros: number;
  remaining_micros: number;
  held_micros: number;
  used_micros: number;
}

export interface RateLimit {
  kind: HolderKind | 'model';
  holder: string;
  requests_per_minute: number | null;
  tokens_per_minute: number | null;
  concurrent: number | null;
}

export interface Group {
  id: number;
  name: string;
  /** Names, or their beginnings with `*`; null is all. */
  models: string[] | null;
  created_at: number;
}

export interface Invite {
  id: number;
  note: string;
  role: Role;
  group: string | null;
  uses_left: number;
  max_uses: number;
  expires_at: number;
  created_by: string;
  created_at: number;
}

export interface SignedInBrowser {
  id: string;
  method: string;
  address: string | null;
  agent: string | null;
  created_at: number;
  last_seen_at: number;
  expires_at: number;
}

export type Policy =
  'local-only' | 'prefer-local' | 'prefer-remote' | 'cheapest' | 'fastest' | 'weighted';

/** How requests for a model find who answers. */
export interface ModelRoute {
  model: string;
  policy: Policy | null;
  targets: { model: string; channel: string | null }[];
  spill_wait_ms: number | null;
  on_context_full: string[];
  hedge: boolean;
}

/** A kind of provider. */
export interface ChannelType {
  name: string;
  base_url: string;
  needs_key: boolean;
  note: string;
}

export interface Channel {
  id: number;
  name: string;
  type: string;
  base_url: string | null;
  enabled: boolean;
  priority: number;
  weight: number;
  keys: { id: string; hint: string; rests_s: number | null }[];
  settings: {
    models: string[];
    model_mapping: Record<string, string>;
    groups: string[];
    test_model: string | null;
    network: { proxy: string | null; allow_private: string[]; headers: Record<string, string> };
    [name: string]: unknown;
  };
  /** Why it cannot be used. */
  problem: string | null;
  /** Since the server started; null while it cannot be used. */
  stats: {
    answers: number;
    refusals: number;
    failures: number;
    last_problem: string | null;
  } | null;
}

export interface ChannelTest {
  ok: boolean;
  list: { took_ms: number; models: string[]; error: string | null };
  answer: { model: string; took_ms: number; text: string; error: string | null } | null;
}

export interface AuditAct {
  sequence: number;
  created_at: number;
  actor: string;
  via: string;
  address: string;
  action: string;
  target: string;
}

/** The answers by method and path. What is asked stands in `schema.ts`, which is generated. */
export interface Answers {
  'GET /hearth/usage': { usage: UsageRow[]; next: string | null };
  'GET /hearth/usage/summary': { spans: UsageSpan[] };
  'GET /hearth/audit': { acts: AuditAct[]; next: number | null };

  'GET /hearth/audit/verify': { rows: number; hash: string; fault: string | null };
  'GET /hearth/doctor': {
    database: { bytes: number; problems: string[] };
    ledger: { problems: string[] };
  };

  'GET /hearth/me/second-factor': { is_on: boolean; recovery_codes_left: number };
  'POST /hearth/me/second-factor': { seed: string; address: string };
  'POST /hearth/me/second-factor/confirm': { recovery_codes: string[] };
  'DELETE /hearth/me/second-factor': undefined;
  'POST /hearth/me/recovery-codes': { recovery_codes: string[] };
  'POST /hearth/session/confirm': undefined;
  'GET /hearth/sessions': { sessions: SignedInBrowser[]; current: string | null };
  'DELETE /hearth/sessions': { ended: number };
  'DELETE /hearth/sessions/{id}': undefined;
  'POST /hearth/me/password': undefined;

  'GET /hearth/tokens': { tokens: ApiToken[] };
  'POST /hearth/tokens': { token: ApiToken; secret: string };
  'DELETE /hearth/tokens/{id}': undefined;

  'GET /hearth/users': { users: User[] };
  'POST /hearth/users': { user: User };
  'PATCH /hearth/users/{id}': { user: User };
  'DELETE /hearth/users/{id}': undefined;
  'POST /hearth/users/import': { users: number; dry_run: boolean };
  'DELETE /hearth/users/{id}/sessions': { ended: number };
  'DELETE /hearth/users/{id}/second-factor': undefined;
  'GET /hearth/groups': { groups: Group[] };
  'POST /hearth/groups': { group: Group };
  'PATCH /hearth/groups/{id}': { group: Group };
  'DELETE /hearth/groups/{id}': undefined;
  'GET /hearth/invites': { invites: Invite[] };
  'POST /hearth/invites': { invite: Invite; secret: string };
  'DELETE /hearth/invites/{id}': undefined;

  'GET /hearth/quota': { wallets: Wallet[]; next: string | null };
  'GET /hearth/quota/{kind}/{holder}': { wallet: Wallet | null; budgets: Budget[] };
  'PUT /hearth/quota/{kind}/{holder}': { wallet: Wallet };
  'GET /hearth/budgets': { budgets: Budget[] };
  'PUT /hearth/budgets': { budget: Budget };
  'DELETE /hearth/budgets/{id}': undefined;
  'GET /hearth/prices': { prices: Price[] };
  'PUT /hearth/prices': { price: Price };
  'DELETE /hearth/prices': undefined;
  'GET /hearth/limits': { limits: RateLimit[] };
  'PUT /hearth/limits': { limit: RateLimit };
  'DELETE /hearth/limits': undefined;

  'GET /hearth/channels': { channels: Channel[] };
  'GET /hearth/channels/types': { types: ChannelType[] };
  'POST /hearth/channels': { channel: Channel };
  'PATCH /hearth/channels/{id}': { channel: Channel };
  'DELETE /hearth/channels/{id}': undefined;
  'POST /hearth/channels/{id}/keys': { channel: Channel };
  'DELETE /hearth/channels/{id}/keys/{key}': undefined;
  'POST /hearth/channels/{id}/test': { test: ChannelTest };
  'GET /hearth/channels/{id}/models': { list: { models: string[]; error: string | null } };
  'GET /hearth/routes': {
    routes: ModelRoute[];
    groups: { group: string; policy: Policy }[];
  };
  'POST /hearth/routes': { route: ModelRoute };
  'DELETE /hearth/routes/{model}': undefined;
  'POST /hearth/routes/groups': undefined;

  'GET /hearth/machine': Machine;
  'GET /hearth/models/catalogue': { models: CatalogueCard[] };
  'POST /hearth/models/copy': { model: Model };
  'DELETE /hearth/models/{name}': undefined;
  'POST /hearth/models/{name}/load': { model: Model };
  'POST /hearth/models/{name}/unload': { model: Model };
  'POST /hearth/models/pull': { name: string };
  'GET /hearth/models/pulls': { pulls: { name: string }[] };
  'DELETE /hearth/models/pulls/{name}': undefined;
}
