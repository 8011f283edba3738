-- Objects that a person has set aside: nobody tries to delete them until they are put back.
alter table tikkun_cleanup_outbox add column parked_at text;

-- What is parked must not be read again at every look for what is due.
drop index idx_tikkun_cleanup_outbox_due;
create index idx_tikkun_cleanup_outbox_due on tikkun_cleanup_outbox (next_try_at) where parked_at is null;
