-- Our own record of a background job: what the six words of its status cannot carry.
create table tikkun_background_jobs (
    background_job_id integer primary key references background_jobs (id) on delete cascade,
    attempt integer not null default 0,
    queue_job text,
    pause_reason text,
    waiting_for text,
    rate real,
    eta_seconds real,
    barren_attempts integer not null default 0,
    start_last_id integer,
    start_processed integer,
    revived boolean not null default 0,
    ended text,
    changed_by text,
    cancelled_by_person boolean not null default 0,
    updated_at text
);

-- Receipts that could not be changed.
create table tikkun_set_aside (
    background_job_id integer not null references background_jobs (id) on delete cascade,
    receipt_id integer not null,
    reason text not null,
    created_at text not null,
    primary key (background_job_id, receipt_id)
) without rowid;

-- Objects that must go; no foreign key, for they outlive their job's row.
create table tikkun_cleanup_outbox (
    id integer primary key autoincrement,
    background_job_id integer not null,
    business_id integer not null,
    driver text not null,
    bucket text not null,
    key text not null,
    bytes integer,
    condemned_at text not null,
    attempts integer not null default 0,
    next_try_at text not null,
    last_error text,
    last_error_at text
);
create index idx_tikkun_cleanup_outbox_due on tikkun_cleanup_outbox (next_try_at);
create index idx_tikkun_cleanup_outbox_job on tikkun_cleanup_outbox (background_job_id, next_try_at);
create index idx_tikkun_cleanup_outbox_business on tikkun_cleanup_outbox (business_id);

-- One row, rewritten to learn whether the database can be written to.
create table tikkun_store_check (
    id integer primary key check (id = 1),
    checked_at text not null
);
