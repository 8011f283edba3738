//! Signed-out sessions: a copy of the cookie is useless after its user signed out, in every process and after
//! restarts. They are stored in the database. Each process reads them every few seconds while cookies arrive,
//! and uses what it last read while the database is unavailable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::session::Session;
use crate::fault::{Fault, FaultKind};
use crate::http::Problem;
use crate::store::{EndedSession, EndedSessions};

/// The most signed-out sessions in memory. With more, all existing sessions end: users must sign in again,
/// but no ended session becomes valid.
const MOST: usize = 10_000;
/// How long a read stays fresh.
const FRESH: Duration = Duration::from_secs(2);
/// The delay before the next read after a failed one.
const AGAIN: Duration = Duration::from_secs(10);
/// The time limit of a read, since a user waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time limit of a write, at sign-out.
const WRITING: Duration = Duration::from_secs(4);

/// The signed-out sessions.
pub(super) struct SignedOut {
    store: Arc<dyn EndedSessions>,
    ended: Mutex<Ended>,
    reading: tokio::sync::Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// Whether the database has been read once.
    done: bool,
    /// When to read it again; `None`: at once.
    next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Ended {
    /// The signed-out sessions by id, with the time when each would have ended.
    sessions: HashMap<String, i64>,
    /// All sessions that would end by this time have ended.
    all_until: i64,
}

impl SignedOut {
    /// Reads `store` at once, so that the page stays open to its users if the database becomes unavailable
    /// before the first request. Must be called inside a runtime.
    pub(super) fn begin(store: Arc<dyn EndedSessions>) -> Arc<Self> {
        let begun = Arc::new(Self { store, ended: Mutex::default(), reading: tokio::sync::Mutex::default() });
        let first = Arc::clone(&begun);
        // After a failure the next request reads again, and logs.
        tokio::spawn(async move { first.bring_up_to_date().await.ok() });
        begun
    }

    /// Ends a session; `latest` is when a session that starts now would end. In this process it has ended
    /// even if the write fails.
    ///
    /// # Errors
    /// If the write fails: after a restart, and in other processes, the cookie would still be valid.
    pub(super) async fn end(&self, session: &Session, now: i64, latest: i64) -> Result<(), Problem> {
        self.ended.lock().end((&session.mark, session.until), now, latest);
        let until = DateTime::from_timestamp(session.until, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let ended = EndedSession { mark: session.mark.clone(), until };
        let written = within(WRITING, self.store.end_session(&ended, Utc::now())).await;
        written.map_err(|fault| Problem::unavailable("database", &fault))
    }

    /// Whether a session has been signed out.
    ///
    /// # Errors
    /// If the database is unavailable and has never been read.
    pub(super) async fn has(&self, mark: &str, until: i64) -> Result<bool, Problem> {
        self.bring_up_to_date().await?;
        Ok(self.ended.lock().has(mark, until))
    }

    async fn bring_up_to_date(&self) -> Result<(), Problem> {
        let mut reading = self.reading.lock().await;
        if reading.next.is_some_and(|next| Instant::now() < next) {
            return if reading.done { Ok(()) } else { Err(unread()) };
        }
        let most = u32::try_from(MOST).unwrap_or(u32::MAX).saturating_add(1);
        match within(PATIENCE, self.store.ended(Utc::now(), most)).await {
            Ok(found) => {
                self.ended.lock().learn(&found, Utc::now().timestamp());
                *reading = Reading { done: true, next: Some(Instant::now() + FRESH) };
                Ok(())
            }
            Err(fault) if !reading.done && fault.is_retryable() => {
                // Until then other requests fail at once instead of waiting, too.
                reading.next = Some(Instant::now() + FRESH);
                Err(Problem::unavailable("database", &fault))
            }
            Err(fault) => {
                reading.next = Some(Instant::now() + AGAIN);
                let text = "the database does not say which sessions were signed out elsewhere";
                tracing::warn!(error = fault.chain(), "{text}");
                Ok(())
            }
        }
    }
}

fn unread() -> Problem {
    let text = "it has not said yet which sessions were signed out";
    Problem::unavailable("database", &Fault::new(FaultKind::Unavailable, text))
}

async fn within<T>(time: Duration, answer: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let late = |_| Fault::new(FaultKind::Unavailable, "no answer in time");
    timeout(time, answer).await.map_err(late)?
}

impl Ended {
    fn end(&mut self, (mark, until): (&str, i64), now: i64, latest: i64) {
        self.make_room(1, now, latest);
        self.sessions.insert(mark.to_owned(), until);
    }

    /// Adds the sessions from the database, and keeps those that it does not have yet.
    fn learn(&mut self, found: &[EndedSession], now: i64) {
        let latest = found.iter().map(|one| one.until.timestamp()).max().unwrap_or(now);
        self.make_room(
            found.iter().filter(|one| !self.sessions.contains_key(&one.mark)).count(),
            now,
            latest,
        );
        let rows = found.iter().take(MOST).map(|one| (one.mark.clone(), one.until.timestamp()));
        self.sessions.extend(rows);
    }

    fn make_room(&mut self, more: usize, now: i64, latest: i64) {
        if self.sessions.len() + more > MOST {
            self.sessions.retain(|_, until| *until > now);
        }
        if self.sessions.len() + more > MOST {
            self.sessions.clear();
            self.all_until = self.all_until.max(latest);
        }
    }

    fn has(&self, mark: &str, until: i64) -> bool {
        until <= self.all_until || self.sessions.contains_key(mark)
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// A store that answers once, and is unavailable from then on.
    struct Leaving(Mutex<Option<Vec<EndedSession>>>);

    #[async_trait]
    impl EndedSessions for Leaving {
        async fn end_session(&self, _: &EndedSession, _: DateTime<Utc>) -> Result<(), Fault> {
            Err(unavailable())
        }

        async fn ended(&self, _: DateTime<Utc>, _: u32) -> Result<Vec<EndedSession>, Fault> {
            self.0.lock().take().ok_or_else(unavailable)
        }
    }

    fn unavailable() -> Fault {
        Fault::new(FaultKind::Unavailable, "it is away")
    }

    #[tokio::test]
    async fn a_database_that_goes_away_before_anybody_looked_shuts_nobody_out() {
        let signed_out = SignedOut::begin(Arc::new(Leaving(Mutex::new(Some(found(1, 100))))));
        while !signed_out.reading.lock().await.done {
            tokio::task::yield_now().await;
        }
        signed_out.reading.lock().await.next = None;
        assert!(signed_out.has("0", 100).await.unwrap() && !signed_out.has("1", 100).await.unwrap());
        let never = SignedOut::begin(Arc::new(Leaving(Mutex::new(None))));
        assert!(never.has("1", 100).await.is_err(), "nobody knows who signed out");
    }

    fn found(count: usize, until: i64) -> Vec<EndedSession> {
        let until = DateTime::from_timestamp(until, 0).unwrap();
        (0..count).map(|mark| EndedSession { mark: mark.to_string(), until }).collect()
    }

    #[test]
    fn an_ended_session_stays_ended_and_no_other_does() {
        let mut ended = Ended::default();
        ended.end(("1", 100), 0, 100);
        ended.learn(&[], 0);
        assert!(ended.has("1", 100) && !ended.has("2", 100));
    }

    #[test]
    fn memory_is_bounded_and_no_ended_session_lives_again() {
        let mut ended = Ended::default();
        for mark in 0..=MOST {
            ended.end((&mark.to_string(), 100), 0, 100);
        }
        assert!(ended.sessions.len() <= MOST);
        assert!((0..=MOST).all(|mark| ended.has(&mark.to_string(), 100)));
        assert!(!ended.has("later", 101), "whoever signs in afterwards is in");
    }

    #[test]
    fn more_than_fit_in_the_database_end_every_session_that_there_is() {
        let mut ended = Ended::default();
        ended.learn(&found(MOST, 100), 0);
        assert!(ended.has("7", 100) && !ended.has("another", 100));
        ended.learn(&found(MOST, 100), 0);
        assert!(!ended.has("another", 100), "they are the same");
        ended.learn(&found(MOST + 1, 100), 0);
        assert!(ended.has("another", 100) && !ended.has("later", 101));
        assert!(ended.sessions.len() <= MOST);
    }

    #[test]
    fn those_whose_time_has_passed_make_room() {
        let mut ended = Ended::default();
        for mark in 0..MOST {
            ended.end((&mark.to_string(), 10), 0, 100);
        }
        ended.end(("last", 200), 50, 200);
        assert!(!ended.has("another", 60), "nobody else had to go");
    }
}
