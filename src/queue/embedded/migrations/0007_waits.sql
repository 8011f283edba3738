-- When a scheduled job began to wait. A time in the future was written before the clock was set back.
ALTER TABLE tikkun_jobs ADD COLUMN waits_since INTEGER;
CREATE INDEX tikkun_jobs_waits_since ON tikkun_jobs (waits_since) WHERE state = 'scheduled';

-- When a key's period began.
ALTER TABLE tikkun_unique_keys ADD COLUMN since INTEGER;
