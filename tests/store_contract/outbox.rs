//! Tests of the clean-up outbox.

use std::time::Duration;

use tikkun::blob::BlobTarget;
use tikkun::job::{BackgroundJobId, Backoff};
use tikkun::store::{Condemned, Pass, StillThere};

use super::rig::{OTHER, Rig, TENANT, target};

const HOLD: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);

/// `n` objects that are due.
async fn due(rig: &Rig, n: i64) -> Vec<Condemned> {
    rig.seed(n).await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 50, Pass::Forward).await;
    make_due(rig).await;
    batch.condemned
}

async fn make_due(rig: &Rig) {
    rig.run("update tikkun_cleanup_outbox set next_try_at = '2026-01-01 00:00:00.000000'").await;
}

async fn claim(rig: &Rig, max: u32) -> Vec<Condemned> {
    rig.store.outbox.claim(&target(), None, max, HOLD).await.unwrap()
}

pub async fn a_claimed_object_is_nobody_elses(rig: &Rig) {
    let condemned = due(rig, 5).await;
    let outbox = &rig.store.outbox;
    let here = target();
    let (one, two) = tokio::join!(outbox.claim(&here, None, 3, HOLD), outbox.claim(&here, None, 3, HOLD));
    let mut both = [one.unwrap(), two.unwrap()].concat();
    both.sort_by_key(|object| object.id);
    assert_eq!(both, condemned);
    assert!(claim(rig, 10).await.is_empty());
}

pub async fn fresh_objects_are_held_for_their_batch(rig: &Rig) {
    rig.seed(2).await;
    let job = rig.started().await;
    assert_eq!(rig.good_batch(&job, 50, Pass::Forward).await.condemned.len(), 2);
    assert!(claim(rig, 10).await.is_empty());
    assert_eq!(rig.store.outbox.summary(None).await.unwrap().pending, 2);
}

fn still_there(id: i64, error: &str) -> StillThere {
    StillThere { id, error: error.to_owned(), refused: false }
}

pub async fn a_refused_object_is_counted_until_it_is_tried_with_another_end(rig: &Rig) {
    let condemned = due(rig, 2).await;
    let outbox = &rig.store.outbox;
    let refused = async || outbox.summary(Some(TENANT)).await.unwrap().refused;
    let locked = StillThere { refused: true, ..still_there(condemned[0].id, "it is locked") };
    outbox.postpone(std::slice::from_ref(&locked), &Backoff::BATCH).await.unwrap();
    assert_eq!(refused().await, 1);
    outbox.park(&[locked.id]).await.unwrap();
    assert_eq!(refused().await, 0, "a person knows of it");
    outbox.unpark(None).await.unwrap();
    outbox.postpone(&[still_there(locked.id, "no answer")], &Backoff::BATCH).await.unwrap();
    assert_eq!(refused().await, 0);
}

pub async fn a_postponed_object_waits_longer_each_time(rig: &Rig) {
    let condemned = due(rig, 2).await;
    let backoff = Backoff {
        first: Duration::from_secs(100),
        factor: 10.0,
        cap: Duration::from_secs(10_000),
        jitter: 0.0,
    };
    let mut waits = Vec::new();
    for round in 1..=3 {
        let failed =
            [still_there(condemned[0].id, &format!("round {round}")), still_there(404_404, "not there")];
        rig.store.outbox.postpone(&failed, &backoff).await.unwrap();
        let wait = rig.raw.seconds("last_error_at", "next_try_at");
        waits.push(rig.number(&format!("select {wait} from tikkun_cleanup_outbox where attempts > 0")).await);
    }
    assert_eq!(waits, [100, 1000, 10_000]);
    assert_eq!(claim(rig, 10).await, condemned[1..], "only the other one is due");
    let summary = rig.store.outbox.summary(Some(TENANT)).await.unwrap();
    assert_eq!((summary.pending, summary.last_error.as_deref()), (2, Some("round 3")));
    rig.store.outbox.postpone(&[], &backoff).await.unwrap();
}

pub async fn objects_put_off_before_the_clock_was_set_back_are_due(rig: &Rig) {
    let condemned = due(rig, 2).await;
    let outbox = &rig.store.outbox;
    // As far ahead as a clock that was three hours ahead has put it.
    for (object, wait) in condemned.iter().zip([30, 3 * 3600]) {
        let wait = Duration::from_secs(wait);
        let backoff = Backoff { first: wait, factor: 1.0, cap: wait, jitter: 0.0 };
        outbox.postpone(&[still_there(object.id, "no answer")], &backoff).await.unwrap();
    }
    assert_eq!(claim(rig, 10).await, []);
    assert_eq!(outbox.hasten(HOUR).await.unwrap(), 1);
    assert_eq!(claim(rig, 10).await, condemned[1..], "the other one waits its own time");
    outbox.park(&[condemned[1].id]).await.unwrap();
    assert_eq!(outbox.hasten(HOUR).await.unwrap(), 0);
}

pub async fn confirmed_objects_are_gone_and_the_summary_says_so(rig: &Rig) {
    let condemned = due(rig, 3).await;
    let outbox = &rig.store.outbox;
    let summary = outbox.summary(None).await.unwrap();
    assert_eq!((summary.pending, summary.last_error), (3, None));
    assert!(summary.oldest.is_some());
    assert_eq!(outbox.summary(Some(OTHER)).await.unwrap(), Default::default());
    for _ in 0..2 {
        outbox.confirm(&[condemned[0].id, condemned[2].id]).await.unwrap();
        assert_eq!(outbox.summary(Some(TENANT)).await.unwrap().pending, 1);
    }
    assert_eq!(claim(rig, 10).await, condemned[1..2]);
}

pub async fn a_claim_takes_only_its_store_and_its_job(rig: &Rig) {
    let condemned = due(rig, 1).await;
    let outbox = &rig.store.outbox;
    let elsewhere = BlobTarget { bucket: "old".into(), ..target() };
    assert!(outbox.claim(&elsewhere, None, 10, HOLD).await.unwrap().is_empty());
    assert!(outbox.claim(&target(), Some(BackgroundJobId(404)), 10, HOLD).await.unwrap().is_empty());
    let job = BackgroundJobId(rig.number("select max(id) from background_jobs").await);
    assert_eq!(outbox.claim(&target(), Some(job), 10, HOLD).await.unwrap(), condemned);
    assert!(outbox.claim(&target(), Some(job), 10, HOLD).await.unwrap().is_empty());
}

pub async fn a_parked_object_is_left_alone_until_it_is_put_back(rig: &Rig) {
    let condemned = due(rig, 4).await;
    let outbox = &rig.store.outbox;
    let ids: Vec<i64> = condemned.iter().map(|object| object.id).collect();
    for _ in 0..2 {
        assert_eq!(outbox.park(&[ids[0], ids[2], 404_404]).await.unwrap(), [ids[0], ids[2]]);
    }
    let summary = outbox.summary(None).await.unwrap();
    assert_eq!((summary.pending, summary.parked), (2, 2));
    assert_eq!(outbox.summary(Some(TENANT)).await.unwrap(), summary);
    assert_eq!(claim(rig, 10).await, [condemned[1].clone(), condemned[3].clone()]);
    let job = BackgroundJobId(rig.number("select max(id) from background_jobs").await);
    assert!(outbox.claim(&target(), Some(job), 10, HOLD).await.unwrap().is_empty());
    assert_eq!(outbox.unpark(Some(&ids[..2])).await.unwrap(), ids[..2]);
    assert_eq!(claim(rig, 10).await, condemned[..1], "a claimed one keeps its hold");
    assert_eq!(outbox.unpark(None).await.unwrap(), [ids[2]]);
    assert_eq!(claim(rig, 10).await, condemned[2..3]);
    assert_eq!(outbox.unpark(None).await.unwrap(), [0; 0]);
    assert_eq!(outbox.summary(None).await.unwrap().parked, 0);
}

pub async fn the_list_tells_all_of_each_object_oldest_first(rig: &Rig) {
    let condemned = due(rig, 3).await;
    let outbox = &rig.store.outbox;
    outbox.postpone(&[still_there(condemned[1].id, "no such bucket")], &Backoff::BATCH).await.unwrap();
    outbox.park(&[condemned[2].id]).await.unwrap();
    let rows = outbox.list(10).await.unwrap();
    let shown: Vec<_> = rows.iter().map(|row| Condemned { id: row.id, key: row.key.clone() }).collect();
    assert_eq!(shown, condemned);
    assert!(
        rows.iter().all(|row| row.business_id == TENANT && row.target == target() && row.bytes == Some(10))
    );
    let tried: Vec<_> =
        rows.iter().map(|row| (row.attempts, row.last_error.as_deref(), row.parked_at.is_some())).collect();
    assert_eq!(tried, [(0, None, false), (1, Some("no such bucket"), false), (0, None, true)]);
    assert!(rows[1].next_try_at > rows[1].condemned_at);
    assert_eq!(outbox.list(2).await.unwrap(), rows[..2]);
}

/// What was deleted by mistake is put back from a copy of the tables, while its objects still wait.
pub async fn an_object_whose_path_an_attachment_has_again_stays(rig: &Rig) {
    rig.seed(5).await;
    rig.run("create table copy_of_attachments as select * from attachments where id in (1, 2, 3)").await;
    let job = rig.started().await;
    let condemned = rig.good_batch(&job, 50, Pass::Forward).await.condemned;
    make_due(rig).await;
    let outbox = &rig.store.outbox;
    outbox.park(&[condemned[2].id]).await.unwrap();
    rig.run("insert into attachments select * from copy_of_attachments").await;
    assert_eq!(claim(rig, 1).await, condemned[3..4], "those that stay hide none that go");
    assert_eq!(outbox.claim(&target(), Some(job.id), 1, HOLD).await.unwrap(), condemned[4..]);
    assert_eq!(outbox.unpark(None).await.unwrap(), [condemned[2].id]);
    assert!(claim(rig, 10).await.is_empty());
    assert_eq!(outbox.summary(None).await.unwrap().pending, 2, "what stays is not waited for");
}
