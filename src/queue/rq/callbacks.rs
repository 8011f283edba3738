//! Reads a callback from a job's hash.

use std::time::Duration;

use crate::job::{Callback, KindName};

/// RQ's default time limit of a callback.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The callback in two fields; without a name there is none.
pub(super) fn callback(name: Option<&str>, timeout: Option<&str>) -> Option<Callback> {
    let name = name.filter(|name| !name.is_empty())?;
    let timeout = timeout.and_then(|text| text.parse().ok()).map_or(TIMEOUT, Duration::from_secs);
    Some(Callback { function: KindName::from(name), timeout })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_has_its_own_time_or_rqs() {
        assert_eq!(callback(Some(""), Some("5")), None);
        assert_eq!(callback(Some("f"), Some("5")).unwrap().timeout, Duration::from_secs(5));
        for timeout in [None, Some(""), Some("-1"), Some("soon")] {
            assert_eq!(callback(Some("f"), timeout).unwrap().timeout, TIMEOUT, "{timeout:?}");
        }
    }
}
