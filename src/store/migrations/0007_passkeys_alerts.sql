-- rp_id: the name of the server that a passkey is for; it works under no other.
ALTER TABLE passkeys ADD COLUMN rp_id TEXT NOT NULL DEFAULT '';
-- Whether a password alone does not sign this user in: a passkey, or a code, must go with it.
ALTER TABLE users ADD COLUMN asks_passkey INTEGER NOT NULL DEFAULT 0
    CHECK (asks_passkey IN (0, 1));

-- Where alerts go. secret: seals what webhooks are signed with; NULL for e-mail.
CREATE TABLE alert_targets (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    way        TEXT    NOT NULL CHECK (way IN ('email', 'webhook')),
    address    TEXT    NOT NULL,
    secret     BLOB,
    created_at INTEGER NOT NULL,
    UNIQUE (way, address)
) STRICT;

-- What is watched. threshold and floor mean what their rule says they mean.
CREATE TABLE alert_rules (
    rule      TEXT    NOT NULL PRIMARY KEY,
    is_on     INTEGER NOT NULL CHECK (is_on IN (0, 1)),
    threshold INTEGER NOT NULL CHECK (threshold >= 0),
    floor     INTEGER NOT NULL CHECK (floor >= 0)
) STRICT, WITHOUT ROWID;

-- What happened. occasion: names it once and for all, so that nobody hears of it twice.
CREATE TABLE alerts (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    occasion   TEXT    NOT NULL UNIQUE,
    rule       TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- Who is to hear of it, or has. It is written with the alert and lasts until it has got there, or
-- has failed too often. target_id: NULL is the person whom it is about.
CREATE TABLE alert_deliveries (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    alert_id   INTEGER NOT NULL REFERENCES alerts (id) ON DELETE CASCADE,
    target_id  INTEGER REFERENCES alert_targets (id) ON DELETE SET NULL,
    way        TEXT    NOT NULL CHECK (way IN ('email', 'webhook')),
    address    TEXT    NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts   INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_at    INTEGER NOT NULL,
    ended_at   INTEGER,
    error      TEXT,
    UNIQUE (alert_id, way, address)
) STRICT;
CREATE INDEX alert_deliveries_due ON alert_deliveries (next_at) WHERE state = 'waiting';
