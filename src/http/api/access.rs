//! What a secret opens the page for.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::seal::Sealer;

/// What somebody who came in may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Access {
    /// Look at everything, and change nothing.
    Viewer,
    /// Everything.
    Operator,
}

/// The secrets that open the page and its API; none: that one opens nothing.
#[derive(Clone, Default)]
pub struct PageSecrets {
    /// Shown in a header by programs, which may do everything.
    pub internal: Option<Arc<SecretString>>,
    /// Signs in to look.
    pub viewer: Option<Arc<SecretString>>,
    /// Signs in to do everything; without it the internal one does.
    pub operator: Option<Arc<SecretString>>,
}

impl PageSecrets {
    /// Whether this is the secret of programs.
    pub(super) fn is_internal(&self, given: &[u8]) -> bool {
        is(self.internal.as_ref(), given)
    }

    /// What this secret signs in for. The time does not depend on which secret it is like.
    pub(super) fn signs_in(&self, given: &str) -> Option<Access> {
        let [operator, viewer] =
            [Access::Operator, Access::Viewer].map(|access| is(self.of(access), given.as_bytes()));
        if operator { Some(Access::Operator) } else { viewer.then_some(Access::Viewer) }
    }

    /// What seals what this access allows: whoever signs in to look holds nothing, cookie or secret, from which the
    /// secret of an operator could be guessed.
    pub(super) fn sealer(&self, access: Access) -> Option<Sealer> {
        let use_of = match access {
            Access::Viewer => "sessions of viewers",
            Access::Operator => "sessions and confirmations of operators",
        };
        self.of(access).and_then(|secret| Sealer::new(secret, use_of))
    }

    fn of(&self, access: Access) -> Option<&Arc<SecretString>> {
        match access {
            Access::Viewer => self.viewer.as_ref(),
            Access::Operator => self.operator.as_ref().or(self.internal.as_ref()),
        }
    }
}

/// Compares in a time that does not depend on where the difference is. The length may show.
fn is(secret: Option<&Arc<SecretString>>, given: &[u8]) -> bool {
    secret.is_some_and(|secret| secret.expose_secret().as_bytes().ct_eq(given).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(internal: &str, viewer: &str, operator: &str) -> PageSecrets {
        let secret = |text: &str| (!text.is_empty()).then(|| Arc::new(SecretString::from(text)));
        PageSecrets { internal: secret(internal), viewer: secret(viewer), operator: secret(operator) }
    }

    #[test]
    fn the_internal_secret_signs_in_until_there_is_one_for_operators() {
        let table = [
            (secrets("i", "", ""), [Some(Access::Operator), None, None]),
            (secrets("i", "v", ""), [Some(Access::Operator), Some(Access::Viewer), None]),
            (secrets("i", "v", "o"), [None, Some(Access::Viewer), Some(Access::Operator)]),
            (secrets("i", "", "o"), [None, None, Some(Access::Operator)]),
            (secrets("", "v", ""), [None, Some(Access::Viewer), None]),
            (secrets("", "", ""), [None, None, None]),
        ];
        for (secrets, expected) in table {
            assert_eq!(["i", "v", "o"].map(|given| secrets.signs_in(given)), expected);
            assert_eq!(secrets.signs_in(""), None);
        }
    }

    #[test]
    fn no_page_secret_is_that_of_programs() {
        let secrets = secrets("i", "v", "o");
        assert!(secrets.is_internal(b"i") && !secrets.is_internal(b"v") && !secrets.is_internal(b"o"));
    }

    #[test]
    fn what_one_access_is_sealed_with_is_no_key_of_the_other() {
        let only = secrets("", "v", "");
        assert!(only.sealer(Access::Operator).is_none(), "where nobody may operate no session says so");
        let same = secrets("x", "x", "");
        let seal = same.sealer(Access::Viewer).unwrap().seal("session", "text");
        assert!(!same.sealer(Access::Operator).unwrap().holds("session", "text", &seal));
    }
}
