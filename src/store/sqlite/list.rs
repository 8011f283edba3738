//! Passes lists to SQLite as one JSON parameter, so that a statement does not depend on their length.

use serde::Serialize;

use crate::fault::{Fault, FaultKind};

/// The list as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(list: &T) -> Result<String, Fault> {
    serde_json::to_string(list)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write a list as JSON").because(error))
}
