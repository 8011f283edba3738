//! Tests of certificates: which deletions have one, what it says, and that the chain holds.

use std::collections::BTreeSet;
use std::time::Duration;

use tikkun::certificate::{Certificate, Issuer, Sealed, SigningKey, WhyKept, verify};
use tikkun::job::BackgroundJobId;
use tikkun::job::background::BackgroundJob;
use tikkun::store::{EndAttempt, Pass, Person, PersonMove};

use super::rig::{Rig, TENANT, target};

fn issuer() -> Issuer {
    Issuer { key: Some(SigningKey::read(&"7".repeat(64).into()).unwrap()) }
}

/// Issues what is due, as a process does in one look.
async fn issue_due(rig: &Rig, issuer: &Issuer) -> Vec<Sealed> {
    let mut issued = Vec::new();
    for id in rig.store.certificates.due(100).await.unwrap() {
        issued.extend(rig.store.certificates.issue(id, issuer).await.unwrap());
    }
    issued
}

/// The only certificate that is due.
async fn issue_one(rig: &Rig) -> Certificate {
    let issued = issue_due(rig, &issuer()).await;
    assert_eq!(issued.len(), 1, "{issued:?}");
    issued[0].certificate().unwrap()
}

/// The whole chain, after it was verified.
async fn chain(rig: &Rig) -> Vec<Certificate> {
    let chain = rig.store.certificates.chain(0, 100).await.unwrap();
    let text: String = chain.iter().map(|one| one.line() + "\n").collect();
    let verified = verify(&text, &[issuer().key.unwrap().public()], None);
    assert_eq!(verified.unwrap().certificates, chain.len() as u64);
    chain.iter().map(|one| one.certificate().unwrap()).collect()
}

async fn end(rig: &Rig, job: &BackgroundJob, end: EndAttempt) {
    let jobs = &rig.store.background_jobs;
    assert!(jobs.end_attempt(job.id, job.note.attempt, &end).await.unwrap());
}

async fn cancel(rig: &Rig, id: BackgroundJobId) {
    let by = "Miriam".to_owned();
    let person = Person { id, business_id: TENANT, wish: PersonMove::Cancel, by, queue_job: None };
    rig.store.background_jobs.person(&person).await.unwrap().unwrap().unwrap();
}

pub async fn each_deletion_that_ends_has_one_however_it_ends(rig: &Rig) {
    let completed = rig.started().await;
    assert!(issue_due(rig, &issuer()).await.is_empty(), "it is under way");
    end(rig, &completed, EndAttempt::Completed).await;
    let failed = rig.started().await;
    end(rig, &failed, EndAttempt::Failed { error: "Miriam's disk".into() }).await;
    let cancelled = rig.web_row().await;
    cancel(rig, cancelled).await;
    let unbegun = rig.web_row().await;
    assert!(rig.store.background_jobs.fail_unbegun(unbegun, "no queue").await.unwrap());
    // The web application writes ends of its own.
    let of_the_application = rig.started().await;
    rig.set(of_the_application.id, "status = 'cancelled'").await;
    let paused = rig.started().await;
    end(rig, &paused, EndAttempt::Continuation).await;

    assert_eq!(issue_due(rig, &issuer()).await.len(), 5);
    assert!(issue_due(rig, &issuer()).await.is_empty(), "each once");
    let outcomes: Vec<_> = chain(rig).await.into_iter().map(|one| one.deletion.outcome).collect();
    assert_eq!(outcomes, ["completed", "failed", "cancelled", "failed", "cancelled"]);
    assert!(rig.store.certificates.newest_of(paused.id).await.unwrap().is_none());
    let newest = rig.store.certificates.newest_of(failed.id).await.unwrap().unwrap();
    assert!(!newest.line().contains("Miriam"), "{}", newest.line());
}

pub async fn it_counts_what_is_gone_owed_and_kept_and_becomes_final(rig: &Rig) {
    rig.seed(6).await;
    // One attachment that two receipts have, and one without an object.
    rig.receipt(7, TENANT, Some(6), None).await;
    rig.run("update attachments set storage_path = null where id = 5").await;
    rig.run(
        "create table contracts (id integer primary key, document_id integer references attachments (id))",
    )
    .await;
    rig.run("insert into contracts (id, document_id) values (1, 4)").await;
    rig.raw.refuse("update", "receipts", "old.id = 3").await;
    let job = rig.started().await;
    let batches = rig.delete_all(&job, 4).await;
    end(rig, &job, EndAttempt::Completed).await;
    let first = issue_one(rig).await;
    assert!(!first.r#final && !first.counts_missing);
    let rows: Vec<_> = first.tables.iter().map(|one| (one.table.as_str(), one.rows)).collect();
    // The attachment 3 is needed by its receipt, 4 by a contract.
    assert_eq!(rows, [("receipts", Some(6)), ("attachments", Some(4))]);
    assert_eq!((first.objects.deleted, first.objects.owed, first.set_aside), (Some(0), 3, 1));
    let kept: Vec<_> = first.kept.iter().map(|one| (one.table.as_str(), one.rows, one.why)).collect();
    assert_eq!(kept, [("attachments", 1, WhyKept::Referenced)]);
    assert_eq!((first.deletion.tenant, first.deletion.attempts), (TENANT.to_string(), 1));
    assert!(first.deletion.first_moment.is_some() && first.deletion.last_moment.is_some());

    let ids: Vec<i64> = batches.iter().flat_map(|batch| &batch.condemned).map(|object| object.id).collect();
    rig.store.outbox.confirm(&ids[..1]).await.unwrap();
    rig.store.outbox.park(&ids[1..2]).await.unwrap();
    assert!(issue_due(rig, &issuer()).await.is_empty(), "two are still owed, one of them parked");
    rig.store.outbox.confirm(&ids[1..]).await.unwrap();
    let last = issue_one(rig).await;
    assert!(last.r#final);
    assert_eq!((last.objects.deleted, last.objects.owed, last.sequence), (Some(3), 0, 2));
    assert_eq!(last.tables, first.tables);
    assert!(issue_due(rig, &issuer()).await.is_empty());
    assert_eq!(chain(rig).await.len(), 2);
}

pub async fn an_object_whose_path_is_needed_again_is_not_counted_as_deleted(rig: &Rig) {
    rig.seed(2).await;
    let job = rig.started().await;
    let batch = rig.good_batch(&job, 9, Pass::Forward).await;
    end(rig, &job, EndAttempt::Completed).await;
    rig.run("update tikkun_cleanup_outbox set next_try_at = '2026-01-01 00:00:00.000000'").await;
    rig.attach(1, TENANT, "receipt_source").await;
    let claimed = rig.store.outbox.claim(&target(), None, 9, Duration::from_secs(30)).await.unwrap();
    assert_eq!((batch.condemned.len(), claimed.len()), (2, 1));
    rig.store.outbox.confirm(&[claimed[0].id]).await.unwrap();
    let certificate = issue_one(rig).await;
    assert!(certificate.r#final);
    assert_eq!((certificate.objects.deleted, certificate.objects.needed_again), (Some(1), Some(1)));
}

pub async fn a_deletion_that_goes_on_after_its_certificate_has_one_more(rig: &Rig) {
    rig.seed(4).await;
    let job = rig.started().await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    // The web application's stale rule fails it although it is alive.
    rig.set(job.id, "status = 'failed'").await;
    rig.run("delete from tikkun_cleanup_outbox").await;
    assert_eq!(issue_one(rig).await.tables[0].rows, Some(2));
    assert!(rig.store.background_jobs.revive(job.id, job.note.attempt).await.unwrap());
    assert!(issue_due(rig, &issuer()).await.is_empty());
    rig.delete_all(&job, 2).await;
    end(rig, &job, EndAttempt::Completed).await;
    rig.run("delete from tikkun_cleanup_outbox").await;
    let last = issue_one(rig).await;
    assert_eq!((last.tables[0].rows, last.tables[1].rows, last.objects.deleted), (Some(4), Some(4), Some(4)));
}

pub async fn what_another_program_did_without_counting_says_so(rig: &Rig) {
    rig.seed(9).await;
    // The application's own job begins it, as after a way back; or works on it between two attempts of ours.
    let begun_by_it = rig.web_row().await;
    rig.run("update receipts set is_deleted = true where id = 1").await;
    rig.set(begun_by_it, "processed = 1, succeeded = 1, total = 4, cursor = '{\"last_id\": 1}'").await;
    let job = rig.begin(begun_by_it).await;
    rig.good_batch(&job, 2, Pass::Forward).await;
    end(rig, &job, EndAttempt::Failed { error: "stopped".into() }).await;
    let between = rig.started().await;
    rig.good_batch(&between, 2, Pass::Forward).await;
    rig.run("update receipts set is_deleted = true where id = 6").await;
    rig.set(between.id, "processed = processed + 1, succeeded = succeeded + 1").await;
    let between = rig.begin(between.id).await;
    rig.delete_all(&between, 2).await;
    end(rig, &between, EndAttempt::Completed).await;
    assert_eq!(issue_due(rig, &issuer()).await.len(), 2);
    for (certificate, gone) in chain(rig).await.iter().zip([3, 6]) {
        let rows: Vec<_> = certificate.tables.iter().map(|one| one.rows).collect();
        assert_eq!((rows, certificate.objects.deleted), (vec![Some(gone), None], None));
        assert!(certificate.counts_missing);
    }
}

pub async fn a_row_with_the_id_of_an_earlier_one_counts_from_nothing(rig: &Rig) {
    rig.seed(2).await;
    let job = rig.started().await;
    rig.delete_all(&job, 2).await;
    rig.run("delete from tikkun_cleanup_outbox").await;
    // The application empties its table, and its ids begin anew.
    let at = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.6f");
    let anew = format!("status = 'queued', processed = 0, succeeded = 0, cursor = null, created_at = '{at}'");
    rig.set(job.id, &anew).await;
    let again = rig.begin(job.id).await;
    end(rig, &again, EndAttempt::Completed).await;
    let certificate = issue_one(rig).await;
    assert_eq!((certificate.tables[1].rows, certificate.objects.deleted), (Some(0), Some(0)));
}

pub async fn two_processes_make_one_chain(rig: &Rig) {
    let mut ended = BTreeSet::new();
    for _ in 0..12 {
        let job = rig.started().await;
        end(rig, &job, EndAttempt::Completed).await;
        ended.insert(job.id.to_string());
    }
    let process = async || {
        let (mut issued, issuer) = (0, issuer());
        // Whoever comes second adds nothing, and the certificate stays due.
        for _ in 0..200 {
            match issue_due(rig, &issuer).await.len() {
                0 if rig.store.certificates.due(1).await.unwrap().is_empty() => break,
                new => issued += new,
            }
        }
        issued
    };
    let (one, two) = tokio::join!(process(), process());
    assert_eq!(one + two, 12);
    let chain = chain(rig).await;
    assert_eq!(chain.iter().map(|one| one.deletion.id.clone()).collect::<BTreeSet<_>>(), ended);
    assert_eq!(chain.len(), 12, "each once");
}

pub async fn a_deletion_whose_row_cannot_be_read_hinders_no_other(rig: &Rig) {
    let broken = rig.started().await;
    end(rig, &broken, EndAttempt::Completed).await;
    rig.set(broken.id, "cursor = 'nonsense'").await;
    let good = rig.started().await;
    end(rig, &good, EndAttempt::Completed).await;
    let certificates = &rig.store.certificates;
    assert_eq!(certificates.due(9).await.unwrap(), [broken.id, good.id]);
    let fault = certificates.issue(broken.id, &issuer()).await.unwrap_err();
    assert!(fault.chain().contains("nonsense"), "{}", fault.chain());
    assert!(certificates.issue(good.id, &issuer()).await.unwrap().is_some());
}
