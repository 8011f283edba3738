//! Sessions that ended before their time: a cookie that somebody kept opens nothing after its owner signed out, in
//! whichever process and after whichever restart. They lie in the database; each process looks there every few seconds
//! while cookies come, and goes by what it knew last while the database is away.

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

/// Sessions that are remembered at most. Beyond that every session that there is ends: it costs people a sign-in, and
/// no ended one lives again.
const MOST: usize = 10_000;
/// How long what was read is good enough.
const FRESH: Duration = Duration::from_secs(2);
/// When to look again after the database did not answer.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a look may take: a person waits for it.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a sign-out waits for the database.
const WRITING: Duration = Duration::from_secs(4);

/// The sessions.
pub(super) struct SignedOut {
    store: Arc<dyn EndedSessions>,
    ended: Mutex<Ended>,
    reading: tokio::sync::Mutex<Reading>,
}

#[derive(Debug, Default)]
struct Reading {
    /// Whether the database was read once.
    done: bool,
    /// When to read it again; none: at once.
    next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Ended {
    /// By the session's own mark, until when it would have held.
    sessions: HashMap<String, i64>,
    /// Every session that would hold until then at the latest has ended.
    all_until: i64,
}

impl SignedOut {
    /// Kept in `store`, which is read at once: the page stays open to those who signed in if the database goes away
    /// before anybody has looked. Must be called inside a runtime.
    pub(super) fn begin(store: Arc<dyn EndedSessions>) -> Arc<Self> {
        let begun = Arc::new(Self { store, ended: Mutex::default(), reading: tokio::sync::Mutex::default() });
        let first = Arc::clone(&begun);
        // What fails here is tried again, and told, when somebody comes.
        tokio::spawn(async move { first.bring_up_to_date().await.ok() });
        begun
    }

    /// Ends a session; `latest` is until when one that began now would hold. In this process it has ended whatever comes
    /// of the rest.
    ///
    /// # Errors
    /// When the database does not take it: after a restart, and in other processes, the cookie would open the page.
    pub(super) async fn end(&self, session: &Session, now: i64, latest: i64) -> Result<(), Problem> {
        self.ended.lock().end((&session.mark, session.until), now, latest);
        let until = DateTime::from_timestamp(session.until, 0).unwrap_or(DateTime::<Utc>::MAX_UTC);
        let ended = EndedSession { mark: session.mark.clone(), until };
        let written = within(WRITING, self.store.end_session(&ended, Utc::now())).await;
        written.map_err(|fault| Problem::unavailable("database", &fault))
    }

    /// Whether a session has ended.
    ///
    /// # Errors
    /// When nothing was ever read from the database, and it is out of reach.
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
                // Those who ask meanwhile need not wait for the same.
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

    /// Takes over what the database knows, beside what it does not know yet.
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

    /// Answers once, and is away from then on.
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
