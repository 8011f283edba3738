-- The state of each deletion that the configuration describes.
create table tikkun_deletions (
    id integer primary key autoincrement,
    name text not null,
    tenant text,
    status text not null check (status in ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    reason text,
    requested_at text not null,
    cursor text,
    bound text,
    total integer,
    processed integer not null default 0,
    succeeded integer not null default 0,
    failed_count integer not null default 0,
    kept integer,
    attempt integer not null default 0,
    queue_job text,
    last_error text,
    created_at text not null,
    started_at text,
    finished_at text,
    heartbeat_at text,
    updated_at text not null
);
create unique index idx_tikkun_deletions_active on tikkun_deletions (name, coalesce(tenant, ''))
    where status in ('queued', 'running', 'paused');
create index idx_tikkun_deletions_queue_job on tikkun_deletions (queue_job);

-- Rows of those deletions that could not be deleted.
create table tikkun_rows_set_aside (
    deletion_id integer not null,
    row_id text not null,
    reason text not null,
    created_at text not null,
    primary key (deletion_id, row_id)
) without rowid;

-- Objects of a described deletion name it here; their background job is 0.
alter table tikkun_cleanup_outbox add column deletion_id integer;
