-- The web application's tables, for a trial database that has none.
create table background_jobs (
    id serial primary key,
    business_id integer not null,
    requested_by_user_id integer,
    job_type varchar(64) not null,
    status varchar(32) not null default 'queued'
        constraint chk_job_status check (status in ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    total integer default 0,
    processed integer default 0,
    succeeded integer default 0,
    failed_count integer default 0,
    last_error text,
    cursor text,
    created_at timestamp default (now() at time zone 'utc'),
    updated_at timestamp,
    started_at timestamp,
    finished_at timestamp,
    heartbeat_at timestamp
);
create unique index idx_background_jobs_unique_active on background_jobs (business_id, job_type)
    where status in ('queued', 'running', 'paused');
create index idx_background_jobs_business_type_status on background_jobs (business_id, job_type, status);
create index idx_background_jobs_created_at on background_jobs (created_at);

create table attachments (
    id serial primary key,
    business_id integer not null,
    filename_original varchar(255),
    mime_type varchar(100),
    file_size bigint,
    storage_path varchar(512),
    purpose varchar(64),
    origin_module varchar(64),
    is_deleted boolean default false,
    deleted_at timestamp,
    created_at timestamp default (now() at time zone 'utc'),
    updated_at timestamp
);
create index idx_attachments_business on attachments (business_id);
create index idx_attachments_storage_path on attachments (storage_path);

create table receipts (
    id serial primary key,
    business_id integer not null,
    source varchar(64),
    gmail_message_id varchar(255),
    vendor_name varchar(255),
    amount numeric(12, 2),
    currency varchar(8),
    invoice_number varchar(128),
    invoice_date date,
    status varchar(32),
    attachment_id integer references attachments (id) on delete set null,
    preview_attachment_id integer references attachments (id) on delete set null,
    is_deleted boolean default false,
    deleted_at timestamp,
    received_at timestamp,
    created_at timestamp default (now() at time zone 'utc'),
    updated_at timestamp
);
create index idx_receipts_business on receipts (business_id, id);
create index idx_receipts_live on receipts (business_id, id) where is_deleted is not true;
create index idx_receipts_attachment on receipts (attachment_id);
create index idx_receipts_preview_attachment on receipts (preview_attachment_id);
