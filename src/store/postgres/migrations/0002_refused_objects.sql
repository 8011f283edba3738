-- Whether the storage refused the object at its last try: then only a person can help.
alter table tikkun_cleanup_outbox add column refused boolean not null default false;
