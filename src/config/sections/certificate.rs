//! `[certificate]`: the key that signs certificates of deletions.

use secrecy::{ExposeSecret as _, SecretString};

use crate::certificate::{Issuer, SigningKey};
use crate::config::reader::Reader;

/// `[certificate]`.
#[derive(Clone, Debug)]
pub struct CertificateSettings {
    /// The key that signs; if `None`, certificates are unsigned.
    pub key: Option<SecretString>,
}

impl CertificateSettings {
    /// What issues certificates with this key.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        Issuer { key: self.key.as_ref().and_then(|key| SigningKey::read(key).ok()) }
    }

    pub(in crate::config) fn read(reader: &mut Reader<'_>) -> Self {
        let fits = |key: &SecretString| key.expose_secret().is_empty() || SigningKey::read(key).is_ok();
        let expected =
            "empty, or the 64 hexadecimal digits of a key as `tikkun certificate keygen` prints it";
        let key = reader.read("certificate.key", expected, fits);
        Self { key: Some(key).filter(|key| !key.expose_secret().is_empty()) }
    }
}
