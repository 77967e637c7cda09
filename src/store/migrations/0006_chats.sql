CREATE TABLE chat_folders (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX chat_folders_of_user ON chat_folders (user_id, name);

-- settings: JSON of what is asked for with every turn.
ALTER TABLE chats ADD COLUMN folder_id TEXT REFERENCES chat_folders (id) ON DELETE SET NULL;
ALTER TABLE chats ADD COLUMN is_pinned INTEGER NOT NULL DEFAULT 0 CHECK (is_pinned IN (0, 1));
ALTER TABLE chats ADD COLUMN is_archived INTEGER NOT NULL DEFAULT 0 CHECK (is_archived IN (0, 1));
ALTER TABLE chats ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';
DROP INDEX chats_of_user;
CREATE INDEX chats_in_order ON chats (user_id, is_archived, updated_at DESC, id DESC);
CREATE INDEX chats_of_folder ON chats (folder_id) WHERE folder_id IS NOT NULL;

-- number: the message's place in message_search, NULL until it is there. calls and files: JSON.
ALTER TABLE messages ADD COLUMN number INTEGER;
ALTER TABLE messages ADD COLUMN reasoning TEXT;
ALTER TABLE messages ADD COLUMN reasoning_ms INTEGER;
ALTER TABLE messages ADD COLUMN calls TEXT;
ALTER TABLE messages ADD COLUMN files TEXT;
ALTER TABLE messages ADD COLUMN channel_id INTEGER;
ALTER TABLE messages ADD COLUMN cached_tokens INTEGER;
ALTER TABLE messages ADD COLUMN queue_ms INTEGER;
ALTER TABLE messages ADD COLUMN cost_micros INTEGER;
CREATE UNIQUE INDEX messages_by_number ON messages (number) WHERE number IS NOT NULL;
CREATE INDEX messages_unlisted ON messages (created_at) WHERE number IS NULL;

-- The words of messages, made by the program: SQLite's own tokenizers know no Chinese words.
-- owner is a word too, so that a question reads what belongs to its owner alone.
CREATE VIRTUAL TABLE message_search USING fts5 (
    owner, words, content = '', contentless_delete = 1, prefix = '1 2 3',
    tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TRIGGER message_leaves_search AFTER DELETE ON messages WHEN old.number IS NOT NULL
BEGIN
    DELETE FROM message_search WHERE rowid = old.number;
END;

-- A link shows the branch that ended in leaf_id when it was made. The id is what lets readers in.
CREATE TABLE chat_shares (
    id         TEXT    NOT NULL PRIMARY KEY,
    chat_id    TEXT    NOT NULL UNIQUE REFERENCES chats (id) ON DELETE CASCADE,
    leaf_id    TEXT    NOT NULL,
    is_open    INTEGER NOT NULL CHECK (is_open IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What people keep to use again: prompts (a text behind a command) and presets (a model with its
-- instructions and parameters). body: JSON.
CREATE TABLE shelf_items (
    id         TEXT    NOT NULL PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    kind       TEXT    NOT NULL CHECK (kind IN ('prompt', 'preset')),
    name       TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    audience   TEXT    NOT NULL CHECK (audience IN ('me', 'group', 'all')),
    group_id   INTEGER REFERENCES groups (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    UNIQUE (user_id, kind, name)
) STRICT;
CREATE INDEX shelf_items_shared ON shelf_items (audience) WHERE audience <> 'me';
