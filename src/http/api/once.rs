//! Idempotency keys: a change that is sent twice with the same key is made once, and gets the same response.
//!
//! A refused change is not remembered, so it may be tried again. Responses are kept in this process for ten
//! minutes. Rules that must hold longer do not depend on this: one active deletion per tenant, and a
//! cancelled job stays cancelled.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::body::{BoxBody, to_bytes};
use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use crate::http::Problem;

/// How long a response is kept.
const KEEP: Duration = Duration::from_secs(600);
/// The most keys and bytes of responses, per caller and in all; beyond that the oldest responses are dropped.
/// A response about a thousand jobs takes about 100 kB.
const MOST_OF_ONE: Room = Room { keys: 500, bytes: 4 << 20 };
const MOST: Room = Room { keys: 2000, bytes: 16 << 20 };

/// A hash of a change's method, path and body.
pub(super) type Fingerprint = [u8; 32];

/// The used keys.
#[derive(Clone, Default)]
pub(super) struct Once(Arc<Mutex<HashMap<String, Use>>>);

/// A limit on kept responses.
struct Room {
    keys: usize,
    bytes: usize,
}

struct Use {
    /// The caller.
    who: String,
    at: Instant,
    fingerprint: Fingerprint,
    /// `None` while the change is in progress.
    answer: Option<Kept>,
}

/// A response that can be repeated.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    status: StatusCode,
    kind: Option<header::HeaderValue>,
    body: Bytes,
}

/// What to do with a change.
pub(super) enum Turn {
    /// It was answered before: repeat this response.
    Again(Kept),
    /// Make the change.
    First(Ticket),
}

/// The right to make a change. If it is dropped without [`Ticket::keep`], the key is free again.
pub(super) struct Ticket {
    once: Once,
    key: String,
}

impl Once {
    /// Equal for equal changes.
    pub(super) fn fingerprint(words: &[&str], body: &[u8]) -> Fingerprint {
        let mut hash = Sha256::new();
        for part in words.iter().map(|word| word.as_bytes()).chain([body]) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Decides whether to make the change that this caller sent with this key.
    ///
    /// # Errors
    /// If the change is in progress, the key belongs to another change, or too many changes are in progress.
    pub(super) fn turn(&self, who: &str, key: &str, fingerprint: Fingerprint) -> Result<Turn, Problem> {
        let (now, key) = (Instant::now(), format!("{who}|{key}"));
        let mut uses = self.0.lock();
        uses.retain(|_, one| one.answer.is_none() || now.saturating_duration_since(one.at) < KEEP);
        let conflict = |status, code, text: &str| Err(Problem::new(status, code, text));
        match uses.get(&key) {
            Some(one) if one.fingerprint != fingerprint => {
                return conflict(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "idempotency_key_reused",
                    "this Idempotency-Key was used for another change; take a new one",
                );
            }
            Some(Use { answer: None, .. }) => {
                return conflict(
                    StatusCode::CONFLICT,
                    "in_progress",
                    "the change with this Idempotency-Key is under way; ask again in a moment",
                );
            }
            Some(Use { answer: Some(kept), .. }) => return Ok(Turn::Again(kept.clone())),
            None => {}
        }
        if !make_room(&mut uses, who) {
            return conflict(
                StatusCode::SERVICE_UNAVAILABLE,
                "too_many_keys",
                "too many changes with an Idempotency-Key are under way; send this one without, or later",
            );
        }
        uses.insert(key.clone(), Use { who: who.to_owned(), at: now, fingerprint, answer: None });
        Ok(Turn::First(Ticket { once: self.clone(), key }))
    }
}

/// Drops the oldest responses until one more key fits the limits. Changes in progress are never dropped;
/// `false` if they leave no room.
fn make_room(uses: &mut HashMap<String, Use>, who: &str) -> bool {
    for (most, of) in [(MOST_OF_ONE, Some(who)), (MOST, None)] {
        let counts = |one: &Use| of.is_none_or(|who| one.who == who);
        loop {
            let counted = uses.values().filter(|one| counts(one));
            let length = |one: &Use| one.answer.as_ref().map_or(0, |kept| kept.body.len());
            let (keys, bytes) = counted.fold((0, 0), |(keys, bytes), one| (keys + 1, bytes + length(one)));
            if keys < most.keys && bytes < most.bytes {
                break;
            }
            let answered = uses.iter().filter(|(_, one)| counts(one) && one.answer.is_some());
            let Some(oldest) = answered.min_by_key(|(_, one)| one.at).map(|(key, _)| key.clone()) else {
                return false;
            };
            uses.remove(&oldest);
        }
    }
    true
}

impl Ticket {
    /// Keeps the response to the change.
    pub(super) fn keep(self, kept: Kept) {
        if let Some(one) = self.once.0.lock().get_mut(&self.key) {
            one.answer = Some(kept);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut uses = self.once.0.lock();
        if uses.get(&self.key).is_some_and(|one| one.answer.is_none()) {
            uses.remove(&self.key);
        }
    }
}

impl Kept {
    /// Reads a response.
    pub(super) async fn of(answer: HttpResponse<BoxBody>) -> Result<Self, Box<dyn std::error::Error>> {
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
        Ok(Self { status, kind, body: to_bytes(answer.into_body()).await? })
    }

    /// The response, to be sent once more.
    pub(super) fn answer(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        if let Some(kind) = &self.kind {
            answer.insert_header((header::CONTENT_TYPE, kind.clone()));
        }
        answer.body(self.body.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(status: StatusCode) -> Kept {
        Kept { status, kind: None, body: Bytes::from_static(b"done") }
    }

    fn first(once: &Once, fingerprint: Fingerprint) -> Ticket {
        match once.turn("me", "k", fingerprint) {
            Ok(Turn::First(ticket)) => ticket,
            Ok(Turn::Again(_)) => panic!("answered already"),
            Err(problem) => panic!("{problem}"),
        }
    }

    #[test]
    fn a_key_is_carried_out_once_and_answered_again() {
        let (once, fingerprint) = (Once::default(), Once::fingerprint(&["POST", "/a"], b"{}"));
        let ticket = first(&once, fingerprint);
        assert!(
            once.turn("me", "k", fingerprint)
                .is_err_and(|problem| problem.to_string().contains("in_progress"))
        );
        ticket.keep(kept(StatusCode::OK));
        assert!(
            matches!(once.turn("me", "k", fingerprint), Ok(Turn::Again(kept)) if kept.status == StatusCode::OK)
        );
        let other = Once::fingerprint(&["POST", "/b"], b"{}");
        assert!(once.turn("me", "k", other).is_err_and(|problem| problem.to_string().contains("reused")));
    }

    #[test]
    fn what_was_not_carried_out_may_be_tried_again() {
        let (once, fingerprint) = (Once::default(), Once::fingerprint(&["POST", "/a"], b""));
        drop(first(&once, fingerprint));
        first(&once, fingerprint).keep(kept(StatusCode::OK));
    }

    #[test]
    fn the_oldest_answers_make_room_for_new_ones_and_nobody_is_refused() {
        let (once, fingerprint) = (Once::default(), Once::fingerprint(&["POST", "/a"], b""));
        let of = |who: &str, key: &str| match once.turn(who, key, fingerprint) {
            Ok(Turn::First(ticket)) => Some(ticket),
            Ok(Turn::Again(_)) => None,
            Err(problem) => panic!("{problem}"),
        };
        of("other", "k").unwrap().keep(kept(StatusCode::OK));
        for number in 0..3 * MOST.keys {
            of("page", &number.to_string()).unwrap().keep(kept(StatusCode::OK));
        }
        assert!(of("other", "k").is_none(), "one caller does not push out another's");
        assert!(of("page", "0").is_some(), "its own oldest answers are gone");
        let large = || Kept { body: Bytes::from(vec![b'x'; MOST_OF_ONE.bytes]), ..kept(StatusCode::OK) };
        for number in 0..10 {
            of("page", &format!("large-{number}")).unwrap().keep(large());
        }
        let held: usize =
            once.0.lock().values().filter_map(|one| one.answer.as_ref()).map(|kept| kept.body.len()).sum();
        assert!(held < 2 * MOST_OF_ONE.bytes, "{held}");
    }

    #[test]
    fn what_is_under_way_is_never_dropped() {
        let (once, fingerprint) = (Once::default(), Once::fingerprint(&["POST", "/a"], b""));
        let tickets: Vec<_> =
            (0..MOST_OF_ONE.keys).map(|key| once.turn("page", &key.to_string(), fingerprint)).collect();
        let refused = once.turn("page", "more", fingerprint);
        assert!(refused.is_err_and(|problem| problem.to_string().contains("too_many_keys")));
        assert!(
            once.turn("page", "0", fingerprint)
                .is_err_and(|problem| problem.to_string().contains("in_progress"))
        );
        assert!(matches!(once.turn("other", "more", fingerprint), Ok(Turn::First(_))));
        drop(tickets);
        assert!(matches!(once.turn("page", "more", fingerprint), Ok(Turn::First(_))));
    }
}
