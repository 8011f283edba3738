-- Cursor and counters of the newest attempt as last committed: the application may write its own copy of a row over them.
alter table tikkun_background_jobs add column kept text;
