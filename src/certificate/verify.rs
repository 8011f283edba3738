//! Checks certificates without a database.
//!
//! Each line must be its own canonical form, byte for byte, so that no change of a byte goes unnoticed. What is cut
//! off at the end of a chain can only be known from a head that somebody kept.

use serde_json::Value;

use super::canonical::{canonical, hash};
use super::issuer::ChainHead;
use super::key::PublicKey;
use super::record::{Certificate, FORMAT};

/// What was checked and found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The place of the last certificate in the chain.
    pub length: u64,
    /// The hash of the last certificate.
    pub head: String,
    /// The number of certificates that were checked.
    pub certificates: u64,
    /// How many of them are provisional.
    pub provisional: u64,
    /// How many of them are unsigned.
    pub unsigned: u64,
    /// Whether it is one certificate alone from the middle of a chain, of which nothing else was checked.
    pub is_alone: bool,
}

/// Why certificates are not what was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// There is nothing to check.
    #[error(
        "the file holds no certificate; expected one in each line, as `tikkun certificate export` writes them"
    )]
    Empty,
    /// A line is no certificate.
    #[error("line {line} is no certificate of the form {FORMAT}: {reason}")]
    NoCertificate {
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A line differs from what its content is written as.
    #[error("line {line} was changed: it is not in canonical form (RFC 8785)")]
    NotCanonical {
        /// The line, from 1.
        line: usize,
    },
    /// The content differs from its hash.
    #[error("certificate {sequence} was changed: its hash is {found}, but {expected} is written beside it")]
    Changed {
        /// Its place in the chain.
        sequence: u64,
        /// The hash of the content.
        found: String,
        /// The hash that is written.
        expected: String,
    },
    /// The signature is not that of the content.
    #[error("certificate {sequence} was changed: its signature is not that of the key {key}")]
    BadSignature {
        /// Its place in the chain.
        sequence: u64,
        /// The key that it names.
        key: String,
    },
    /// It is signed with another key.
    #[error("certificate {sequence} names the key {found}; expected {expected}")]
    OtherKey {
        /// Its place in the chain.
        sequence: u64,
        /// The key that it names.
        found: String,
        /// The keys that were given.
        expected: String,
    },
    /// It is unsigned, but a key was given.
    #[error("certificate {sequence} is unsigned; expected a signature of the key {expected}")]
    Unsigned {
        /// Its place in the chain.
        sequence: u64,
        /// The keys that were given.
        expected: String,
    },
    /// Certificates are missing.
    #[error("certificates are missing: {found} comes after {after}; expected {}", after + 1)]
    Missing {
        /// The place of the one before; 0 at the beginning.
        after: u64,
        /// The place of this one.
        found: u64,
    },
    /// The certificate before is not the one on which this one was issued.
    #[error(
        "the chain is broken: certificate {sequence} was issued after one with the hash {expected}, but the one before \
         it has {found}"
    )]
    Unlinked {
        /// The place of the later one.
        sequence: u64,
        /// The hash of the one before.
        found: String,
        /// The hash in the later one.
        expected: String,
    },
    /// The kept head is not there.
    #[error(
        "the last certificates are missing: none has the kept head {kept}; the chain ends with certificate {length}, \
         whose hash is {head}"
    )]
    HeadMissing {
        /// The head that was kept.
        kept: String,
        /// The place of the last certificate.
        length: u64,
        /// Its hash.
        head: String,
    },
}

/// Checks the lines of an export, or one certificate alone. With `keys`, each must be signed with one of them. With `head`,
/// one must have this hash: those up to it are there then.
///
/// # Errors
/// The first flaw.
pub fn verify(text: &str, keys: &[PublicKey], head: Option<&str>) -> Result<Verified, Flaw> {
    let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
    if text.trim().is_empty() {
        return Err(Flaw::Empty);
    }
    let is_one = lines.len() == 1;
    let (mut end, mut knows_head) = (ChainHead::default(), head.is_none());
    let (mut provisional, mut unsigned, mut is_alone) = (0, 0, false);
    for (index, line) in lines.iter().enumerate() {
        let link = Link::read(line, index + 1)?;
        link.check(keys)?;
        let Certificate { sequence, .. } = link.certificate;
        if is_one && sequence > 1 {
            is_alone = true;
        } else {
            link.follows(&end)?;
        }
        provisional += u64::from(!link.certificate.r#final);
        unsigned += u64::from(link.certificate.key.is_none());
        knows_head |= head == Some(link.hash.as_str());
        end = ChainHead { length: sequence, hash: link.hash };
    }
    if let Some(kept) = head.filter(|_| !knows_head) {
        return Err(Flaw::HeadMissing { kept: kept.to_owned(), length: end.length, head: end.hash });
    }
    let certificates = if is_alone { 1 } else { end.length };
    Ok(Verified { length: end.length, head: end.hash, certificates, provisional, unsigned, is_alone })
}

/// One line.
struct Link {
    certificate: Certificate,
    /// The canonical form of the certificate.
    text: String,
    hash: String,
    signature: Option<String>,
}

impl Link {
    fn read(line: &str, number: usize) -> Result<Self, Flaw> {
        let none = |reason: String| Flaw::NoCertificate { line: number, reason };
        let value: Value = serde_json::from_str(line).map_err(|error| none(error.to_string()))?;
        if canonical(&value).map_err(|error| none(error.to_string()))? != line {
            return Err(Flaw::NotCanonical { line: number });
        }
        let Value::Object(mut parts) = value else { return Err(none("it is no object".to_owned())) };
        let (content, hash, signature) =
            (parts.remove("certificate"), parts.remove("hash"), parts.remove("signature"));
        let (Some(content), Some(Value::String(hash)), Some(signature), true) =
            (content, hash, signature, parts.is_empty())
        else {
            return Err(none("expected certificate, hash and signature".to_owned()));
        };
        let signature = match signature {
            Value::Null => None,
            Value::String(text) => Some(text),
            _ => return Err(none("its signature is no text".to_owned())),
        };
        let text = canonical(&content).map_err(|error| none(error.to_string()))?;
        let certificate: Certificate =
            serde_json::from_value(content).map_err(|error| none(error.to_string()))?;
        if certificate.format != FORMAT {
            return Err(none(format!("its form is {}", certificate.format)));
        }
        Ok(Self { certificate, text, hash, signature })
    }

    /// Whether content, hash and signature fit together.
    fn check(&self, keys: &[PublicKey]) -> Result<(), Flaw> {
        let sequence = self.certificate.sequence;
        let found = hash(&self.text);
        if found != self.hash {
            return Err(Flaw::Changed { sequence, found, expected: self.hash.clone() });
        }
        let named = self.certificate.key.as_deref();
        let expected = || keys.iter().map(PublicKey::as_str).collect::<Vec<_>>().join(" or ");
        match named {
            None if !keys.is_empty() => return Err(Flaw::Unsigned { sequence, expected: expected() }),
            Some(found) if !keys.is_empty() && keys.iter().all(|key| key.as_str() != found) => {
                return Err(Flaw::OtherKey { sequence, found: found.to_owned(), expected: expected() });
            }
            _ => {}
        }
        let is_signed = match (named, self.signature.as_deref()) {
            (None, None) => true,
            (Some(key), Some(signature)) => {
                PublicKey::read(key).is_ok_and(|key| key.has_signed(&self.text, signature))
            }
            _ => false,
        };
        let key = named.unwrap_or("that it names, for it names none").to_owned();
        if is_signed { Ok(()) } else { Err(Flaw::BadSignature { sequence, key }) }
    }

    /// Whether it is the next certificate after the end of a chain.
    fn follows(&self, end: &ChainHead) -> Result<(), Flaw> {
        let Certificate { sequence, previous, .. } = &self.certificate;
        if *sequence != end.length.saturating_add(1) {
            return Err(Flaw::Missing { after: end.length, found: *sequence });
        }
        if *previous != end.hash {
            let (found, expected) = (end.hash.clone(), previous.clone());
            return Err(Flaw::Unlinked { sequence: *sequence, found, expected });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
