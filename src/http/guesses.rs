//! Counts wrong secrets per client, wherever a secret is checked. After ten within a minute none is checked.
//!
//! Not even the right one: an answer that depends on it would be one more guess. Sessions stay valid.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use parking_lot::Mutex;

use super::{Problem, TrustedProxies};

/// How many wrong secrets of one client per minute are checked.
const WRONG_SECRETS: usize = 10;
/// The period in which wrong secrets are counted.
const MINUTE: Duration = Duration::from_secs(60);
/// The most clients that are remembered. If more guess within a minute, the others share one count.
const GUESTS: usize = 10_000;

/// The client whose guesses count together: an IPv4 address, or the /64 network of an IPv6 address. `None`
/// for the clients that share one count.
type Guest = Option<IpAddr>;

/// The wrong secrets of the last minute.
#[derive(Default)]
pub struct Guesses {
    proxies: TrustedProxies,
    guests: Mutex<HashMap<Guest, Recent>>,
}

/// The wrong secrets of one client.
#[derive(Default)]
struct Recent {
    /// The times of the wrong secrets, the oldest first; at most [`WRONG_SECRETS`].
    wrong: VecDeque<Instant>,
    /// When the log last reported that this client is blocked.
    said: Option<Instant>,
}

impl Guesses {
    /// Uses these proxies to find the client of a request.
    #[must_use]
    pub fn new(proxies: TrustedProxies) -> Self {
        Self { proxies, guests: Mutex::default() }
    }

    /// The client of a request.
    pub(super) fn peer(&self, request: &HttpRequest) -> Option<IpAddr> {
        self.proxies.client(request)
    }

    /// Whether the secret of a request is right, as `is_right` finds out.
    ///
    /// # Errors
    /// If this client has sent too many wrong secrets; then `is_right` is not called.
    pub(super) fn judge(
        &self,
        request: &HttpRequest,
        is_right: impl FnOnce() -> bool,
    ) -> Result<bool, Problem> {
        let (peer, now) = (self.peer(request), Instant::now());
        let mut guests = self.guests.lock();
        let guest = guest(&mut guests, peer, now);
        if let Some(recent) = guests.get_mut(&guest)
            && let Some(wait) = recent.wait(now)
        {
            if recent.said.is_none_or(|at| now.saturating_duration_since(at) >= MINUTE) {
                recent.said = Some(now);
                let text = "more than ten wrong secrets in a minute; none from this peer is looked at";
                tracing::warn!(target: "tikkun::audit", peer = peer.map(tracing::field::display), path = request.path(), "{text}");
            }
            let message = "too many wrong secrets; try again in a minute";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
            return Err(problem.retry_after(wait));
        }
        let right = is_right();
        if !right {
            guests.entry(guest).or_default().wrong.push_back(now);
        }
        Ok(right)
    }
}

impl Recent {
    /// How long this client has to wait; `None` if its next secret is checked.
    fn wait(&mut self, now: Instant) -> Option<Duration> {
        while self.wrong.front().is_some_and(|at| now.saturating_duration_since(*at) >= MINUTE) {
            self.wrong.pop_front();
        }
        let oldest = self.wrong.front().filter(|_| self.wrong.len() >= WRONG_SECRETS)?;
        Some(MINUTE.saturating_sub(now.saturating_duration_since(*oldest)))
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.wrong.back().is_none_or(|at| now.saturating_duration_since(*at) >= MINUTE)
    }
}

/// The key under which `peer` is counted. Clients without recent guesses are dropped to make room.
fn guest(guests: &mut HashMap<Guest, Recent>, peer: Option<IpAddr>, now: Instant) -> Guest {
    let name = peer.map(|address| match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address @ IpAddr::V4(_) => address,
    });
    if guests.len() >= GUESTS && !guests.contains_key(&name) {
        guests.retain(|_, recent| !recent.is_quiet(now));
    }
    name.filter(|_| guests.len() < GUESTS || guests.contains_key(&name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::ResponseError as _;
    use actix_web::test::TestRequest;

    fn from(address: &str) -> HttpRequest {
        let address = address.parse::<IpAddr>().unwrap();
        TestRequest::default().peer_addr((address, 1234).into()).to_http_request()
    }

    fn guess(guesses: &Guesses, address: &str) -> Option<bool> {
        guesses.judge(&from(address), || false).ok()
    }

    #[test]
    fn after_ten_wrong_ones_nothing_is_looked_at_and_only_for_that_guest() {
        let guesses = Guesses::default();
        for _ in 0..WRONG_SECRETS {
            assert_eq!(guess(&guesses, "192.0.2.1"), Some(false));
        }
        let refused = guesses.judge(&from("192.0.2.1"), || panic!("it is looked at")).unwrap_err();
        assert_eq!(refused.status_code(), StatusCode::TOO_MANY_REQUESTS);
        assert!(guesses.judge(&from("192.0.2.2"), || true).unwrap());
    }

    #[test]
    fn right_secrets_are_not_counted() {
        let guesses = Guesses::default();
        for _ in 0..3 * WRONG_SECRETS {
            assert!(guesses.judge(&from("192.0.2.1"), || true).unwrap());
        }
        assert_eq!(guess(&guesses, "192.0.2.1"), Some(false));
    }

    #[test]
    fn a_network_of_ipv6_is_one_guest() {
        let guesses = Guesses::default();
        for number in 0..WRONG_SECRETS {
            assert_eq!(guess(&guesses, &format!("2001:db8::{number}:1")), Some(false));
        }
        assert_eq!(guess(&guesses, "2001:db8::ffff:ffff"), None);
        assert_eq!(guess(&guesses, "2001:db8:0:1::1"), Some(false));
        assert_eq!(guess(&guesses, "::ffff:192.0.2.1"), Some(false), "an address of IPv4 is one by itself");
        assert_eq!(guess(&guesses, "::ffff:192.0.2.2"), Some(false));
    }

    #[test]
    fn a_guest_who_waits_is_looked_at_again() {
        let (mut recent, start) = (Recent::default(), Instant::now());
        recent.wrong.extend([start; WRONG_SECRETS]);
        assert_eq!(recent.wait(start + MINUTE / 3), Some(MINUTE - MINUTE / 3));
        assert_eq!(recent.wait(start + MINUTE), None);
    }

    #[test]
    fn memory_is_bounded_and_those_beyond_it_share_a_count() {
        let (mut guests, now) = (HashMap::new(), Instant::now());
        for number in 0..u32::try_from(GUESTS).unwrap() {
            let name = guest(&mut guests, Some(IpAddr::V4(number.into())), now);
            guests.entry(name).or_insert_with(Recent::default).wrong.push_back(now);
        }
        let known = Some(IpAddr::V4(7.into()));
        let strangers = [1, 2].map(|last| Some(IpAddr::V4([203, 0, 113, last].into())));
        assert_eq!(guest(&mut guests, known, now), known);
        assert!(strangers.iter().all(|stranger| guest(&mut guests, *stranger, now).is_none()));
        assert_eq!(guest(&mut guests, strangers[0], now + MINUTE), strangers[0], "the others are quiet now");
        assert!(guests.is_empty());
    }
}
