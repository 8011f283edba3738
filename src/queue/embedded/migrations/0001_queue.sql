-- Jobs, the processes that run them, the roles they hold. Times are milliseconds since the epoch,
-- spans are milliseconds (-1: without end), structured values are JSON text.

CREATE TABLE tikkun_jobs (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    args TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('queued', 'scheduled', 'started', 'finished', 'failed', 'canceled')),
    -- Its place in its queue: the smallest is next.
    position INTEGER NOT NULL DEFAULT 0,
    -- Where it enters its queue once it is due.
    to_head INTEGER NOT NULL DEFAULT 0,
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    orphaned INTEGER NOT NULL DEFAULT 0,
    timeout_ms INTEGER,
    retries_left INTEGER,
    retry_intervals TEXT,
    result_ttl_ms INTEGER,
    failure_ttl_ms INTEGER,
    created_at INTEGER NOT NULL,
    enqueued_at INTEGER,
    due_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    -- When an ended job is dropped; null: never.
    expires_at INTEGER,
    -- The last delivery, and to whom it went.
    execution TEXT,
    process TEXT,
    result TEXT,
    error TEXT,
    meta TEXT NOT NULL
);

-- Each index holds only the jobs its question is about, so that a million waiting or ended jobs do
-- not slow down the few that move.
CREATE INDEX tikkun_jobs_queued ON tikkun_jobs (queue, position) WHERE state = 'queued';
CREATE INDEX tikkun_jobs_scheduled ON tikkun_jobs (due_at) WHERE state = 'scheduled';
CREATE UNIQUE INDEX tikkun_jobs_started ON tikkun_jobs (execution, process) WHERE state = 'started';
CREATE INDEX tikkun_jobs_open ON tikkun_jobs (kind) WHERE ended_at IS NULL;
CREATE INDEX tikkun_jobs_ended ON tikkun_jobs (state) WHERE ended_at IS NOT NULL;
CREATE INDEX tikkun_jobs_expiring ON tikkun_jobs (expires_at) WHERE expires_at IS NOT NULL;

-- Counts by state, kept by the triggers below; a row stays for every queue ever used.
CREATE TABLE tikkun_queues (
    name TEXT NOT NULL PRIMARY KEY,
    queued INTEGER NOT NULL,
    scheduled INTEGER NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    canceled INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TRIGGER tikkun_jobs_count_added AFTER INSERT ON tikkun_jobs
BEGIN
    INSERT INTO tikkun_queues (name, queued, scheduled, started, finished, failed, canceled)
    VALUES (NEW.queue, NEW.state = 'queued', NEW.state = 'scheduled', NEW.state = 'started',
            NEW.state = 'finished', NEW.state = 'failed', NEW.state = 'canceled')
    ON CONFLICT (name) DO UPDATE SET
        queued = queued + excluded.queued,
        scheduled = scheduled + excluded.scheduled,
        started = started + excluded.started,
        finished = finished + excluded.finished,
        failed = failed + excluded.failed,
        canceled = canceled + excluded.canceled;
END;

CREATE TRIGGER tikkun_jobs_count_moved AFTER UPDATE OF state ON tikkun_jobs
WHEN NEW.state <> OLD.state
BEGIN
    UPDATE tikkun_queues SET
        queued = queued + (NEW.state = 'queued') - (OLD.state = 'queued'),
        scheduled = scheduled + (NEW.state = 'scheduled') - (OLD.state = 'scheduled'),
        started = started + (NEW.state = 'started') - (OLD.state = 'started'),
        finished = finished + (NEW.state = 'finished') - (OLD.state = 'finished'),
        failed = failed + (NEW.state = 'failed') - (OLD.state = 'failed'),
        canceled = canceled + (NEW.state = 'canceled') - (OLD.state = 'canceled')
    WHERE name = NEW.queue;
END;

CREATE TRIGGER tikkun_jobs_count_dropped AFTER DELETE ON tikkun_jobs
BEGIN
    UPDATE tikkun_queues SET
        queued = queued - (OLD.state = 'queued'),
        scheduled = scheduled - (OLD.state = 'scheduled'),
        started = started - (OLD.state = 'started'),
        finished = finished - (OLD.state = 'finished'),
        failed = failed - (OLD.state = 'failed'),
        canceled = canceled - (OLD.state = 'canceled')
    WHERE name = OLD.queue;
END;

CREATE TABLE tikkun_processes (
    id TEXT NOT NULL PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    -- Which start of that pid it is, where the system tells.
    incarnation TEXT,
    queues TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    ttl_ms INTEGER NOT NULL,
    -- Grows with every renewal: whoever doubts the lease watches this, not the clock.
    renewals INTEGER NOT NULL,
    -- Its lease was ended or declared over; its unsettled deliveries are orphans.
    lost INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE tikkun_roles (
    role TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    last_tick INTEGER NOT NULL
) WITHOUT ROWID;

-- One row that proves that the file can be written to.
CREATE TABLE tikkun_check (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    checked_at INTEGER NOT NULL
);
