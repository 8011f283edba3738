//! Passes lists to SQLite as one JSON parameter, so that a statement does not depend on their length.

use serde::Serialize;

use crate::fault::{Fault, FaultKind};

/// The condition that a receipt is in one of the ascending `ranges`, each with its first id and the first one behind it;
/// without any, that it is there at all.
macro_rules! there {
    ($ranges:literal) => {
        concat!(
            "(json_array_length(",
            $ranges,
            ") = 0 or (select count(*) from json_each(",
            $ranges,
            ") one where one.value <= receipts.id) % 2 = 1)"
        )
    };
}
pub(super) use there;

/// The list as JSON text.
pub(super) fn json<T: Serialize + ?Sized>(list: &T) -> Result<String, Fault> {
    serde_json::to_string(list)
        .map_err(|error| Fault::new(FaultKind::Permanent, "write a list as JSON").because(error))
}
