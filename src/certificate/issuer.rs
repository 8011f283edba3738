//! Issues certificates.

use super::canonical::{CanonicalError, canonical, hash};
use super::facts::{DeletionFacts, moment};
use super::key::SigningKey;
use super::record::{Certificate, FORMAT};
use super::sealed::Sealed;

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The number of certificates.
    pub length: u64,
    /// The hash of the last one.
    pub hash: String,
}

impl Default for ChainHead {
    /// That of a chain without certificates.
    fn default() -> Self {
        Self { length: 0, hash: "0".repeat(64) }
    }
}

/// Issues certificates, signed if it has a key.
#[derive(Debug, Default)]
pub struct Issuer {
    /// The key.
    pub key: Option<SigningKey>,
}

impl Issuer {
    /// The certificate of a deletion, as the next of a chain.
    ///
    /// # Errors
    /// If it has no canonical form.
    pub fn issue(&self, head: &ChainHead, facts: &DeletionFacts) -> Result<Sealed, CanonicalError> {
        let certificate = Certificate {
            format: FORMAT.to_owned(),
            sequence: head.length.saturating_add(1),
            previous: head.hash.clone(),
            key: self.key.as_ref().map(|key| key.public().to_string()),
            issued_at: moment(Some(facts.now)).unwrap_or(facts.now),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            r#final: facts.is_final(),
            deletion: facts.deletion(),
            tables: facts.tables()?,
            objects: facts.objects(),
            kept: facts.kept(),
            set_aside: facts.job.progress.failed,
            counts_missing: facts.counts_missing(),
        };
        let text = canonical(&certificate)?;
        let signature = self.key.as_ref().map(|key| key.sign(&text));
        Ok(Sealed { hash: hash(&text), signature, text })
    }
}
