//! The memory for the heavy arguments of all jobs in hand.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The memory for the heavy arguments of all jobs in hand, in units of kibibytes. Requests are served
/// in their order. Light arguments need none, so no ordinary job waits behind a heavy one of another queue. Pools may share it.
#[derive(Clone)]
pub struct Payloads {
    budget: usize,
    room: Arc<Semaphore>,
}

/// The bytes of memory in one permit.
const PIECE: usize = 1 << 10;

impl From<usize> for Payloads {
    /// Of so many bytes.
    fn from(budget: usize) -> Self {
        Self { budget, room: Arc::new(Semaphore::new(budget.div_ceil(PIECE).min(Semaphore::MAX_PERMITS))) }
    }
}

/// The memory reserved for one job's arguments, until it is dropped.
pub(super) struct Room(OwnedSemaphorePermit);

impl Room {
    /// Its bytes.
    pub(super) fn weight(&self) -> usize {
        self.0.num_permits() * PIECE
    }
}

impl Payloads {
    /// All of it, in bytes.
    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    /// Waits for memory for arguments of this weight, or for all of it if they exceed that. Cancel safe.
    pub(super) async fn room(&self, weight: usize) -> Option<Room> {
        let pieces = weight.min(self.budget).div_ceil(PIECE);
        let room = Arc::clone(&self.room).acquire_many_owned(u32::try_from(pieces).unwrap_or(u32::MAX));
        // It is never closed.
        room.await.ok().map(Room)
    }

    /// The same for a job that has `had`, which it gives up first: of those who hold some and wait for more, each
    /// would wait for the others.
    pub(super) async fn room_beyond(&self, had: Option<Room>, weight: usize) -> Option<Room> {
        let had = had.filter(|had| had.weight() >= weight);
        if had.is_some() { had } else { self.room(weight).await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heavy_arguments_wait_in_turn_for_room_and_what_never_fits_has_all_of_it() {
        let payloads = Payloads::from(10 * PIECE);
        let all = payloads.room(10 * PIECE + 1).await;
        assert_eq!(all.as_ref().map(Room::weight), Some(10 * PIECE));
        drop(all);
        let first = payloads.room(6 * PIECE - 1).await.unwrap();
        let (mut large, mut small) = (Box::pin(payloads.room(5 * PIECE)), Box::pin(payloads.room(PIECE)));
        assert!(futures::poll!(&mut large).is_pending());
        assert!(futures::poll!(&mut small).is_pending(), "those that come later do not starve the large one");
        drop(first);
        assert!(futures::join!(large, small).0.is_some());
    }

    #[tokio::test]
    async fn jobs_that_need_more_than_they_have_do_not_wait_for_each_other() {
        let payloads = Payloads::from(10 * PIECE);
        let (first, second) = (payloads.room(5 * PIECE).await, payloads.room(5 * PIECE).await);
        let mut first = Box::pin(payloads.room_beyond(first, 8 * PIECE));
        assert!(futures::poll!(&mut first).is_pending());
        let second = payloads.room_beyond(second, 5 * PIECE).await;
        assert_eq!(second.as_ref().map(Room::weight), Some(5 * PIECE), "it has enough");
        let mut second = Box::pin(payloads.room_beyond(second, 8 * PIECE));
        assert!(futures::poll!(&mut second).is_pending(), "the first asked before");
        assert_eq!(first.await.as_ref().map(Room::weight), Some(8 * PIECE));
        assert!(second.await.is_some());
    }
}
