//! Sealed confirmations of changes of many jobs: a filter with its moment and the progress of the change, or
//! ids. A confirmation is valid for its user and its action, for ten minutes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bulk_request::BulkRequest;
use super::seal::Sealer;

/// For how many seconds a confirmation is valid; each step gives a new one.
const CONFIRMED: i64 = 600;
/// The purposes of the two seals in a confirmation.
const FILTER: &str = "bulk filter";
const IDS: &str = "bulk ids";

/// The progress of a change of all matching jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The moment, in milliseconds since the epoch. Jobs that entered their state later are left alone.
    pub moment: i64,
    /// The index in the states that the action applies to.
    pub state: usize,
    /// The last job that was passed and not changed.
    pub after: Option<String>,
    /// How many times the search started over because that job was gone.
    pub again: u8,
    /// Jobs that have been changed.
    pub changed: u64,
    /// Jobs that could no longer be changed.
    pub refused: u64,
    /// Whether a search may have left out some jobs.
    pub incomplete: bool,
}

/// The sealer and the user of confirmations.
#[derive(Clone, Copy)]
pub(super) struct Confirms<'a> {
    pub sealer: &'a Sealer,
    /// The user.
    pub who: &'a str,
    /// Milliseconds since the epoch.
    pub now: i64,
}

impl Confirms<'_> {
    /// Seals a confirmation for all matching jobs from `place` on, and for these ids.
    pub(super) fn seal(self, request: &BulkRequest, place: Option<&Place>, ids: &[String]) -> String {
        let place = place.and_then(|place| serde_json::to_vec(place).ok());
        let place = place.map(|text| BASE64.encode(text)).unwrap_or_default();
        let filter = self.sealer.seal(FILTER, &self.filter(request, self.now, &place));
        let ids = self.sealer.seal(IDS, &self.ids(request, self.now, ids));
        format!("{}.{place}.{filter}.{ids}", self.now)
    }

    /// The progress in a confirmation of all matching jobs; `None` if it does not belong to this request.
    pub(super) fn place(self, request: &BulkRequest, given: &str) -> Option<Place> {
        let (at, [place, filter, _]) = self.parts(given)?;
        let is_ours = self.sealer.holds(FILTER, &self.filter(request, at, place), filter);
        // It is empty if only ids were confirmed.
        let text = BASE64.decode(place).ok().filter(|_| is_ours)?;
        serde_json::from_slice(&text).ok()
    }

    /// Whether these ids were confirmed.
    pub(super) fn confirms_ids(self, request: &BulkRequest, given: &str) -> bool {
        let sealed = |(at, [_, _, seal]): (i64, [&str; 3])| {
            self.sealer.holds(IDS, &self.ids(request, at, &request.ids), seal)
        };
        self.parts(given).is_some_and(sealed)
    }

    fn parts(self, given: &str) -> Option<(i64, [&str; 3])> {
        let mut parts = given.split('.');
        let at = parts.next()?.parse().ok()?;
        let rest = [parts.next()?, parts.next()?, parts.next()?];
        (0..=CONFIRMED * 1000).contains(&(self.now - at)).then_some((at, rest))
    }

    fn filter(self, request: &BulkRequest, at: i64, place: &str) -> String {
        let BulkRequest { action, queue, state, function, search, .. } = request;
        json!([self.who, action, queue, state, function, search, at, place]).to_string()
    }

    fn ids(self, request: &BulkRequest, at: i64, ids: &[String]) -> String {
        json!([self.who, request.action, ids, at]).to_string()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn request(action: &str, queue: Option<&str>, ids: &[&str]) -> BulkRequest {
        serde_json::from_value(json!({ "action": action, "queue": queue, "ids": ids })).unwrap()
    }

    #[test]
    fn a_confirmation_holds_for_what_was_shown_alone() {
        let sealer = Sealer::new(&SecretString::from("a secret"), "test").unwrap();
        let dana = Confirms { sealer: &sealer, who: "Dana", now: 1_000_000 };
        let place = Place { moment: 7, changed: 3, ..Place::default() };
        let shown = request("retry", Some("low"), &[]);
        let given = dana.seal(&shown, Some(&place), &["a".to_owned()]);
        assert_eq!(dana.place(&shown, &given), Some(place));
        assert_eq!(Confirms { who: "Noa", ..dana }.place(&shown, &given), None);
        assert_eq!(dana.place(&request("cancel", Some("low"), &[]), &given), None);
        assert_eq!(dana.place(&request("retry", None, &[]), &given), None);
        let later = Confirms { now: dana.now + CONFIRMED * 1000, ..dana };
        assert!(later.place(&shown, &given).is_some());
        assert_eq!(Confirms { now: later.now + 1, ..dana }.place(&shown, &given), None);
        assert!(dana.confirms_ids(&request("retry", None, &["a"]), &given));
        for other in [
            request("cancel", None, &["a"]),
            request("retry", None, &["a", "b"]),
            request("retry", None, &[]),
        ] {
            assert!(!dana.confirms_ids(&other, &given));
        }
    }

    #[test]
    fn a_place_that_was_not_sealed_is_none() {
        let sealer = Sealer::new(&SecretString::from("a secret"), "test").unwrap();
        let confirms = Confirms { sealer: &sealer, who: "Dana", now: 1_000_000 };
        let shown = request("retry", None, &["a"]);
        let of_ids = confirms.seal(&shown, None, &["a".to_owned()]);
        assert_eq!(confirms.place(&shown, &of_ids), None);
        for text in ["", "1000000", "1000000...", "x.y.z.w", "1000000.e30.."] {
            assert_eq!(confirms.place(&shown, text), None, "{text}");
            assert!(!confirms.confirms_ids(&shown, text), "{text}");
        }
    }
}
