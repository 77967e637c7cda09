-- Names are unique without regard to case in every script: name_key is the name in lower case,
-- made by the program, because SQLite's NOCASE knows ASCII only.
CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL,
    name_key      TEXT    NOT NULL UNIQUE,
    password      TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role IN ('user', 'admin')),
    disabled      INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1)),
    language      TEXT,
    theme         TEXT    NOT NULL DEFAULT 'system' CHECK (theme IN ('system', 'light', 'dark')),
    default_model TEXT,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id_hash      BLOB    NOT NULL PRIMARY KEY CHECK (length(id_hash) = 32),
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at   INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_of_user ON sessions (user_id, last_seen_at);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- models and allow_ips: JSON lists of text; NULL allows all.
CREATE TABLE api_tokens (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id      INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT    NOT NULL,
    prefix       TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at   INTEGER,
    models       TEXT,
    allow_ips    TEXT
) STRICT;
CREATE INDEX api_tokens_of_user ON api_tokens (user_id, id);

-- message_count and content_bytes are kept by the program in the same transaction as the
-- messages, so that a chat's size limit costs no scan. No foreign key here is deferred: a
-- deferred violation would fail the shared COMMIT of unrelated writes.
CREATE TABLE chats (
    id                 TEXT    NOT NULL PRIMARY KEY,
    user_id            INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title              TEXT    NOT NULL,
    model              TEXT,
    current_message_id TEXT,
    message_count      INTEGER NOT NULL DEFAULT 0,
    content_bytes      INTEGER NOT NULL DEFAULT 0,
    created_at         INTEGER NOT NULL,
    updated_at         INTEGER NOT NULL,
    FOREIGN KEY (id, current_message_id) REFERENCES messages (chat_id, id)
) STRICT;
CREATE INDEX chats_of_user ON chats (user_id, updated_at DESC, id DESC);

CREATE TABLE messages (
    id                TEXT    NOT NULL PRIMARY KEY,
    chat_id           TEXT    NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
    parent_id         TEXT,
    role              TEXT    NOT NULL CHECK (role IN ('system', 'user', 'assistant')),
    content           TEXT    NOT NULL,
    model             TEXT,
    status            TEXT    NOT NULL CHECK (status IN ('complete', 'stopped', 'failed')),
    finish_reason     TEXT,
    prompt_tokens     INTEGER,
    completion_tokens INTEGER,
    first_token_ms    INTEGER,
    total_ms          INTEGER,
    error_code        TEXT,
    error_message     TEXT,
    created_at        INTEGER NOT NULL,
    UNIQUE (chat_id, id),
    -- A parent in another chat cannot exist.
    FOREIGN KEY (chat_id, parent_id) REFERENCES messages (chat_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX messages_in_order ON messages (chat_id, created_at, id);
CREATE INDEX messages_of_parent ON messages (chat_id, parent_id);

-- One row per request, however it ended. Never a prompt. user_id and token_id are history, not
-- references: a token may be deleted while its request runs, and the operator has no user.
CREATE TABLE usage (
    request_id        TEXT    NOT NULL PRIMARY KEY,
    user_id           INTEGER,
    token_id          INTEGER,
    model             TEXT    NOT NULL,
    prompt_tokens     INTEGER NOT NULL CHECK (prompt_tokens >= 0),
    completion_tokens INTEGER NOT NULL CHECK (completion_tokens >= 0),
    cached_tokens     INTEGER NOT NULL CHECK (cached_tokens >= 0),
    queue_ms          INTEGER NOT NULL CHECK (queue_ms >= 0),
    first_token_ms    INTEGER NOT NULL CHECK (first_token_ms >= 0),
    total_ms          INTEGER NOT NULL CHECK (total_ms >= 0),
    outcome           TEXT    NOT NULL CHECK (outcome IN ('complete', 'stopped', 'failed')),
    created_at        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_in_order ON usage (created_at, request_id);
CREATE INDEX usage_of_user ON usage (user_id, created_at, request_id);
