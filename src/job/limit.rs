//! How long something may take, or be kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A span of time that may be without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// No end; RQ writes it as -1.
    Never,
    /// So long.
    After(Duration),
}

impl Limit {
    /// The time, if there is an end.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::After(duration) => Some(duration),
        }
    }
}
