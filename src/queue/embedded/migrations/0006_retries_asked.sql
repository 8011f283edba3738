-- Times a job was run again because it asked for it by what it returned.
ALTER TABLE tikkun_jobs ADD COLUMN retries_asked INTEGER NOT NULL DEFAULT 0;
