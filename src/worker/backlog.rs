//! Ends that are handed in and not settled yet: while none can be written down, they must not pile up.

use tokio::sync::watch;

/// So many ends may wait before nothing is fetched any more: as many as are settled in one call.
const MOST: usize = 500;

/// How many wait.
pub(super) struct Backlog(watch::Sender<usize>);

/// One that waits, until it is dropped.
pub(super) struct Waits<'a>(&'a Backlog);

impl Default for Backlog {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Backlog {
    /// One more waits.
    pub(super) fn enter(&self) -> Waits<'_> {
        self.0.send_modify(|waiting| *waiting += 1);
        Waits(self)
    }

    /// Completes when few enough wait. Cancel safe.
    pub(super) async fn has_room(&self) {
        if self.0.subscribe().wait_for(|waiting| *waiting < MOST).await.is_err() {
            futures::future::pending().await
        }
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|waiting| *waiting = waiting.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_rt::test]
    async fn there_is_room_again_when_an_end_is_settled() {
        let backlog = Backlog::default();
        let mut waiting: Vec<_> = (0..MOST).map(|_| backlog.enter()).collect();
        let mut room = Box::pin(backlog.has_room());
        assert!(futures::poll!(&mut room).is_pending());
        waiting.pop();
        room.await;
    }
}
