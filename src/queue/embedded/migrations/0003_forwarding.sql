-- A job that moves to another queue is counted there; its state was counted before.
CREATE TRIGGER tikkun_jobs_count_forwarded AFTER UPDATE OF queue ON tikkun_jobs
WHEN NEW.queue <> OLD.queue
BEGIN
    UPDATE tikkun_queues SET queued = queued - 1 WHERE name = OLD.queue AND NEW.state = 'queued';
    INSERT INTO tikkun_queues (name, queued, scheduled, started, finished, failed, canceled)
    VALUES (NEW.queue, NEW.state = 'queued', 0, 0, 0, 0, 0)
    ON CONFLICT (name) DO UPDATE SET queued = queued + excluded.queued;
END;

-- The last delivery of a job that waits again, by which it is found when it is forwarded.
CREATE INDEX tikkun_jobs_waiting_again ON tikkun_jobs (execution) WHERE state = 'queued' AND execution IS NOT NULL;
