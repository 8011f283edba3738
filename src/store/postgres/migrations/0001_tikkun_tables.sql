-- Our own record of a background job: what the six words of its status cannot carry. No foreign key: one
-- would put triggers on the application's table.
create table tikkun_background_jobs (
    background_job_id bigint primary key,
    attempt integer not null default 0,
    queue_job text,
    pause_reason text,
    waiting_for text,
    rate double precision,
    eta_seconds double precision,
    barren_attempts integer not null default 0,
    start_last_id bigint,
    start_processed bigint,
    revived boolean not null default false,
    ended text,
    changed_by text,
    cancelled_by_person boolean not null default false,
    updated_at timestamp
);

-- Receipts that could not be changed.
create table tikkun_set_aside (
    background_job_id bigint not null,
    receipt_id bigint not null,
    reason text not null,
    created_at timestamp not null,
    primary key (background_job_id, receipt_id)
);

-- Objects that must go; parked ones were set aside by a person.
create table tikkun_cleanup_outbox (
    id bigint generated always as identity primary key,
    background_job_id bigint not null,
    business_id bigint not null,
    driver text not null,
    bucket text not null,
    key text not null,
    bytes bigint,
    condemned_at timestamp not null,
    attempts integer not null default 0,
    next_try_at timestamp not null,
    last_error text,
    last_error_at timestamp,
    parked_at timestamp
);
create index idx_tikkun_cleanup_outbox_due on tikkun_cleanup_outbox (next_try_at) where parked_at is null;
create index idx_tikkun_cleanup_outbox_business on tikkun_cleanup_outbox (business_id);

-- One row, rewritten to learn whether the database can be written to.
create table tikkun_store_check (
    id integer primary key check (id = 1),
    checked_at timestamp not null
);
