-- Scheduled jobs in the order in which they were made, for lists: the other index has them by their time.
CREATE INDEX tikkun_jobs_scheduled_newest ON tikkun_jobs (state) WHERE state = 'scheduled';
