//! Whom sessions and objects belong to: the operator, or tenants that must not know of each other.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// Whose a session is, and what is made in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tenant {
    /// Who runs the server, and everybody where there are no tenants: sees and touches everything.
    Operator,
    /// One of several that share the server: sees and touches its own sessions and objects alone.
    Named(TenantName),
}

impl Tenant {
    /// Whether what belongs to `owner` is there for this one. What isn't is answered for as if it did not exist.
    pub fn sees(&self, owner: &Tenant) -> bool {
        *self == Tenant::Operator || self == owner
    }

    /// Its name; none of the operator.
    pub fn name(&self) -> Option<&str> {
        match self {
            Tenant::Operator => None,
            Tenant::Named(name) => Some(&name.0),
        }
    }
}

/// The name of a tenant: 1 to 64 letters, digits, `.`, `_` and `-` of ASCII, so that it can stand in logs, in metrics and before a `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantName(Arc<str>);

impl TenantName {
    /// A name, if the text is one.
    pub fn new(text: &str) -> Option<TenantName> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let is_name = (1..=64).contains(&text.len()) && text.chars().all(fits);
        is_name.then(|| TenantName(text.into()))
    }
}

impl fmt::Display for TenantName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a session is found by: its id among those of its tenant. Tenants may have sessions of the same id.
///
/// As text it is the id, or tenant and id with a `/` between them: for the operator and for logs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionKey {
    tenant: Tenant,
    id: Arc<str>,
}

impl SessionKey {
    /// The session that a tenant calls `id`.
    pub fn new(tenant: &Tenant, id: &str) -> SessionKey {
        SessionKey {
            tenant: tenant.clone(),
            id: id.into(),
        }
    }

    /// A session that nobody has yet.
    pub(crate) fn unique(tenant: &Tenant) -> SessionKey {
        SessionKey::new(tenant, &Uuid::new_v4().to_string())
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What its tenant calls it: `sessionId` of requests and answers.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What `viewer`, who sees it, calls it.
    pub fn as_seen_by(&self, viewer: &Tenant) -> String {
        if *viewer == self.tenant {
            self.id.to_string()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Tenant::Named(name) = &self.tenant {
            write!(f, "{name}/")?;
        }
        f.write_str(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "acme", "Acme-2.eu_west", &"x".repeat(64)] {
            assert!(TenantName::new(good).is_some(), "{good}");
        }
        for bad in ["", "a/b", "a b", "a\n", "ä", &"x".repeat(65)] {
            assert!(TenantName::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn each_sees_its_own_and_the_operator_all() {
        let named = |name| Tenant::Named(TenantName::new(name).unwrap());
        let (a, b, operator) = (named("a"), named("b"), Tenant::Operator);
        assert!(a.sees(&a) && operator.sees(&a) && operator.sees(&operator));
        assert!(!a.sees(&b) && !a.sees(&operator));
        let session = SessionKey::new(&a, "s");
        assert_ne!(session, SessionKey::new(&b, "s"));
        assert_ne!(session, SessionKey::new(&operator, "s"));
        assert_eq!(session.as_seen_by(&a), "s");
        assert_eq!(session.as_seen_by(&operator), "a/s");
    }
}
