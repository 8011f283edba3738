-- A row for each try to write, removed by the same transaction: no process waits for one that stopped in the middle.
alter table tikkun_store_check drop constraint tikkun_store_check_id_check;
