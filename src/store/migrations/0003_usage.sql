-- request_id is the ledger's own name of a request. client_request_id is the one in the header
-- x-request-id, which a client may choose and repeat. channel_id: who answered; NULL is this
-- machine. is_estimated: the provider told no counts, so they were made here. reason: why a request
-- ended as it did, in a word, where its outcome alone does not say.
ALTER TABLE usage ADD COLUMN client_request_id TEXT;
ALTER TABLE usage ADD COLUMN channel_id INTEGER;
ALTER TABLE usage ADD COLUMN reasoning_tokens INTEGER NOT NULL DEFAULT 0
    CHECK (reasoning_tokens >= 0);
ALTER TABLE usage ADD COLUMN is_estimated INTEGER NOT NULL DEFAULT 0
    CHECK (is_estimated IN (0, 1));
ALTER TABLE usage ADD COLUMN reason TEXT;
CREATE INDEX usage_by_client_request ON usage (client_request_id)
    WHERE client_request_id IS NOT NULL;

-- Sums of usage, written with each of its rows; 0 stands for nobody, and of channels for this
-- machine. Hours serve every time zone, days (of UTC) the long spans.
DROP TABLE usage_hours;
CREATE TABLE usage_hours (
    start             INTEGER NOT NULL,
    user_id           INTEGER NOT NULL,
    token_id          INTEGER NOT NULL,
    group_id          INTEGER NOT NULL,
    channel_id        INTEGER NOT NULL,
    model             TEXT    NOT NULL,
    requests          INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_micros       INTEGER NOT NULL,
    first_token_ms    INTEGER NOT NULL,
    total_ms          INTEGER NOT NULL,
    PRIMARY KEY (start, user_id, token_id, group_id, channel_id, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_days (
    start             INTEGER NOT NULL,
    user_id           INTEGER NOT NULL,
    token_id          INTEGER NOT NULL,
    group_id          INTEGER NOT NULL,
    channel_id        INTEGER NOT NULL,
    model             TEXT    NOT NULL,
    requests          INTEGER NOT NULL,
    failed            INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost_micros       INTEGER NOT NULL,
    first_token_ms    INTEGER NOT NULL,
    total_ms          INTEGER NOT NULL,
    PRIMARY KEY (start, user_id, token_id, group_id, channel_id, model)
) STRICT, WITHOUT ROWID;
INSERT INTO usage_hours
    SELECT created_at - created_at % 3600, coalesce(user_id, 0), coalesce(token_id, 0),
        coalesce(group_id, 0), 0, model, count(*), sum(outcome = 'failed'), sum(prompt_tokens),
        sum(cached_tokens), sum(completion_tokens), sum(cost_micros), sum(first_token_ms),
        sum(total_ms)
    FROM usage GROUP BY 1, 2, 3, 4, model;
INSERT INTO usage_days
    SELECT start - start % 86400, user_id, token_id, group_id, channel_id, model, sum(requests),
        sum(failed), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
        sum(cost_micros), sum(first_token_ms), sum(total_ms)
    FROM usage_hours GROUP BY 1, 2, 3, 4, 5, model;

-- What a model costs where one channel answers for it, instead of the model's own price.
CREATE TABLE channel_prices (
    model                     TEXT    NOT NULL,
    channel_id                INTEGER NOT NULL,
    input_micros_per_million  INTEGER NOT NULL CHECK (input_micros_per_million >= 0),
    cached_micros_per_million INTEGER NOT NULL CHECK (cached_micros_per_million >= 0),
    output_micros_per_million INTEGER NOT NULL CHECK (output_micros_per_million >= 0),
    call_micros               INTEGER NOT NULL CHECK (call_micros >= 0),
    PRIMARY KEY (model, channel_id)
) STRICT, WITHOUT ROWID;

-- How fast a user, an API token, a group or a model may be used. holder is an id, a model's name,
-- or * for each that has no row of its own. NULL is no limit.
CREATE TABLE rate_limits (
    kind                TEXT    NOT NULL CHECK (kind IN ('user', 'token', 'group', 'model')),
    holder              TEXT    NOT NULL,
    requests_per_minute INTEGER CHECK (requests_per_minute > 0),
    tokens_per_minute   INTEGER CHECK (tokens_per_minute > 0),
    concurrent          INTEGER CHECK (concurrent > 0),
    PRIMARY KEY (kind, holder)
) STRICT, WITHOUT ROWID;

-- Entries in the order in which they were made: all of them are written at one place, not at one
-- for each wallet, which is most of what a busy ledger writes. Charges are found by their request.
CREATE TABLE entries_in_order (
    id               INTEGER PRIMARY KEY,
    kind             TEXT    NOT NULL,
    holder_id        INTEGER NOT NULL,
    sequence         INTEGER NOT NULL,
    entry            TEXT    NOT NULL CHECK (entry IN ('grant', 'revoke', 'charge', 'credit')),
    amount_micros    INTEGER NOT NULL CHECK (amount_micros >= 0),
    remaining_micros INTEGER NOT NULL CHECK (remaining_micros >= 0),
    reference        TEXT    NOT NULL,
    created_at       INTEGER NOT NULL
) STRICT;
INSERT INTO entries_in_order
    SELECT NULL, kind, holder_id, sequence, entry, amount_micros, remaining_micros, reference,
        created_at
    FROM ledger_entries ORDER BY created_at, kind, holder_id, sequence;
DROP TABLE ledger_entries;
ALTER TABLE entries_in_order RENAME TO ledger_entries;
CREATE INDEX ledger_entries_by_hand ON ledger_entries (kind, holder_id, sequence)
    WHERE entry IN ('grant', 'revoke');
