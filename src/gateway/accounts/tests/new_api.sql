-- The core tables as New API makes them, with people, tokens, prices and a log.
CREATE TABLE users (id integer PRIMARY KEY AUTOINCREMENT, username text UNIQUE,
    password text NOT NULL, display_name text, role integer DEFAULT 1,
    status integer DEFAULT 1, email text, quota integer DEFAULT 0,
    used_quota integer DEFAULT 0, `group` varchar(64) DEFAULT 'default', deleted_at datetime);
CREATE TABLE tokens (id integer PRIMARY KEY AUTOINCREMENT, user_id integer,
    `key` char(48) UNIQUE, status integer DEFAULT 1, name text, created_time integer,
    accessed_time integer, expired_time integer DEFAULT -1, remain_quota integer,
    unlimited_quota numeric DEFAULT false, model_limits_enabled numeric,
    model_limits varchar(1024) DEFAULT '', allow_ips text DEFAULT '',
    used_quota integer DEFAULT 0, `group` text, deleted_at datetime);
CREATE TABLE channels (id integer PRIMARY KEY, type integer, `key` text, name text);
CREATE TABLE options (`key` text PRIMARY KEY, value text);
CREATE TABLE logs (id integer PRIMARY KEY, user_id integer, created_at bigint, type integer,
    content text, username text, token_name text, model_name text, quota integer,
    prompt_tokens integer, completion_tokens integer, use_time integer, is_stream numeric,
    channel_id integer, token_id integer);
INSERT INTO users (username, password, role, status, email, quota, `group`, deleted_at) VALUES
    ('root', '{hash}', 100, 1, '', 0, 'default', NULL),
    ('ann', '{hash}', 1, 1, 'a@b.example', 1500000, 'vip', NULL),
    ('off', '{hash}', 10, 2, '', -5, 'vip', NULL),
    ('gone', '{hash}', 1, 1, '', 0, 'default', '2025-01-01'),
    ('odd', 'plain text!', 1, 1, '', 0, 'default', NULL);
INSERT INTO tokens (user_id, `key`, status, name, created_time, expired_time, remain_quota,
                    unlimited_quota, model_limits_enabled, model_limits, allow_ips) VALUES
    (2, 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL', 1, 'mine', 5, -1, 250000, 0, 1, 'gpt-4o,llama', ''),
    (2, 'twodefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL', 2, 'off', 5, -1, 0, 1, 0, '', ''),
    (2, 'netdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL', 1, 'net', 5, -1, 0, 1, 0, '', '10.0.0.0/8' || char(10) || '192.0.2.9'),
    (2, 'baddefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL', 1, 'bad', 5, -1, 0, 1, 0, '', 'the office'),
    (4, 'gondefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKL', 1, 'gone', 5, -1, 0, 1, 0, '', ''),
    (1, 'short', 1, 'short', 5, -1, 0, 1, 0, '', '');
INSERT INTO channels VALUES (1, 1, 'sk-secret', 'openai');
INSERT INTO options VALUES ('ModelRatio', '{"gpt-4o": 1.25, "llama": 0}'),
    ('CompletionRatio', '{"gpt-4o": 4}'), ('CacheRatio', '{"gpt-4o": 0.5}'),
    ('ModelPrice', '{"dall-e-3": 0.04}'), ('SystemName', 'x');
INSERT INTO logs (id, user_id, created_at, type, model_name, quota, prompt_tokens,
                  completion_tokens, use_time, token_id) VALUES
    (1, 2, 1000, 2, 'gpt-4o', 500000, 10, 20, 3, 1), (2, 2, 1001, 1, '', 9, 0, 0, 0, 0),
    (3, 4, 1002, 2, 'gpt-4o', 5, 1, 1, 1, 5);
