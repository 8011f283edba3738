//! The callbacks that a job's hash names.

use std::time::Duration;

use super::wire::Hash;
use crate::job::{Callback, Callbacks, KindName};

/// RQ's own time for one that names none.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A callback as two fields have it; without a name there is none.
pub(super) fn callback(name: Option<&str>, timeout: Option<&str>) -> Option<Callback> {
    let name = name.filter(|name| !name.is_empty())?;
    let timeout = timeout.and_then(|text| text.parse().ok()).map_or(TIMEOUT, Duration::from_secs);
    Some(Callback { function: KindName::from(name), timeout })
}

/// What a job wants to be called.
pub(super) fn callbacks(hash: &Hash) -> Callbacks {
    let of = |name, timeout| callback(hash.text(name), hash.text(timeout));
    Callbacks {
        success: of("success_callback_name", "success_callback_timeout"),
        failure: of("failure_callback_name", "failure_callback_timeout"),
        stopped: of("stopped_callback_name", "stopped_callback_timeout"),
    }
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
