-- The state of each deletion that the configuration describes.
create table tikkun_deletions (
    id bigint generated always as identity primary key,
    name text not null,
    tenant text,
    status text not null check (status in ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    reason text,
    requested_at timestamp not null,
    cursor text,
    bound text,
    total bigint,
    processed bigint not null default 0,
    succeeded bigint not null default 0,
    failed_count bigint not null default 0,
    kept bigint,
    attempt integer not null default 0,
    queue_job text,
    last_error text,
    created_at timestamp not null,
    started_at timestamp,
    finished_at timestamp,
    heartbeat_at timestamp,
    updated_at timestamp not null
);
create unique index idx_tikkun_deletions_active on tikkun_deletions (name, coalesce(tenant, ''))
    where status in ('queued', 'running', 'paused');
create index idx_tikkun_deletions_queue_job on tikkun_deletions (queue_job);

-- Rows of those deletions that could not be deleted.
create table tikkun_rows_set_aside (
    deletion_id bigint not null,
    row_id text not null,
    reason text not null,
    created_at timestamp not null,
    primary key (deletion_id, row_id)
);

-- Objects of a described deletion name it here; their background job is 0.
alter table tikkun_cleanup_outbox add column deletion_id bigint;
