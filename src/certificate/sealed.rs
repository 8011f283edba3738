//! A certificate as it is kept and handed out.

use super::record::Certificate;

/// A certificate with its hash and its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The canonical JSON of the [`Certificate`].
    pub text: String,
    /// The SHA-256 of the text.
    pub hash: String,
    /// The signature of the text; `None`: it is unsigned.
    pub signature: Option<String>,
}

impl Sealed {
    /// One line of an export, in canonical form itself.
    #[must_use]
    pub fn line(&self) -> String {
        let signature =
            self.signature.as_ref().map_or_else(|| "null".to_owned(), |text| format!("\"{text}\""));
        format!(r#"{{"certificate":{},"hash":"{}","signature":{signature}}}"#, self.text, self.hash)
    }

    /// What it says.
    ///
    /// # Errors
    /// If the text is no certificate.
    pub fn certificate(&self) -> Result<Certificate, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}
