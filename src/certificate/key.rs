//! The Ed25519 keys by which certificates are signed and checked.

use std::fmt;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use secrecy::{ExposeSecret as _, SecretString};

use super::hex;

/// A text that is no key. It does not repeat the text, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a key: expected 64 hexadecimal digits in lower case, as `tikkun certificate keygen` prints them"
)]
pub struct BadKey;

/// The key that signs; its text is a secret.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a key, from its 64 hexadecimal digits.
    ///
    /// # Errors
    /// If the text is something else.
    pub fn read(text: &SecretString) -> Result<Self, BadKey> {
        let seed: [u8; 32] = hex::decode(text.expose_secret()).ok_or(BadKey)?;
        Ed25519KeyPair::from_seed_unchecked(&seed).map(Self).map_err(|_| BadKey)
    }

    /// The text of a new key; `None` if the system has no random numbers.
    #[must_use]
    pub fn generate() -> Option<SecretString> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).ok()?;
        Some(hex::encode(seed).into())
    }

    /// The key by which others check what this one has signed.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(hex::encode(self.0.public_key()))
    }

    pub(super) fn sign(&self, text: &str) -> String {
        hex::encode(self.0.sign(text.as_bytes()))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(***, public {})", self.public())
    }
}

/// The key that checks signatures; it is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(String);

impl PublicKey {
    /// Reads a key, from its 64 hexadecimal digits.
    ///
    /// # Errors
    /// If the text is something else.
    pub fn read(text: &str) -> Result<Self, BadKey> {
        hex::decode::<32>(text).map(|_| Self(text.to_owned())).ok_or(BadKey)
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn has_signed(&self, text: &str, signature: &str) -> bool {
        let parts = hex::decode::<32>(&self.0).zip(hex::decode::<64>(signature));
        parts.is_some_and(|(key, signature)| {
            UnparsedPublicKey::new(&ED25519, key).verify(text.as_bytes(), &signature).is_ok()
        })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn a_key_has_the_public_key_and_signature_of_the_rfc() {
        let secret = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let key = SigningKey::read(&secret.into()).unwrap();
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.public().as_str(), public);
        let signature = key.sign("");
        assert!(signature.starts_with("e5564300c360ac729086e2cc806e828a"), "{signature}");
        let public = PublicKey::read(public).unwrap();
        assert!(public.has_signed("", &signature) && !public.has_signed("x", &signature));
        assert!(!format!("{key:?}").contains(secret));
    }

    #[test]
    fn a_new_key_is_read_again_and_another_text_is_not() {
        let (one, two) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let public = |text| SigningKey::read(text).unwrap().public();
        assert_ne!(public(&one), public(&two));
        for bad in ["", "abc", &"g".repeat(64), &"A".repeat(64), &"0".repeat(63)] {
            assert_eq!(SigningKey::read(&SecretString::from(bad)).unwrap_err(), BadKey);
            assert_eq!(PublicKey::read(bad), Err(BadKey));
        }
    }
}
