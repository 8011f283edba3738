-- The web application's tables, for databases that are wholly ours.
create table background_jobs (
    id integer primary key autoincrement,
    business_id integer not null,
    requested_by_user_id integer,
    job_type text not null check (length(job_type) <= 64),
    status text not null default 'queued'
        constraint chk_job_status check (status in ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled')),
    total integer default 0,
    processed integer default 0,
    succeeded integer default 0,
    failed_count integer default 0,
    last_error text,
    cursor text,
    created_at text default (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    updated_at text,
    started_at text,
    finished_at text,
    heartbeat_at text
);
create unique index idx_background_jobs_unique_active on background_jobs (business_id, job_type)
    where status in ('queued', 'running', 'paused');
create index idx_background_jobs_business_type_status on background_jobs (business_id, job_type, status);
create index idx_background_jobs_created_at on background_jobs (created_at);

create table attachments (
    id integer primary key autoincrement,
    business_id integer not null,
    filename_original text,
    mime_type text,
    file_size integer,
    storage_path text check (length(storage_path) <= 512),
    purpose text,
    origin_module text,
    is_deleted boolean default 0,
    deleted_at text,
    created_at text default (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    updated_at text
);
create index idx_attachments_business on attachments (business_id);
create index idx_attachments_storage_path on attachments (storage_path);

create table receipts (
    id integer primary key autoincrement,
    business_id integer not null,
    source text,
    gmail_message_id text,
    vendor_name text,
    amount numeric(12, 2),
    currency text,
    invoice_number text,
    invoice_date text,
    status text,
    attachment_id integer references attachments (id) on delete set null,
    preview_attachment_id integer references attachments (id) on delete set null,
    is_deleted boolean default 0,
    deleted_at text,
    received_at text,
    created_at text default (strftime('%Y-%m-%d %H:%M:%f000', 'now')),
    updated_at text
);
create index idx_receipts_business on receipts (business_id, id);
create index idx_receipts_live on receipts (business_id, id) where is_deleted is not true;
create index idx_receipts_attachment on receipts (attachment_id);
create index idx_receipts_preview_attachment on receipts (preview_attachment_id);
