//! Tests of attempts.

use std::time::Duration;

use tikkun::fault::FaultKind;
use tikkun::job::BackgroundJobId;
use tikkun::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL, PauseReason, Status};
use tikkun::store::{Begin, Begun, EndAttempt, NotBegun, Pass, Person, PersonMove, Watched, cannot_end};

use super::rig::{Rig, TENANT};

const LONG_AGO: &str = "2026-01-01 00:00:00";

fn begun(begun: Begun) -> BackgroundJob {
    match begun {
        Begun::Started(job) => *job,
        Begun::Refused(reason) => panic!("{reason:?}"),
    }
}

fn refused(begun: Begun) -> NotBegun {
    match begun {
        Begun::Refused(reason) => reason,
        Begun::Started(job) => panic!("started {job:?}"),
    }
}

async fn silence(rig: &Rig, id: BackgroundJobId) {
    rig.set(id, &format!("heartbeat_at = '{LONG_AGO}'")).await;
}

async fn end(rig: &Rig, job: &BackgroundJob, end: EndAttempt) -> bool {
    rig.store.background_jobs.end_attempt(job.id, job.note.attempt, &end).await.unwrap()
}

async fn fail_as_stale(rig: &Rig, id: BackgroundJobId) {
    rig.set(id, &format!("status = 'failed', last_error = 'stale', finished_at = '{LONG_AGO}'")).await;
}

pub async fn a_queued_row_starts_once_and_is_covered(rig: &Rig) {
    rig.seed(5).await;
    rig.run("update receipts set created_at = '2026-01-28 19:00:00.000001' where id = 5").await;
    rig.run("update receipts set created_at = '2026-01-28T19:00:00' where id = 4").await;
    rig.run("update receipts set is_deleted = true where id = 1").await;
    let id = rig.web_row_of("2026-01-28T19:00:00Z".parse().unwrap()).await;
    let job = rig.begin(id).await;
    assert_eq!((job.status, job.note.attempt, job.progress.total), (Status::Running, 1, 3));
    assert_eq!(job.cursor.upper_id, Some(4), "the fifth came after the request");
    assert_eq!(job.note.queue_job, Some("q1".into()));
    assert!(job.started_at.is_some() && job.heartbeat_at == job.started_at);
    let again = rig.begin(id).await;
    assert_eq!((again.note.attempt, again.started_at, again.cursor), (2, job.started_at, job.cursor));
}

pub async fn a_null_creation_time_counts_as_existing(rig: &Rig) {
    rig.seed(3).await;
    rig.run("update receipts set created_at = null where id = 3").await;
    assert_eq!(rig.started().await.cursor.upper_id, Some(3));
}

pub async fn a_row_without_a_creation_time_covers_everything(rig: &Rig) {
    let id = rig.web_row().await;
    rig.set(id, "created_at = null, total = null").await;
    assert_eq!(rig.begin(id).await.cursor.upper_id, Some(0), "nothing is there yet");
    rig.set(id, "status = 'cancelled'").await;
    rig.seed(2).await;
    let id = rig.web_row().await;
    rig.set(id, "created_at = null, total = null").await;
    let job = begun(rig.try_begin(id, "q2").await);
    assert_eq!((job.cursor.upper_id, job.progress.total), (Some(2), 2));
}

pub async fn rows_at_rest_do_not_begin(rig: &Rig) {
    for status in [Status::Completed, Status::Failed, Status::Cancelled, Status::Paused] {
        let id = rig.web_row().await;
        rig.set(id, &format!("status = '{status}'")).await;
        let before = rig.get(id).await;
        assert_eq!(refused(rig.try_begin(id, "q1").await), NotBegun::AtRest(status));
        assert_eq!(rig.get(id).await, before);
    }
}

pub async fn a_missing_row_does_not_begin(rig: &Rig) {
    assert_eq!(refused(rig.try_begin(BackgroundJobId(404), "q1").await), NotBegun::Missing);
}

pub async fn a_second_queue_job_is_a_duplicate_while_the_first_lives(rig: &Rig) {
    rig.seed(1).await;
    let job = rig.started().await;
    let duplicate = NotBegun::Duplicate { of: Some("q1".into()) };
    assert_eq!(refused(rig.try_begin(job.id, "q2").await), duplicate);
    assert_eq!(rig.get(job.id).await, job);
}

pub async fn a_silent_row_is_taken_over_and_the_old_attempt_fenced_off(rig: &Rig) {
    rig.seed(1).await;
    let old = rig.started().await;
    silence(rig, old.id).await;
    assert!(matches!(rig.try_begin(old.id, "q2").await, Begun::Started(job) if job.note.attempt == 2));
    assert!(!end(rig, &old, EndAttempt::Completed).await);
    assert_eq!(rig.get(old.id).await.status, Status::Running);
    rig.set(old.id, "heartbeat_at = null").await;
    assert!(matches!(rig.try_begin(old.id, "q3").await, Begun::Started(_)));
}

pub async fn the_same_queue_job_continues_after_a_crash(rig: &Rig) {
    rig.seed(4).await;
    let job = rig.started().await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    let again = rig.begin(job.id).await;
    assert_eq!((again.note.attempt, again.note.barren_attempts, again.cursor.last_id), (2, 0, 2));
    rig.delete_all(&again, 50).await;
    assert_eq!(rig.get(job.id).await.progress.succeeded, 4);
}

pub async fn attempts_that_die_at_one_place_are_poison(rig: &Rig) {
    rig.seed(4).await;
    let job = rig.started().await;
    for barren in 1..=3 {
        assert_eq!(rig.begin(job.id).await.note.barren_attempts, barren);
    }
    let NotBegun::Poison(reason) = refused(rig.try_begin(job.id, "q1").await) else { panic!() };
    let row = rig.get(job.id).await;
    assert_eq!((row.status, row.last_error), (Status::Failed, Some(reason)));
    assert!(row.finished_at.is_some());
    assert_eq!(refused(rig.try_begin(job.id, "q1").await), NotBegun::AtRest(Status::Failed));
    assert!(!rig.store.background_jobs.revive(job.id, 4).await.unwrap(), "poison stays dead");
}

pub async fn a_good_batch_ends_the_count_of_barren_attempts(rig: &Rig) {
    rig.seed(9).await;
    let mut job = rig.started().await;
    for _ in 0..4 {
        job = rig.begin(job.id).await;
        job = rig.begin(job.id).await;
        assert!(job.note.barren_attempts > 0);
        rig.good_batch(&job, 2, Pass::Forward).await;
        assert_eq!(rig.get(job.id).await.note.barren_attempts, 0);
    }
}

pub async fn ends_are_idempotent_and_fenced(rig: &Rig) {
    rig.seed(1).await;
    let job = rig.started().await;
    let failed = EndAttempt::Failed { error: "ten in a row".into() };
    assert!(end(rig, &job, failed.clone()).await);
    let after = rig.get(job.id).await;
    assert_eq!((after.status, after.last_error.as_deref()), (Status::Failed, Some("ten in a row")));
    assert!(end(rig, &job, failed).await);
    assert!(!end(rig, &job, EndAttempt::Completed).await);
    assert_eq!(rig.get(job.id).await, after);
    rig.set(job.id, "status = 'cancelled'").await;
    assert!(!end(rig, &job, EndAttempt::Completed).await);
    assert!(
        !rig.store
            .background_jobs
            .end_attempt(BackgroundJobId(404), 1, &EndAttempt::Completed)
            .await
            .unwrap()
    );
}

pub async fn a_continuation_begins_again(rig: &Rig) {
    rig.seed(1).await;
    let job = rig.started().await;
    assert!(end(rig, &job, EndAttempt::Continuation).await);
    assert!(end(rig, &job, EndAttempt::Continuation).await);
    let paused = rig.get(job.id).await;
    assert_eq!((paused.status, paused.finished_at), (Status::Paused, None));
    assert_eq!(paused.note.pause_reason, Some(PauseReason::Continuation));
    let again = rig.begin(job.id).await;
    assert_eq!((again.note.attempt, again.note.pause_reason, again.note.barren_attempts), (2, None, 0));
    assert!(!end(rig, &job, EndAttempt::Continuation).await, "the older attempt has nothing to say");
}

pub async fn an_attempt_that_pauses_waits_for_a_person_and_says_who(rig: &Rig) {
    rig.seed(1).await;
    let job = rig.started().await;
    let paused = EndAttempt::Paused { by: "the runtime limit (300s)".into() };
    assert!(end(rig, &job, paused.clone()).await);
    assert!(end(rig, &job, paused.clone()).await, "told again");
    let row = rig.get(job.id).await;
    assert_eq!((row.status, row.note.pause_reason), (Status::Paused, Some(PauseReason::Person)));
    assert_eq!(row.note.changed_by.as_deref(), Some("the runtime limit (300s)"));
    assert_eq!((row.finished_at, row.last_error), (None, None));
    assert_eq!(refused(rig.try_begin(job.id, "q1").await), NotBegun::AtRest(Status::Paused));
    rig.set(job.id, "status = 'queued'").await;
    assert!(!end(rig, &job, paused.clone()).await, "what a person resumed is not paused again by the past");
    rig.begin(job.id).await;
    assert!(!end(rig, &job, paused).await, "the older attempt has nothing to say");
}

pub async fn the_stale_rule_is_undone_once_until_a_good_batch(rig: &Rig) {
    rig.seed(4).await;
    let job = rig.started().await;
    let jobs = &rig.store.background_jobs;
    assert!(!jobs.revive(job.id, 1).await.unwrap(), "it is running");
    fail_as_stale(rig, job.id).await;
    assert!(!jobs.revive(job.id, 2).await.unwrap(), "not that attempt");
    assert!(jobs.revive(job.id, 1).await.unwrap());
    let row = rig.get(job.id).await;
    assert_eq!((row.status, row.finished_at, row.note.attempt), (Status::Running, None, 1));
    fail_as_stale(rig, job.id).await;
    assert!(!jobs.revive(job.id, 1).await.unwrap(), "once only");
    rig.set(job.id, "status = 'running'").await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    fail_as_stale(rig, job.id).await;
    assert!(jobs.revive(job.id, 1).await.unwrap(), "a good batch allows another");
}

pub async fn a_persons_cancel_and_a_newer_row_are_not_revived(rig: &Rig) {
    rig.seed(4).await;
    let jobs = &rig.store.background_jobs;
    let first = rig.started().await;
    fail_as_stale(rig, first.id).await;
    let newer = rig.web_row().await;
    assert!(!jobs.revive(first.id, 1).await.unwrap());
    let newer = rig.begin(newer).await;
    let cancel = Person {
        id: newer.id,
        business_id: TENANT,
        wish: PersonMove::Cancel,
        by: "user 5".into(),
        queue_job: None,
    };
    jobs.person(&cancel).await.unwrap().unwrap().unwrap();
    assert!(!jobs.revive(newer.id, 1).await.unwrap());
    rig.set(newer.id, "status = 'failed'").await;
    assert!(!jobs.revive(newer.id, 1).await.unwrap(), "our record shows a person's cancel");
}

pub async fn beats_move_ours_and_name_the_lost(rig: &Rig) {
    rig.seed(2).await;
    let job = rig.started().await;
    let beat = |attempt| {
        let rows = [(job.id, attempt), (BackgroundJobId(404), 1)];
        async move { rig.store.background_jobs.beat(&rows).await.unwrap() }
    };
    silence(rig, job.id).await;
    assert_eq!(beat(1).await, [BackgroundJobId(404)]);
    let row = rig.get(job.id).await;
    assert!(row.heartbeat_at >= job.heartbeat_at && row.updated_at == row.heartbeat_at);
    assert!(end(rig, &job, EndAttempt::Continuation).await);
    assert_eq!(beat(1).await, [BackgroundJobId(404)], "paused for continuation is still ours");
    let job2 = rig.begin(job.id).await;
    assert_eq!(beat(1).await, [job.id, BackgroundJobId(404)], "an older attempt is lost");
    rig.set(job2.id, "status = 'cancelled'").await;
    silence(rig, job.id).await;
    assert_eq!(beat(2).await, [job.id, BackgroundJobId(404)]);
    assert!(rig.get(job.id).await.heartbeat_at < job.heartbeat_at);
    assert!(rig.store.background_jobs.beat(&[]).await.unwrap().is_empty());
}

pub async fn watching_writes_only_for_the_newest_attempt(rig: &Rig) {
    rig.seed(2).await;
    let job = rig.started().await;
    let jobs = &rig.store.background_jobs;
    let mut watched = Watched {
        id: job.id,
        attempt: 1,
        waiting_for: Some("the storage".into()),
        rate: Some(12.5),
        eta_seconds: Some(3.0),
        last_error: Some("timed out".into()),
    };
    jobs.watch(std::slice::from_ref(&watched)).await.unwrap();
    let row = rig.get(job.id).await;
    assert_eq!(row.note.waiting_for.as_deref(), Some("the storage"));
    assert_eq!((row.note.rate, row.note.eta_seconds), (Some(12.5), Some(3.0)));
    assert_eq!(row.last_error.as_deref(), Some("timed out"));
    assert_eq!(row.progress, job.progress);
    watched = Watched { waiting_for: None, last_error: None, ..watched };
    jobs.watch(std::slice::from_ref(&watched)).await.unwrap();
    let row = rig.get(job.id).await;
    assert_eq!((row.note.waiting_for.as_deref(), row.last_error.as_deref()), (None, Some("timed out")));
    rig.begin(job.id).await;
    jobs.watch(&[watched.clone()]).await.unwrap();
    assert_eq!(rig.get(job.id).await.note.rate, None, "an older attempt is not listened to");
    assert!(jobs.end_attempt(job.id, 2, &EndAttempt::Completed).await.unwrap());
    jobs.watch(&[Watched { attempt: 2, ..watched }]).await.unwrap();
    assert_eq!(rig.get(job.id).await.note.rate, None, "an ended one neither");
    jobs.watch(&[]).await.unwrap();
    jobs.check().await.unwrap();
}

pub async fn two_beginnings_at_once_share_no_attempt(rig: &Rig) {
    rig.seed(1).await;
    for round in 1..=20 {
        let id = rig.web_row().await;
        let (one, two) = tokio::join!(rig.try_begin(id, "q1"), rig.try_begin(id, "q2"));
        let mut started: Vec<_> = [one, two]
            .into_iter()
            .filter_map(|begun| match begun {
                Begun::Started(job) => Some((job.note.attempt, job.note.queue_job)),
                Begun::Refused(reason) => {
                    assert!(matches!(reason, NotBegun::Duplicate { of: Some(_) }), "{reason:?}");
                    None
                }
            })
            .collect();
        assert_eq!(started.len(), 1, "round {round}: {started:?}");
        let row = rig.get(id).await;
        assert_eq!(started.remove(0), (row.note.attempt, row.note.queue_job));
        rig.set(id, "status = 'completed'").await;
    }
}

pub async fn a_broken_cursor_is_named(rig: &Rig) {
    let id = rig.web_row().await;
    rig.set(id, "cursor = '12345'").await;
    broken_row_is_named(rig, id, "12345").await;
}

/// Beginning the row is a permanent fault that names it, and the value.
pub async fn broken_row_is_named(rig: &Rig, id: BackgroundJobId, value: &str) {
    let begin =
        Begin { id, queue_job: "q".into(), entry_at: None, stale_after: Duration::ZERO, max_barren: 1 };
    let fault = rig.store.background_jobs.begin_attempt(&begin).await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Permanent);
    let text = fault.chain();
    assert!(text.contains(&format!("background job {id}")) && text.contains(value), "{text}");
}

pub async fn a_row_with_the_id_of_an_earlier_one_inherits_nothing_of_it(rig: &Rig) {
    rig.seed(30).await;
    let older = rig.started().await;
    rig.good_batch(&older, 5, Pass::Forward).await;
    // The application prunes its old rows, and the next one has an id that was used before.
    let past = [
        "ended = 'cancelled', cancelled_by_person = true, changed_by = 'user 5'",
        "pause_reason = 'person', ended = 'paused'",
        "barren_attempts = 9, ended = null, start_last_id = 0, start_processed = 0",
        "ended = 'completed', revived = true, start_last_id = 25, start_processed = 25",
        "ended = 'failed', waiting_for = 'the database', rate = 5, eta_seconds = 9",
    ];
    for (round, past) in (1_i64..).zip(past) {
        rig.run(&format!("update tikkun_background_jobs set {past} where background_job_id = {}", older.id))
            .await;
        rig.run("delete from background_jobs").await;
        let at = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f");
        rig.run(&format!(
            "insert into background_jobs (id, business_id, job_type, created_at, updated_at)
             values ({}, {TENANT}, '{DELETE_RECEIPTS_ALL}', '{at}', '{at}')",
            older.id
        ))
        .await;
        let live = rig.live(TENANT).await.len() as i64;
        let Begun::Started(job) = rig.try_begin(older.id, &format!("new-{round}")).await else {
            panic!("{past}")
        };
        assert_eq!(
            (job.progress.total, job.note.pause_reason, &job.note.waiting_for),
            (live, None, &None),
            "{past}"
        );
        assert_eq!(rig.good_batch(&job, 5, Pass::Forward).await.deleted, 5, "{past}");
        assert!(
            rig.store
                .background_jobs
                .end_attempt(job.id, job.note.attempt, &EndAttempt::Completed)
                .await
                .unwrap()
        );
        assert_eq!(rig.get(job.id).await.status, Status::Completed, "{past}");
    }
}

/// The application has frozen one account: no row of its jobs may change.
pub async fn a_row_that_is_refused_hinders_no_other(rig: &Rig) {
    let (mut rows, mut updates) = (Vec::new(), Vec::new());
    for tenant in 801..=809 {
        rig.run(&format!(
            "insert into background_jobs (business_id, job_type) values ({tenant}, '{DELETE_RECEIPTS_ALL}')"
        ))
        .await;
        let id = BackgroundJobId(rig.number("select max(id) from background_jobs").await);
        rig.begin(id).await;
        silence(rig, id).await;
        rows.push((id, 1));
        let (waiting_for, last_error) = (None, Some("timed out".to_owned()));
        updates.push(Watched { id, attempt: 1, waiting_for, rate: None, eta_seconds: None, last_error });
    }
    let (jobs, frozen) = (&rig.store.background_jobs, rows[5].0);
    let beating = format!("select count(*) from background_jobs where heartbeat_at > '{LONG_AGO}'");
    rig.raw.refuse("update", "background_jobs", &format!("old.id = {frozen}")).await;
    let refused = [jobs.beat(&rows).await.unwrap_err(), jobs.watch(&updates).await.unwrap_err()];
    for fault in refused {
        assert!(
            fault.kind() == FaultKind::Permanent && fault.chain().contains("sealed"),
            "{}",
            fault.chain()
        );
    }
    assert_eq!(rig.number(&beating).await, 8);
    assert_eq!(rig.number("select count(*) from background_jobs where last_error = 'timed out'").await, 8);
    assert_eq!(rig.get(frozen).await.last_error, None);
    rig.raw.allow("update", "background_jobs").await;
    assert!(jobs.beat(&rows).await.unwrap().is_empty(), "it is ours all the time");
    assert_eq!(rig.number(&beating).await, 9);
}

/// A trigger that lets no row end, such as one that writes where this role may not.
pub async fn an_attempt_whose_end_is_refused_has_not_died(rig: &Rig) {
    rig.seed(3).await;
    let id = rig.web_row().await;
    rig.raw.refuse("update", "background_jobs", "new.status in ('completed', 'failed')").await;
    for attempt in 1..=6 {
        let job = rig.begin(id).await;
        assert_eq!((job.note.attempt, job.note.barren_attempts), (attempt, 0));
        for end in [EndAttempt::Completed, EndAttempt::Failed { error: "gone".into() }] {
            let refused = rig.store.background_jobs.end_attempt(id, attempt, &end).await.unwrap_err();
            assert!(refused.chain().contains("this row is sealed"), "{}", refused.chain());
            assert!(cannot_end(&refused) && rig.get(id).await.status == Status::Running);
        }
    }
    rig.raw.allow("update", "background_jobs").await;
    assert!(rig.store.background_jobs.end_attempt(id, 6, &EndAttempt::Completed).await.unwrap());
}

pub async fn a_row_that_can_neither_begin_nor_fail_is_known_from_one_that_can_fail(rig: &Rig) {
    let id = rig.web_row().await;
    let begin = Begin {
        id,
        queue_job: "q1".into(),
        entry_at: None,
        stale_after: Duration::from_secs(120),
        max_barren: 3,
    };
    let refused = async || rig.store.background_jobs.begin_attempt(&begin).await.unwrap_err();
    rig.raw.ignore("update", "background_jobs", "new.status = 'running'").await;
    assert!(!cannot_end(&refused().await), "it may fail");
    rig.raw.refuse("update", "background_jobs", "new.status <> old.status").await;
    assert!(cannot_end(&refused().await));
    assert_eq!(rig.get(id).await.status, Status::Queued);
}
