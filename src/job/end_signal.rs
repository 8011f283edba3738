//! Whether the end of an attempt counts, for code that waits for that.

use std::sync::Arc;

use futures::channel::oneshot;
use parking_lot::Mutex;

/// Whether the end of an attempt counts; with what is dropped when the code that waited for it is over.
type Given = (bool, oneshot::Sender<()>);

/// Says once whether the end of an attempt was written.
pub type EndGiven = oneshot::Receiver<(bool, oneshot::Sender<()>)>;

/// Gives an [`EndGiven`].
///
/// Clones are of the same signal. If all are dropped before it was given, whoever waits learns that, too.
#[derive(Clone, Debug, Default)]
pub struct EndSignal(Arc<Mutex<Option<oneshot::Sender<Given>>>>);

impl EndSignal {
    /// A signal, and where it arrives.
    pub fn new() -> (Self, EndGiven) {
        let (give, given) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(give)))), given)
    }

    /// Gives it, and waits until the code that waited for it is over; later calls do nothing. Cancel safe.
    pub async fn give(&self, counts: bool) {
        let give = self.0.lock().take();
        let (over, is_over) = oneshot::channel();
        // Whoever waited may be gone.
        if give.is_some_and(|give| give.send((counts, over)).is_ok()) {
            let _ = is_over.await;
        }
    }
}

/// Who waits for an end is no part of the end.
impl PartialEq for EndSignal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for EndSignal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_is_given_once_waits_for_what_follows_and_its_loss_is_seen() {
        let (signal, given) = EndSignal::new();
        let follows = async {
            let (counts, over) = given.await.unwrap();
            assert!(!over.is_canceled(), "it waits");
            counts
        };
        assert_eq!(futures::join!(signal.give(true), follows), ((), true));
        signal.give(false).await;
        let (signal, given) = EndSignal::new();
        drop(signal);
        assert!(given.await.is_err());
    }
}
