-- An owner is an admin whom other admins cannot change.
ALTER TABLE users ADD COLUMN is_owner INTEGER NOT NULL DEFAULT 0
    CHECK (is_owner = 0 OR (is_owner = 1 AND role = 'admin'));
UPDATE users SET is_owner = 1
    WHERE id = (SELECT min(id) FROM users WHERE role = 'admin' AND NOT disabled);
ALTER TABLE users ADD COLUMN email TEXT;

-- models: a JSON list of names or starts of names with *, as on api_tokens; NULL allows all.
ALTER TABLE groups ADD COLUMN models TEXT;

-- groups: a JSON list of names; the token works only while its owner is in one of them.
-- old_hash: the secret before the last rotation, good until old_expires_at.
ALTER TABLE api_tokens ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0 CHECK (disabled IN (0, 1));
ALTER TABLE api_tokens ADD COLUMN groups TEXT;
ALTER TABLE api_tokens ADD COLUMN old_hash BLOB CHECK (length(old_hash) = 32);
ALTER TABLE api_tokens ADD COLUMN old_expires_at INTEGER;
CREATE UNIQUE INDEX api_tokens_by_old_hash ON api_tokens (old_hash) WHERE old_hash IS NOT NULL;

-- method: how the session began. confirmed_at: when its user last proved who they are.
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT 'password';
ALTER TABLE sessions ADD COLUMN address TEXT;
ALTER TABLE sessions ADD COLUMN agent TEXT;
ALTER TABLE sessions ADD COLUMN confirmed_at INTEGER NOT NULL DEFAULT 0;
UPDATE sessions SET confirmed_at = created_at;

-- Links with which people make their own account.
CREATE TABLE invites (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32),
    note       TEXT    NOT NULL,
    role       TEXT    NOT NULL CHECK (role IN ('user', 'admin')),
    group_id   INTEGER REFERENCES groups (id) ON DELETE CASCADE,
    uses_left  INTEGER NOT NULL CHECK (uses_left >= 0),
    max_uses   INTEGER NOT NULL CHECK (max_uses >= uses_left),
    expires_at INTEGER NOT NULL,
    created_by TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

-- seed is sealed. last_step: no code of this step or an earlier one is taken (again).
-- A factor counts once a code has confirmed it.
CREATE TABLE second_factors (
    user_id      INTEGER PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    seed         BLOB    NOT NULL,
    is_confirmed INTEGER NOT NULL CHECK (is_confirmed IN (0, 1)),
    last_step    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

-- A code that was used is gone.
CREATE TABLE recovery_codes (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (user_id, hash)
) STRICT, WITHOUT ROWID;

-- state: what the check of an answer needs, in the library's own encoding.
CREATE TABLE passkeys (
    credential_id BLOB    NOT NULL PRIMARY KEY,
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    public        BLOB    NOT NULL,
    state         BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    last_used_at  INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX passkeys_of_user ON passkeys (user_id, created_at);

-- Who somebody is elsewhere. provider: an issuer of OpenID Connect, `ldap` or `proxy`.
CREATE TABLE identities (
    provider   TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (provider, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX identities_of_user ON identities (user_id);

-- Networks from which somebody has signed in.
CREATE TABLE known_networks (
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    network TEXT    NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, network)
) STRICT, WITHOUT ROWID;

-- Every administrative act, in the transaction that did it. hash = SHA-256 of the hash before and
-- this row, so no row can be changed or left out unseen. A row outlives its actor.
CREATE TABLE audit (
    sequence   INTEGER PRIMARY KEY CHECK (sequence > 0),
    created_at INTEGER NOT NULL,
    actor_id   INTEGER,
    actor      TEXT    NOT NULL,
    via        TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    detail     TEXT    NOT NULL,
    hash       BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX audit_of_action ON audit (action, sequence);
CREATE INDEX audit_of_actor ON audit (actor, sequence);
CREATE INDEX audit_of_target ON audit (target, sequence);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is not changed'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
    BEGIN SELECT raise(ABORT, 'the audit log is not deleted'); END;
-- How far it goes, so that a missing end is seen.
CREATE TABLE audit_head (
    id       INTEGER PRIMARY KEY CHECK (id = 1),
    sequence INTEGER NOT NULL,
    hash     BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
INSERT INTO audit_head VALUES (1, 0, zeroblob(32));
