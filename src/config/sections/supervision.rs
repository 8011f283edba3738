//! `[supervision]`: the limits and delays for restarts of failing actors.

use std::time::Duration;

use crate::config::reader::Reader;

/// `[supervision]`.
#[derive(Clone, Debug)]
pub struct SupervisionSettings {
    /// The most restarts of one actor within `window`. One more makes the process give up.
    pub max_restarts: u32,
    /// The period in which restarts are counted.
    pub window: Duration,
    /// The delay before the first restart; it doubles each time.
    pub delay_first: Duration,
    /// The longest such delay.
    pub delay_cap: Duration,
    /// An actor that has not answered for this time counts as crashed.
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
