-- Certificates of deletions that have ended. Each holds the hash of the one before, so that rows are only added.
create table tikkun_certificates (
    sequence integer primary key,
    background_job_id integer not null,
    certificate text not null,
    hash text not null,
    signature text
);
create index idx_tikkun_certificates_job on tikkun_certificates (background_job_id, sequence);

-- Whether a deletion is to have a certificate (`due`, `provisional`), and what its batches count for it: the receipts
-- that they looked at, too, by which it shows whether all batches counted.
alter table tikkun_background_jobs add column certificate text;
alter table tikkun_background_jobs add column receipts_counted integer not null default 0;
alter table tikkun_background_jobs add column attachments_removed integer not null default 0;
alter table tikkun_background_jobs add column attachments_referenced integer not null default 0;
alter table tikkun_background_jobs add column objects_condemned integer not null default 0;
alter table tikkun_background_jobs add column objects_needed integer not null default 0;
create index idx_tikkun_background_jobs_certificate on tikkun_background_jobs (background_job_id)
    where certificate is not null;
