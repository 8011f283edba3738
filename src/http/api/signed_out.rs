//! Sessions that ended before their time: a cookie that somebody kept opens nothing after its owner signed out. Known to
//! this process alone and until it ends; a new secret ends every session everywhere.

use std::collections::HashMap;

use parking_lot::Mutex;

use super::session::Session;

/// Sessions that are remembered at most. Beyond that every session that there is ends: it costs people a sign-in, and
/// no ended one lives again.
const MOST: usize = 10_000;

/// The sessions.
#[derive(Debug, Default)]
pub(super) struct SignedOut(Mutex<Ended>);

#[derive(Debug, Default)]
struct Ended {
    /// By the session's own mark, until when it would have held.
    sessions: HashMap<String, i64>,
    /// Every session that would hold until then at the latest has ended.
    all_until: i64,
}

impl SignedOut {
    /// Ends a session; `latest` is until when one that began now would hold.
    pub(super) fn end(&self, session: &Session, now: i64, latest: i64) {
        let mut ended = self.0.lock();
        if ended.sessions.len() >= MOST {
            ended.sessions.retain(|_, until| *until > now);
        }
        if ended.sessions.len() >= MOST {
            ended.sessions.clear();
            ended.all_until = latest;
        }
        ended.sessions.insert(session.mark.clone(), session.until);
    }

    /// Whether a session has ended.
    pub(super) fn has(&self, mark: &str, until: i64) -> bool {
        let ended = self.0.lock();
        until <= ended.all_until || ended.sessions.contains_key(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(mark: usize, until: i64) -> Session {
        Session { mark: mark.to_string(), name: String::new(), until, csrf: String::new() }
    }

    #[test]
    fn an_ended_session_stays_ended_and_no_other_does() {
        let ended = SignedOut::default();
        ended.end(&session(1, 100), 0, 100);
        assert!(ended.has("1", 100) && !ended.has("2", 100));
    }

    #[test]
    fn memory_is_bounded_and_no_ended_session_lives_again() {
        let ended = SignedOut::default();
        for mark in 0..=MOST {
            ended.end(&session(mark, 100), 0, 100);
        }
        assert!(ended.0.lock().sessions.len() <= MOST);
        assert!((0..=MOST).all(|mark| ended.has(&mark.to_string(), 100)));
        assert!(!ended.has("later", 101), "whoever signs in afterwards is in");
    }

    #[test]
    fn those_whose_time_has_passed_make_room() {
        let ended = SignedOut::default();
        for mark in 0..MOST {
            ended.end(&session(mark, 10), 0, 100);
        }
        ended.end(&session(MOST, 200), 50, 200);
        assert!(!ended.has("another", 60), "nobody else had to go");
    }
}
