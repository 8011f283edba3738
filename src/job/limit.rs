//! A time limit, or a retention time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A duration that may be unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// No limit; RQ writes it as -1.
    Never,
    /// After this duration.
    After(Duration),
}

impl Limit {
    /// The duration, if limited.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(duration) => Some(duration),
        }
    }
}
