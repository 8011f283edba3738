//! Whether the end of an attempt counts, for code that waits for that.

use std::sync::Arc;

use futures::channel::oneshot;
use parking_lot::Mutex;

/// Says once whether the end of an attempt was written: `true` if it counts.
///
/// Clones are of the same signal. If all are dropped before it was given, whoever waits learns that, too.
#[derive(Clone, Debug, Default)]
pub struct EndSignal(Arc<Mutex<Option<oneshot::Sender<bool>>>>);

impl EndSignal {
    /// A signal, and where it arrives.
    pub fn new() -> (Self, oneshot::Receiver<bool>) {
        let (give, given) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(give)))), given)
    }

    /// Gives it; later calls do nothing.
    pub fn give(&self, counts: bool) {
        if let Some(give) = self.0.lock().take() {
            // Whoever waited may be gone.
            let _ = give.send(counts);
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

    #[test]
    fn a_signal_is_given_once_and_its_loss_is_seen() {
        let (signal, mut given) = EndSignal::new();
        signal.give(true);
        signal.give(false);
        assert_eq!(given.try_recv(), Ok(Some(true)));
        let (signal, mut given) = EndSignal::new();
        drop(signal);
        assert!(given.try_recv().is_err());
    }
}
