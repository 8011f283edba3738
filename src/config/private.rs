//! Values that must not be printed as they are: secrets, and URLs with a password.

use secrecy::{ExposeSecret, SecretString};

use super::mask::masked_url;
use super::value::{Privacy, Value, is_quoted};

impl Value for SecretString {
    const EXPECTED: &'static str = "text without line ends and other control characters";
    const PRIVACY: Privacy = Privacy::Secret;

    /// Trims: a secret from a file often ends with a line end. [`Reader::read`] warns of it.
    ///
    /// [`Reader::read`]: super::reader::Reader::read
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.contains(char::is_control)).then(|| Self::from(text))
    }

    fn show(&self) -> String {
        if self.expose_secret().is_empty() { String::new() } else { "***".to_owned() }
    }

    fn stand_in() -> Self {
        Self::from("")
    }
}

/// The word that selects the embedded engine in place of a URL.
pub(super) const EMBEDDED: &str = "embedded";

/// A URL that may contain a password: it is shown masked only.
#[derive(Clone, Debug)]
pub(super) struct Address(SecretString);

impl Address {
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The masked URL; the word `embedded` is shown as it is.
    pub(super) fn masked(&self) -> String {
        if self.expose() == EMBEDDED { EMBEDDED.to_owned() } else { masked_url(self.expose()) }
    }

    /// The parsed address, with the scheme in lower case. If there is a user but no host, the host is
    /// `localhost`. `None` if it is no URL.
    pub(super) fn url(&self) -> Option<url::Url> {
        let (scheme, rest) = self.expose().split_once("://")?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let host = if authority.ends_with('@') { "localhost" } else { "" };
        url::Url::parse(&format!("{}://{authority}{host}{tail}", scheme.to_ascii_lowercase())).ok()
    }

    /// The scheme, before `://`, in lower case.
    pub(super) fn scheme(&self) -> Option<String> {
        self.expose().split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase())
    }
}

impl Value for Address {
    const EXPECTED: &'static str = "a URL in one line, without quotes";
    const PRIVACY: Privacy = Privacy::Url;

    /// Refuses line ends, because URL parsers drop them silently.
    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = !text.contains(char::is_control) && !is_quoted(text);
        fits.then(|| Self(SecretString::from(text)))
    }

    fn show(&self) -> String {
        self.masked()
    }

    fn stand_in() -> Self {
        Self(SecretString::from(""))
    }
}
