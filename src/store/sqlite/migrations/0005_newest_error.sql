-- The newest error is asked for again and again, however many objects wait.
create index idx_tikkun_cleanup_outbox_error on tikkun_cleanup_outbox (last_error_at desc, id desc)
    where last_error is not null and parked_at is null;
