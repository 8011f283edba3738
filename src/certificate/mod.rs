//! Certificates of deletions: what was asked by whom, and what is gone, kept and owed, as a chain that shows when
//! one of its records was changed or taken out.
//!
//! A record is canonical JSON (RFC 8785), signed with Ed25519 if there is a key, and holds the hash of the record
//! before it. It contains ids and counts, never a name, a key of an object, or a text of the database.

mod canonical;
mod facts;
mod hex;
mod issuer;
mod key;
mod record;
mod sealed;
mod verify;

pub use canonical::CanonicalError;
pub use facts::{DeletionFacts, Removed};
pub use issuer::{ChainHead, Issuer};
pub use key::{BadKey, PublicKey, SigningKey};
pub use record::{Certificate, CertifiedDeletion, CertifiedTable, FORMAT, KeptRows, ObjectCounts, WhyKept};
pub use sealed::Sealed;
pub use verify::{Flaw, Verified, verify};
