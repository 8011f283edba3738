-- Attempts that failed or were lost before the last one, oldest first, as a JSON list that is kept short. The last
-- attempt needs no entry: the row itself tells how it began and ended. It goes with its job.
ALTER TABLE tikkun_jobs ADD COLUMN history TEXT;

-- Whether a failed job failed because a person stopped it.
ALTER TABLE tikkun_jobs ADD COLUMN stopped INTEGER NOT NULL DEFAULT 0;

-- Executions that people ask to stop, until their process has heard of it.
CREATE TABLE tikkun_stops (
    execution TEXT NOT NULL PRIMARY KEY,
    job TEXT NOT NULL,
    process TEXT NOT NULL,
    asked_at INTEGER NOT NULL
) WITHOUT ROWID;
