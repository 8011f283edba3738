//! The port for certificates of deletions.

use async_trait::async_trait;

use crate::certificate::{Issuer, Sealed};
use crate::fault::Fault;
use crate::job::BackgroundJobId;

/// The port for certificates. Each call is one transaction and safe to repeat.
///
/// A deletion has a certificate when it has ended, by whomever, and one more when storage owes nothing of it any more,
/// if it owed something at first. They are issued after the end, in a transaction of their own: the note of a deletion
/// says that one is due, so that no crash loses it, and nothing about certificates hinders a deletion from ending.
#[async_trait]
pub trait Certificates: Send + Sync + 'static {
    /// Deletions that are to have a certificate now, at most `max`.
    async fn due(&self, max: u32) -> Result<Vec<BackgroundJobId>, Fault>;

    /// Issues the certificate of a deletion and adds it to the chain. `None`: it is not due any more, or another
    /// process has just added one; then it stays due.
    async fn issue(&self, id: BackgroundJobId, issuer: &Issuer) -> Result<Option<Sealed>, Fault>;

    /// The newest certificate of a deletion.
    async fn newest_of(&self, id: BackgroundJobId) -> Result<Option<Sealed>, Fault>;

    /// The certificates after a place in the chain, in order, at most `max`.
    async fn chain(&self, after: u64, max: u32) -> Result<Vec<Sealed>, Fault>;
}
