-- Certificates of deletions that have ended. Each holds the hash of the one before, so that rows are only added.
create table tikkun_certificates (
    sequence bigint primary key,
    background_job_id bigint not null,
    certificate text not null,
    hash text not null,
    signature text
);
create index idx_tikkun_certificates_job on tikkun_certificates (background_job_id, sequence);

-- Whether a deletion is to have a certificate (`due`, `provisional`), and what its batches count for it: the receipts
-- that they looked at, too, by which it shows whether all batches counted.
alter table tikkun_background_jobs
    add column certificate text,
    add column receipts_counted bigint not null default 0,
    add column attachments_removed bigint not null default 0,
    add column attachments_referenced bigint not null default 0,
    add column objects_condemned bigint not null default 0,
    add column objects_needed bigint not null default 0;
create index idx_tikkun_background_jobs_certificate on tikkun_background_jobs (background_job_id)
    where certificate is not null;
create index idx_tikkun_cleanup_outbox_job on tikkun_cleanup_outbox (background_job_id);
