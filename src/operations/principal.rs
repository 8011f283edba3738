//! Who requests a change, and what they may change.

use super::refusal::{ReadOnly, Refusal};
use crate::job::{BusinessId, TraceContext};

/// The roles of a tenant that may change anything.
const MANAGERS: [&str; 3] = ["owner", "admin", "system_admin"];

/// The author of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The name for the audit.
    pub name: String,
    /// The user's id in the application, if there is one.
    pub user_id: Option<i64>,
    /// What the principal may see and change.
    pub scope: Scope,
    /// The trace context of the request.
    pub trace: Option<TraceContext>,
}

/// What a principal may see; everything else looks as if it did not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything; for operators.
    All,
    /// Everything, without changes.
    ReadOnly(ReadOnly),
    /// One tenant, for a user whose role the application names.
    Tenant {
        /// The tenant.
        id: BusinessId,
        /// The role.
        role: String,
    },
}

impl Principal {
    /// An operator, who sees every tenant.
    #[must_use]
    pub fn operator(name: impl Into<String>, trace: Option<TraceContext>) -> Self {
        Self { name: name.into(), user_id: None, scope: Scope::All, trace }
    }

    /// Checks whether the principal may make changes.
    ///
    /// # Errors
    /// Names the roles that may, or says why no change is allowed.
    pub fn may_change(&self) -> Result<(), Refusal> {
        match &self.scope {
            Scope::ReadOnly(why) => Err(Refusal::ReadOnly(*why)),
            Scope::Tenant { role, .. } if !MANAGERS.contains(&role.as_str()) => {
                Err(Refusal::Forbidden { role: role.clone(), expected: MANAGERS.join(", ") })
            }
            _ => Ok(()),
        }
    }

    /// Whether the principal may see this tenant.
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
