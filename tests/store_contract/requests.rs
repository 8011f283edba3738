//! Tests of which receipts a request covers where ids, times or the row itself contradict each other, and of rows that
//! the application saves with columns that it loaded before.

use chrono::{DateTime, TimeDelta, Utc};
use tikkun::job::BackgroundJobId;
use tikkun::job::background::{BackgroundJob, Status};
use tikkun::store::{BatchOutcome, Begun, Coverage, EndAttempt, NewRequest, Pass, Requested};

use super::rig::{Rig, TENANT, postgres};

fn text(at: DateTime<Utc>) -> String {
    format!("'{}'", at.format("%Y-%m-%d %H:%M:%S%.6f"))
}

fn minutes(minutes: i64) -> TimeDelta {
    TimeDelta::minutes(minutes)
}

async fn receipt(rig: &Rig, id: i64, made: &str) {
    rig.run(&format!("insert into receipts (id, business_id, created_at) values ({id}, {TENANT}, {made})"))
        .await;
}

/// The attempt of an entry that the application made then.
async fn begin(rig: &Rig, id: BackgroundJobId, entry: &str, at: DateTime<Utc>) -> BackgroundJob {
    match rig.try_begin_of(id, entry, Some(at)).await {
        Begun::Started(job) => *job,
        Begun::Refused(reason) => panic!("{reason:?}"),
    }
}

/// Deletes all that is covered and ends the attempt, as the job does.
async fn delete(rig: &Rig, job: &BackgroundJob) -> BackgroundJob {
    rig.delete_all(job, 2).await;
    let left = job.cursor.left.as_ref().map(|left| EndAttempt::CompletedBut { error: left.to_string() });
    let end = left.unwrap_or(EndAttempt::Completed);
    assert!(rig.store.background_jobs.end_attempt(job.id, job.note.attempt, &end).await.unwrap());
    rig.get(job.id).await
}

/// Receipts with these times on one of two clocks; `true`: the one that is ahead. Seen half a minute after the request,
/// of which the row's time is on the other clock.
async fn of_two_clocks(rig: &Rig, zones: (i64, i64), receipts: &[(TimeDelta, bool)]) -> BackgroundJob {
    rig.run("delete from receipts; delete from attachments; delete from background_jobs").await;
    rig.seed(3).await;
    let requested = Utc::now() - TimeDelta::seconds(30);
    for (id, (after, is_ahead)) in (4..).zip(receipts) {
        let zone = minutes(if *is_ahead { zones.1 } else { zones.0 });
        receipt(rig, id, &text(requested + *after + zone)).await;
    }
    let id = rig.web_row_of(requested + minutes(zones.0)).await;
    begin(rig, id, "q1", requested).await
}

/// The application's clock dates uploads and rows, the database's default dates imports.
async fn receipts_of_two_clocks_stay_that_came_after_the_request(rig: &Rig, zones: (i64, i64)) {
    let (upload, import) = (false, true);
    let after = |seconds, by| (TimeDelta::seconds(seconds), by);
    for (name, receipts, upper) in [
        (
            "an import before",
            vec![(minutes(-10), import), after(5, upload), after(9, import), after(12, upload)],
            4,
        ),
        ("nothing lately before", vec![after(5, upload), after(9, import), after(12, import)], 3),
        ("the import first", vec![after(5, import), after(9, upload), after(12, import)], 3),
        ("an import alone", vec![(minutes(-10), import), after(5, import), after(9, import)], 4),
    ] {
        let job = of_two_clocks(rig, zones, &receipts).await;
        assert_eq!(job.cursor.upper_id, Some(upper), "{name}");
        let said = delete(rig, &job).await.last_error.unwrap();
        let count = receipts.len() as i64 + 3 - upper;
        assert!(
            said.starts_with(&format!("{count} receipts were left alone because they came after")),
            "{said}"
        );
        assert_eq!(
            rig.live(TENANT).await,
            (upper + 1..=receipts.len() as i64 + 3).collect::<Vec<_>>(),
            "{name}"
        );
    }
    // One clock that is ahead of the row's, on which the first of these has the time of the request.
    let behind = minutes(zones.0 - zones.1) + TimeDelta::seconds(20);
    let steady = [(behind, import), (minutes(-20), import), (minutes(-1), import)];
    let job = of_two_clocks(rig, zones, &steady).await;
    assert_eq!((job.cursor.upper_id, &job.cursor.left), (Some(6), &None));
    assert_eq!((delete(rig, &job).await.last_error, rig.live(TENANT).await), (None, vec![]));
}

pub async fn two_clocks_in_one_column_give_no_late_receipt_away(rig: &Rig) {
    receipts_of_two_clocks_stay_that_came_after_the_request(rig, (180, 300)).await;
}

#[tokio::test]
async fn the_databases_zone_beside_the_applications_utc_gives_no_late_receipt_away() {
    let rig = postgres().await;
    rig.run(
        "alter table receipts alter created_at set default now();
         alter table background_jobs alter created_at drop default",
    )
    .await;
    for zone in [120, 180, 330] {
        receipts_of_two_clocks_stay_that_came_after_the_request(&rig, (0, zone)).await;
    }
}

pub async fn an_id_that_is_given_out_late_is_of_no_request_through_us_whatever_its_time(rig: &Rig) {
    rig.seed(9).await;
    rig.run("delete from receipts where id in (2, 4, 5, 6, 8)").await;
    let Requested::Created(row) = rig.request("q1").await else { panic!() };
    assert_eq!((row.cursor.upper_id, row.progress.total), (Some(9), 4));
    // A cache of a sequence, reserved ids and an open transaction, by clocks of any zone or none.
    for (id, made) in [(2, text(Utc::now())), (4, text(Utc::now() - minutes(300))), (5, "null".into())] {
        receipt(rig, id, &made).await;
    }
    let job = rig.begin(row.id).await;
    rig.good_batch(&job, 1, Pass::Forward).await;
    receipt(rig, 6, "'2026-01-01 10:00:00'").await;
    receipt(rig, 8, &text(Utc::now() - TimeDelta::seconds(5))).await;
    // What was there goes, although it was changed meanwhile.
    rig.run("update receipts set created_at = '2020-01-01 10:00:00', updated_at = '2026-11-01 10:00:00' where id = 7").await;
    let after = delete(rig, &job).await;
    assert_eq!((after.progress.succeeded, after.cursor.uncounted), (4, None));
    assert_eq!(rig.live(TENANT).await, [2, 4, 5, 6, 8]);
}

pub async fn the_rest_of_a_request_through_us_leaves_out_ids_that_were_given_out_late(rig: &Rig) {
    rig.seed(5).await;
    rig.run("delete from receipts where id = 3").await;
    let Requested::Created(row) = rig.request("q1").await else { panic!() };
    let job = rig.begin(row.id).await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    let failed = EndAttempt::Failed { error: "storage".into() };
    assert!(rig.store.background_jobs.end_attempt(job.id, 1, &failed).await.unwrap());
    receipt(rig, 3, "'2026-01-01 10:00:00'").await;
    let rest = NewRequest { covers: Coverage::RestOf(job.id), ..rig.request_of("q2") };
    let Requested::Created(rest) = rig.store.background_jobs.request(&rest).await.unwrap() else { panic!() };
    assert_eq!(rest.progress.total, 2);
    let rest = rig.begin(rest.id).await;
    delete(rig, &rest).await;
    assert_eq!(rig.live(TENANT).await, [3]);
}

/// What became of the earlier request in a row before it is requested again.
#[derive(Clone, Copy, Debug)]
enum Before {
    LookedAt,
    Failed,
    Completed,
    CancelledByTheApplication,
}

impl Before {
    async fn happen(self, rig: &Rig, id: BackgroundJobId) {
        let jobs = &rig.store.background_jobs;
        jobs.look(id).await.unwrap();
        if let Self::LookedAt = self {
            return rig.set(id, "status = 'failed', last_error = 'stale'").await;
        }
        let job = begin(rig, id, "q1", Utc::now() - minutes(30)).await;
        let failed = EndAttempt::Failed { error: "storage".into() };
        match self {
            Self::Completed => _ = delete(rig, &job).await,
            Self::Failed => {
                rig.good_batch(&job, 2, Pass::Forward).await;
                assert!(jobs.end_attempt(id, job.note.attempt, &failed).await.unwrap());
            }
            _ => {
                rig.good_batch(&job, 2, Pass::Forward).await;
                rig.set(id, "status = 'cancelled'").await;
            }
        }
    }
}

/// A button "try again" of the application.
pub async fn a_row_that_is_queued_again_and_dated_anew_is_a_new_request(rig: &Rig) {
    for before in [Before::LookedAt, Before::Failed, Before::Completed, Before::CancelledByTheApplication] {
        for counted_anew in [true, false] {
            rig.run("delete from receipts; delete from attachments; delete from background_jobs").await;
            rig.seed(3).await;
            let id = rig.web_row_of(Utc::now() - minutes(30)).await;
            before.happen(rig, id).await;
            for late in 11..=15 {
                receipt(rig, late, &text(Utc::now() - minutes(10))).await;
            }
            let anew = "total = 0, processed = 0, succeeded = 0, failed_count = 0,";
            let counters = if counted_anew { anew } else { "" };
            let now = text(Utc::now());
            rig.set(id, &format!("{counters} status = 'queued', finished_at = null, created_at = {now}"))
                .await;
            let live = rig.live(TENANT).await.len() as i64;
            let job = begin(rig, id, "q2", Utc::now()).await;
            assert_eq!(job.cursor.upper_id, Some(15), "{before:?}");
            let after = delete(rig, &job).await;
            assert_eq!((after.status, &after.last_error), (Status::Completed, &None), "{before:?}");
            assert_eq!(rig.live(TENANT).await, [0; 0], "{before:?}");
            let earlier = job.progress.processed;
            assert_eq!((after.progress.total, after.progress.processed), (live + earlier, live + earlier));
        }
    }
}

pub async fn a_row_that_is_queued_again_under_its_own_date_is_the_same_request(rig: &Rig) {
    for before in [Before::Failed, Before::CancelledByTheApplication] {
        rig.run("delete from receipts; delete from attachments; delete from background_jobs").await;
        rig.seed(3).await;
        let id = rig.web_row_of(Utc::now() - minutes(30)).await;
        before.happen(rig, id).await;
        receipt(rig, 11, &text(Utc::now() - minutes(10))).await;
        rig.set(id, &format!("status = 'queued', updated_at = {}", text(Utc::now()))).await;
        let job = begin(rig, id, "q2", Utc::now()).await;
        delete(rig, &job).await;
        assert_eq!(rig.live(TENANT).await, [11], "{before:?}");
    }
}

/// A trigger sets `created_at` whenever the row is changed, also by us.
pub async fn a_database_that_dates_rows_anew_by_itself_makes_no_new_request(rig: &Rig) {
    let is_postgres = rig.path.as_os_str().is_empty();
    let now = if is_postgres {
        "clock_timestamp() at time zone 'utc'"
    } else {
        "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
    };
    let statement = format!("update background_jobs set created_at = {now} where id = new.id");
    rig.raw.after("update", "background_jobs", "new.created_at = old.created_at", &statement).await;
    for begun in [true, false] {
        rig.run("delete from receipts; delete from background_jobs").await;
        for id in 1..=3 {
            receipt(rig, id, "'2026-01-01 10:00:00'").await;
        }
        let id = rig.web_row_of(Utc::now() - TimeDelta::seconds(20)).await;
        rig.store.background_jobs.look(id).await.unwrap();
        if begun {
            let job = begin(rig, id, "q1", Utc::now()).await;
            rig.good_batch(&job, 2, Pass::Forward).await;
        }
        rig.set(id, "status = 'paused'").await;
        receipt(rig, 11, "'2026-01-02 10:00:00'").await;
        // The date is seconds later than at the first look.
        let later = text(Utc::now() + TimeDelta::seconds(5));
        rig.set(id, &format!("status = 'queued', created_at = {later}")).await;
        let job = begin(rig, id, "q2", Utc::now()).await;
        delete(rig, &job).await;
        assert_eq!(rig.live(TENANT).await, [11], "{begun}");
    }
}

/// As an ORM saves a row that it loaded before the first attempt, to change a label.
async fn save_old_columns(rig: &Rig, id: BackgroundJobId, status: &str) {
    let old = format!(
        "status = '{status}', cursor = null, total = 0, processed = 0, succeeded = 0, failed_count = 0,
         started_at = null, finished_at = null, heartbeat_at = null, last_error = 'a label'"
    );
    rig.set(id, &old).await;
}

/// Total, processed, succeeded as the row itself has them.
async fn counters(rig: &Rig, id: BackgroundJobId) -> [i64; 3] {
    let mut counters = [0; 3];
    for (at, column) in ["total", "processed", "succeeded"].into_iter().enumerate() {
        counters[at] = rig.number(&format!("select {column} from background_jobs where id = {id}")).await;
    }
    counters
}

pub async fn a_save_of_old_columns_during_the_run_takes_nothing_back(rig: &Rig) {
    rig.seed(7).await;
    let job = rig.started().await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    save_old_columns(rig, job.id, "running").await;
    receipt(rig, 11, &text(Utc::now())).await;
    let seen = rig.get(job.id).await;
    assert_eq!((seen.progress.total, seen.progress.processed, seen.cursor.upper_id), (7, 2, Some(7)));
    let batch = rig.good_batch(&job, 2, Pass::Forward).await;
    assert_eq!((batch.first_id, batch.last_id), (3, 4));
    assert_eq!(counters(rig, job.id).await, [7, 4, 4]);
    rig.delete_all(&job, 2).await;
    save_old_columns(rig, job.id, "running").await;
    assert!(rig.store.background_jobs.end_attempt(job.id, 1, &EndAttempt::Completed).await.unwrap());
    assert_eq!((counters(rig, job.id).await, rig.live(TENANT).await), ([7, 7, 7], vec![11]));
    // Even after the end; the row is taken up as one that nobody carries.
    save_old_columns(rig, job.id, "running").await;
    let again = begin(rig, job.id, "q2", Utc::now()).await;
    let after = delete(rig, &again).await;
    assert_eq!((after.progress.total, after.progress.succeeded, after.last_error), (7, 7, None));
    assert_eq!((counters(rig, job.id).await, rig.live(TENANT).await), ([7, 7, 7], vec![11]));
}

pub async fn a_save_of_the_old_status_leaves_the_attempt_its_row(rig: &Rig) {
    rig.seed(7).await;
    let (job, jobs) = (rig.started().await, &rig.store.background_jobs);
    rig.good_batch(&job, 2, Pass::Forward).await;
    save_old_columns(rig, job.id, "queued").await;
    assert_eq!(rig.batch(&job, 2, Pass::Forward).await, BatchOutcome::NotOurs(Some(Status::Queued)));
    assert!(!jobs.revive(job.id, 2).await.unwrap(), "of another attempt");
    assert!(jobs.revive(job.id, 1).await.unwrap());
    let batch = rig.good_batch(&job, 2, Pass::Forward).await;
    assert_eq!((batch.first_id, batch.progress.processed), (3, 4));
    // Where the process dies at this moment, the next attempt goes on.
    save_old_columns(rig, job.id, "queued").await;
    receipt(rig, 11, &text(Utc::now())).await;
    let next = begin(rig, job.id, "q2", Utc::now()).await;
    assert_eq!((next.cursor.last_id, next.progress.processed, next.progress.total), (4, 4, 7));
    let after = delete(rig, &next).await;
    assert_eq!((counters(rig, job.id).await, rig.live(TENANT).await), ([7, 7, 7], vec![11]));
    assert!(after.started_at.is_some() && after.last_error.is_none(), "{after:?}");
}

pub async fn a_cancel_that_is_saved_with_old_columns_is_heeded(rig: &Rig) {
    rig.seed(7).await;
    let (job, jobs) = (rig.started().await, &rig.store.background_jobs);
    rig.good_batch(&job, 2, Pass::Forward).await;
    save_old_columns(rig, job.id, "cancelled").await;
    assert_eq!(rig.batch(&job, 2, Pass::Forward).await, BatchOutcome::NotOurs(Some(Status::Cancelled)));
    assert!(!jobs.revive(job.id, 1).await.unwrap());
    assert!(!jobs.end_attempt(job.id, 1, &EndAttempt::Completed).await.unwrap());
    assert_eq!((rig.get(job.id).await.status, rig.live(TENANT).await.len()), (Status::Cancelled, 5));
}
