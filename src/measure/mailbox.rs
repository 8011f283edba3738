//! Counts messages to actors from sending to response.

use metrics::Gauge;

use super::list::ACTOR_MESSAGES;

/// A message without a response; counted until it is dropped.
pub struct Unanswered(Gauge);

impl Unanswered {
    /// Counts one more message to the actors of `role`.
    #[must_use]
    pub fn at(role: &str) -> Self {
        Self::counted(ACTOR_MESSAGES.gauge(&[role]))
    }

    /// The same with a known gauge.
    pub(super) fn counted(gauge: Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
