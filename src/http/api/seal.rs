//! Seals (message authentication codes) for sessions and confirmations, with keys derived from a secret. The
//! secret itself is never sent.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

/// Seals texts for different purposes.
#[derive(Clone)]
pub(super) struct Sealer(Hmac<Sha256>);

impl Sealer {
    /// A sealer for processes that know `secret`. Each `use_of` has its own key (HKDF, RFC 5869), so that
    /// seals of one say nothing about another. `None` only if the key had an invalid length.
    pub(super) fn new(secret: &SecretString, use_of: &str) -> Option<Self> {
        let mut key = [0; 32];
        let secret = secret.expose_secret().as_bytes();
        Hkdf::<Sha256>::new(Some(b"tikkun page"), secret).expand(use_of.as_bytes(), &mut key).ok()?;
        Hmac::new_from_slice(&key).ok().map(Self)
    }

    /// The seal of a text. It is valid for this purpose only.
    pub(super) fn seal(&self, purpose: &str, text: &str) -> String {
        let mut mac = self.0.clone();
        for part in [purpose, text] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        BASE64.encode(mac.finalize().into_bytes())
    }

    /// Whether this is the seal of the text, compared in constant time.
    pub(super) fn holds(&self, purpose: &str, text: &str, seal: &str) -> bool {
        self.seal(purpose, text).as_bytes().ct_eq(seal.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_holds_for_its_text_its_purpose_and_its_secret_alone() {
        let new = |secret, use_of| Sealer::new(&SecretString::from(secret), use_of).unwrap();
        let sealer = new("one", "a viewer");
        let seal = sealer.seal("session", "text");
        assert!(sealer.holds("session", "text", &seal));
        assert!(!sealer.holds("csrf", "text", &seal) && !sealer.holds("session", "texts", &seal));
        assert!(!new("two", "a viewer").holds("session", "text", &seal));
        assert!(!new("one", "an operator").holds("session", "text", &seal));
        assert_ne!(sealer.seal("a", "bc"), sealer.seal("ab", "c"));
        assert!(!seal.contains("one"));
    }
}
