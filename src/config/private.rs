//! Values that may not be printed as they are: secrets, and URLs with a password in them.

use secrecy::{ExposeSecret, SecretString};

use super::mask::masked_url;
use super::value::{Privacy, Value};

impl Value for SecretString {
    const EXPECTED: &'static str = "text";
    const PRIVACY: Privacy = Privacy::Secret;

    fn from_text(text: &str) -> Option<Self> {
        Some(Self::from(text))
    }

    fn show(&self) -> String {
        if self.expose_secret().is_empty() { String::new() } else { "***".to_owned() }
    }

    fn stand_in() -> Self {
        Self::from("")
    }
}

/// Stands for the engine that needs no URL.
pub(super) const EMBEDDED: &str = "embedded";

/// A URL that may hold a password: shown masked, printed not at all.
#[derive(Clone, Debug)]
pub(super) struct Address(SecretString);

impl Address {
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The one word that may stand in place of a URL, `embedded`, is shown as it is.
    pub(super) fn masked(&self) -> String {
        if self.expose() == EMBEDDED { EMBEDDED.to_owned() } else { masked_url(self.expose()) }
    }

    /// The part before `://`, in lower case.
    pub(super) fn scheme(&self) -> Option<String> {
        self.expose().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase())
    }
}

impl Value for Address {
    const EXPECTED: &'static str = "a URL";
    const PRIVACY: Privacy = Privacy::Url;

    fn from_text(text: &str) -> Option<Self> {
        Some(Self(SecretString::from(text.trim())))
    }

    fn show(&self) -> String {
        self.masked()
    }

    fn stand_in() -> Self {
        Self(SecretString::from(""))
    }
}
