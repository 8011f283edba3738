-- Paused queues, unique keys, marks of schedules, and the order in which kept jobs are dropped.

CREATE TABLE tikkun_paused_queues (
    name TEXT NOT NULL PRIMARY KEY,
    paused_by TEXT NOT NULL,
    since INTEGER NOT NULL
) WITHOUT ROWID;

ALTER TABLE tikkun_jobs ADD COLUMN unique_key TEXT;

-- Who holds a key: while its job is open, and until `until`, whichever is longer.
CREATE TABLE tikkun_unique_keys (
    name TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    open INTEGER NOT NULL,
    until INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX tikkun_unique_keys_ended ON tikkun_unique_keys (until) WHERE NOT open;

-- A job without a key pays nothing for these two.
CREATE TRIGGER tikkun_jobs_key_ended AFTER UPDATE OF ended_at ON tikkun_jobs
WHEN NEW.unique_key IS NOT NULL
BEGIN
    UPDATE tikkun_unique_keys SET open = NEW.ended_at IS NULL
    WHERE name = NEW.unique_key AND job = NEW.id;
END;

CREATE TRIGGER tikkun_jobs_key_dropped AFTER DELETE ON tikkun_jobs
WHEN OLD.unique_key IS NOT NULL
BEGIN
    UPDATE tikkun_unique_keys SET open = 0 WHERE name = OLD.unique_key AND job = OLD.id;
END;

-- How far each schedule has come.
CREATE TABLE tikkun_schedules (
    name TEXT NOT NULL PRIMARY KEY,
    rule TEXT NOT NULL,
    until INTEGER NOT NULL,
    last INTEGER
) WITHOUT ROWID;

-- The oldest of the kept jobs of one queue.
CREATE INDEX tikkun_jobs_kept ON tikkun_jobs (queue, state, ended_at) WHERE ended_at IS NOT NULL;
