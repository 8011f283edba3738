//! Tests of users' requests.

use tikkun::job::background::{BackgroundJob, DELETE_RECEIPTS_ALL, PauseReason, Status};
use tikkun::job::{BackgroundJobId, BusinessId};
use tikkun::store::{Coverage, EndAttempt, NewRequest, Pass, Person, PersonMove, Requested};

use super::rig::{OTHER, Rig, TENANT};

type Answer = Option<Result<BackgroundJob, Status>>;

async fn wish_of(rig: &Rig, id: BackgroundJobId, business_id: BusinessId, wish: PersonMove) -> Answer {
    let queue_job = (wish == PersonMove::Resume).then(|| "resumed".into());
    let person = Person { id, business_id, wish, by: "user 5".into(), queue_job };
    rig.store.background_jobs.person(&person).await.unwrap()
}

async fn wish(rig: &Rig, id: BackgroundJobId, wish: PersonMove) -> Result<BackgroundJob, Status> {
    wish_of(rig, id, TENANT, wish).await.unwrap()
}

async fn created(rig: &Rig, queue_job: &str) -> BackgroundJob {
    match rig.request(queue_job).await {
        Requested::Created(job) => *job,
        other => panic!("{other:?}"),
    }
}

pub async fn a_request_twice_is_active(rig: &Rig) {
    rig.seed(2).await;
    let job = created(rig, "q1").await;
    assert_eq!(rig.request("q2").await, Requested::Active(Box::new(job.clone())));
    rig.begin(job.id).await;
    assert!(matches!(rig.request("q2").await, Requested::Active(active) if active.id == job.id));
    let (one, two) = (rig.request_of("a"), rig.request_of("b"));
    rig.set(job.id, "status = 'completed'").await;
    let jobs = &rig.store.background_jobs;
    let answers = tokio::join!(jobs.request(&one), jobs.request(&two));
    let made = [answers.0, answers.1].into_iter().filter(|a| matches!(a, Ok(Requested::Created(_)))).count();
    assert_eq!(made, 1);
}

pub async fn a_request_covers_what_exists_and_needs_something(rig: &Rig) {
    assert_eq!(rig.request("q1").await, Requested::Nothing);
    assert_eq!(rig.number("select count(*) from background_jobs").await, 0);
    rig.seed(5).await;
    rig.run("update receipts set is_deleted = true where id = 1").await;
    rig.receipt(9, OTHER, None, None).await;
    let job = created(rig, "q1").await;
    assert_eq!((job.status, job.progress.total, job.cursor.upper_id), (Status::Queued, 4, Some(5)));
    assert_eq!((job.requested_by_user_id, job.note.attempt), (Some(5), 0));
    assert_eq!(job.note.queue_job, Some("q1".into()));
    assert!(job.created_at.is_some() && job.started_at.is_none());
}

pub async fn a_row_that_was_not_enqueued_blocks_nothing(rig: &Rig) {
    rig.seed(1).await;
    let job = created(rig, "q1").await;
    let jobs = &rig.store.background_jobs;
    assert!(jobs.fail_unbegun(job.id, "the broker is out of reach").await.unwrap());
    assert!(!jobs.fail_unbegun(job.id, "again").await.unwrap());
    let row = rig.get(job.id).await;
    assert_eq!((row.status, row.last_error.as_deref()), (Status::Failed, Some("the broker is out of reach")));
    assert!(row.finished_at.is_some());
    let next = created(rig, "q2").await;
    rig.begin(next.id).await;
    assert!(!jobs.fail_unbegun(next.id, "late").await.unwrap(), "it runs");
}

pub async fn a_row_that_cannot_go_on_fails_unless_a_person_paused_it(rig: &Rig) {
    rig.seed(1).await;
    let jobs = &rig.store.background_jobs;
    let first = rig.begin(created(rig, "q1").await.id).await;
    assert!(jobs.end_attempt(first.id, 1, &EndAttempt::Continuation).await.unwrap());
    assert!(jobs.fail_unbegun(first.id, "no tenant is bound").await.unwrap());
    let row = rig.get(first.id).await;
    assert_eq!((row.status, row.last_error.as_deref()), (Status::Failed, Some("no tenant is bound")));
    assert_eq!(row.note.pause_reason, None);
    assert!(!jobs.revive(first.id, 1).await.unwrap(), "no stale rule has failed it");
    let second = created(rig, "q2").await;
    wish(rig, second.id, PersonMove::Pause).await.unwrap();
    assert!(!jobs.fail_unbegun(second.id, "no tenant is bound").await.unwrap());
    assert_eq!(rig.get(second.id).await.status, Status::Paused);
}

pub async fn wishes_follow_the_table(rig: &Rig) {
    rig.seed(1).await;
    let id = created(rig, "q1").await.id;
    assert_eq!(wish(rig, id, PersonMove::Resume).await, Err(Status::Queued));
    let paused = wish(rig, id, PersonMove::Pause).await.unwrap();
    assert_eq!((paused.status, paused.note.pause_reason), (Status::Paused, Some(PauseReason::Person)));
    assert_eq!(paused.note.changed_by.as_deref(), Some("user 5"));
    assert_eq!(wish(rig, id, PersonMove::Pause).await, Err(Status::Paused));
    let resumed = wish(rig, id, PersonMove::Resume).await.unwrap();
    assert_eq!((resumed.status, resumed.note.pause_reason), (Status::Queued, None));
    assert_eq!(resumed.note.queue_job, Some("resumed".into()));
    let job = rig.begin(id).await;
    assert!(rig.store.background_jobs.end_attempt(id, 1, &EndAttempt::Continuation).await.unwrap());
    assert_eq!(wish(rig, id, PersonMove::Resume).await, Err(Status::Paused), "it goes on by itself");
    let cancelled = wish(rig, id, PersonMove::Cancel).await.unwrap();
    assert_eq!(cancelled.status, Status::Cancelled);
    assert!(cancelled.finished_at.is_some() && cancelled.heartbeat_at >= job.heartbeat_at);
    assert_eq!(wish(rig, id, PersonMove::Cancel).await, Err(Status::Cancelled));
}

pub async fn another_tenants_row_is_not_there(rig: &Rig) {
    let id = rig.web_row().await;
    assert_eq!(wish_of(rig, id, OTHER, PersonMove::Cancel).await, None);
    assert_eq!(wish_of(rig, BackgroundJobId(404), TENANT, PersonMove::Cancel).await, None);
    assert_eq!(rig.get(id).await.status, Status::Queued);
}

pub async fn the_latest_row_is_an_active_one_first(rig: &Rig) {
    let jobs = &rig.store.background_jobs;
    assert_eq!(jobs.latest(TENANT, DELETE_RECEIPTS_ALL).await.unwrap(), None);
    let active = rig.web_row().await;
    rig.run(&format!(
        "insert into background_jobs (business_id, job_type, status) values ({TENANT}, '{DELETE_RECEIPTS_ALL}', 'failed')"
    ))
    .await;
    let latest = async || jobs.latest(TENANT, DELETE_RECEIPTS_ALL).await.unwrap().unwrap().id;
    assert_eq!(latest().await, active);
    rig.set(active, "status = 'completed'").await;
    assert_eq!(latest().await, BackgroundJobId(active.0 + 1));
    assert_eq!(jobs.latest(OTHER, DELETE_RECEIPTS_ALL).await.unwrap(), None);
}

pub async fn active_rows_come_oldest_first(rig: &Rig) {
    rig.run(&format!(
        "insert into background_jobs (business_id, job_type, status) values
         (3, '{DELETE_RECEIPTS_ALL}', 'running'), (2, '{DELETE_RECEIPTS_ALL}', 'completed'),
         (2, '{DELETE_RECEIPTS_ALL}', 'paused'), (1, 'other', 'queued'), (1, '{DELETE_RECEIPTS_ALL}', 'queued')"
    ))
    .await;
    let active = async |max| {
        let rows = rig.store.background_jobs.active(DELETE_RECEIPTS_ALL, max).await.unwrap();
        rows.iter().map(|job| job.business_id.0).collect::<Vec<_>>()
    };
    assert_eq!(active(10).await, [3, 2, 1]);
    assert_eq!(active(2).await, [3, 2]);
}

pub async fn a_row_of_ours_stays_among_the_newest_behind_very_many_others(rig: &Rig) {
    let id = rig.web_row().await;
    rig.begin(id).await;
    rig.run(
        "insert into background_jobs (id, business_id, job_type, status, created_at, updated_at)
         with recursive n (i) as (select 100 union all select i + 1 from n where i < 30100)
         select i, i, 'something_else', 'completed', '2026-01-01 10:00:00', '2026-01-01 10:00:00' from n",
    )
    .await;
    let newest = rig.store.background_jobs.newest(DELETE_RECEIPTS_ALL, 10).await.unwrap();
    assert_eq!(newest.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);
}

pub async fn newest_rows_come_newest_first_whatever_became_of_them(rig: &Rig) {
    rig.run(&format!(
        "insert into background_jobs (business_id, job_type, status) values
         (3, '{DELETE_RECEIPTS_ALL}', 'completed'), (2, 'other', 'queued'), (2, '{DELETE_RECEIPTS_ALL}', 'running'),
         (1, '{DELETE_RECEIPTS_ALL}', 'failed')"
    ))
    .await;
    let newest = async |max| {
        let rows = rig.store.background_jobs.newest(DELETE_RECEIPTS_ALL, max).await.unwrap();
        rows.iter().map(|job| job.business_id.0).collect::<Vec<_>>()
    };
    assert_eq!(newest(10).await, [1, 2, 3]);
    assert_eq!(newest(2).await, [1, 2]);
}

pub async fn a_broken_row_hides_no_other_active_one(rig: &Rig) {
    rig.run(&format!(
        "insert into background_jobs (business_id, job_type, status, cursor, created_at) values
         (3, '{DELETE_RECEIPTS_ALL}', 'running', '12345', null), (2, '{DELETE_RECEIPTS_ALL}', 'queued', null, null),
         (1, '{DELETE_RECEIPTS_ALL}', 'paused', '{{', null),
         (5, '{DELETE_RECEIPTS_ALL}', 'queued', null, null)"
    ))
    .await;
    for _ in 0..2 {
        let rows = rig.store.background_jobs.active(DELETE_RECEIPTS_ALL, 10).await.unwrap();
        assert_eq!(rows.iter().map(|job| job.business_id.0).collect::<Vec<_>>(), [2, 5]);
    }
    let broken = rig.ids("select id from background_jobs where business_id = 3").await;
    assert!(
        rig.store.background_jobs.get(BackgroundJobId(broken[0])).await.is_err(),
        "asked for, it is named"
    );
}

pub async fn a_new_carrier_is_noted(rig: &Rig) {
    let id = rig.web_row().await;
    for queue_job in ["a", "b"] {
        rig.store.background_jobs.carried_by(id, &queue_job.into()).await.unwrap();
        assert_eq!(rig.get(id).await.note.queue_job, Some(queue_job.into()));
    }
    rig.store.background_jobs.carried_by(BackgroundJobId(404), &"a".into()).await.unwrap();
}

async fn request_covering(rig: &Rig, covers: Coverage) -> Requested {
    let request = NewRequest { covers, ..rig.request_of("again") };
    rig.store.background_jobs.request(&request).await.unwrap()
}

async fn created_covering(rig: &Rig, covers: Coverage) -> BackgroundJob {
    match request_covering(rig, covers).await {
        Requested::Created(job) => *job,
        other => panic!("{other:?}"),
    }
}

pub async fn the_rest_of_a_request_leaves_out_what_came_later(rig: &Rig) {
    rig.seed(5).await;
    let failed = created(rig, "q1").await;
    let running = rig.begin(failed.id).await;
    rig.good_batch(&running, 2, Pass::Forward).await;
    rig.set(failed.id, "status = 'failed'").await;
    rig.receipt(6, TENANT, None, None).await;
    let again = created_covering(rig, Coverage::RestOf(failed.id)).await;
    assert_eq!((again.progress.total, again.cursor.upper_id), (3, Some(5)));
    let running = rig.begin(again.id).await;
    rig.delete_all(&running, 50).await;
    assert_eq!(rig.live(TENANT).await, [6]);
    rig.set(again.id, "status = 'completed'").await;
    assert_eq!(request_covering(rig, Coverage::RestOf(failed.id)).await, Requested::Nothing);

    // A row of the web application that never started has no upper id: its time tells.
    let web = rig.web_row().await;
    rig.set(web, "status = 'failed'").await;
    let rest = created_covering(rig, Coverage::RestOf(web)).await;
    assert_eq!((rest.progress.total, rest.cursor.upper_id), (1, Some(6)));
}

pub async fn what_was_set_aside_is_requested_alone(rig: &Rig) {
    rig.seed(6).await;
    rig.raw.refuse("update", "receipts", "old.id in (2, 5)").await;
    let first = rig.started().await;
    rig.delete_all(&first, 50).await;
    rig.set(first.id, "status = 'completed'").await;
    rig.receipt(7, TENANT, None, None).await;
    rig.raw.allow("update", "receipts").await;
    let again = created_covering(rig, Coverage::SetAsideOf(first.id)).await;
    assert_eq!((again.progress.total, again.cursor.set_aside_of), (2, Some(first.id)));
    let running = rig.begin(again.id).await;
    let batches = rig.delete_all(&running, 1).await;
    assert_eq!(batches.iter().map(|batch| batch.deleted).sum::<u32>(), 2);
    assert_eq!((rig.live(TENANT).await, rig.attachments().await), (vec![7], vec![]));
    assert_eq!(rig.get(again.id).await.progress.succeeded, 2);
    assert_eq!(rig.store.receipts.set_aside(first.id, 9).await.unwrap(), [], "they are no longer live");
    rig.set(again.id, "status = 'completed'").await;
    assert_eq!(request_covering(rig, Coverage::SetAsideOf(first.id)).await, Requested::Nothing);
}

pub async fn an_earlier_request_of_another_tenant_is_not_there(rig: &Rig) {
    rig.seed(2).await;
    rig.receipt(9, OTHER, None, None).await;
    let failed = created(rig, "q1").await;
    rig.set(failed.id, "status = 'failed'").await;
    for covers in [Coverage::RestOf(failed.id), Coverage::SetAsideOf(failed.id)] {
        let request = NewRequest { business_id: OTHER, covers, ..rig.request_of("theirs") };
        assert_eq!(rig.store.background_jobs.request(&request).await.unwrap(), Requested::Nothing);
    }
}
