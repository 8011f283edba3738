//! Where `receipts` or `attachments` is a view or a part of a wider table, and where a trigger leads elsewhere: on
//! PostgreSQL only.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use tikkun::config::PostgresSettings;
use tikkun::fault::FaultKind;
use tikkun::store::{Batch, Kept, Pass, Schema, open_postgres};

use super::rig::{Rig, TENANT, keys, order, postgres, postgres_on, target};
use super::server::Server;

/// Receipts are those documents that this condition holds for.
fn documents(condition: &str) -> String {
    format!(
        "alter table receipts rename to documents; alter table documents add kind text default 'receipt';
         create view receipts as
             select id, business_id, attachment_id, preview_attachment_id, is_deleted, deleted_at, created_at, updated_at
             from documents where {condition};"
    )
}

/// Other documents need the attachments 3 and 4 by either column; those of 5 and 6 are deleted.
const OTHERS: &str = "insert into documents (id, business_id, kind, attachment_id, preview_attachment_id, is_deleted)
    values (30, 789, 'invoice', 3, null, false), (31, 790, 'invoice', null, 4, null), (32, 789, 'invoice', 5, null, true),
           (33, 790, 'invoice', null, 6, true);";
/// No foreign key holds them.
const NO_KEYS: &str = "alter table documents drop constraint receipts_attachment_id_fkey,
    drop constraint receipts_preview_attachment_id_fkey;";

async fn only_batch(rig: &Rig) -> Batch {
    let job = rig.started().await;
    rig.good_batch(&job, 50, Pass::Forward).await
}

async fn kept_reason(rig: &Rig) -> (i64, String) {
    let job = rig.number("select max(id) from background_jobs").await;
    let kept = rig.get(tikkun::job::BackgroundJobId(job)).await.cursor.attachments_kept.unwrap();
    (kept.count, kept.reason)
}

#[tokio::test]
async fn what_other_documents_need_stays_where_receipts_are_some_of_them() {
    for keys in ["", NO_KEYS] {
        for refused in ["", "old.id = 9"] {
            let rig = postgres().await;
            rig.seed(20).await;
            rig.run(&format!("{}{keys}{OTHERS}", documents("kind = 'receipt' and business_id <> 790"))).await;
            if !refused.is_empty() {
                rig.raw.refuse("update", "documents", refused).await;
            }
            let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
            let reference = |column: &str| (Kept::Reference(format!("documents.{column}")), 1);
            let kept = [reference("attachment_id"), reference("preview_attachment_id")];
            assert_eq!((plan.attachments, plan.kept.as_slice()), (18, kept.as_slice()), "{keys}");
            let batch = only_batch(&rig).await;
            let left = u32::from(!refused.is_empty());
            assert_eq!((batch.deleted, batch.condemned.len()), (20 - left, 18 - left as usize), "{keys}");
            let named = |column: &str| (format!("documents.{column}"), 1);
            assert_eq!(batch.kept_for, [named("attachment_id"), named("preview_attachment_id")], "{keys}");
            let there = if left == 0 { vec![3, 4] } else { vec![3, 4, 9] };
            assert_eq!(rig.attachments().await, there, "{keys} {refused}");
            let pointing = "select coalesce(attachment_id, preview_attachment_id) from documents
                where kind = 'invoice' and is_deleted is not true order by 1";
            assert_eq!(rig.ids(pointing).await, [3, 4], "{keys}");
            let found = rig.store.receipts.hindrances().await.unwrap();
            assert!(
                found.contains(&"table documents (receipts is only a part of it)".to_owned()),
                "{found:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_document_that_is_revived_while_its_attachment_is_judged_keeps_it() {
    let server = Server::shared();
    let database = server.database().await;
    let rig = postgres_on(&server.settings(&database)).await;
    rig.seed(9).await;
    rig.run(&format!("{}{OTHERS}", documents("kind = 'receipt'"))).await;
    let job = rig.started().await;
    let mut other = PgConnection::connect(&server.url(&database)).await.unwrap();
    let revive = "begin; update documents set is_deleted = false where id = 32";
    sqlx::raw_sql(revive).execute(&mut other).await.unwrap();
    let commit = async {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let began = std::time::Instant::now();
        while rig.number(waiting).await == 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "waited in vain for a batch that waits");
        }
        sqlx::raw_sql("commit").execute(&mut other).await.unwrap();
    };
    let (batch, ()) = tokio::join!(rig.good_batch(&job, 50, Pass::Forward), commit);
    assert_eq!((batch.deleted, batch.condemned.len()), (9, 6));
    assert_eq!(rig.attachments().await, [3, 4, 5]);
    assert_eq!(rig.ids("select attachment_id from documents where id = 32").await, [5], "it is alive");
}

#[tokio::test]
async fn attachments_that_deleted_receipts_share_go_where_a_view_shows_only_live_ones() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.receipt(30, TENANT, Some(9), Some(1)).await;
    rig.run(&documents("is_deleted is not true")).await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 4).await;
    assert_eq!((keys(&batches).len(), rig.attachments().await), (9, vec![]));
}

#[tokio::test]
async fn a_key_that_another_file_has_stays_where_attachments_are_some_of_the_files() {
    for refused in ["", "old.id = 9"] {
        let rig = postgres().await;
        rig.seed(20).await;
        rig.run(
            "alter table attachments rename to files; alter table files add kind text default 'attachment';
             create view attachments as
                 select id, business_id, purpose, storage_path, file_size from files where kind = 'attachment';
             insert into files (id, business_id, kind, storage_path)
                 select 30 + id, 790, 'scan', storage_path from files where id in (3, 4)",
        )
        .await;
        if !refused.is_empty() {
            rig.raw.refuse("update", "receipts", refused).await;
        }
        let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
        assert_eq!(
            (plan.attachments, plan.kept),
            (18, vec![(Kept::Reference("files.storage_path".into()), 2)])
        );
        let batch = only_batch(&rig).await;
        assert_eq!(batch.kept_for, [("files.storage_path".to_owned(), 2)]);
        assert_eq!(batch.condemned.len(), if refused.is_empty() { 18 } else { 17 });
        let shared = ["789/receipt_source/2026/01/3.pdf", "789/receipt_source/2026/01/4.pdf"];
        assert!(keys(&[batch]).iter().all(|key| !shared.contains(&key.as_str())));
        let found = rig.store.receipts.hindrances().await.unwrap();
        assert!(found.contains(&"table files (attachments is only a part of it)".to_owned()), "{found:?}");
    }
}

/// The store as a role that has rights on what it names alone.
async fn as_a_role_of_its_own(rights: &str) -> (Rig, String) {
    let server = Server::shared();
    let database = server.database().await;
    let mut rig = postgres_on(&server.settings(&database)).await;
    let role = format!("narrow_in_{database}");
    rig.seed(20).await;
    rig.run(&format!(
        "{rights} create role {role} login; grant all on all sequences in schema public to {role};
         grant all on receipts, attachments, background_jobs, tikkun_background_jobs, tikkun_set_aside,
             tikkun_cleanup_outbox, tikkun_ended_sessions, tikkun_store_check, tikkun_store_migrations to {role};"
    ))
    .await;
    let settings = PostgresSettings { max_connections: 1, ..server.settings_as(&role, &database) };
    let opened = open_postgres(&settings, Schema::Require).await;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    (rig, role)
}

#[tokio::test]
async fn attachments_stay_as_long_as_the_rest_of_a_wider_table_cannot_be_looked_at() {
    let (rig, role) = as_a_role_of_its_own(&format!("{}{OTHERS}", documents("kind = 'receipt'"))).await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 10, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await.len()), (10, 0, 20));
    let (count, reason) = kept_reason(&rig).await;
    assert!(count == 10 && reason.contains("whose other rows may need them"), "{count} {reason}");
    let named = "table documents (receipts is only a part of it, and the rest cannot be looked at, so that attachments stay)";
    let found = rig.store.receipts.hindrances().await.unwrap();
    assert!(found.contains(&named.to_owned()), "{found:?}");
    rig.run(&format!("grant select, update on documents to {role}")).await;
    let batch = rig.good_batch(&job, 5, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len()), (5, 5), "the next batch heeds it");
    rig.run(&format!("revoke select on documents from {role}")).await;
    let fault = rig.store.receipts.delete_batch(&order(&job, 3, Pass::Forward)).await.unwrap_err();
    assert!(fault.chain().contains("permission denied for table documents"), "{}", fault.chain());
    let batch = rig.good_batch(&job, 3, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len()), (3, 0));
    rig.run(&format!(
        "grant select on documents to {role}; alter table documents enable row level security;
         create policy all_rows on documents using (business_id = 789)"
    ))
    .await;
    let batch = rig.good_batch(&job, 3, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len()), (2, 0), "what a policy may hide cannot be looked at");
}

#[tokio::test]
async fn attachments_stay_where_the_columns_of_a_wider_table_have_other_names() {
    let renamed = [
        "alter table receipts rename to documents; alter table documents rename attachment_id to file_id;
         create view receipts as
             select id, business_id, file_id as attachment_id, preview_attachment_id, is_deleted, deleted_at, created_at,
                 updated_at from documents where vendor_name is null",
        "alter table attachments rename to files; alter table files rename storage_path to object;
         create view attachments as
             select id, business_id, purpose, object as storage_path, file_size from files where filename_original is null",
    ];
    for renamed in renamed {
        let rig = postgres().await;
        rig.seed(9).await;
        rig.run(renamed).await;
        let keys = "alter table documents drop constraint receipts_attachment_id_fkey";
        if renamed.contains("documents") {
            rig.run(keys).await;
        }
        let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
        let batch = only_batch(&rig).await;
        assert_eq!((plan.attachments, batch.deleted, batch.condemned.len()), (0, 9, 0), "{renamed}");
        let (count, reason) = kept_reason(&rig).await;
        assert!(count == 9 && reason.contains("whose other rows may need them"), "{count} {reason}");
        // All are shown.
        rig.run("update receipts set is_deleted = false").await;
        let view = if renamed.contains("documents") { "receipts" } else { "attachments" };
        let all = format!(
            "do $$ begin
                 execute 'create or replace view {view} as '
                         || regexp_replace(pg_get_viewdef('{view}'::regclass), 'WHERE.*', '');
             end $$"
        );
        rig.run(&all).await;
        rig.run("update background_jobs set status = 'completed'").await;
        assert_eq!(only_batch(&rig).await.condemned.len(), 9, "{renamed}");
    }
}

#[tokio::test]
async fn what_the_other_partitions_need_stays_where_receipts_are_one_of_them() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "alter table receipts drop constraint receipts_attachment_id_fkey,
             drop constraint receipts_preview_attachment_id_fkey;
         alter table receipts add kind text not null default 'receipt';
         create table documents (like receipts) partition by list (kind);
         alter table documents attach partition receipts for values in ('receipt');
         create table invoices partition of documents for values in ('invoice');",
    )
    .await;
    rig.run(OTHERS).await;
    let batch = only_batch(&rig).await;
    assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await), (9, 7, vec![3, 4]));
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "create table dated (created_at timestamp without time zone); alter table receipts inherit dated;
         create table other_dates (attachment_id integer) inherits (dated); insert into other_dates values (now(), 3)",
    )
    .await;
    rig.run(
        "alter table receipts rename to all_receipts; create view receipts as select * from all_receipts",
    )
    .await;
    assert_eq!(only_batch(&rig).await.condemned.len(), 9, "what is inherited points to nothing");
    assert_eq!(rig.store.receipts.hindrances().await.unwrap(), ["rule _RETURN on receipts"]);
}

/// Other tables that a view's condition names have no rows of receipts or attachments.
#[tokio::test]
async fn what_the_tables_of_a_views_condition_refer_to_stays() {
    for on_delete in ["set null", "cascade"] {
        let rig = postgres().await;
        rig.seed(9).await;
        rig.run(&format!(
            "alter table receipts rename to all_receipts;
             create table invoices (id integer, attachment_id integer references attachments (id) on delete {on_delete});
             insert into invoices values (1, 3);
             create view receipts as select * from all_receipts r
                 where id <> 30 or not exists (select 1 from invoices i where i.attachment_id = r.attachment_id)"
        ))
        .await;
        let batch = only_batch(&rig).await;
        assert_eq!(
            (batch.deleted, batch.kept_for),
            (9, vec![("invoices.attachment_id".to_owned(), 1)]),
            "{on_delete}"
        );
        assert_eq!(rig.ids("select attachment_id from invoices").await, [3], "{on_delete}");
        let rig = postgres().await;
        rig.seed(9).await;
        rig.run(&format!(
            "alter table attachments rename to files;
             create table blocked (id integer, file integer not null references files (id) on delete {});
             insert into blocked values (4, 3);
             create view attachments as select id, business_id, purpose, storage_path, file_size from files
                 where id > 0 or not exists (select 1 from blocked where blocked.file = files.id)",
            if on_delete == "cascade" { "cascade" } else { "no action" }
        ))
        .await;
        let batch = only_batch(&rig).await;
        assert_eq!((batch.deleted, batch.kept_for), (9, vec![("blocked.file".to_owned(), 1)]), "{on_delete}");
        assert_eq!(rig.ids("select file from blocked").await, [3], "{on_delete}");
    }
}

/// Attachments are marked where others are deleted.
const MARKS: &str = "alter table attachments rename to files;
    create view attachments as select id, business_id, purpose, storage_path, file_size from files where deleted_at is null;
    create function mark() returns trigger language plpgsql as
    $$ begin
        update files set deleted_at = now() where id = old.id;
        if tg_when = 'BEFORE' then return null; end if;
        return old;
    end $$;";

#[tokio::test]
async fn the_object_of_an_attachment_that_is_only_hidden_stays() {
    for marks in [
        "create trigger mark instead of delete on attachments for each row execute function mark()",
        "create trigger mark before delete on files for each row execute function mark()",
        "create rule mark as on delete to attachments do instead
             update files set deleted_at = now() where id = old.id returning
             files.id, files.business_id, files.purpose, files.storage_path, files.file_size",
    ] {
        let rig = postgres().await;
        rig.seed(9).await;
        rig.run(&format!("{MARKS}{marks}")).await;
        let job = rig.started().await;
        let batches = rig.delete_all(&job, 5).await;
        assert_eq!((keys(&batches).len(), rig.live(TENANT).await.len()), (0, 0), "{marks}");
        assert_eq!(rig.store.outbox.summary(None).await.unwrap().pending, 0, "{marks}");
        assert_eq!(rig.number("select count(*) from files").await, 9, "{marks}");
        let (count, reason) = kept_reason(&rig).await;
        assert!(count == 9 && reason.contains("only hides it"), "{marks}: {count} {reason}");
    }
}

#[tokio::test]
async fn the_object_of_an_attachment_that_a_views_trigger_deletes_goes() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(MARKS).await;
    rig.run(
        "create function remove() returns trigger language plpgsql as
         $$ begin
             if old.id = 4 then update files set deleted_at = now() where id = 4; else delete from files where id = old.id; end if;
             return old;
         end $$;
         create trigger remove instead of delete on attachments for each row execute function remove()",
    )
    .await;
    let batch = only_batch(&rig).await;
    assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await), (9, 8, vec![4]));
}

/// Changes of a view are carried out elsewhere.
const INSTEAD: &str = "create function elsewhere() returns trigger language plpgsql as
    $$ begin
        update receipts_2026 set is_deleted = new.is_deleted where id = old.id;
        update receipts_2025 set is_deleted = new.is_deleted where id = old.id;
        return new;
    end $$;";

#[tokio::test]
async fn a_deletion_is_refused_where_rows_cannot_be_locked() {
    let union =
        "alter table receipts rename to receipts_2026; create table receipts_2025 (like receipts_2026);
        create view {name} as select * from receipts_2026 union all select * from receipts_2025;";
    let trigger =
        "create trigger elsewhere instead of update on {name} for each row execute function elsewhere();";
    let rules = "create rule u as on update to {name} do instead update receipts_2026 set is_deleted = new.is_deleted where id = old.id;
        create rule d as on delete to {name} do instead nothing; create rule i as on insert to {name} do instead nothing;";
    let over = "create view receipts as select * from both_years where business_id > 0;";
    let attachments = "alter table attachments rename to files;
        create view attachments as select max(id) as id, business_id, purpose, storage_path, max(file_size) as file_size
        from files group by 2, 3, 4";
    let named = |text: &str, name: &str| text.replace("{name}", name);
    for (made, relation, view) in [
        (named(&format!("{union}{INSTEAD}{trigger}"), "receipts"), "receipts", "receipts"),
        (named(&format!("{union}{rules}"), "receipts"), "receipts", "receipts"),
        (
            format!("{}{over}", named(&format!("{union}{INSTEAD}{trigger}"), "both_years")),
            "receipts",
            "both_years",
        ),
        (format!("{}{over}", named(&format!("{union}{rules}"), "both_years")), "receipts", "both_years"),
        (attachments.to_owned(), "attachments", "attachments"),
    ] {
        let rig = postgres().await;
        rig.seed(9).await;
        rig.run(&made).await;
        let job = rig.started().await;
        let fault = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
        let text = format!("nothing is deleted: {relation} (by the view {view})");
        assert!(fault.chain().contains(&text), "{}", fault.chain());
        let files = if relation == "receipts" { "attachments" } else { "files" };
        assert_eq!(rig.number(&format!("select count(*) from {files}")).await, 9);
        assert_eq!(rig.live(TENANT).await.len(), 9, "{made}");
        let named = format!(
            "view {view} (rows of {relation} cannot be locked through it, so that nothing is deleted)"
        );
        let found = rig.store.receipts.hindrances().await.unwrap();
        assert!(found.contains(&named), "{found:?}");
    }
}

/// Another schema has attachments of the same ids, and more.
const ARCHIVE: &str = "create schema archive;
    create table archive.attachments (like attachments including all); insert into archive.attachments select * from attachments;
    create table archive.receipts (like receipts including all);";

/// A trigger sets this search path.
fn leads_to(path: &str, trigger: &str) -> String {
    format!(
        "create function lead() returns trigger language plpgsql as
         $$ begin perform set_config('search_path', '{path}', false); return new; end $$;
         create trigger lead {trigger} execute function lead();"
    )
}

#[tokio::test]
async fn a_trigger_that_leads_to_another_schema_deletes_nothing_there() {
    for path in ["archive", "archive, public", "", "pg_catalog, nowhere"] {
        for (trigger, aside) in [
            ("before update on receipts for each row when (old.id in (4, 7))", vec![4, 7]),
            ("after update of attachment_id on receipts for each row when (old.id = 4)", vec![4]),
            ("after update on receipts for each statement", (1..=9).collect()),
        ] {
            let rig = postgres().await;
            rig.seed(9).await;
            rig.run(&format!("{ARCHIVE}{}", leads_to(path, trigger))).await;
            // A receipt that is refused makes the batch go step by step.
            rig.raw.ignore("delete", "attachments", "old.id = 9").await;
            let job = rig.started().await;
            let batch = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await;
            let told = format!("{path:?} {trigger}: {batch:?}");
            assert_eq!(rig.number("select count(*) from archive.attachments").await, 9, "{told}");
            let orphans =
                "select count(*) from tikkun_cleanup_outbox o join attachments a on a.storage_path = o.key";
            assert_eq!(rig.number(orphans).await, 0, "{told}");
            if trigger.contains("of attachment_id") {
                continue;
            }
            let batch = match batch.unwrap_or_else(|fault| panic!("{told} {}", fault.chain())) {
                tikkun::store::BatchOutcome::Deleted(batch) => batch,
                other => panic!("{other:?}"),
            };
            let found: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
            assert_eq!((found, rig.live(TENANT).await), (aside.clone(), aside), "{told}");
            assert!(batch.set_aside.iter().all(|row| row.reason.contains("search_path")), "{told}");
        }
    }
}

#[tokio::test]
async fn a_trigger_that_sets_a_path_to_the_same_tables_hinders_nothing() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(&format!("{ARCHIVE}{}", leads_to("public, archive", "after update on receipts for each row")))
        .await;
    let batch = only_batch(&rig).await;
    assert_eq!((batch.deleted, batch.condemned.len(), batch.set_aside), (9, 9, vec![]));
}

/// The names of its own tables lead where they did, but not that of a table that refers to an attachment.
#[tokio::test]
async fn a_trigger_that_leads_past_a_reference_takes_nothing_from_it() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(&format!(
        "create table contracts (file integer references attachments (id) on delete set null); insert into contracts values (4);
         create schema archive; create table archive.contracts (file integer); {}",
        leads_to("archive, public", "before update on receipts for each row")
    ))
    .await;
    rig.raw.refuse("update", "receipts", "old.id = 2").await;
    let batch = only_batch(&rig).await;
    assert_eq!((batch.deleted, batch.kept_for), (8, vec![("contracts.file".to_owned(), 1)]));
    assert_eq!(rig.ids("select file from contracts").await, [4]);
}
