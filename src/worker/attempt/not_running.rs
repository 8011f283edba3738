//! The control for code that is called for a job which does not run any more.

use std::time::Duration;

use futures::future::BoxFuture;

use crate::job::{Control, Progress, StopReason};

/// A control that never requests a stop.
pub(crate) struct NotRunning;

impl Control for NotRunning {
    fn stop_requested(&self) -> Option<StopReason> {
        None
    }

    fn stopped(&self) -> BoxFuture<'_, StopReason> {
        Box::pin(futures::future::pending())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn report(&self, _: Progress) {}

    fn set_waiting(&self, _: bool) {}

    fn time_left(&self) -> Option<Duration> {
        None
    }
}
