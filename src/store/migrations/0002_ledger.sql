CREATE TABLE groups (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    name_key   TEXT    NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
) STRICT;
ALTER TABLE users ADD COLUMN group_id INTEGER REFERENCES groups (id) ON DELETE SET NULL;
CREATE INDEX users_of_group ON users (group_id, id) WHERE group_id IS NOT NULL;

-- Money is whole micro-dollars. What a holder was granted is always somewhere: still there, held
-- for a request that runs, or used. The ledger outlives its holders, so it has no references.
CREATE TABLE wallets (
    kind             TEXT    NOT NULL CHECK (kind IN ('user', 'token', 'group')),
    holder_id        INTEGER NOT NULL,
    is_unlimited     INTEGER NOT NULL CHECK (is_unlimited IN (0, 1)),
    granted_micros   INTEGER NOT NULL DEFAULT 0 CHECK (granted_micros >= 0),
    remaining_micros INTEGER NOT NULL DEFAULT 0 CHECK (remaining_micros >= 0),
    held_micros      INTEGER NOT NULL DEFAULT 0 CHECK (held_micros >= 0),
    used_micros      INTEGER NOT NULL DEFAULT 0 CHECK (used_micros >= 0),
    entries          INTEGER NOT NULL DEFAULT 0 CHECK (entries >= 0),
    PRIMARY KEY (kind, holder_id),
    CHECK (granted_micros = remaining_micros + held_micros + used_micros)
) STRICT, WITHOUT ROWID;

-- Why a wallet is as it is: `sequence` counts from 1 in each wallet. A charge is taken from the
-- balance, credit is a charge of an unlimited wallet, which is granted as it is used.
CREATE TABLE ledger_entries (
    kind             TEXT    NOT NULL,
    holder_id        INTEGER NOT NULL,
    sequence         INTEGER NOT NULL,
    entry            TEXT    NOT NULL CHECK (entry IN ('grant', 'revoke', 'charge', 'credit')),
    amount_micros    INTEGER NOT NULL CHECK (amount_micros >= 0),
    remaining_micros INTEGER NOT NULL CHECK (remaining_micros >= 0),
    reference        TEXT    NOT NULL,
    created_at       INTEGER NOT NULL,
    PRIMARY KEY (kind, holder_id, sequence)
) STRICT, WITHOUT ROWID;

-- What may be spent in a day, week or month. Amounts are micro-dollars, tokens or requests.
CREATE TABLE budgets (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    kind         TEXT    NOT NULL CHECK (kind IN ('user', 'token', 'group')),
    holder_id    INTEGER NOT NULL,
    period       TEXT    NOT NULL CHECK (period IN ('day', 'week', 'month')),
    unit         TEXT    NOT NULL CHECK (unit IN ('money', 'tokens', 'requests')),
    time_zone    TEXT    NOT NULL,
    most         INTEGER NOT NULL CHECK (most >= 0),
    window_start INTEGER NOT NULL,
    window_end   INTEGER NOT NULL CHECK (window_end > window_start),
    held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
    used         INTEGER NOT NULL DEFAULT 0 CHECK (used >= 0),
    UNIQUE (kind, holder_id, period, unit)
) STRICT;

-- What running requests may spend. `wallets` and `credit` are sets of holders: 1 user, 2 token,
-- 4 group; the wallets of `credit` were unlimited when the request began.
CREATE TABLE holds (
    request_id    TEXT    NOT NULL PRIMARY KEY,
    state         TEXT    NOT NULL CHECK (state IN ('held', 'void', 'expired')),
    user_id       INTEGER,
    token_id      INTEGER,
    group_id      INTEGER,
    wallets       INTEGER NOT NULL CHECK (wallets BETWEEN 0 AND 7),
    credit        INTEGER NOT NULL CHECK (credit & ~wallets = 0),
    amount_micros INTEGER NOT NULL CHECK (amount_micros >= 0),
    tokens        INTEGER NOT NULL CHECK (tokens >= 0),
    budgets       INTEGER NOT NULL CHECK (budgets >= 0),
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budget_holds (
    request_id   TEXT    NOT NULL,
    budget_id    INTEGER NOT NULL,
    window_start INTEGER NOT NULL,
    amount       INTEGER NOT NULL CHECK (amount >= 0),
    PRIMARY KEY (request_id, budget_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX budget_holds_of_budget ON budget_holds (budget_id);

-- Micro-dollars per million tokens, and per call. A model without a row is free.
CREATE TABLE prices (
    model                     TEXT    NOT NULL PRIMARY KEY,
    input_micros_per_million  INTEGER NOT NULL CHECK (input_micros_per_million >= 0),
    cached_micros_per_million INTEGER NOT NULL CHECK (cached_micros_per_million >= 0),
    output_micros_per_million INTEGER NOT NULL CHECK (output_micros_per_million >= 0),
    call_micros               INTEGER NOT NULL CHECK (call_micros >= 0)
) STRICT, WITHOUT ROWID;

-- unpaid_micros: part of the cost that no balance was left for.
ALTER TABLE usage ADD COLUMN group_id INTEGER;
ALTER TABLE usage ADD COLUMN cost_micros INTEGER NOT NULL DEFAULT 0 CHECK (cost_micros >= 0);
ALTER TABLE usage ADD COLUMN unpaid_micros INTEGER NOT NULL DEFAULT 0
    CHECK (unpaid_micros BETWEEN 0 AND cost_micros);

-- Sums of usage by the hour, written with each of its rows; 0 stands for nobody. One order serves
-- the commonest question, everybody's sums of a span of time.
CREATE TABLE usage_hours (
    hour              INTEGER NOT NULL,
    user_id           INTEGER NOT NULL,
    token_id          INTEGER NOT NULL,
    group_id          INTEGER NOT NULL,
    model             TEXT    NOT NULL,
    requests          INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_micros       INTEGER NOT NULL,
    PRIMARY KEY (hour, user_id, token_id, group_id, model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_hours
    SELECT created_at - created_at % 3600, coalesce(user_id, 0), coalesce(token_id, 0), 0, model,
        count(*), sum(outcome = 'failed'), sum(prompt_tokens), sum(cached_tokens),
        sum(completion_tokens), 0
    FROM usage GROUP BY 1, 2, 3, model;
