//! Who asks for a change, and what they may change.

use super::refusal::{ReadOnly, Refusal};
use crate::job::{BusinessId, TraceContext};

/// Roles that may delete everything and stop it again.
const MANAGERS: [&str; 3] = ["owner", "admin", "system_admin"];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// For the record.
    pub name: String,
    /// The person's number in the application, where there is one.
    pub user_id: Option<i64>,
    /// What is there for them.
    pub scope: Scope,
    /// The trace that the request belongs to.
    pub trace: Option<TraceContext>,
}

/// What is there for a principal; anything else is as if it did not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: operators.
    All,
    /// Everything, to look at alone.
    ReadOnly(ReadOnly),
    /// What belongs to one tenant, whose application names the person's role.
    Tenant {
        /// The tenant.
        id: BusinessId,
        /// The role.
        role: String,
    },
}

impl Principal {
    /// An operator, for whom every tenant is there.
    #[must_use]
    pub fn operator(name: impl Into<String>, trace: Option<TraceContext>) -> Self {
        Self { name: name.into(), user_id: None, scope: Scope::All, trace }
    }

    /// Whether they may change things.
    ///
    /// # Errors
    /// Names the roles that may, or says why nobody like them may.
    pub fn may_change(&self) -> Result<(), Refusal> {
        match &self.scope {
            Scope::ReadOnly(why) => Err(Refusal::ReadOnly(*why)),
            Scope::Tenant { role, .. } if !MANAGERS.contains(&role.as_str()) => {
                Err(Refusal::Forbidden { role: role.clone(), expected: MANAGERS.join(", ") })
            }
            _ => Ok(()),
        }
    }

    /// Whether a tenant is there for them.
    #[must_use]
    pub fn sees(&self, tenant: BusinessId) -> bool {
        match self.scope {
            Scope::All | Scope::ReadOnly(_) => true,
            Scope::Tenant { id, .. } => id == tenant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_change_things_and_what_the_others_are_told() {
        let tenant = |role: &str| Scope::Tenant { id: BusinessId(7), role: role.to_owned() };
        let table = [
            (Scope::All, None, [true, true]),
            (Scope::ReadOnly(ReadOnly::Viewer), Some("read_only"), [true, true]),
            (Scope::ReadOnly(ReadOnly::Service), Some("read_only"), [true, true]),
            (tenant("admin"), None, [true, false]),
            (tenant("clerk"), Some("forbidden"), [true, false]),
        ];
        for (scope, code, sees) in table {
            let who = Principal { scope, ..Principal::operator("Dana", None) };
            assert_eq!(who.may_change().err().map(|refusal| refusal.code()), code, "{who:?}");
            assert_eq!([7, 8].map(|tenant| who.sees(BusinessId(tenant))), sees, "{who:?}");
        }
    }
}
