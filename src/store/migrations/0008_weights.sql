-- A group's people have so many parts of what the engine computes, against one of others.
ALTER TABLE groups ADD COLUMN weight INTEGER NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 100);
