-- Providers elsewhere. `settings` is JSON that the program alone reads.
CREATE TABLE channels (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    name_key   TEXT    NOT NULL UNIQUE,
    preset     TEXT    NOT NULL,
    base_url   TEXT    NOT NULL,
    is_enabled INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
    priority   INTEGER NOT NULL,
    weight     INTEGER NOT NULL CHECK (weight >= 0),
    settings   TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

-- A key is sealed together with the name of its row, so its id is made by the program.
CREATE TABLE channel_keys (
    id         TEXT    NOT NULL PRIMARY KEY,
    channel_id INTEGER NOT NULL REFERENCES channels (id) ON DELETE CASCADE,
    sealed     BLOB    NOT NULL,
    hint       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX channel_keys_of_channel ON channel_keys (channel_id, id);

-- How requests for a model find who answers; `settings` is JSON as above.
CREATE TABLE routes (
    model      TEXT    NOT NULL PRIMARY KEY,
    settings   TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Where requests of a group may go, whatever the model.
CREATE TABLE group_policies (
    group_id INTEGER NOT NULL PRIMARY KEY REFERENCES groups (id) ON DELETE CASCADE,
    policy   TEXT    NOT NULL
) STRICT;
