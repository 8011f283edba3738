//! Guarantees that only the embedded queue gives.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tempfile::TempDir;
use tikkun::job::{Limit, NewJob, Unique};
use tikkun::queue::{AttemptOutcome, Broker, Disposition, Enqueued, Settled, open_embedded};

use super::ground::*;

/// A folder that goes when the test ends.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

#[async_trait]
impl Fresh for Folder {
    async fn open(&self) -> Arc<dyn Broker> {
        open_embedded(self.path()).await.unwrap_or_else(|fault| panic!("{}", fault.chain()))
    }
}

#[tokio::test]
async fn leadership_of_before_the_clock_was_set_back_ends_as_any_other() {
    let folder = Folder::new();
    let broker = leased(&folder).await;
    let ttl = Duration::from_secs(1);
    assert!(broker.lead("role", &me(), ttl).await.unwrap());
    let file = SqliteConnectOptions::new().filename(folder.path().join("queue.db"));
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    let ahead =
        "update tikkun_roles set lease_until = lease_until + 3600000, last_tick = last_tick + 3600000";
    sqlx::raw_sql(ahead).execute(&mut raw).await.unwrap();
    assert!(!broker.lead("role", &"other".into(), ttl).await.unwrap(), "its leader has its time");
    eventually("another leader", async || {
        broker.lead("role", &"other".into(), ttl).await.unwrap().then_some(())
    })
    .await;
    assert!(!broker.lead("role", &me(), ttl).await.unwrap());
}

/// As if all that is in the queue's file had been written while the clock was three hours ahead.
async fn written_ahead(folder: &Folder) {
    let file = SqliteConnectOptions::new().filename(folder.path().join("queue.db"));
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    let ahead = "
        update tikkun_jobs set created_at = created_at + 10800000, started_at = started_at + 10800000,
            due_at = due_at + 10800000, waits_since = waits_since + 10800000;
        update tikkun_unique_keys set until = until + 10800000, since = since + 10800000";
    sqlx::raw_sql(ahead).execute(&mut raw).await.unwrap();
}

#[tokio::test]
async fn jobs_that_wait_since_before_the_clock_was_set_back_wait_their_own_time() {
    let folder = Folder::new();
    let broker = leased(&folder).await;
    let delayed = |id: &str, delay| NewJob { delay: Some(delay), ..job(id) };
    let lent = one(&*broker, job("retried")).await;
    let retry = Disposition::RetryAt { delay: Duration::from_secs(1), error: "no".into() };
    settle(&*broker, &lent, retry).await;
    broker
        .enqueue(&[delayed("delayed", Duration::from_secs(1)), delayed("later", Duration::from_secs(3600))])
        .await
        .unwrap();
    written_ahead(&folder).await;
    assert_eq!(broker.promote_due(10).await.unwrap(), 0, "they have their time");
    eventually("two jobs to come due", async || {
        broker.promote_due(10).await.unwrap();
        (counts(&*broker).await.queued == 2).then_some(())
    })
    .await;
    assert_eq!(counts(&*broker).await.scheduled, 1, "the third one waits its hour");
}

#[tokio::test]
async fn period_of_a_unique_key_from_before_the_clock_was_set_back_ends_as_any_other() {
    let folder = Folder::new();
    let broker = leased(&folder).await;
    let unique = |id: &str| {
        let period = Some(Duration::from_secs(1));
        NewJob { unique: Some(Unique { key: "report".to_owned(), period }), ..job(id) }
    };
    let lent = one(&*broker, unique("a")).await;
    settle(&*broker, &lent, ack()).await;
    written_ahead(&folder).await;
    let put = async |id: &str| broker.enqueue(&[unique(id)]).await.unwrap().remove(0);
    assert_ne!(put("b").await, Enqueued::Accepted, "its period runs");
    eventually("the key to be free", async || (put("c").await == Enqueued::Accepted).then_some(())).await;
}

#[tokio::test]
async fn many_open_a_new_folder_at_once() {
    let folder = Folder::new();
    let nested = folder.path().join("not").join("there").join("yet");
    let opening = (0..8).map(|_| open_embedded(&nested));
    let brokers = in_time("eight openings", futures::future::join_all(opening)).await;
    for (n, broker) in brokers.into_iter().enumerate() {
        let broker = broker.unwrap_or_else(|fault| panic!("{}", fault.chain()));
        enqueue(&*broker, &[&format!("job-{n}")]).await;
    }
    assert_eq!(counts(&*open_embedded(&nested).await.unwrap()).await.queued, 8);
}

#[tokio::test]
async fn a_dropped_broker_leaves_nothing_behind_that_watches() {
    let folder = Folder::new();
    let before = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let broker = folder.open().await;
    broker.wait(&queue(), Duration::from_millis(1)).await.unwrap();
    drop(broker);
    eventually("the broker's tasks to end", async || {
        let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        (alive <= before).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_attempt_whose_process_died_is_told_as_lost() {
    let folder = Folder::new();
    let broker = leased(&folder).await;
    let first = one(&*broker, job("a")).await;
    settle(&*broker, &first, Disposition::Rescue).await;
    let second = fetch(&*broker, 1).await.pop().unwrap();
    settle(&*broker, &second, ack()).await;
    let attempts = broker.attempts(&"a".into()).await.unwrap();
    let told: Vec<_> = attempts.iter().map(|attempt| (attempt.number, attempt.outcome)).collect();
    assert_eq!(told, [(Some(2), AttemptOutcome::Finished), (Some(1), AttemptOutcome::Lost)]);
}

/// The file of a folder, past the broker.
async fn change(folder: &Folder, statement: &'static str) {
    let file = SqliteConnectOptions::new().filename(folder.path().join("queue.db"));
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::raw_sql(statement).execute(&mut raw).await.unwrap();
}

#[tokio::test]
async fn time_in_which_another_program_holds_the_file_ends_no_lease() {
    let lease = Duration::from_millis(900);
    let folder = Folder::new();
    let (one, two) = (folder.open().await, folder.open().await);
    let names = [process("one"), process("two")];
    for (broker, name) in [(&one, &names[0]), (&two, &names[1])] {
        assert!(broker.renew_lease(name, lease).await.unwrap());
    }
    enqueue(&*one, &["a"]).await;
    assert_eq!(one.fetch(&queue(), 1, &"one".into()).await.unwrap().len(), 1);
    let file = SqliteConnectOptions::new().filename(folder.path().join("queue.db"));
    let mut raw = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut raw).await.unwrap();
    for _ in 0..9 {
        // Whoever keeps a lease waits no longer than until its next renewal.
        let renewals = async {
            tokio::join!(one.renew_lease(&names[0], lease), two.renew_lease(&names[1], lease), two.orphans(9))
        };
        tokio::time::timeout(lease / 3, renewals).await.unwrap_err();
        let _ = tokio::time::timeout(lease / 10, two.orphans(9)).await;
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut raw).await.unwrap();
    assert_eq!(two.orphans(9).await.unwrap(), [], "nobody could renew anything");
    assert!(one.renew_lease(&names[0], lease).await.unwrap(), "it was never lost");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_whole_keeps_none_of_its_neighbours() {
    for odd in [
        "update tikkun_jobs set meta = 'x' where id = 'b'",
        "update tikkun_jobs set retries_left = 1, retry_intervals = 'x' where id = 'b'",
        "update tikkun_jobs set result = 'x' where id = 'b'",
        "update tikkun_jobs set args = 'x' where id = 'b'",
    ] {
        let folder = Folder::new();
        let broker = leased(&folder).await;
        enqueue(&*broker, &["a", "b", "c"]).await;
        change(&folder, odd).await;
        let lent = fetch(&*broker, 9).await;
        assert_eq!(ids(&lent), ["a", "b", "c"], "{odd}");
        broker.end_lease(&me()).await.unwrap();
        assert_eq!(broker.orphans(9).await.unwrap().len(), 3, "{odd}");
        for delivery in &lent {
            assert_eq!(settle(&*broker, delivery, ack()).await, Settled::Done, "{odd}");
        }
    }
}

#[tokio::test]
async fn an_error_is_kept_to_its_end_whatever_characters_it_has() {
    let folder = Folder::new();
    let broker = leased(&folder).await;
    let first = one(&*broker, job("a")).await;
    let error = "before \0 after \u{1} \u{2028} \" \\u0000 😀";
    settle(&*broker, &first, Disposition::RetryAt { delay: Duration::ZERO, error: error.into() }).await;
    let second = fetch(&*broker, 1).await.pop().unwrap();
    settle(&*broker, &second, Disposition::Discard { error: error.into(), keep: Limit::Never }).await;
    for attempt in broker.attempts(&"a".into()).await.unwrap() {
        assert_eq!(attempt.error.unwrap(), error.replace('\0', "\u{fffd}"), "{:?}", attempt.number);
    }
}
