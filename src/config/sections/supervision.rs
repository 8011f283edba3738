//! `[supervision]`: how patiently failing parts are restarted.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[supervision]`.
#[derive(Clone, Debug)]
pub struct SupervisionSettings {
    /// Restarts of one part within `window` that are still put up with.
    pub max_restarts: u32,
    /// The span in which restarts are counted.
    pub window: Duration,
    /// Pause before the first restart; it doubles from there.
    pub delay_first: Duration,
    /// The longest such pause.
    pub delay_cap: Duration,
    /// A part that has not answered for so long counts as crashed.
    pub heartbeat: Duration,
}

impl SupervisionSettings {
    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            max_restarts: reader.within("supervision.max_restarts", 1..=10_000),
            window: reader.duration("supervision.window"),
            delay_first: reader.duration("supervision.delay_first"),
            delay_cap: reader.duration("supervision.delay_cap"),
            heartbeat: reader.duration("supervision.heartbeat"),
        }
    }
}
