//! Tests for PostgreSQL only.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tikkun::certificate::Issuer;
use tikkun::config::PostgresSettings;
use tikkun::fault::FaultKind;
use tikkun::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL, Status};
use tikkun::store::{
    BatchOutcome, EndAttempt, EndedSession, Pass, Requested, Schema, Watched, migrate_postgres, open_postgres,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::rig::{OTHER, Rig, TENANT, keys, order, postgres, postgres_on, target};
use super::server::{Server, settings};

async fn refusal(settings: &PostgresSettings, schema: Schema) -> String {
    let fault = open_postgres(settings, schema).await.err().expect("a refusal");
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
    fault.chain()
}

#[tokio::test]
async fn everything_that_is_missing_is_told_at_once_with_the_databases_name() {
    let server = Server::shared();
    let database = server.database().await;
    let sql = "alter table receipts drop column deleted_at, drop column is_deleted cascade; drop table attachments cascade";
    server.run(&database, sql).await;
    let settings = server.settings(&database);
    let text = refusal(&settings, Schema::Migrate).await;
    for part in
        [&settings.place, "column receipts.is_deleted", "column receipts.deleted_at", "table attachments"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    open_postgres(&settings, Schema::Warn).await.expect("a warning is enough");
    open_postgres(&settings, Schema::MigrateOrWarn).await.expect("a warning is enough");
}

#[tokio::test]
async fn a_wrong_database_gets_no_table() {
    let server = Server::shared();
    let database = server.empty_database().await;
    let settings = server.settings(&database);
    let text = refusal(&settings, Schema::Migrate).await;
    assert!(text.contains("table background_jobs, the table receipts, the table attachments"), "{text}");
    server.run(&database, "create table receipts (id serial primary key)").await;
    let fault = migrate_postgres(&settings, true).await.unwrap_err().chain();
    assert!(fault.contains("receipts of them is there already"), "{fault}");
    server.run(&database, "drop table receipts").await;
    let made = migrate_postgres(&settings, true).await.unwrap();
    assert_eq!((made.application, made.versions), (true, vec![1, 2, 3, 10, 11, 12, 20, 30]));
    let again = migrate_postgres(&settings, true).await.unwrap();
    assert_eq!((again.application, again.versions.len()), (false, 0));
}

#[tokio::test]
async fn nothing_of_the_applications_is_changed_by_a_migration() {
    let server = Server::shared();
    let database = server.empty_database().await;
    server.run(&database, include_str!("../../src/store/postgres/application_tables.sql")).await;
    let rig = postgres_on_empty(server, &database).await;
    let others = "select count(*) from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
        and relname not like 'tikkun%' and relname not in ('background_jobs', 'receipts', 'attachments')";
    assert_eq!(rig.number(others).await, 0, "tables are ours or the application's");
    let triggers = "select count(*) from pg_trigger where tgrelid = 'background_jobs'::regclass";
    assert_eq!(rig.number(triggers).await, 0, "no constraint of ours leads to the application's row");
}

async fn postgres_on_empty(server: &Server, database: &str) -> Rig {
    let settings = server.settings(database);
    open_postgres(&settings, Schema::Migrate).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    postgres_on(&settings).await
}

#[tokio::test]
async fn eight_first_openings_at_once_all_succeed() {
    let server = Server::shared();
    let database = server.empty_database().await;
    server.run(&database, include_str!("../../src/store/postgres/application_tables.sql")).await;
    let settings = server.settings(&database);
    let openings = (0..8).map(|_| open_postgres(&settings, Schema::Migrate));
    for opened in futures::future::join_all(openings).await {
        let store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        store.background_jobs.check().await.unwrap();
    }
}

#[tokio::test]
async fn a_role_that_may_make_nothing_works_with_what_is_there() {
    let server = Server::shared();
    let database = server.database().await;
    let role = format!("worker_of_{database}");
    server
        .run(
            &database,
            &format!(
                "create role {role} login; revoke create on schema public from public;
                 grant select, insert, update on background_jobs to {role};
                 grant usage on all sequences in schema public to {role};
                 grant select, update on receipts to {role};
                 grant select, update, delete on attachments to {role};
                 grant select, insert, update, delete on tikkun_background_jobs, tikkun_set_aside,
                     tikkun_cleanup_outbox, tikkun_ended_sessions, tikkun_store_check, tikkun_deletions,
                     tikkun_rows_set_aside to {role};
                 grant select, insert on tikkun_certificates to {role};
                 grant select on tikkun_store_migrations to {role}"
            ),
        )
        .await;
    let owner = postgres_on(&server.settings(&database)).await;
    owner.seed(9).await;
    let opened = open_postgres(&server.settings_as(&role, &database), Schema::Migrate).await;
    let mut rig = owner;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let job = rig.started().await;
    rig.delete_all(&job, 4).await;
    assert!(rig.live(TENANT).await.is_empty() && rig.attachments().await.is_empty());
    assert!(matches!(rig.request("q2").await, Requested::Active(_)));
    rig.store.background_jobs.check().await.unwrap();
    rig.set(job.id, "status = 'cancelled'").await;
    assert!(rig.store.certificates.issue(job.id, &Issuer::default()).await.unwrap().is_some());
    let session = EndedSession { mark: "mark".into(), until: Utc::now() + TimeDelta::hours(1) };
    rig.store.ended_sessions.end_session(&session, Utc::now()).await.unwrap();
    assert_eq!(rig.store.ended_sessions.ended(Utc::now(), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_whole_deletion_goes_through_a_pooler_in_transaction_mode() {
    let server = Server::start();
    let database = server.database().await;
    let url = server.pooler(2, &database);
    let settings = settings(&url, "the pooler");
    let mut rig = postgres_on(&server.settings(&database)).await;
    migrate_postgres(&settings, false).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    rig.store = open_postgres(&settings, Schema::Require).await.unwrap_or_else(|f| panic!("{}", f.chain()));
    rig.seed(60).await;
    rig.raw.refuse("update", "receipts", "old.id in (7, 41)").await;
    let job = rig.started().await;
    let jobs = &rig.store.background_jobs;
    let busy = async {
        for _ in 0..60 {
            let beats = [(job.id, job.note.attempt)];
            let (beat, got, checked) = tokio::join!(jobs.beat(&beats), jobs.get(job.id), jobs.check());
            assert!(beat.unwrap().is_empty() && got.unwrap().is_some());
            checked.unwrap();
        }
    };
    let (batches, ()) = tokio::join!(rig.delete_all(&job, 7), busy);
    assert_eq!(keys(&batches).len(), 58);
    assert_eq!(rig.live(TENANT).await, [7, 41]);
    let progress = rig.get(job.id).await.progress;
    assert_eq!((progress.processed, progress.succeeded, progress.failed), (60, 58, 2));
    let options: PgConnectOptions = url.parse().unwrap();
    let mut pooled = PgConnection::connect_with(&options.extra_float_digits(None)).await.unwrap();
    for _ in 0..8 {
        let left =
            sqlx::raw_sql("select name from pg_prepared_statements").fetch_all(&mut pooled).await.unwrap();
        assert!(left.is_empty(), "a statement outlived its transaction on a connection that is shared");
    }
    let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
    assert_eq!(plan.receipts, 2);
}

/// Receipts `1..=rounds`, each with an attachment of its own, and the row of their deletion.
async fn rounds_of_one(rig: &Rig, rounds: i64) -> BackgroundJob {
    rig.run(&format!(
        "insert into attachments (id, business_id, purpose, storage_path)
             select i, {TENANT}, 'receipt_source', 'key/' || i from generate_series(1, {rounds}) i;
         insert into receipts (id, business_id, attachment_id, is_deleted, created_at)
             select i, {TENANT}, i, false, null from generate_series(1, {rounds}) i"
    ))
    .await;
    rig.started().await
}

/// A transaction that links the attachment of a round to a live receipt: each third by the other column,
/// each fifth by bringing a deleted receipt back. It takes up to three milliseconds until its commit.
async fn link(rig: &Rig, round: i64, id: i64, column: &str) -> String {
    let link = if round % 5 == 0 {
        let dead = format!(
            "insert into receipts (id, business_id, {column}, is_deleted) values ({id}, {OTHER}, {round}, true)"
        );
        rig.run(&dead).await;
        format!("update receipts set is_deleted = false where id = {id}")
    } else {
        format!("insert into receipts (id, business_id, {column}) values ({id}, {OTHER}, {round})")
    };
    format!("begin; {link}; select pg_sleep({}); commit", f64::from(fastrand::u8(..4)) / 1000.0)
}

#[tokio::test]
async fn an_attachment_linked_by_a_concurrent_transaction_is_never_deleted_a_thousand_times() {
    const ROUNDS: i64 = 1000;
    let server = Server::shared();
    let database = server.database().await;
    let rig = postgres_on(&server.settings(&database)).await;
    let mut linker = PgConnection::connect(&server.url(&database)).await.unwrap();
    let job = rounds_of_one(&rig, ROUNDS).await;
    let order = order(&job, 1, Pass::Forward);
    let (mut kept, mut refused) = (0, 0);
    for round in 1..=ROUNDS {
        let column = if round % 3 == 0 { "preview_attachment_id" } else { "attachment_id" };
        let id = ROUNDS + round;
        let transaction = link(&rig, round, id, column).await;
        // Some begin before the batch, some in the middle of it, some after its locks.
        let (wait, later) = (fastrand::u64(..1500), fastrand::u64(..12_000));
        let delete = async {
            tokio::time::sleep(Duration::from_micros(wait)).await;
            rig.store.receipts.delete_batch(&order).await.unwrap_or_else(|fault| panic!("{}", fault.chain()))
        };
        let link = async {
            tokio::time::sleep(Duration::from_micros(later)).await;
            sqlx::raw_sql(AssertSqlSafe(transaction)).execute(&mut linker).await
        };
        let (outcome, linked) = tokio::join!(delete, link);
        let BatchOutcome::Deleted(batch) = outcome else { panic!("{outcome:?}") };
        assert_eq!(batch.deleted, 1, "round {round}");
        let pointer = format!("select {column} from receipts where id = {id} and is_deleted is not true");
        let there = rig.number(&format!("select count(*) from attachments where id = {round}")).await;
        match (linked, rig.raw.numbers(&pointer).await.as_slice()) {
            (Ok(_), [Some(attachment)]) => {
                assert_eq!((*attachment, there, batch.condemned.len()), (round, 1, 0), "round {round}");
                kept += 1;
            }
            // Revived too late: without its pointer, and seen to be so.
            (Ok(_), [None]) if round % 5 == 0 => assert_eq!((there, batch.condemned.len()), (0, 1)),
            (Err(error), []) => {
                assert!(error.to_string().contains("foreign key"), "{error}");
                assert_eq!((there, batch.condemned.len()), (0, 1), "round {round}");
                sqlx::raw_sql("rollback").execute(&mut linker).await.unwrap();
                refused += 1;
            }
            other => panic!("round {round}: {other:?}"),
        }
    }
    assert!(kept > 20 && refused > 20, "both orders happened: kept {kept}, refused {refused}");
}

#[tokio::test]
async fn an_attachment_that_came_while_a_batch_waited_for_its_receipt_goes_with_it() {
    let server = Server::shared();
    let database = server.database().await;
    let rig = postgres_on(&server.settings(&database)).await;
    rig.seed(3).await;
    let job = rig.started().await;
    let mut other = PgConnection::connect(&server.url(&database)).await.unwrap();
    let swap = format!(
        "begin;
         insert into attachments (id, business_id, purpose, storage_path)
             values (99, {TENANT}, 'receipt_source', 'late/99');
         update receipts set attachment_id = 99 where id = 2"
    );
    sqlx::raw_sql(AssertSqlSafe(swap)).execute(&mut other).await.unwrap();
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
    assert_eq!(batch.deleted, 3);
    assert!(keys(&[batch]).contains(&"late/99".to_owned()));
    assert_eq!(rig.attachments().await, [2], "nothing of the batch points to it any more");
}

#[tokio::test]
async fn a_row_that_is_locked_for_too_long_is_a_retryable_fault_and_nothing_happened() {
    let server = Server::shared();
    let database = server.database().await;
    let patient = server.settings(&database);
    let hasty = PostgresSettings { lock_timeout: Duration::from_millis(50), ..patient.clone() };
    let rig = postgres_on(&hasty).await;
    rig.seed(3).await;
    let job = rig.started().await;
    let holder = postgres_on(&patient).await;
    let (locked, release) = (tokio::sync::Notify::new(), tokio::sync::Notify::new());
    let hold = async {
        let pool = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("select id from attachments where id = 2 for update").execute(&mut *tx).await.unwrap();
        locked.notify_one();
        release.notified().await;
        tx.rollback().await.unwrap();
    };
    let attempt = async {
        locked.notified().await;
        let fault = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
        assert_eq!(fault.kind(), FaultKind::Retryable, "{}", fault.chain());
        assert_eq!(rig.live(TENANT).await.len(), 3);
        release.notify_one();
    };
    tokio::join!(hold, attempt);
    assert_eq!(holder.good_batch(&job, 50, Pass::Forward).await.deleted, 3);
}

#[tokio::test]
async fn a_process_that_stops_in_the_middle_of_its_try_to_write_hinders_no_other() {
    let server = Server::shared();
    let database = server.database().await;
    let patient = server.settings(&database);
    let hasty = PostgresSettings { lock_timeout: Duration::from_millis(50), ..patient.clone() };
    let store =
        open_postgres(&hasty, Schema::Migrate).await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let pool = sqlx::PgPool::connect(&server.url(&database)).await.unwrap();
    let mut stopped = pool.begin().await.unwrap();
    let older = "insert into tikkun_store_check (id, checked_at) values (1, now())";
    sqlx::query(older).execute(&mut *stopped).await.unwrap();
    store.background_jobs.check().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    stopped.rollback().await.unwrap();
    let left: i64 =
        sqlx::query_scalar("select count(*) from tikkun_store_check").fetch_one(&pool).await.unwrap();
    assert_eq!(left, 0, "a try leaves nothing behind");
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_unavailable_and_its_password_stays_unsaid() {
    let server = Server::shared();
    let mut nowhere = server.settings("postgres");
    nowhere.url = SecretString::from("postgres://u:hunter2@127.0.0.1:1/app");
    nowhere.place = "127.0.0.1:1/app".into();
    nowhere.acquire_timeout = Duration::from_millis(300);
    for schema in [Schema::Migrate, Schema::Warn] {
        let fault = open_postgres(&nowhere, schema).await.err().unwrap();
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
        assert!(fault.chain().contains("127.0.0.1:1/app") && !fault.chain().contains("hunter2"));
    }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_a_mistake_and_not_an_outage() {
    let server = Server::shared();
    let fault = open_postgres(&server.settings("no_such_database"), Schema::Migrate).await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
    assert!(fault.chain().contains("no_such_database") && fault.chain().contains("DATABASE_URL"));
    let mut stranger = server.settings("postgres");
    stranger.url = SecretString::from(server.url("postgres").replacen("tikkun@", "nobody_here@", 1));
    let fault = open_postgres(&stranger, Schema::Migrate).await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
}

/// As during a restore, or under a tool that manages privileges.
#[tokio::test]
async fn a_database_that_lets_nobody_in_for_a_while_is_unavailable() {
    let server = Server::shared();
    let database = server.database().await;
    let as_postgres = async |sql: &str| server.run("postgres", sql).await;
    as_postgres(&format!(
        "create role guest_of_{database} login; revoke connect on database {database} from public"
    ))
    .await;
    let guest = server.settings(&database);
    let guest_url = server.url(&database).replacen("tikkun@", &format!("guest_of_{database}@"), 1);
    let guest = PostgresSettings { url: SecretString::from(guest_url), ..guest };
    for (settings, open, shut) in [
        (
            server.settings(&database),
            format!("alter database {database} allow_connections true"),
            format!("alter database {database} allow_connections false"),
        ),
        (
            guest,
            format!(
                "grant connect on database {database} to guest_of_{database}; grant pg_read_all_data, \
                 pg_write_all_data to guest_of_{database}"
            ),
            format!("revoke connect on database {database} from guest_of_{database}"),
        ),
    ] {
        as_postgres(&open).await;
        let store = open_postgres(&settings, Schema::Require).await;
        let store = store.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        as_postgres(&shut).await;
        as_postgres(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'"
        ))
        .await;
        for _ in 0..3 {
            let fault = store.background_jobs.check().await.unwrap_err();
            assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
        }
        as_postgres(&open).await;
        store.background_jobs.check().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    }
}

#[tokio::test]
async fn a_primary_that_became_read_only_is_unavailable_and_left_for_a_new_one() {
    let server = Server::start();
    let database = server.database().await;
    let rig = postgres_on(&server.settings(&database)).await;
    rig.seed(3).await;
    let job = rig.started().await;
    rig.run(&format!("alter database {database} set default_transaction_read_only = on")).await;
    server.stop();
    server.start_again();
    let fault = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
    server
        .run("postgres", &format!("alter database {database} set default_transaction_read_only = off"))
        .await;
    // The connections that were made while it was read-only are not used again.
    for _ in 0..8 {
        rig.store.background_jobs.check().await.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    }
    assert_eq!(rig.good_batch(&job, 50, Pass::Forward).await.deleted, 3);
}

#[tokio::test]
async fn a_server_that_died_in_the_middle_is_unavailable_and_the_next_batch_is_right() {
    let server = Server::start();
    let rig = postgres_on(&server.settings(&server.database().await)).await;
    rig.seed(6).await;
    let job = rig.started().await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    for round in 0..2 {
        if round == 0 {
            server.stop()
        } else {
            server.kill()
        }
        let mut settings = server.settings("postgres");
        settings.acquire_timeout = Duration::from_millis(300);
        let fault = open_postgres(&settings, Schema::Require).await.err().unwrap();
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
        server.start_again();
        let batch = rig.good_batch(&job, 2, Pass::Forward).await;
        assert_eq!((batch.deleted, batch.first_id), (2, 3 + 2 * round), "found again by itself");
    }
    assert_eq!(rig.get(job.id).await.progress.succeeded, 6);
}

#[tokio::test]
async fn a_deferred_constraint_blames_its_row_and_not_the_batch() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "create function late() returns trigger language plpgsql as
         $$ begin if old.id = 4 then raise exception 'this row is sealed late'; end if; return null; end $$;
         create constraint trigger late after update on receipts deferrable initially deferred
         for each row execute function late()",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len()), (8, 1));
    assert_eq!(rig.live(TENANT).await, [4]);
}

#[tokio::test]
async fn a_renamed_reference_is_heeded_under_its_new_name() {
    let rig = postgres().await;
    rig.seed(4).await;
    rig.run(
        "create table quotes (file integer references attachments (id)); insert into quotes values (1), (4)",
    )
    .await;
    let job = rig.started().await;
    let kept = rig.good_batch(&job, 1, Pass::Forward).await.kept_for;
    assert_eq!(kept, [("quotes.file".to_owned(), 1)]);
    rig.run("alter table quotes rename column file to paper; alter table quotes rename to offers").await;
    let fault = rig.store.receipts.delete_batch(&order(&job, 9, Pass::Forward)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Retryable, "{}", fault.chain());
    let batch = rig.good_batch(&job, 9, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.kept_for), (3, vec![("offers.paper".to_owned(), 1)]));
    assert_eq!(rig.attachments().await, [1, 4]);
}

#[tokio::test]
async fn wider_and_narrower_columns_are_adopted_as_they_are() {
    let rig = postgres().await;
    rig.run(
        "alter table receipts alter id type bigint, alter attachment_id type bigint,
             alter deleted_at type timestamptz, alter created_at type timestamptz, alter is_deleted set not null;
         alter table attachments alter id type bigint, alter file_size type integer, alter storage_path type text;
         alter table background_jobs alter id type bigint, alter business_id type bigint, alter total type bigint,
             alter created_at type timestamptz, alter heartbeat_at type timestamptz, alter job_type type text",
    )
    .await;
    rig.seed(5).await;
    let job = rig.started().await;
    assert!(job.created_at.is_some() && job.heartbeat_at.is_some());
    let batches = rig.delete_all(&job, 2).await;
    assert_eq!((keys(&batches).len(), rig.live(TENANT).await.len()), (5, 0));
    let row = rig.get(job.id).await;
    assert!(row.heartbeat_at >= job.heartbeat_at);
    assert_eq!(rig.store.outbox.list(9).await.unwrap()[0].bytes, Some(10));
}

#[tokio::test]
async fn a_deletion_without_prepared_statements_is_the_same_deletion() {
    let server = Server::shared();
    let database = server.database().await;
    let plain = PostgresSettings { prepared_statements: false, ..server.settings(&database) };
    let rig = postgres_on(&plain).await;
    rig.seed(60).await;
    rig.raw.refuse("update", "receipts", "old.id in (7, 41)").await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 4).await;
    assert_eq!((keys(&batches).len(), rig.live(TENANT).await), (58, vec![7, 41]));
    assert_eq!(rig.get(job.id).await.progress.succeeded, 58);
}

#[tokio::test]
async fn a_batch_reads_its_own_receipts_and_not_all_that_are_left() {
    const RECEIPTS: i64 = 4000;
    let server = Server::shared();
    let database = server.database().await;
    let mut rig = postgres_on(&server.settings(&database)).await;
    rig.run(&format!(
        "insert into attachments (id, business_id, purpose, storage_path)
             select i, {TENANT}, 'receipt_source', 'key/' || i from generate_series(1, {RECEIPTS}) i;
         insert into receipts (id, business_id, attachment_id, is_deleted, created_at)
             select i, {TENANT}, i, false, null from generate_series(1, {RECEIPTS}) i;
         analyze receipts; analyze attachments"
    ))
    .await;
    let job = rig.started().await;
    rig.run("select pg_stat_reset()").await;
    let batches = rig.delete_all(&job, 50).await;
    assert_eq!(batches.len(), 80);
    // What a session has read is told when it ends.
    rig.store = postgres_on(&server.settings(&database)).await.store;
    let read = "select (coalesce(sum(idx_tup_read), 0) + (select sum(seq_tup_read) from pg_stat_user_tables
                    where relname in ('receipts', 'attachments')))::bigint
                from pg_stat_user_indexes where relname in ('receipts', 'attachments')";
    let began = std::time::Instant::now();
    let mut seen = 0;
    while seen < RECEIPTS {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "waited in vain for the server's own count: {seen}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
        seen = rig.number(read).await;
    }
    // A batch that read all that is left would read 40 times as many; how often it touches its own is the server's affair.
    assert!(seen < 24 * RECEIPTS, "{seen} rows read for {RECEIPTS} receipts");
}

#[tokio::test]
async fn a_look_at_the_newest_reads_little_of_what_is_long() {
    const OTHERS: i64 = 60_000;
    let server = Server::shared();
    let database = server.database().await;
    let mut rig = postgres_on(&server.settings(&database)).await;
    rig.run(&format!(
        "insert into background_jobs (business_id, job_type, status)
             select i, 'something_else', 'completed' from generate_series(1, {OTHERS}) i;
         insert into tikkun_cleanup_outbox (background_job_id, business_id, driver, bucket, key, condemned_at,
                 attempts, next_try_at, last_error, last_error_at)
             select 1, i % 50, 'local', 'b', 'key/' || i, t, 1, t, 'error ' || i, t + i * interval '1 second'
             from generate_series(1, 20000) i, (select timestamp '2026-01-01' as t) as times;
         analyze background_jobs; analyze tikkun_cleanup_outbox"
    ))
    .await;
    rig.run("select pg_stat_reset()").await;
    let summary = rig.store.outbox.summary(None).await.unwrap();
    assert_eq!((summary.pending, summary.last_error.as_deref()), (20_000, Some("error 20000")));
    assert_eq!(rig.store.background_jobs.newest(DELETE_RECEIPTS_ALL, 30).await.unwrap(), []);
    // What a session has read is told when it ends, all of it at once.
    rig.store = postgres_on(&server.settings(&database)).await.store;
    let read = "select (seq_tup_read + coalesce((select sum(idx_tup_read) from pg_stat_user_indexes
                    where relname = 'background_jobs'), 0))::bigint
                from pg_stat_user_tables where relname = 'background_jobs'";
    let errors = "select idx_tup_read from pg_stat_user_indexes
                where indexrelname = 'idx_tikkun_cleanup_outbox_error'";
    let began = std::time::Instant::now();
    while rig.number(read).await == 0 || rig.number(errors).await == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "waited in vain for the server's own counts");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (rows, errors) = (rig.number(read).await, rig.number(errors).await);
    assert!(rows < OTHERS / 2, "{rows} rows of background_jobs read");
    assert!(errors < 100, "{errors} rows of the outbox read for one error");
}

/// The deletion as a role that owns nothing, so that row security binds it; the rig's own hand owns all. It has one
/// connection, so that each batch meets the statements of the one before.
async fn bound_by_policies(policies: &str) -> Rig {
    let server = Server::shared();
    let database = server.database().await;
    let mut rig = postgres_on(&server.settings(&database)).await;
    let role = format!("bound_in_{database}");
    rig.run(&format!("create role {role} login; grant all on all tables in schema public to {role}")).await;
    rig.run(&format!("grant all on all sequences in schema public to {role}; {policies}")).await;
    let settings = PostgresSettings { max_connections: 1, ..server.settings_as(&role, &database) };
    let opened = open_postgres(&settings, Schema::Require).await;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    rig.seed(20).await;
    rig
}

#[tokio::test]
async fn receipts_that_a_policy_does_not_let_change_are_set_aside_and_keep_their_attachments() {
    let shown = "alter table receipts enable row level security;
        create policy shown on receipts for select using (true);";
    for changed in [
        "create policy changed on receipts for update using (id not in (4, 11))",
        "create policy changed on receipts for update using (true) with check (id not in (4, 11))",
    ] {
        let rig = bound_by_policies(&format!("{shown} {changed}")).await;
        let job = rig.started().await;
        let batch = rig.good_batch(&job, 50, Pass::Forward).await;
        let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
        assert_eq!((batch.deleted, aside), (18, vec![4, 11]), "{changed}");
        assert_eq!(
            (rig.live(TENANT).await, rig.attachments().await),
            (vec![4, 11], vec![4, 11]),
            "{changed}"
        );
        for pass in [Pass::Forward, Pass::Sweep] {
            assert_eq!(rig.batch(&job, 50, pass).await, BatchOutcome::Empty, "{changed}");
        }
        let found = rig.store.receipts.hindrances().await.unwrap();
        assert_eq!(found, ["policy changed on receipts", "policy shown on receipts"]);
    }
}

#[tokio::test]
async fn what_a_policy_may_hide_keeps_every_attachment_and_is_reported() {
    let hides = "alter table receipts enable row level security;
        create policy ours on receipts using (business_id = 789)";
    let rig = bound_by_policies(hides).await;
    rig.receipt(30, OTHER, Some(3), None).await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await.len()), (20, 0, 20));
    assert_eq!(
        rig.ids("select attachment_id from receipts where id = 30").await,
        [3],
        "a hidden receipt lives"
    );
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert!(kept.count == 20 && kept.reason.contains("may hide what needs them"), "{kept:?}");
}

/// The table is beneath a view of its name that has these options, and belongs to a role that owns nothing else.
fn beneath_a_view(table: &str, options: &str) -> String {
    format!(
        "alter table {table} rename to {table}_all; create view {table} {options} as select * from {table}_all;
         grant all on {table} to public; grant all on {table}_all to public;
         alter table {table}_all enable row level security;
         do $$ begin
             execute format('create role %I', 'views_of_' || current_database());
             execute format('alter view {table} owner to %I', 'views_of_' || current_database());
         end $$;"
    )
}

#[tokio::test]
async fn what_a_policy_hides_beneath_a_view_keeps_every_attachment_and_is_reported() {
    for options in ["with (security_invoker)", ""] {
        let receipts = beneath_a_view("receipts", options);
        let rig = bound_by_policies(&format!(
            "{receipts} create policy ours on receipts_all using (business_id = 789);
             alter table receipts_all drop constraint receipts_attachment_id_fkey,
                 drop constraint receipts_preview_attachment_id_fkey"
        ))
        .await;
        rig.run("insert into receipts_all (id, business_id, attachment_id) values (30, 790, 3)").await;
        keeps_every_attachment(&rig, options).await;
        let attachments = beneath_a_view("attachments", options);
        let ours = "create policy ours on attachments_all using (business_id = 789)";
        let rig = bound_by_policies(&format!("{attachments} {ours}")).await;
        rig.run(
            "insert into attachments_all (id, business_id, purpose, storage_path)
             select 30, 790, purpose, storage_path from attachments_all where id = 3;
             insert into receipts (id, business_id, attachment_id) values (30, 790, 30)",
        )
        .await;
        keeps_every_attachment(&rig, options).await;
    }
}

async fn keeps_every_attachment(rig: &Rig, options: &str) {
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    let there = rig.number("select count(*) from attachments where business_id = 789").await;
    assert_eq!((batch.deleted, batch.condemned.len(), there), (20, 0, 20), "{options}");
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert!(kept.count == 20 && kept.reason.contains("may hide what needs them"), "{options}: {kept:?}");
}

/// A view shows what its owner sees, and a table what its own policies show, whatever those of a partition say.
#[tokio::test]
async fn policies_that_bind_nobody_in_between_withhold_no_attachment() {
    let none = "create policy none on receipts_all using (false)";
    for beneath in [
        format!("{} {none}; alter view receipts owner to current_user", beneath_a_view("receipts", "")),
        "alter table receipts rename to first_receipts;
         create table receipts (like first_receipts including defaults) partition by range (id);
         alter table receipts attach partition first_receipts for values from (minvalue) to (maxvalue);
         grant all on receipts to public;
         alter table first_receipts enable row level security"
            .to_owned(),
    ] {
        let rig = bound_by_policies(&beneath).await;
        rig.receipt(30, OTHER, Some(3), None).await;
        let job = rig.started().await;
        assert!(!rig.store.receipts.may_be_hidden().await.unwrap(), "{beneath}");
        let batch = rig.good_batch(&job, 50, Pass::Forward).await;
        assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await), (20, 19, vec![3]));
    }
}

#[tokio::test]
async fn attachments_that_a_policy_hides_or_does_not_let_lock_are_reported() {
    for policies in [
        "create policy shown on attachments for select using (true);
         create policy dropped on attachments for delete using (true)",
        "create policy few on attachments using (id > 12)",
    ] {
        let rig =
            bound_by_policies(&format!("alter table attachments enable row level security; {policies}"))
                .await;
        let job = rig.started().await;
        let batch = rig.good_batch(&job, 50, Pass::Forward).await;
        assert_eq!((batch.deleted, batch.condemned.len(), rig.attachments().await.len()), (20, 0, 20));
        assert_eq!(rig.get(job.id).await.cursor.attachments_kept.unwrap().count, 20, "{policies}");
    }
}

#[tokio::test]
async fn receipts_and_attachments_that_a_rule_keeps_stay_with_their_objects() {
    let rig = postgres().await;
    rig.seed(20).await;
    rig.run(
        "create rule sealed as on update to receipts where old.id in (4, 11) do instead nothing;
         create rule filed as on delete to attachments where old.id = 7 do instead nothing",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), batch.condemned.len()), (18, 2, 17));
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![4, 11], vec![4, 7, 11]));
    assert_eq!(rig.batch(&job, 50, Pass::Sweep).await, BatchOutcome::Empty);
    let found = rig.store.receipts.hindrances().await.unwrap();
    assert_eq!(found, ["rule filed on attachments", "rule sealed on receipts"]);
}

#[tokio::test]
async fn a_receipt_that_a_trigger_rewrites_is_set_aside() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "create function reset() returns trigger language plpgsql as
         $$ begin new.is_deleted = false; return new; end $$;
         create trigger reset before update on receipts for each row when (old.id = 4) execute function reset();
         create trigger names before update of vendor_name on receipts for each row execute function reset()",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), rig.attachments().await), (8, 1, vec![4]));
    assert_eq!(rig.store.receipts.hindrances().await.unwrap(), ["trigger reset on receipts"]);
}

#[tokio::test]
async fn tables_that_change_under_way_cost_no_failure() {
    let rig = postgres().await;
    rig.seed(40).await;
    let job = rig.started().await;
    let changes = [
        "alter table background_jobs alter business_id type bigint, alter total type bigint",
        "alter table background_jobs alter last_error type varchar(4000), alter processed type bigint",
        "alter table receipts alter id type bigint",
    ];
    for change in changes {
        for _ in 0..3 {
            assert_eq!(rig.good_batch(&job, 2, Pass::Forward).await.deleted, 2);
        }
        rig.run(change).await;
    }
    rig.delete_all(&job, 7).await;
    let progress = rig.get(job.id).await.progress;
    assert_eq!((progress.processed, progress.succeeded, progress.failed), (40, 40, 0));
}

#[tokio::test]
async fn a_limit_in_time_asks_for_a_smaller_batch() {
    for (code, limit) in [("25P03", 5), ("25P04", 5), ("57014", 5), ("55P03", 5)] {
        let rig = postgres().await;
        rig.seed(12).await;
        rig.run(&format!(
            "create function slow() returns trigger language plpgsql as
             $$ begin
                 if (select count(*) from changed) > {limit} then raise exception 'too slow' using errcode = '{code}'; end if;
                 return null;
             end $$;
             create trigger slow after update on receipts referencing new table as changed
             for each statement execute function slow()"
        ))
        .await;
        let job = rig.started().await;
        let fault = rig.store.receipts.delete_batch(&order(&job, 12, Pass::Forward)).await.unwrap_err();
        assert!(fault.smaller_may_do() && fault.kind() == FaultKind::Retryable, "{code}: {}", fault.chain());
        assert_eq!(rig.live(TENANT).await.len(), 12, "{code}");
        assert_eq!(rig.good_batch(&job, limit, Pass::Forward).await.deleted, limit, "{code}");
    }
}

#[tokio::test]
async fn a_statement_that_takes_too_long_asks_for_a_smaller_batch() {
    let server = Server::shared();
    let database = server.database().await;
    let hasty =
        PostgresSettings { statement_timeout: Duration::from_millis(1500), ..server.settings(&database) };
    let rig = postgres_on(&hasty).await;
    rig.seed(12).await;
    rig.run(
        "create function slow() returns trigger language plpgsql as
         $$ begin perform pg_sleep(0.3); return new; end $$;
         create trigger slow before update on receipts for each row execute function slow()",
    )
    .await;
    let job = rig.started().await;
    let fault = rig.store.receipts.delete_batch(&order(&job, 12, Pass::Forward)).await.unwrap_err();
    assert!(fault.smaller_may_do(), "{}", fault.chain());
    assert_eq!(rig.good_batch(&job, 2, Pass::Forward).await.deleted, 2);
}

#[tokio::test]
async fn a_receipt_that_a_deferred_trigger_revives_at_the_commit_is_set_aside() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "create function revive() returns trigger language plpgsql as
         $$ begin update receipts set is_deleted = false where id = 4; return null; end $$;
         create constraint trigger revive after update on receipts deferrable initially deferred
         for each row when (new.id = 4 and new.is_deleted) execute function revive()",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), rig.attachments().await), (8, 1, vec![4]));
    assert_eq!(rig.live(TENANT).await, [4]);
}

#[tokio::test]
async fn a_live_receipt_keeps_its_attachment_where_no_foreign_key_holds_it() {
    let rig = postgres().await;
    rig.run(
        "alter table receipts drop constraint receipts_attachment_id_fkey,
             drop constraint receipts_preview_attachment_id_fkey",
    )
    .await;
    super::refusals::a_live_receipt_that_a_trigger_links_to_an_attachment_keeps_it(&rig).await;
}

#[tokio::test]
async fn partitioned_receipts_are_deleted_like_others() {
    let rig = postgres().await;
    rig.run(
        "create table parted (like receipts including defaults) partition by list (business_id);
         drop table receipts cascade;
         alter table parted rename to receipts;
         alter table receipts alter id set not null;
         create table receipts_of_789 partition of receipts for values in (789);
         create table receipts_of_others partition of receipts default;
         alter table receipts add primary key (id, business_id);
         alter table receipts add foreign key (attachment_id) references attachments (id) on delete set null;
         alter table receipts add foreign key (preview_attachment_id) references attachments (id) on delete set null",
    )
    .await;
    rig.seed(9).await;
    rig.receipt(30, OTHER, Some(4), None).await;
    let job = rig.started().await;
    rig.raw.ignore("update", "receipts", "old.id = 7").await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), rig.attachments().await), (8, 1, vec![4, 7]));
    assert_eq!(rig.ids("select attachment_id from receipts where id = 30").await, [4]);
}

#[tokio::test]
async fn receipts_that_their_mark_moves_into_another_partition_are_deleted_like_others() {
    let rig = postgres().await;
    rig.run(
        "create table parted (like receipts including defaults) partition by list (is_deleted);
         drop table receipts cascade;
         alter table parted rename to receipts;
         create table receipts_live partition of receipts for values in (false);
         create table receipts_gone partition of receipts for values in (true);
         alter table receipts add foreign key (attachment_id) references attachments (id) on delete set null;
         alter table receipts add foreign key (preview_attachment_id) references attachments (id) on delete set null",
    )
    .await;
    rig.seed(9).await;
    rig.raw.refuse("update", "receipts", "old.id = 7").await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 4).await;
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![7], vec![7]));
    assert_eq!(keys(&batches).len(), 8);
}

#[tokio::test]
async fn what_an_older_row_with_the_same_id_set_aside_is_not_the_new_ones() {
    let rig = postgres().await;
    rig.seed(5).await;
    rig.raw.refuse("update", "receipts", "old.id = 3").await;
    let older = rig.started().await;
    rig.delete_all(&older, 2).await;
    rig.raw.allow("update", "receipts").await;
    rig.run("truncate background_jobs restart identity").await;
    rig.receipt(9, TENANT, None, None).await;
    let job = rig.started().await;
    assert_eq!((job.id, job.progress.total), (older.id, 2));
    assert!(rig.store.receipts.set_aside(job.id, 5).await.unwrap().is_empty());
    // Deleted by a person when the batches pass it, and brought back.
    rig.run("update receipts set is_deleted = true where id = 3").await;
    rig.good_batch(&job, 50, Pass::Forward).await;
    rig.run("update receipts set is_deleted = false where id = 3").await;
    rig.good_batch(&job, 50, Pass::Sweep).await;
    assert!(rig.live(TENANT).await.is_empty());
}

#[tokio::test]
async fn an_account_that_is_closed_under_way_ends_its_deletion() {
    let rig = postgres().await;
    rig.seed(120).await;
    rig.attach(900, OTHER, "receipt_source").await;
    rig.receipt(900, OTHER, Some(900), None).await;
    rig.run(
        "create table businesses (id integer primary key);
         insert into businesses values (789), (790);
         alter table receipts add foreign key (business_id) references businesses on delete cascade;
         alter table attachments add foreign key (business_id) references businesses on delete cascade;
         alter table background_jobs add foreign key (business_id) references businesses on delete cascade",
    )
    .await;
    let job = rig.started().await;
    let close = async {
        while rig.get(job.id).await.progress.processed < 20 {}
        let mut tries = 0;
        while let Err(error) = rig.raw.try_run("delete from businesses where id = 789").await {
            tries += 1;
            assert!(tries < 20, "{error}");
        }
    };
    let delete = async {
        let mut unlucky = 0;
        loop {
            match rig.store.receipts.delete_batch(&order(&job, 7, Pass::Forward)).await {
                Ok(BatchOutcome::Deleted(batch)) => assert!(batch.set_aside.is_empty(), "{batch:?}"),
                Ok(other) => return other,
                Err(fault) => {
                    unlucky += 1;
                    assert!(fault.kind() == FaultKind::Retryable && unlucky < 10, "{}", fault.chain());
                }
            }
        }
    };
    let (end, ()) = tokio::join!(delete, close);
    assert!(matches!(end, BatchOutcome::Empty | BatchOutcome::NotOurs(None)), "{end:?}");
    assert_eq!(rig.batch(&job, 7, Pass::Forward).await, BatchOutcome::NotOurs(None));
    assert_eq!((rig.attachments().await, rig.live(OTHER).await), (vec![900], vec![900]));
    assert!(rig.store.outbox.summary(None).await.unwrap().pending >= 20);
}

#[tokio::test]
async fn receipts_that_must_have_an_attachment_go_and_their_attachments_stay() {
    let rig = postgres().await;
    rig.seed(20).await;
    rig.receipt(21, TENANT, None, None).await;
    rig.run(
        "update receipts set source = case when id > 10 then 'manual' else 'gmail' end;
         alter table receipts add check (source = 'manual' or attachment_id is not null)",
    )
    .await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 50).await;
    let deleted: u32 = batches.iter().map(|batch| batch.deleted).sum();
    assert_eq!((deleted, rig.live(TENANT).await.len()), (21, 0));
    assert_eq!(rig.attachments().await, (1..=10).collect::<Vec<_>>());
    let dangling = "select count(*) from receipts where id <= 10 and attachment_id is null";
    assert_eq!((keys(&batches).len(), rig.number(dangling).await), (10, 0));
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert_eq!(kept.count, 10, "{kept:?}");
}

#[tokio::test]
async fn receipts_behind_a_view_are_deleted_and_those_that_its_trigger_keeps_are_set_aside() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "alter table receipts rename to all_receipts;
         create view receipts as select * from all_receipts;
         create function guard() returns trigger language plpgsql as
         $$ begin
             if old.id = 4 then return new; end if;
             update all_receipts set is_deleted = new.is_deleted, attachment_id = new.attachment_id where id = old.id;
             return new;
         end $$;
         create trigger guard instead of update on receipts for each row execute function guard()",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len()), (8, 1));
    assert!(rig.attachments().await.contains(&4));
    let torn = "select count(*) from receipts where is_deleted is not true and attachment_id is null";
    assert_eq!(rig.number(torn).await, 0);
    assert_eq!(rig.store.receipts.hindrances().await.unwrap().len(), 2);
}

#[tokio::test]
async fn receipts_that_a_policy_hides_are_not_said_to_be_deleted() {
    let rig = bound_by_policies(
        "alter table receipts enable row level security; create policy few on receipts using (id > 12)",
    )
    .await;
    let job = rig.started().await;
    assert_eq!(job.progress.total, 8, "nobody counts what is not shown");
    assert!(rig.store.receipts.may_be_hidden().await.unwrap());
    assert!(!postgres().await.store.receipts.may_be_hidden().await.unwrap());
    for options in ["with (security_invoker)", ""] {
        let view = beneath_a_view("receipts", options);
        let rig = bound_by_policies(&format!(
            "{view} create policy few on receipts_all for select using (false);
             create policy made on receipts_all for insert with check (true)"
        ))
        .await;
        assert_eq!(rig.started().await.progress.total, 0, "{options}");
        assert!(rig.store.receipts.may_be_hidden().await.unwrap(), "{options}");
    }
}

#[tokio::test]
async fn what_may_keep_rows_beneath_a_view_or_in_a_partition_is_named() {
    let view = beneath_a_view("receipts", "with (security_invoker)");
    let rig = bound_by_policies(&format!("{view} create policy few on receipts_all using (true)")).await;
    rig.raw.ignore("update", "receipts_all", "old.id = 4").await;
    assert_eq!(
        rig.store.receipts.hindrances().await.unwrap(),
        [
            "policy few on receipts_all",
            "rule _RETURN on receipts",
            "trigger ignore_update_receipts_all on receipts_all"
        ]
    );
    let rig = postgres().await;
    rig.run(
        "alter table receipts rename to first_receipts;
         create table receipts (like first_receipts including defaults) partition by range (id);
         alter table receipts attach partition first_receipts for values from (minvalue) to (maxvalue)",
    )
    .await;
    rig.raw.refuse("update", "receipts", "old.id = 4").await;
    rig.raw.ignore("update", "first_receipts", "old.id = 4").await;
    assert_eq!(
        rig.store.receipts.hindrances().await.unwrap(),
        [
            "trigger ignore_update_first_receipts on first_receipts",
            "trigger refuse_update_receipts on receipts"
        ]
    );
}

/// A contract needs the attachment 4 of 9, and its foreign key leads to where the rows lie.
async fn a_contract_keeps_its_attachment(rig: &Rig, table: &str) {
    rig.run(&format!(
        "create table contracts (file integer references {table} (id) on delete cascade);
         insert into contracts values (4)"
    ))
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.kept_for), (9, vec![("contracts.file".to_owned(), 1)]), "{table}");
    assert_eq!((rig.attachments().await, rig.ids("select file from contracts").await), (vec![4], vec![4]));
}

#[tokio::test]
async fn a_foreign_key_onto_a_partition_of_attachments_keeps_what_it_needs() {
    let rig = postgres().await;
    rig.run(
        "create table parted (like attachments including defaults) partition by range (id);
         drop table attachments cascade;
         alter table parted rename to attachments;
         alter table attachments alter id set not null, add primary key (id);
         create table first_attachments partition of attachments for values from (minvalue) to (maxvalue);
         alter table receipts add foreign key (attachment_id) references attachments (id) on delete set null;
         alter table receipts add foreign key (preview_attachment_id) references attachments (id) on delete set null",
    )
    .await;
    rig.seed(9).await;
    a_contract_keeps_its_attachment(&rig, "first_attachments").await;
}

#[tokio::test]
async fn a_foreign_key_onto_what_attachments_is_a_partition_of_keeps_what_it_needs() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "create table all_files (like attachments including defaults) partition by range (id);
         alter table all_files add primary key (id);
         alter table all_files attach partition attachments for values from (minvalue) to (maxvalue)",
    )
    .await;
    a_contract_keeps_its_attachment(&rig, "all_files").await;
}

#[tokio::test]
async fn a_foreign_key_onto_the_table_beneath_a_view_keeps_what_it_needs() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run("alter table attachments rename to files; create view attachments as select * from files").await;
    a_contract_keeps_its_attachment(&rig, "files").await;
}

#[tokio::test]
async fn a_foreign_key_of_a_partition_of_receipts_keeps_no_attachment() {
    let rig = postgres().await;
    rig.run(
        "create table parted (like receipts including defaults) partition by list (business_id);
         drop table receipts cascade;
         alter table parted rename to receipts;
         create table receipts_of_789 partition of receipts for values in (789);
         alter table receipts_of_789 add foreign key (attachment_id) references attachments (id) on delete set null",
    )
    .await;
    rig.seed(9).await;
    rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert!(rig.attachments().await.is_empty());
}

#[tokio::test]
async fn objects_whose_keys_differ_only_for_those_who_look_closely_go_each() {
    let rig = postgres().await;
    rig.run(
        "create collation without_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         alter table attachments alter storage_path type varchar(512) collate without_case",
    )
    .await;
    rig.seed(3).await;
    rig.run("update attachments set storage_path = case id when 1 then '789/A.pdf' else '789/a.pdf' end where id < 3")
        .await;
    let batches = rig.delete_all(&rig.started().await, 50).await;
    assert_eq!(keys(&batches), ["789/A.pdf", "789/a.pdf", "789/receipt_source/2026/01/3.pdf"]);
}

#[tokio::test]
async fn times_beyond_the_calendar_are_read_as_none() {
    let rig = postgres().await;
    rig.seed(3).await;
    let id = rig.web_row().await;
    for time in ["infinity", "-infinity", "290000-01-01"] {
        rig.set(id, &format!("created_at = '{time}', finished_at = '{time}', heartbeat_at = '{time}'")).await;
        let row = rig.get(id).await;
        assert_eq!((row.created_at, row.finished_at, row.heartbeat_at), (None, None, None), "{time}");
    }
    let row = rig.begin(id).await;
    assert_eq!(row.progress.total, 3, "what the first look saw");
    rig.set(id, "created_at = '4700-01-01 BC'").await;
    assert!(rig.get(id).await.created_at.is_some());
}

#[tokio::test]
async fn deleted_receipts_that_would_be_dropped_with_an_attachment_keep_it() {
    let rig = postgres().await;
    rig.run(
        "alter table receipts drop constraint receipts_attachment_id_fkey,
             add foreign key (attachment_id) references attachments (id) on delete cascade",
    )
    .await;
    rig.seed(4).await;
    rig.receipt(30, TENANT, Some(2), None).await;
    rig.receipt(31, OTHER, Some(3), None).await;
    rig.run("update receipts set is_deleted = true where id in (30, 31)").await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.kept_for), (4, vec![("receipts.attachment_id".to_owned(), 2)]));
    assert_eq!((rig.number("select count(*) from receipts").await, rig.attachments().await), (6, vec![2, 3]));
}

/// Receipts point to attachments of their own tenant by keys of both columns, as they must where tables are spread by
/// tenant.
async fn tenants_in_the_keys(rig: &Rig, on_delete: &str) {
    rig.run(&format!(
        "alter table attachments add unique (business_id, id);
         alter table receipts
             drop constraint receipts_attachment_id_fkey, drop constraint receipts_preview_attachment_id_fkey,
             add foreign key (business_id, attachment_id) references attachments (business_id, id) {on_delete},
             add foreign key (business_id, preview_attachment_id) references attachments (business_id, id)"
    ))
    .await;
}

#[tokio::test]
async fn foreign_keys_that_hold_the_tenant_too_keep_no_attachment() {
    for on_delete in ["", "on delete set null", "on delete set null (attachment_id)"] {
        let rig = postgres().await;
        tenants_in_the_keys(&rig, on_delete).await;
        rig.seed(9).await;
        let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
        assert_eq!((plan.attachments, plan.kept), (9, vec![]), "{on_delete}");
        let job = rig.started().await;
        let batch = rig.good_batch(&job, 50, Pass::Forward).await;
        assert_eq!((batch.kept_for, batch.withheld), (vec![], vec![]), "{on_delete}");
        assert_eq!((batch.deleted, batch.condemned.len()), (9, 9), "{on_delete}");
        assert!(rig.attachments().await.is_empty());
        assert_eq!(
            rig.number(&format!("select count(*) from receipts where business_id = {TENANT}")).await,
            9
        );
    }
}

#[tokio::test]
async fn a_refused_receipt_keeps_no_attachment_of_others_whatever_the_foreign_keys_do() {
    for on_delete in ["", "on delete restrict", "on delete no action deferrable initially deferred"] {
        let rig = postgres().await;
        rig.run(&format!(
            "alter table receipts
                 drop constraint receipts_attachment_id_fkey, drop constraint receipts_preview_attachment_id_fkey,
                 add foreign key (attachment_id) references attachments (id) {on_delete},
                 add foreign key (preview_attachment_id) references attachments (id) {on_delete}"
        ))
        .await;
        rig.seed(9).await;
        rig.raw.refuse("update", "receipts", "old.id = 3").await;
        let job = rig.started().await;
        let batch = rig.good_batch(&job, 50, Pass::Forward).await;
        assert_eq!((batch.deleted, batch.set_aside.len()), (8, 1), "{on_delete}");
        assert_eq!((batch.withheld, batch.condemned.len()), (vec![], 8), "{on_delete}");
        assert_eq!(rig.attachments().await, [3], "{on_delete}");
    }
    let rig = postgres().await;
    tenants_in_the_keys(&rig, "on delete set null").await;
    rig.seed(9).await;
    rig.raw.refuse("update", "receipts", "old.id = 3").await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.withheld, rig.attachments().await), (8, vec![], vec![3]));
}

#[tokio::test]
async fn attachments_that_receipts_may_not_lose_stay_with_their_objects() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "alter table receipts drop constraint receipts_attachment_id_fkey, alter attachment_id set not null,
             add foreign key (attachment_id) references attachments (id) deferrable initially deferred",
    )
    .await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 4).await;
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (0, 9));
    assert!(
        batches.iter().all(|batch| batch.condemned.is_empty() && !batch.withheld.is_empty()),
        "{batches:?}"
    );
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert!(kept.count == 9 && kept.reason.contains("null value"), "{kept:?}");
}

/// A trigger may raise any code, such as that a record is closed or that nobody has signed in.
#[tokio::test]
async fn rows_that_a_trigger_refuses_under_a_code_of_its_own_stay_and_the_others_go() {
    let rig = postgres().await;
    rig.seed(20).await;
    rig.run(
        "create function refuse_closed() returns trigger language plpgsql as $$ begin
             raise exception 'row % is closed', old.id
                 using errcode = (array['55000', '28000', '25006', '54000', 'XX000', '02000'])[old.id % 10];
         end $$;
         create trigger closed before update on receipts for each row when (old.id <= 6)
         execute function refuse_closed();
         create trigger closed before delete on attachments for each row when (old.id between 11 and 16)
         execute function refuse_closed()",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
    assert_eq!((batch.deleted, batch.condemned.len(), aside), (14, 8, vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(batch.set_aside[1].reason, "row 2 is closed");
    let kept: Vec<i64> = (1..=6).chain(11..=16).collect();
    assert_eq!((rig.attachments().await, batch.withheld.len()), (kept, 6));
    rig.run(
        "create function refuse_strangers() returns trigger language plpgsql as
         $$ begin raise exception 'not authenticated' using errcode = '28000'; end $$;
         create trigger strangers before update on background_jobs for each row execute function refuse_strangers()",
    )
    .await;
    let ended = rig.store.background_jobs.end_attempt(job.id, job.note.attempt, &EndAttempt::Completed).await;
    assert_eq!(
        ended.unwrap_err().kind(),
        FaultKind::Permanent,
        "no outage, which would be waited out for ever"
    );
}

/// What a trigger's body names need not be there for us, such as what lies in a schema that only the application looks into.
#[tokio::test]
async fn rows_whose_trigger_cannot_be_carried_out_stay_and_the_others_go() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "create function tell() returns trigger language plpgsql as $$ begin
             if old.id = 1 then insert into receipts_log values (old.id); end if;
             if old.id = 2 then perform audit.tell(old.id); end if;
             if old.id = 3 then perform tell_elsewhere(old.id); end if;
             return new;
         end $$;
         create trigger told before update on receipts for each row execute function tell()",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    let aside: Vec<i64> = batch.set_aside.iter().map(|row| row.receipt.0).collect();
    assert_eq!((batch.deleted, aside), (6, vec![1, 2, 3]));
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![1, 2, 3], vec![1, 2, 3]));
    for (row, named) in batch.set_aside.iter().zip(["receipts_log", "audit", "tell_elsewhere"]) {
        assert!(row.reason.contains(named), "{row:?}");
    }
}

/// Of a table without a key that identifies its rows for replication nothing can be deleted.
#[tokio::test]
async fn attachments_that_a_publication_keeps_stay_with_their_objects() {
    let rig = postgres().await;
    rig.seed(9).await;
    rig.run(
        "alter table attachments drop constraint attachments_pkey cascade, add unique (id);
         alter table receipts add foreign key (attachment_id) references attachments (id) on delete set null,
             add foreign key (preview_attachment_id) references attachments (id) on delete set null;
         create publication everything for all tables",
    )
    .await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 4).await;
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (0, 9));
    assert!(batches.iter().all(|batch| batch.condemned.is_empty()), "{batches:?}");
    let kept = rig.get(job.id).await.cursor.attachments_kept.unwrap();
    assert!(kept.count == 9 && kept.reason.contains("replica identity"), "{kept:?}");
}

#[tokio::test]
async fn a_row_whose_texts_are_never_null_ends_as_others_do() {
    let rig = postgres().await;
    rig.run(
        "alter table background_jobs alter last_error set default '', alter last_error set not null,
             alter cursor set default '', alter cursor set not null, alter total set not null,
             alter processed set not null, alter succeeded set not null, alter failed_count set not null",
    )
    .await;
    rig.seed(3).await;
    let job = rig.started().await;
    rig.delete_all(&job, 2).await;
    let ended = rig.store.background_jobs.end_attempt(job.id, job.note.attempt, &EndAttempt::Completed).await;
    assert!(ended.unwrap());
    let row = rig.get(job.id).await;
    assert_eq!((row.status, row.last_error.as_deref()), (Status::Completed, Some("")));
}

/// A migration of the application's turns a column of texts into another type.
#[tokio::test]
async fn texts_of_other_types_are_named_before_anything_is_begun() {
    let server = Server::shared();
    let database = server.database().await;
    let sql = "drop index idx_background_jobs_unique_active, idx_background_jobs_business_type_status;
         alter table background_jobs drop constraint chk_job_status, alter status drop default;
         create type jobstatus as enum ('queued', 'running', 'paused', 'completed', 'failed', 'cancelled');
         alter table background_jobs alter status type jobstatus using status::jobstatus,
             alter status set default 'queued', alter cursor type jsonb using cursor::jsonb";
    server.run(&database, sql).await;
    let text = refusal(&server.settings(&database), Schema::Migrate).await;
    for part in
        ["background_jobs.status as text (it is jobstatus)", "background_jobs.cursor as text (it is jsonb)"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn purposes_may_be_of_an_enumeration() {
    let rig = postgres().await;
    rig.run(
        "create type purpose as enum ('receipt_source', 'receipt_preview', 'logo');
         alter table attachments alter purpose type purpose using purpose::purpose",
    )
    .await;
    rig.seed(3).await;
    let job = rig.started().await;
    rig.delete_all(&job, 2).await;
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (0, 0));
}

/// A server that refuses every session in these words, as a pooler does that has no connection to give.
async fn refuses_sessions((severity, code): (&str, &str), text: &str) -> u16 {
    let body = format!("S{severity}\0V{severity}\0C{code}\0M{text}\0\0");
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    let answer = [b"E", length.as_slice(), body.as_bytes()].concat();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut session, _)) = listener.accept().await {
            let mut asked = [0; 1024];
            // A wish for TLS comes first, in eight bytes.
            if session.read(&mut asked).await.is_ok_and(|read| read == 8) {
                session.write_all(b"N").await.unwrap();
                assert!(session.read(&mut asked).await.unwrap() > 0);
            }
            session.write_all(&answer).await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_pooler_without_a_connection_to_give_is_waited_for() {
    for (code, text) in [
        (("FATAL", "XX000"), "Max client connections reached"),
        (("ERROR", "XX000"), "the compute node is not awake yet"),
        (("FATAL", "55000"), "the database is not currently accepting connections"),
        (("FATAL", "08P01"), "query_wait_timeout"),
        (("FATAL", "58000"), "the pool is down"),
        (("FATAL", "53300"), "too many connections"),
    ] {
        let port = refuses_sessions(code, text).await;
        let settings = settings(&format!("postgres://web@127.0.0.1:{port}/shop"), "the pooler");
        let Err(fault) = open_postgres(&settings, Schema::Require).await else { panic!("{code:?}") };
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{}", fault.chain());
    }
}

#[tokio::test]
async fn a_batch_is_on_the_disk_before_an_object_goes_whatever_the_database_waits_for() {
    for (set, expected) in [("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")] {
        let server = Server::shared();
        let database = server.database().await;
        server.run(&database, &format!("alter database {database} set synchronous_commit = {set}")).await;
        let rig = postgres_on(&server.settings(&database)).await;
        rig.seed(1).await;
        rig.run(
            "create function look() returns trigger language plpgsql as
             $$ begin new.vendor_name = current_setting('synchronous_commit'); return new; end $$;
             create trigger look before update on receipts for each row execute function look()",
        )
        .await;
        let job = rig.started().await;
        rig.delete_all(&job, 1).await;
        let found = format!("select count(*) from receipts where vendor_name = '{expected}'");
        assert_eq!(rig.number(&found).await, 1, "{set}");
    }
}

/// A store behind a pooler with one connection to lend.
async fn behind_one_connection(server: &Server, database: &str) -> (Rig, PgConnection) {
    let url = server.pooler(1, database);
    let mut rig = postgres_on(&server.settings(database)).await;
    let opened = open_postgres(&settings(&url, "the pooler"), Schema::Require).await;
    rig.store = opened.unwrap_or_else(|fault| panic!("{}", fault.chain()));
    let options: PgConnectOptions = url.parse().unwrap();
    let neighbour = PgConnection::connect_with(&options.extra_float_digits(None)).await.unwrap();
    (rig, neighbour)
}

#[tokio::test]
async fn a_search_path_that_somebody_left_in_a_poolers_session_leads_to_no_other_tables() {
    let server = Server::start();
    let database = server.database().await;
    let (rig, mut neighbour) = behind_one_connection(&server, &database).await;
    rig.seed(20).await;
    rig.run(&format!("insert into receipts (id, business_id, attachment_id) values (50, {OTHER}, 3)")).await;
    rig.run(
        "create schema archive; create table archive.receipts (like receipts including all);
             insert into archive.receipts select * from receipts where id <= 10",
    )
    .await;
    // An archive's, and what the output of pg_dump begins with.
    for (path, objects) in [("archive, public", 19), ("''", 0)] {
        let left = AssertSqlSafe(format!("set search_path = {path}"));
        sqlx::raw_sql(left).execute(&mut neighbour).await.unwrap();
        let job = rig.started().await;
        let condemned = keys(&rig.delete_all(&job, 7).await).len();
        rig.store.background_jobs.check().await.unwrap();
        rig.set(job.id, "status = 'completed'").await;
        let copies = rig.number("select count(*) from archive.receipts where is_deleted is not true").await;
        assert_eq!((condemned, copies, rig.live(TENANT).await), (objects, 10, vec![]), "{path}");
        assert_eq!((rig.live(OTHER).await, rig.attachments().await), (vec![50], vec![3]), "{path}");
    }
}

/// Another client keeps copies of some rows in temporary tables of the same names, as imports do.
#[tokio::test]
async fn temporary_tables_that_somebody_left_in_a_poolers_session_are_none_of_ours() {
    let server = Server::start();
    let database = server.database().await;
    let (rig, mut neighbour) = behind_one_connection(&server, &database).await;
    rig.seed(20).await;
    rig.run(&format!("insert into receipts (id, business_id, attachment_id) values (50, {OTHER}, 3)")).await;
    sqlx::raw_sql(
        "create temp table receipts as select * from public.receipts where id <= 10;
             create temp table attachments as select * from public.attachments;
             create temp table tikkun_cleanup_outbox (like public.tikkun_cleanup_outbox including all)",
    )
    .execute(&mut neighbour)
    .await
    .unwrap();
    let job = rig.started().await;
    assert_eq!(job.progress.total, 20);
    let condemned = keys(&rig.delete_all(&job, 7).await).len();
    rig.store.background_jobs.check().await.unwrap();
    assert_eq!((condemned, rig.live(TENANT).await), (19, vec![]));
    assert_eq!((rig.live(OTHER).await, rig.attachments().await), (vec![50], vec![3]));
    assert_eq!(rig.number("select count(*) from public.tikkun_cleanup_outbox").await, 19);
}

#[tokio::test]
async fn where_no_foreign_key_is_at_work_what_an_older_receipt_points_to_stays_and_that_is_named() {
    let server = Server::shared();
    let database = server.database().await;
    // As a copy of the data has left it.
    server.run(&database, &format!("alter database {database} set session_replication_role = replica")).await;
    let rig = postgres_on(&server.settings(&database)).await;
    rig.seed(3).await;
    rig.receipt(30, TENANT, Some(2), None).await;
    rig.run("update receipts set is_deleted = true where id = 30").await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len()), (3, 2));
    assert_eq!(rig.attachments().await, [2]);
    let found = rig.store.receipts.hindrances().await.unwrap();
    assert_eq!(found, ["session_replication_role is replica, so that no foreign key is at work"]);
}

/// An operator follows a hosted database's advice to enable row security on every table.
#[tokio::test]
async fn row_security_on_our_own_tables_is_told_and_blames_no_attachment() {
    let rig = bound_by_policies("").await;
    let job = rig.started().await;
    let told = async || rig.store.background_jobs.check().await.unwrap_err().to_string();
    rig.run("alter table tikkun_set_aside enable row level security").await;
    assert!(told().await.contains("on for tikkun_set_aside, without a policy"), "{}", told().await);
    rig.run("alter table tikkun_cleanup_outbox enable row level security").await;
    assert!(told().await.contains("on for tikkun_cleanup_outbox, tikkun_set_aside, without"));
    let refused = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
    assert!(refused.chain().contains("tikkun_cleanup_outbox"), "{}", refused.chain());
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (20, 20));
    rig.run("create policy all_rows on tikkun_set_aside using (true)").await;
    let commands = [
        ("select", "using (true)"),
        ("insert", "with check (true)"),
        ("update", "using (true)"),
        ("delete", "using (true)"),
    ];
    for (command, rows) in commands {
        assert!(told().await.contains("on for tikkun_cleanup_outbox, without"), "before {command}");
        rig.run(&format!("create policy to_{command} on tikkun_cleanup_outbox for {command} {rows}")).await;
    }
    rig.store.background_jobs.check().await.unwrap();
    rig.delete_all(&job, 50).await;
    assert_eq!((rig.live(TENANT).await.len(), rig.attachments().await.len()), (0, 0));
}

/// The application's column holds less than there is to say.
#[tokio::test]
async fn a_reason_that_is_too_long_for_its_column_is_cut() {
    let rig = postgres().await;
    rig.run("alter table background_jobs alter last_error type varchar(255)").await;
    rig.seed(3).await;
    let job = rig.started().await;
    let (id, attempt, reason) = (job.id, job.note.attempt, "שגיאה ".repeat(100));
    let cut: String = reason.chars().take(255).collect();
    let (waiting_for, last_error) = (None, Some(reason.clone()));
    let watched = Watched { id, attempt, waiting_for, rate: None, eta_seconds: None, last_error };
    rig.store.background_jobs.watch(&[watched]).await.unwrap();
    assert_eq!(rig.get(id).await.last_error.as_ref(), Some(&cut));
    rig.set(id, "last_error = null").await;
    assert!(
        rig.store
            .background_jobs
            .end_attempt(id, attempt, &EndAttempt::Failed { error: reason })
            .await
            .unwrap()
    );
    let row = rig.get(id).await;
    assert_eq!((row.status, row.last_error), (Status::Failed, Some(cut)));
}

/// The advice of `tikkun doctor` where policies hinder.
async fn let_the_role_see_all(rig: &Rig) {
    let alter =
        "do $$ begin execute format('alter role %I bypassrls', 'bound_in_' || current_database()); end $$";
    rig.run(alter).await;
}

#[tokio::test]
async fn a_policy_that_raises_without_a_tenant_holds_up_no_batch_after_its_role_sees_all() {
    let rig = bound_by_policies("").await;
    let job = rig.started().await;
    assert_eq!(rig.good_batch(&job, 5, Pass::Forward).await.deleted, 5);
    rig.run(
        "alter table receipts enable row level security;
         create policy tenant on receipts using (business_id = current_setting('app.business_id')::int)",
    )
    .await;
    for _ in 0..3 {
        rig.store.receipts.delete_batch(&order(&job, 5, Pass::Forward)).await.unwrap_err();
    }
    let_the_role_see_all(&rig).await;
    assert_eq!(rig.good_batch(&job, 5, Pass::Forward).await.deleted, 5);
    assert_eq!(rig.live(TENANT).await.len(), 10);
}

#[tokio::test]
async fn receipts_that_a_policy_kept_go_as_soon_as_its_role_sees_all() {
    let rig = bound_by_policies(
        "alter table receipts enable row level security; create policy shown on receipts for select using (true);
         create policy changed on receipts for update using (id > 5)",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len()), (15, 5));
    assert!(rig.store.background_jobs.end_attempt(job.id, 1, &EndAttempt::Completed).await.unwrap());
    let_the_role_see_all(&rig).await;
    let Requested::Created(again) = rig.request("again").await else { panic!("an active row") };
    let again = rig.begin(again.id).await;
    assert_eq!(rig.good_batch(&again, 50, Pass::Forward).await.deleted, 5);
}

/// A plan that was made while a policy hid the neighbour's receipts shows that all of them are shown.
#[tokio::test]
async fn what_a_policy_hid_until_now_keeps_its_attachment_after_its_role_sees_all() {
    let rig = bound_by_policies(
        "alter table receipts enable row level security; create policy ours on receipts using (business_id = 789)",
    )
    .await;
    rig.receipt(30, OTHER, Some(13), None).await;
    let job = rig.started().await;
    assert_eq!(rig.good_batch(&job, 10, Pass::Forward).await.condemned.len(), 0);
    let_the_role_see_all(&rig).await;
    let batch = rig.good_batch(&job, 10, Pass::Forward).await;
    assert_eq!(rig.ids("select attachment_id from receipts where id = 30").await, [13], "it is alive");
    assert_eq!((batch.deleted, batch.condemned.len()), (10, 9));
}

#[tokio::test]
async fn a_receipt_that_goes_alive_where_a_policy_hides_it_is_set_aside() {
    let rig = bound_by_policies(
        "alter table receipts enable row level security; create policy ours on receipts using (business_id = 789)",
    )
    .await;
    rig.run(
        "create function give() returns trigger language plpgsql security definer as
         $$ begin update receipts set business_id = 790, is_deleted = false where id = new.id; return null; end $$;
         create trigger give after update on receipts for each row when (new.id = 4 and new.is_deleted)
         execute function give()",
    )
    .await;
    let batch = rig.good_batch(&rig.started().await, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.set_aside.len(), batch.condemned.len()), (19, 1, 0));
}

#[tokio::test]
async fn receipts_that_their_mark_takes_out_of_a_view_are_deleted() {
    let rig = postgres().await;
    rig.seed(20).await;
    rig.run(
        "alter table receipts rename to all_receipts;
         create view receipts as select * from all_receipts where is_deleted is not true",
    )
    .await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 10, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), batch.set_aside), (10, 10, vec![]));
    rig.raw.refuse("update", "all_receipts", "old.id = 14").await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    assert_eq!((batch.deleted, batch.condemned.len(), batch.set_aside.len()), (9, 9, 1));
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![14], vec![14]));
    let gone = "select count(*) from all_receipts where is_deleted and attachment_id is null";
    assert_eq!(rig.number(gone).await, 19);
}
