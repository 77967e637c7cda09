// The requests of administration, and the shapes of their answers. Fetched with the desk.
import { call } from './client';

const part = encodeURIComponent;

/** A question's fields; those without a value are left out. */
function query(fields: Record<string, string | number | null | undefined>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined);
  return new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
}

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

export interface UsageQuestion {
  by?: Dimension | null;
  period?: Period | null;
  since?: number;
  until?: number;
  user_id?: number | null;
  model?: string | null;
}

export interface UsageFilter {
  user_id?: number | null;
  model?: string | null;
  outcome?: string | null;
  since?: number | null;
  before?: string | null;
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
  window_end: number;
  held: number;
  used: number;
}

export interface NewBudget {
  kind: HolderKind;
  holder: string;
  period: Period;
  unit: Unit;
  most: number;
  time_zone: string;
}

export interface Price {
  model: string;
  channel_id: number | null;
  input_micros_per_million: number;
  cached_micros_per_million: number;
  output_micros_per_million: number;
  call_micros: number;
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
  settings: { models: string[]; model_mapping: Record<string, string>; [name: string]: unknown };
  /** Why it cannot be used. */
  problem: string | null;
}

export interface ChannelTest {
  ok: boolean;
  list: { took_ms: number; models: string[]; error: string | null };
  answer: { model: string; took_ms: number; text: string; error: string | null } | null;
}

export interface ChannelChange {
  name?: string;
  type?: string;
  base_url?: string | null;
  enabled?: boolean;
  priority?: number;
  weight?: number;
  keys?: string[];
  settings?: { models?: string[]; model_mapping?: Record<string, string> };
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

export const admin = {
  usageSums: (question: UsageQuestion) => {
    const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    return call<{ spans: UsageSpan[] }>(
      'GET',
      `/hearth/usage/summary?${query({ ...question, time_zone })}`,
    );
  },
  usageRows: (filter: UsageFilter) =>
    call<{ usage: UsageRow[]; next: string | null }>(
      'GET',
      `/hearth/usage?${query({ ...filter, limit: 50 })}`,
    ),
  /** The address of the same rows as a file. */
  usageCsv: (filter: UsageFilter) => `/hearth/usage?${query({ ...filter, format: 'csv' })}`,

  audit: (before: number | null) =>
    call<{ acts: AuditAct[]; next: number | null }>(
      'GET',
      `/hearth/audit?${query({ before, limit: 50 })}`,
    ),

  budgets: () => call<{ budgets: Budget[] }>('GET', '/hearth/budgets'),
  setBudget: (body: NewBudget) => call<{ budget: Budget }>('PUT', '/hearth/budgets', { body }),
  removeBudget: (id: number) => call<undefined>('DELETE', `/hearth/budgets/${id}`),
  prices: () => call<{ prices: Price[] }>('GET', '/hearth/prices'),
  setPrice: (body: Omit<Price, 'channel_id'>) =>
    call<{ price: Price }>('PUT', '/hearth/prices', { body }),
  removePrice: (model: string) => call<undefined>('DELETE', `/hearth/prices?${query({ model })}`),

  channels: () => call<{ channels: Channel[] }>('GET', '/hearth/channels'),
  channelTypes: () => call<{ types: ChannelType[] }>('GET', '/hearth/channels/types'),
  addChannel: (body: ChannelChange) =>
    call<{ channel: Channel }>('POST', '/hearth/channels', { body }),
  updateChannel: (id: number, body: ChannelChange) =>
    call<{ channel: Channel }>('PATCH', `/hearth/channels/${id}`, { body }),
  removeChannel: (id: number) => call<undefined>('DELETE', `/hearth/channels/${id}`),
  addChannelKey: (id: number, key: string) =>
    call<{ channel: Channel }>('POST', `/hearth/channels/${id}/keys`, { body: { key } }),
  removeChannelKey: (id: number, key: string) =>
    call<undefined>('DELETE', `/hearth/channels/${id}/keys/${part(key)}`),
  testChannel: (id: number) =>
    call<{ test: ChannelTest }>('POST', `/hearth/channels/${id}/test`, {
      body: {},
      limit_ms: 120_000,
    }),
};
