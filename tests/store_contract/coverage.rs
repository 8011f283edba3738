//! Tests of the receipts that a row of the web application covers, and of times that all use one clock.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tikkun::fault::FaultKind;
use tikkun::job::background::{BackgroundJob, Status};
use tikkun::job::{BackgroundJobId, JobId};
use tikkun::store::{Begun, Coverage, EndAttempt, NewRequest, NotBegun, Pass, Person, PersonMove, Requested};

use super::rig::{OTHER, Rig, TENANT, order, postgres, postgres_on, target};
use super::server::Server;

fn ago(minutes: i64) -> DateTime<Utc> {
    Utc::now() - TimeDelta::minutes(minutes)
}

fn text(at: DateTime<Utc>) -> String {
    format!("'{}'", at.format("%Y-%m-%d %H:%M:%S%.6f"))
}

/// A live receipt with this creation time, as SQL.
async fn receipt(rig: &Rig, id: i64, made: &str) {
    rig.run(&format!("insert into receipts (id, business_id, created_at) values ({id}, {TENANT}, {made})"))
        .await;
}

/// The first attempt of an entry that was made then.
async fn begin(rig: &Rig, id: BackgroundJobId, entry_at: DateTime<Utc>) -> BackgroundJob {
    match rig.try_begin_of(id, "q1", Some(entry_at)).await {
        Begun::Started(job) => *job,
        Begun::Refused(reason) => panic!("{reason:?}"),
    }
}

/// Deletes all that is covered, ends the attempt, and answers with what the row says then.
async fn delete(rig: &Rig, job: &BackgroundJob) -> BackgroundJob {
    rig.delete_all(job, 2).await;
    let jobs = &rig.store.background_jobs;
    let left = job.cursor.left.as_ref().map(|left| EndAttempt::CompletedBut { error: left.to_string() });
    let end = left.unwrap_or(EndAttempt::Completed);
    assert!(jobs.end_attempt(job.id, job.note.attempt, &end).await.unwrap());
    rig.get(job.id).await
}

/// The columns are as an application has them whose times tell nothing of their clock.
async fn clocks_are_unknown(rig: &Rig) {
    rig.run(
        "alter table receipts alter created_at set default now();
             alter table background_jobs alter created_at drop default",
    )
    .await;
}

pub async fn the_first_look_bounds_a_row_whoever_begins_it(rig: &Rig) {
    rig.seed(3).await;
    let (now, jobs) = (Utc::now(), &rig.store.background_jobs);
    let id = rig.web_row_of(now).await;
    jobs.look(id).await.unwrap();
    let seen = rig.get(id).await.cursor;
    assert_eq!((seen.upper_id, seen.first_look.map(|look| look.newest_id)), (None, Some(3)));
    // Its time says that it was there before, and yet it came later.
    receipt(rig, 4, "'2026-01-01 10:00:00'").await;
    jobs.look(id).await.unwrap();
    assert_eq!(rig.get(id).await.cursor, seen, "the first look stands");
    let job = begin(rig, id, now).await;
    assert_eq!((job.cursor.upper_id, job.progress.total, &job.cursor.left), (Some(3), 3, &None));
    let after = delete(rig, &job).await;
    assert_eq!((after.status, after.last_error, rig.live(TENANT).await), (Status::Completed, None, vec![4]));
    jobs.look(id).await.unwrap();
    assert_eq!(rig.get(id).await.cursor.first_look, None, "a row that has its bound is left as it is");
    jobs.look(BackgroundJobId(404)).await.unwrap();
}

pub async fn late_receipts_stay_whatever_one_of_them_says_of_its_time(rig: &Rig) {
    rig.seed(5).await;
    rig.run("update receipts set created_at = null where id = 2").await;
    receipt(rig, 6, &text(ago(60))).await;
    receipt(rig, 7, "null").await;
    receipt(rig, 8, "'2020-01-01 00:00:00'").await;
    let id = rig.web_row_of(ago(120)).await;
    rig.set(id, "total = 8").await;
    let job = begin(rig, id, ago(120)).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(5), 4));
    let after = delete(rig, &job).await;
    assert_eq!(rig.live(TENANT).await, [2, 6, 7, 8], "the second may have come late");
    assert_eq!((after.status, after.progress.succeeded, after.progress.failed), (Status::Completed, 4, 0));
    let said = after.cursor.left.unwrap().to_string();
    assert!(
        said.starts_with("4 receipts were left alone") && said.ends_with("a new request covers them"),
        "{said}"
    );
    let plan = rig.store.receipts.plan(TENANT, &target()).await.unwrap();
    assert_eq!((plan.receipts, plan.left_alone.map(|left| left.receipts)), (4, Some(4)));
}

pub async fn the_rest_of_a_late_request_spares_what_that_left_alone(rig: &Rig) {
    rig.seed(5).await;
    rig.run("update receipts set created_at = null where id = 2").await;
    let job = begin(rig, rig.web_row_of(ago(120)).await, ago(120)).await;
    rig.set(job.id, "status = 'failed'").await;
    let rest = NewRequest { covers: Coverage::RestOf(job.id), ..rig.request_of("q2") };
    let Requested::Created(rest) = rig.store.background_jobs.request(&rest).await.unwrap() else { panic!() };
    assert_eq!(rest.progress.total, 4);
    let rest = rig.begin(rest.id).await;
    delete(rig, &rest).await;
    assert_eq!(rig.live(TENANT).await, [2]);
}

pub async fn a_receipt_that_comes_late_under_a_low_id_stays(rig: &Rig) {
    rig.seed(5).await;
    rig.run("delete from receipts where id in (1, 2)").await;
    let job = begin(rig, rig.web_row().await, Utc::now()).await;
    receipt(rig, 1, &text(Utc::now())).await;
    receipt(rig, 2, "'2026-01-01 10:00:00'").await;
    let after = delete(rig, &job).await;
    assert_eq!((after.progress.total, after.cursor.uncounted), (4, Some(1)), "only three were counted");
    assert_eq!(rig.live(TENANT).await, [1], "its id was given out again; the other one was committed late");
}

pub async fn a_receipt_that_comes_late_under_a_low_id_is_of_no_request_through_us(rig: &Rig) {
    rig.seed(5).await;
    rig.run("update receipts set created_at = null where id = 2; delete from receipts where id in (3, 4)")
        .await;
    let Requested::Created(row) = rig.request("q1").await else { panic!() };
    assert_eq!((row.cursor.upper_id, row.progress.total), (Some(5), 3));
    let job = rig.begin(row.id).await;
    // A session that has kept some ids for itself gives them out late.
    receipt(rig, 3, &text(ago(-2))).await;
    receipt(rig, 4, &text(Utc::now() + TimeDelta::milliseconds(1))).await;
    delete(rig, &job).await;
    assert_eq!(rig.live(TENANT).await, [3, 4]);
    // What is there may have been dated by a clock that is ahead; then what follows within a minute is not told apart.
    rig.run("delete from receipts where id = 3").await;
    receipt(rig, 7, &text(Utc::now() + TimeDelta::seconds(10))).await;
    let Requested::Created(row) = rig.request("q2").await else { panic!() };
    let job = rig.begin(row.id).await;
    receipt(rig, 3, &text(ago(-2))).await;
    delete(rig, &job).await;
    assert_eq!((job.progress.total, rig.live(TENANT).await), (2, vec![3]));
    // Where a time shows that the clocks are not one, ids decide alone.
    receipt(rig, 6, &text(ago(-180))).await;
    let Requested::Created(row) = rig.request("q3").await else { panic!() };
    assert_eq!((row.cursor.dated, row.progress.total), (None, 2));
}

pub async fn receipts_that_are_dated_ahead_by_hand_go_with_a_request_that_was_seen_soon(rig: &Rig) {
    rig.seed(3).await;
    receipt(rig, 4, &text(Utc::now() + TimeDelta::days(365))).await;
    // Nobody can tell it from one that comes under a low id two days later.
    receipt(rig, 5, &text(Utc::now() + TimeDelta::days(2))).await;
    let late = begin(rig, rig.web_row_of(ago(120)).await, ago(120)).await;
    assert_eq!((late.progress.total, late.cursor.left.unwrap().receipts), (3, 2));
    rig.set(late.id, "status = 'cancelled'").await;
    let soon = begin(rig, rig.web_row().await, Utc::now()).await;
    assert_eq!(soon.progress.total, 4);
    let said = delete(rig, &soon).await.cursor.left.unwrap().to_string();
    assert!(said.starts_with("1 receipt was left alone") && said.contains("dated ahead"), "{said}");
    assert_eq!(rig.live(TENANT).await, [5]);
}

pub async fn a_row_with_the_time_of_a_zone_gives_no_late_receipt_away(rig: &Rig) {
    rig.seed(3).await;
    receipt(rig, 4, &text(ago(60))).await;
    // Three hours ahead of UTC, although the column is in UTC: the application wrote its own host's time.
    let job = begin(rig, rig.web_row_of(ago(120 - 180)).await, ago(120)).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(3), 3));
    let said = delete(rig, &job).await.cursor.left.unwrap().to_string();
    assert!(said.starts_with("1 receipt was left alone"), "{said}");
    assert_eq!(rig.live(TENANT).await, [4]);
    // Seen soon, it hides nothing either.
    let soon = begin(rig, rig.web_row_of(ago(-180)).await, Utc::now()).await;
    assert_eq!((soon.progress.total, soon.cursor.left), (1, None));
}

/// As on a host that booted with its clock ahead, or where a server takes over whose clock is right.
pub async fn a_clock_that_is_set_back_after_the_request_gives_no_late_receipt_away(rig: &Rig) {
    rig.seed(3).await;
    receipt(rig, 4, &text(ago(0))).await;
    let job = begin(rig, rig.web_row_of(ago(-10)).await, ago(-10)).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(3), 3));
    let said = delete(rig, &job).await.cursor.left.unwrap().to_string();
    assert!(said.starts_with("1 receipt was left alone") && said.contains("before its own time"), "{said}");
    assert_eq!(rig.live(TENANT).await, [4]);
}

/// The default `now()` is the time at which a transaction began, whenever it inserts.
pub async fn an_import_that_began_before_the_request_stays_if_nobody_saw_its_receipts(rig: &Rig) {
    for looked_at_before in [true, false] {
        rig.run("delete from receipts; delete from attachments; delete from background_jobs").await;
        rig.seed(5).await;
        rig.run("delete from receipts where id in (4, 5)").await;
        receipt(rig, 6, &text(Utc::now())).await;
        let requested = Utc::now() - TimeDelta::seconds(30);
        let id = rig.web_row_of(requested).await;
        let import = async || {
            for id in [4, 5] {
                receipt(rig, id, &text(requested - TimeDelta::seconds(3))).await;
            }
        };
        if looked_at_before {
            rig.store.background_jobs.look(id).await.unwrap();
            import().await;
        }
        let job = begin(rig, id, requested).await;
        if !looked_at_before {
            import().await;
        }
        assert_eq!((job.cursor.upper_id, job.progress.total), (Some(3), 3), "{looked_at_before}");
        let said = delete(rig, &job).await.cursor.left.unwrap().to_string();
        assert!(said.contains("left alone because they came after the request"), "{said}");
        assert_eq!(rig.live(TENANT).await, [4, 5, 6], "{looked_at_before}");
    }
}

pub async fn a_total_of_the_application_that_is_too_low_becomes_that_of_what_is_covered(rig: &Rig) {
    rig.seed(5).await;
    for (given, expected) in [(3, 5), (9, 9)] {
        let id = rig.web_row().await;
        rig.set(id, &format!("total = {given}")).await;
        assert_eq!(begin(rig, id, Utc::now()).await.progress.total, expected);
        rig.set(id, "status = 'cancelled'").await;
    }
}

/// The application merges the tenant 789 into 790, which has receipts of its own.
async fn merge(rig: &Rig) {
    for table in ["background_jobs", "receipts", "attachments"] {
        rig.run(&format!("update {table} set business_id = {OTHER} where business_id = {TENANT}")).await;
    }
}

/// A button in the web application that retries puts the same row back as if it were new.
pub async fn a_row_that_the_application_puts_back_covers_what_was_there_at_its_own_request(rig: &Rig) {
    rig.seed(5).await;
    let id = rig.web_row_of(ago(24 * 60)).await;
    let job = begin(rig, id, ago(24 * 60)).await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    let failed = EndAttempt::Failed { error: "storage".into() };
    assert!(rig.store.background_jobs.end_attempt(id, job.note.attempt, &failed).await.unwrap());
    receipt(rig, 6, &text(ago(60))).await;
    rig.set(
        id,
        "status = 'queued', cursor = null, total = 0, processed = 0, succeeded = 0, failed_count = 0,
         last_error = null, started_at = null, finished_at = null, heartbeat_at = null",
    )
    .await;
    let job = match rig.try_begin_of(id, "q2", Some(Utc::now())).await {
        Begun::Started(job) => *job,
        Begun::Refused(reason) => panic!("{reason:?}"),
    };
    let after = delete(rig, &job).await;
    assert_eq!((after.status, rig.live(TENANT).await), (Status::Completed, vec![6]));
    assert_eq!((after.progress.total, after.progress.processed, after.progress.succeeded), (3, 3, 3));
}

pub async fn a_row_that_is_moved_to_another_tenant_deletes_nothing_of_that_one(rig: &Rig) {
    rig.seed(40).await;
    rig.run(&format!("update receipts set business_id = {OTHER} where id = 30")).await;
    let job = rig.started().await;
    rig.good_batch(&job, 20, Pass::Forward).await;
    merge(rig).await;
    for pass in [Pass::Forward, Pass::Sweep] {
        let fault = rig.store.receipts.delete_batch(&order(&job, 50, pass)).await.unwrap_err();
        assert!(fault.chain().contains("belongs to business 790 now"), "{}", fault.chain());
    }
    assert_eq!(rig.live(OTHER).await.len(), 20);
    rig.set(job.id, "status = 'cancelled'").await;
    let rest = NewRequest { business_id: OTHER, covers: Coverage::RestOf(job.id), ..rig.request_of("q2") };
    assert_eq!(rig.store.background_jobs.request(&rest).await.unwrap(), Requested::Nothing);
}

pub async fn what_was_looked_at_for_another_tenant_bounds_nothing(rig: &Rig) {
    rig.seed(40).await;
    rig.run(&format!("update receipts set business_id = {OTHER} where id = 30")).await;
    let id = rig.web_row().await;
    rig.store.background_jobs.look(id).await.unwrap();
    merge(rig).await;
    let job = rig.begin(id).await;
    assert!(job.cursor.foreign_to(job.business_id).is_some(), "{}", job.cursor);
    let fault = rig.store.receipts.delete_batch(&order(&job, 50, Pass::Forward)).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Permanent, "{}", fault.chain());
    assert_eq!(rig.live(OTHER).await.len(), 40);
}

pub async fn a_cursor_that_another_worker_wrote_anew_gives_no_late_receipt_away(rig: &Rig) {
    rig.seed(3).await;
    let id = rig.web_row_of(ago(37)).await;
    rig.store.background_jobs.look(id).await.unwrap();
    receipt(rig, 4, &text(ago(20))).await;
    rig.set(id, "cursor = '{\"last_id\": 2}', processed = 2, succeeded = 2").await;
    let job = begin(rig, id, Utc::now()).await;
    assert_eq!((job.cursor.last_id, job.cursor.upper_id), (2, Some(3)));
    delete(rig, &job).await;
    assert_eq!(rig.live(TENANT).await, [4]);
}

#[tokio::test]
async fn times_of_the_databases_own_zone_hide_no_receipt_that_was_there() {
    let rig = postgres().await;
    clocks_are_unknown(&rig).await;
    rig.seed(3).await;
    // Two hours ahead of UTC, as a default of `now()` writes them there.
    receipt(&rig, 4, &text(ago(-110))).await;
    receipt(&rig, 5, &text(ago(-119))).await;
    rig.run("update receipts set created_at = null where id = 1").await;
    let job = begin(&rig, rig.web_row().await, Utc::now()).await;
    assert_eq!((job.cursor.upper_id, job.progress.total, &job.cursor.left), (Some(5), 5, &None));
    assert_eq!(delete(&rig, &job).await.last_error, None);
    assert!(rig.live(TENANT).await.is_empty());
}

#[tokio::test]
async fn times_of_the_databases_own_zone_give_no_late_receipt_away() {
    let rig = postgres().await;
    clocks_are_unknown(&rig).await;
    rig.seed(3).await;
    rig.run("update receipts set created_at = null where id = 1").await;
    // Five hours behind UTC: it came an hour after the request. And one that says it is older still.
    receipt(&rig, 4, &text(ago(60 + 300))).await;
    receipt(&rig, 5, "'2026-01-01 10:00:00'").await;
    let job = begin(&rig, rig.web_row_of(ago(120)).await, ago(120)).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(3), 2));
    let said = delete(&rig, &job).await.cursor.left.unwrap().to_string();
    assert!(said.starts_with("3 receipts were left alone"), "{said}");
    assert_eq!(rig.live(TENANT).await, [1, 4, 5]);
}

#[tokio::test]
async fn receipts_between_the_request_and_its_first_look_stay_where_one_clock_shows_them() {
    let rig = postgres().await;
    rig.run("alter table receipts alter created_at drop default; alter table background_jobs alter created_at drop default")
        .await;
    rig.seed(3).await;
    let requested = Utc::now() - TimeDelta::seconds(30);
    receipt(&rig, 4, &text(requested + TimeDelta::seconds(10))).await;
    receipt(&rig, 5, "'2026-01-01 10:00:00'").await;
    let job = begin(&rig, rig.web_row_of(requested).await, requested).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(3), 3));
    let said = delete(&rig, &job).await.cursor.left.unwrap().to_string();
    assert!(said.starts_with("2 receipts were left alone because they came after the request"), "{said}");
    assert_eq!(rig.live(TENANT).await, [4, 5]);
}

#[tokio::test]
async fn what_was_under_way_at_the_first_look_stays_where_its_time_is_after_the_request() {
    for requested in [Utc::now() - TimeDelta::seconds(30), ago(120)] {
        let rig = postgres().await;
        rig.run("alter table receipts alter created_at drop default; alter table background_jobs alter created_at drop default")
            .await;
        rig.seed(5).await;
        rig.run("delete from receipts where id in (1, 2)").await;
        receipt(&rig, 6, &text(Utc::now())).await;
        let job = begin(&rig, rig.web_row_of(requested).await, requested).await;
        assert_eq!((job.cursor.upper_id, job.progress.total), (Some(5), 3));
        // An import in one transaction, which took its ids before the sixth receipt had its own, is committed.
        receipt(&rig, 1, &text(requested + TimeDelta::seconds(1))).await;
        receipt(&rig, 2, &text(Utc::now())).await;
        delete(&rig, &job).await;
        assert_eq!(rig.live(TENANT).await, [1, 2, 6], "requested at {requested}");
    }
}

#[tokio::test]
async fn entry_that_was_made_anew_does_not_tell_when_the_request_was_made() {
    let rig = postgres().await;
    clocks_are_unknown(&rig).await;
    rig.seed(3).await;
    receipt(&rig, 4, &text(ago(60))).await;
    let id = rig.web_row_of(ago(180)).await;
    assert_eq!(begin(&rig, id, Utc::now()).await.cursor.upper_id, Some(3), "the row is older than its entry");
    rig.set(id, "status = 'completed'").await;
    let other = rig.web_row().await;
    rig.store.background_jobs.carried_by(other, &"q1".into()).await.unwrap();
    receipt(&rig, 5, &text(Utc::now())).await;
    assert_eq!(
        begin(&rig, other, Utc::now()).await.cursor.upper_id,
        Some(3),
        "reconciliation made the entry"
    );
}

#[tokio::test]
async fn entry_that_was_made_anew_after_whole_hours_is_no_row_of_another_zone() {
    for minutes in [30, 60, 300] {
        let rig = postgres().await;
        rig.run("alter table receipts alter created_at set default now(); alter table background_jobs alter created_at set default now()")
            .await;
        rig.seed(3).await;
        receipt(&rig, 4, &text(ago(minutes / 2))).await;
        let job = begin(&rig, rig.web_row_of(ago(minutes)).await, Utc::now()).await;
        assert_eq!(job.cursor.upper_id, Some(3), "{minutes} minutes");
    }
}

#[tokio::test]
async fn columns_with_a_zone_are_read_in_utc_whatever_the_databases_zone_is() {
    let server = Server::shared();
    let database = server.database().await;
    let zone = format!(
        "alter table receipts alter created_at type timestamptz using created_at at time zone 'utc';
         alter table background_jobs alter created_at type timestamptz using created_at at time zone 'utc';
         alter table receipts alter created_at set default now();
         alter table background_jobs alter created_at set default now();
         alter database {database} set timezone = 'America/St_Johns'"
    );
    server.run(&database, &zone).await;
    let rig = postgres_on(&server.settings(&database)).await;
    let zoned = |at: DateTime<Utc>| format!("'{}'", at.to_rfc3339());
    receipt(&rig, 1, &zoned(ago(300))).await;
    receipt(&rig, 2, &zoned(ago(121))).await;
    receipt(&rig, 3, &zoned(ago(118))).await;
    receipt(&rig, 4, &zoned(ago(1))).await;
    let id = rig.web_row_of(ago(120)).await;
    rig.set(id, &format!("created_at = {}", zoned(ago(120)))).await;
    let job = begin(&rig, id, ago(120)).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(2), 2));
    delete(&rig, &job).await;
    assert_eq!(rig.live(TENANT).await, [3, 4]);
}

/// Both columns have a zone; what fills them and the zone of the database's sessions are as given. A receipt that came an
/// hour after the request has a time that is two hours too early.
async fn a_receipt_with_too_early_a_time_stays(fill: &str, zone: &str) {
    let server = Server::shared();
    let database = server.database().await;
    let columns = format!(
        "alter table receipts alter created_at drop default;
         alter table receipts alter created_at type timestamptz using created_at at time zone 'utc';
         alter table background_jobs alter created_at type timestamptz using created_at at time zone 'utc';
         alter table background_jobs alter created_at set default now();
         {fill};
         alter database {database} set timezone = '{zone}'"
    );
    server.run(&database, &columns).await;
    let rig = postgres_on(&server.settings(&database)).await;
    for id in 1..4 {
        receipt(&rig, id, "'2026-01-01 10:00:00+00'").await;
    }
    receipt(&rig, 4, &format!("{}::timestamp at time zone 'utc'", text(ago(60 + 120)))).await;
    let job = begin(&rig, rig.web_row_of(ago(120)).await, ago(120)).await;
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(3), 3), "{fill} in {zone}");
    delete(&rig, &job).await;
    assert_eq!(rig.live(TENANT).await, [4], "{fill} in {zone}");
}

#[tokio::test]
async fn a_default_that_takes_its_zone_from_the_session_gives_no_late_receipt_away() {
    for (default, zone) in [
        ("timezone('utc'::text, now())", "Asia/Jerusalem"),
        ("now() at time zone 'Atlantic/South_Georgia'", "UTC"),
        ("timezone('-02', clock_timestamp())", "UTC"),
        // Of the right kind, and moved.
        ("now() - interval '2 hours'", "UTC"),
        ("current_timestamp - '02:00:00'::interval", "UTC"),
    ] {
        let fill = format!("alter table receipts alter created_at set default ({default})");
        a_receipt_with_too_early_a_time_stays(&fill, zone).await;
    }
}

#[tokio::test]
async fn times_that_the_application_writes_without_their_zone_give_no_late_receipt_away() {
    a_receipt_with_too_early_a_time_stays("select 1", "Asia/Jerusalem").await;
    // A default that reads no clock is for rows that were there before the column.
    for constant in ["2020-01-01", "now"] {
        let fill = format!("alter table receipts alter created_at set default '{constant}'");
        a_receipt_with_too_early_a_time_stays(&fill, "Asia/Jerusalem").await;
    }
}

#[tokio::test]
async fn heartbeats_are_of_the_databases_clock_and_judged_by_it() {
    let server = Server::shared();
    let database = server.database().await;
    // The server's clock is ten minutes behind that of this process, as far as statements are told.
    let behind = "create schema clocks;
         create function clocks.now() returns timestamptz language sql stable as
             $$ select pg_catalog.now() - interval '10 minutes' $$;";
    let path = format!("alter database {database} set search_path = clocks, public, pg_catalog");
    server.run(&database, &format!("{behind} {path}")).await;
    let rig = postgres_on(&server.settings(&database)).await;
    let jobs = &rig.store.background_jobs;
    rig.seed(2).await;
    let now = jobs.now().await.unwrap();
    let slack = TimeDelta::minutes(2);
    assert!((Utc::now() - now - TimeDelta::minutes(10)).abs() < slack, "{now}");
    let is_of_now = |row: &BackgroundJob| {
        let beat = row.heartbeat_at.unwrap();
        assert!((now - beat).abs() < slack && row.updated_at == Some(beat), "{now}: {row:?}");
    };
    let job = rig.started().await;
    is_of_now(&job);
    rig.set(job.id, "heartbeat_at = null").await;
    assert!(jobs.beat(&[(job.id, 1)]).await.unwrap().is_empty());
    is_of_now(&rig.get(job.id).await);
    rig.set(job.id, "heartbeat_at = null").await;
    rig.good_batch(&job, 1, Pass::Forward).await;
    is_of_now(&rig.get(job.id).await);
    let other = rig.try_begin(job.id, "q2").await;
    assert!(matches!(other, Begun::Refused(NotBegun::Duplicate { .. })), "its carrier lives: {other:?}");
    rig.delete_all(&job, 2).await;
    let hour = Duration::from_secs(3600);
    let held = rig.store.outbox.claim(&target(), None, 10, hour).await.unwrap();
    assert!(held.is_empty(), "they are held for their batch: {held:?}");
}

pub async fn a_row_with_the_cursor_of_an_earlier_one_covers_what_was_there_at_its_own_request(rig: &Rig) {
    rig.seed(3).await;
    let jobs = &rig.store.background_jobs;
    let earlier = begin(rig, rig.web_row_of(ago(30)).await, ago(30)).await;
    rig.good_batch(&earlier, 1, Pass::Forward).await;
    let end = EndAttempt::Failed { error: "an outage".into() };
    assert!(jobs.end_attempt(earlier.id, earlier.note.attempt, &end).await.unwrap());
    receipt(rig, 4, &text(ago(20))).await;
    let id = rig.web_row().await;
    rig.set(id, &format!("cursor = (select cursor from background_jobs where id = {})", earlier.id)).await;
    let job = begin(rig, id, Utc::now()).await;
    assert_eq!(job.cursor.upper_id, Some(4));
    delete(rig, &job).await;
    assert!(rig.live(TENANT).await.is_empty());
}

/// Whether a late look believes the times of receipts whose column, of this type, has this default.
async fn is_of_one_clock(kind: &str, default: &str) -> bool {
    let rig = postgres().await;
    rig.run(&format!(
        "alter table receipts alter created_at drop default;
         alter table receipts alter created_at type {kind};
         alter table receipts alter created_at set default {default}"
    ))
    .await;
    rig.seed(3).await;
    // Of the hour before the request: what is believed covers it, and what is not leaves it alone.
    receipt(&rig, 4, &text(ago(180))).await;
    let job = begin(&rig, rig.web_row_of(ago(120)).await, ago(120)).await;
    job.cursor.upper_id == Some(4)
}

#[tokio::test]
async fn only_a_default_that_is_nothing_but_a_clock_in_utc_is_believed() {
    for (kind, default) in [
        ("timestamp", "(now() at time zone 'utc')"),
        ("timestamp", "timezone('UTC', current_timestamp(3))"),
        ("timestamp(0)", "(clock_timestamp() at time zone 'Etc/UTC')"),
        ("timestamp", "(statement_timestamp() at time zone 'utc')::timestamp(0)"),
        ("timestamptz", "now()"),
        ("timestamptz(3)", "current_timestamp"),
    ] {
        assert!(is_of_one_clock(kind, default).await, "{kind} default {default}");
    }
    for (kind, default) in [
        ("timestamp", "(now() at time zone 'UTC+3')"),
        ("timestamp", "(now() at time zone 'utc') - interval '3 hours'"),
        ("timestamp", "timezone('utc', now() - interval '3 hours')"),
        ("timestamp", "timezone('utc', now()::timestamp)"),
        ("timestamp", "date_trunc('day', now() at time zone 'utc')"),
        ("timestamp", "now()"),
        ("date", "(now() at time zone 'utc')"),
        ("timestamptz", "now() - interval '3 hours'"),
    ] {
        assert!(!is_of_one_clock(kind, default).await, "{kind} default {default}");
    }
}

/// Whether a late look believes the times of receipts whose rows are filled by this body of a trigger function,
/// which fires as `when` says.
async fn is_of_one_clock_with(when: &str, body: &str) -> bool {
    let rig = postgres().await;
    rig.run(&format!(
        "create function fill() returns trigger language plpgsql as $$begin {body} end$$;
         create trigger fill {when} execute function fill()"
    ))
    .await;
    rig.seed(3).await;
    let made = text(ago(180));
    rig.run(&format!(
        "alter table receipts disable trigger fill;
         insert into receipts (id, business_id, created_at) values (4, {TENANT}, {made});
         alter table receipts enable trigger fill"
    ))
    .await;
    let job = begin(&rig, rig.web_row_of(ago(120)).await, ago(120)).await;
    job.cursor.upper_id == Some(4)
}

#[tokio::test]
async fn default_that_a_trigger_may_overwrite_is_not_believed() {
    let insert = "before insert on receipts for each row";
    for body in [
        "new.created_at := now(); return new;",
        "NEW.\"created_at\" = now(); return new;",
        "new := jsonb_populate_record(new, jsonb_build_object('created_at', now())); return new;",
        "select (new).* into new; return new;",
        "return jsonb_populate_record(new, '{}');",
    ] {
        assert!(!is_of_one_clock_with(insert, body).await, "{body}");
    }
    let both = "before insert or update on receipts for each row";
    assert!(!is_of_one_clock_with(both, "new.created_at := now(); return new;").await);
    for (when, body) in [
        (insert, "new.updated_at := now(); return new;"),
        (insert, "if new.vendor_name is null then return null; end if; return new;"),
        ("before update on receipts for each row", "new.created_at := now(); return new;"),
        ("after insert on receipts for each row", "perform new.created_at; return null;"),
        ("before insert on receipts for each statement", "return null;"),
    ] {
        assert!(is_of_one_clock_with(when, body).await, "{when}: {body}");
    }
}

#[tokio::test]
async fn days_without_an_hour_give_no_late_receipt_away() {
    for kind in ["date", "timestamp"] {
        let rig = postgres().await;
        rig.run(&format!(
            "alter table receipts alter created_at drop default, alter created_at type {kind},
                 alter created_at set default current_date"
        ))
        .await;
        rig.seed(3).await;
        let day = |at: DateTime<Utc>| format!("'{}'", at.format("%Y-%m-%d"));
        // Requested at ten in the evening of yesterday, seen two hours later and after that.
        let night = Utc::now().date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc();
        let request = night - TimeDelta::hours(2);
        receipt(&rig, 4, &day(night - TimeDelta::hours(1))).await;
        let job = begin(&rig, rig.web_row_of(request).await, request).await;
        assert_eq!(job.cursor.upper_id, Some(3), "{kind}: {:?}", job.cursor);
        delete(&rig, &job).await;
        assert_eq!(rig.live(TENANT).await, [4], "{kind}");
    }
}

pub async fn the_rest_of_a_request_that_was_never_looked_at_leaves_out_what_came_later(rig: &Rig) {
    rig.seed(3).await;
    let id = rig.web_row_of(ago(120)).await;
    receipt(rig, 4, &text(ago(60))).await;
    rig.set(id, "status = 'failed', last_error = 'stale'").await;
    let rest = NewRequest { covers: Coverage::RestOf(id), ..rig.request_of("q2") };
    let Requested::Created(made) = rig.store.background_jobs.request(&rest).await.unwrap() else {
        panic!("nothing")
    };
    assert_eq!((made.cursor.upper_id, made.progress.total), (Some(3), 3));
    delete(rig, &begin(rig, made.id, Utc::now()).await).await;
    assert_eq!(rig.live(TENANT).await, [4]);
}

pub async fn a_request_that_was_paused_before_it_was_looked_at_gives_no_late_receipt_away(rig: &Rig) {
    for by_facade in [true, false] {
        rig.run("delete from receipts; delete from attachments; delete from background_jobs").await;
        rig.seed(3).await;
        let id = rig.web_row_of(ago(120)).await;
        let jobs = &rig.store.background_jobs;
        let wish = |wish, queue_job: Option<&str>| Person {
            id,
            business_id: TENANT,
            by: "user 5".into(),
            wish,
            queue_job: queue_job.map(JobId::from),
        };
        jobs.person(&wish(PersonMove::Pause, None)).await.unwrap().unwrap().unwrap();
        receipt(rig, 4, &text(ago(60))).await;
        if by_facade {
            jobs.person(&wish(PersonMove::Resume, Some("q1"))).await.unwrap().unwrap().unwrap();
        } else {
            rig.set(id, "status = 'queued'").await;
        }
        let job = begin(rig, id, Utc::now()).await;
        assert_eq!(job.cursor.upper_id, Some(3), "{by_facade}");
        delete(rig, &job).await;
        assert_eq!(rig.live(TENANT).await, [4], "{by_facade}");
    }
}
