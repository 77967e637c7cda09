// The requests of settings and administration, by name. Fetched with the desk.
import { addressOf, request, type Call, type Given } from './request';

export type * from './answers';

/** What a call takes as its body, and what may stand behind its question mark. */
type BodyOf<C extends Call> = Given<C> extends { body: infer B } ? B : never;
type QueryOf<C extends Call> = Given<C> extends { query?: infer Q } ? Q : never;

export type UsageQuestion = NonNullable<QueryOf<'GET /hearth/usage/summary'>>;
export type UsageFilter = NonNullable<QueryOf<'GET /hearth/usage'>>;
export type NewBudget = BodyOf<'PUT /hearth/budgets'>;
/** The description has one shape for new and changed channels; of a change, any part will do. */
export type ChannelChange = Partial<BodyOf<'PATCH /hearth/channels/{id}'>>;
export type UserChange = BodyOf<'PATCH /hearth/users/{id}'>;

/** Loading weights from a slow disk takes minutes. */
const load_limit_ms = 600_000;
const test_limit_ms = 120_000;
/** Each imported password takes a hash, which takes a while. */
const import_limit_ms = 300_000;

export const admin = {
  usageSums: (question: UsageQuestion) => {
    const time_zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    return request('GET /hearth/usage/summary', { query: { ...question, time_zone } });
  },
  usageRows: (filter: UsageFilter) =>
    request('GET /hearth/usage', { query: { ...filter, limit: 50 } }),
  /** The address of the same rows as a file. */
  usageCsv: (filter: UsageFilter) =>
    addressOf('/hearth/usage', { query: { ...filter, format: 'csv' } }),
  audit: (before: number | null) => request('GET /hearth/audit', { query: { before, limit: 50 } }),

  verifyAudit: () => request('GET /hearth/audit/verify', { limit_ms: test_limit_ms }),
  doctor: () => request('GET /hearth/doctor', { limit_ms: test_limit_ms }),

  changePassword: (body: BodyOf<'POST /hearth/me/password'>) =>
    request('POST /hearth/me/password', { body }),
  prove: (body: BodyOf<'POST /hearth/session/confirm'>) =>
    request('POST /hearth/session/confirm', { body }),
  secondFactor: () => request('GET /hearth/me/second-factor'),
  beginSecondFactor: () => request('POST /hearth/me/second-factor'),
  confirmSecondFactor: (code: string) =>
    request('POST /hearth/me/second-factor/confirm', { body: { code } }),
  endSecondFactor: () => request('DELETE /hearth/me/second-factor'),
  renewRecoveryCodes: () => request('POST /hearth/me/recovery-codes'),
  sessions: () => request('GET /hearth/sessions'),
  endSession: (id: string) => request('DELETE /hearth/sessions/{id}', { path: { id } }),
  endOtherSessions: () => request('DELETE /hearth/sessions'),

  tokens: () => request('GET /hearth/tokens'),
  allTokens: () => request('GET /hearth/tokens', { query: { all: true } }),
  addToken: (body: BodyOf<'POST /hearth/tokens'>) => request('POST /hearth/tokens', { body }),
  revokeToken: (id: number) => request('DELETE /hearth/tokens/{id}', { path: { id } }),

  users: () => request('GET /hearth/users'),
  addUser: (body: BodyOf<'POST /hearth/users'>) => request('POST /hearth/users', { body }),
  updateUser: (id: number, body: UserChange) =>
    request('PATCH /hearth/users/{id}', { path: { id }, body }),
  removeUser: (id: number) => request('DELETE /hearth/users/{id}', { path: { id } }),
  importUsers: (file: Blob, dry_run: boolean) =>
    request('POST /hearth/users/import', { query: { dry_run }, file, limit_ms: import_limit_ms }),
  endSessionsOf: (id: number) => request('DELETE /hearth/users/{id}/sessions', { path: { id } }),
  endSecondFactorOf: (id: number) =>
    request('DELETE /hearth/users/{id}/second-factor', { path: { id } }),
  groups: () => request('GET /hearth/groups'),
  addGroup: (body: BodyOf<'POST /hearth/groups'>) => request('POST /hearth/groups', { body }),
  updateGroup: (id: number, body: BodyOf<'PATCH /hearth/groups/{id}'>) =>
    request('PATCH /hearth/groups/{id}', { path: { id }, body }),
  removeGroup: (id: number) => request('DELETE /hearth/groups/{id}', { path: { id } }),
  invites: () => request('GET /hearth/invites'),
  addInvite: (body: BodyOf<'POST /hearth/invites'>) => request('POST /hearth/invites', { body }),
  removeInvite: (id: number) => request('DELETE /hearth/invites/{id}', { path: { id } }),

  wallets: (after: string | null) => request('GET /hearth/quota', { query: { after } }),
  changeWallet: (
    kind: string,
    holder: string | number,
    body: BodyOf<'PUT /hearth/quota/{kind}/{holder}'>,
  ) => request('PUT /hearth/quota/{kind}/{holder}', { path: { kind, holder }, body }),
  budgets: () => request('GET /hearth/budgets'),
  setBudget: (body: NewBudget) => request('PUT /hearth/budgets', { body }),
  removeBudget: (id: number) => request('DELETE /hearth/budgets/{id}', { path: { id } }),
  prices: () => request('GET /hearth/prices'),
  setPrice: (body: BodyOf<'PUT /hearth/prices'>) => request('PUT /hearth/prices', { body }),
  removePrice: (model: string) => request('DELETE /hearth/prices', { query: { model } }),
  limits: () => request('GET /hearth/limits'),
  setLimit: (body: BodyOf<'PUT /hearth/limits'>) => request('PUT /hearth/limits', { body }),
  removeLimit: (kind: string, holder: string) =>
    request('DELETE /hearth/limits', { query: { kind, holder } }),

  channels: () => request('GET /hearth/channels'),
  channelTypes: () => request('GET /hearth/channels/types'),
  addChannel: (body: BodyOf<'POST /hearth/channels'>) => request('POST /hearth/channels', { body }),
  updateChannel: (id: number, body: ChannelChange) =>
    request('PATCH /hearth/channels/{id}', {
      path: { id },
      body: body as BodyOf<'PATCH /hearth/channels/{id}'>,
    }),
  removeChannel: (id: number) => request('DELETE /hearth/channels/{id}', { path: { id } }),
  addChannelKey: (id: number, key: string) =>
    request('POST /hearth/channels/{id}/keys', { path: { id }, body: { key } }),
  removeChannelKey: (id: number, key: string) =>
    request('DELETE /hearth/channels/{id}/keys/{key}', { path: { id, key } }),
  testChannel: (id: number, model: string | null = null) =>
    request('POST /hearth/channels/{id}/test', {
      path: { id },
      body: { model },
      limit_ms: test_limit_ms,
    }),
  channelModels: (id: number) =>
    request('GET /hearth/channels/{id}/models', { path: { id }, limit_ms: test_limit_ms }),
  routes: () => request('GET /hearth/routes'),
  setRoute: (body: BodyOf<'POST /hearth/routes'>) => request('POST /hearth/routes', { body }),
  removeRoute: (model: string) => request('DELETE /hearth/routes/{model}', { path: { model } }),
  setGroupPolicy: (body: BodyOf<'POST /hearth/routes/groups'>) =>
    request('POST /hearth/routes/groups', { body }),

  machine: () => request('GET /hearth/machine'),
  catalogue: (words: string) => request('GET /hearth/models/catalogue', { query: { q: words } }),
  copyModel: (body: BodyOf<'POST /hearth/models/copy'>) =>
    request('POST /hearth/models/copy', { body }),
  deleteModel: (name: string) => request('DELETE /hearth/models/{name}', { path: { name } }),
  loadModel: (name: string) =>
    request('POST /hearth/models/{name}/load', { path: { name }, limit_ms: load_limit_ms }),
  unloadModel: (name: string) => request('POST /hearth/models/{name}/unload', { path: { name } }),
  startPull: (name: string) =>
    request('POST /hearth/models/pull', { body: { name, detach: true } }),
  pulls: () => request('GET /hearth/models/pulls'),
  cancelPull: (name: string) => request('DELETE /hearth/models/pulls/{name}', { path: { name } }),
};
