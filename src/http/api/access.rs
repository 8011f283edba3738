//! The access that each secret of the page gives.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;

use super::seal::Sealer;

/// The rights of an authenticated user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Access {
    /// May read everything and change nothing.
    Viewer,
    /// May do everything.
    Operator,
}

/// The secrets for the page and its API; one that is `None` opens nothing.
#[derive(Clone, Default)]
pub struct PageSecrets {
    /// Sent by programs in a header, for all rights.
    pub internal: Option<Arc<SecretString>>,
    /// Signs in with read-only access.
    pub viewer: Option<Arc<SecretString>>,
    /// Signs in with all rights; if `None`, the internal one does.
    pub operator: Option<Arc<SecretString>>,
}

impl PageSecrets {
    /// Whether this is the secret for programs.
    pub(super) fn is_internal(&self, given: &[u8]) -> bool {
        is(self.internal.as_ref(), given)
    }

    /// The access for which this secret signs in. The time does not depend on which secret it resembles.
    pub(super) fn signs_in(&self, given: &str) -> Option<Access> {
        let [operator, viewer] =
            [Access::Operator, Access::Viewer].map(|access| is(self.of(access), given.as_bytes()));
        if operator { Some(Access::Operator) } else { viewer.then_some(Access::Viewer) }
    }

    /// The sealer for this access. Viewers and operators have different ones, so that nothing a viewer holds
    /// helps to guess the secret of an operator.
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

/// Compares in a time that does not depend on the position of a difference. The length may leak.
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
