//! How much of the server its clients may take, and what they have taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use protocol::{Code, Error};

use crate::object::lock;
use crate::tenant::{SessionKey, Tenant};

/// Bounds of what there may be of something. 0: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bound {
    /// Of all clients together.
    pub all: usize,
    /// Of each tenant.
    pub tenant: usize,
    /// Of each session.
    pub session: usize,
}

/// Bounds of what clients may take. By default there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions; `session` has no meaning here.
    pub sessions: Bound,
    /// Pipelines.
    pub pipelines: Bound,
    /// Objects of all classes, pipelines among them.
    pub objects: Bound,
    /// Subscriptions to events.
    pub subscriptions: Bound,
}

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A session.
    Session,
    /// A pipeline.
    Pipeline,
    /// An object of any class.
    Object,
    /// A subscription.
    Subscription,
}

impl Kind {
    /// What the configuration calls it.
    fn name(self) -> &'static str {
        match self {
            Kind::Session => "sessions",
            Kind::Pipeline => "pipelines",
            Kind::Object => "objects",
            Kind::Subscription => "subscriptions",
        }
    }

    fn bound(self, limits: &Limits) -> Bound {
        match self {
            Kind::Session => limits.sessions,
            Kind::Pipeline => limits.pipelines,
            Kind::Object => limits.objects,
            Kind::Subscription => limits.subscriptions,
        }
    }
}

/// What one client, tenant or server has taken, by kind.
#[derive(Default)]
struct Taken([AtomicUsize; 4]);

impl Taken {
    fn of(&self, kind: Kind) -> &AtomicUsize {
        &self.0[kind as usize]
    }
}

/// What all have taken.
#[derive(Default)]
pub(crate) struct Ledger {
    limits: Limits,
    all: Arc<Taken>,
    tenants: Mutex<HashMap<Tenant, Arc<Taken>>>,
    sessions: Mutex<HashMap<SessionKey, Arc<Taken>>>,
}

impl Ledger {
    pub(crate) fn new(limits: Limits) -> Ledger {
        Ledger {
            limits,
            ..Ledger::default()
        }
    }

    /// Takes one of `kind` for a session, until what is returned is dropped. Error 40009 if there are as many as there may be.
    pub(crate) fn take(&self, kind: Kind, session: &SessionKey) -> Result<Place, Error> {
        let bound = kind.bound(&self.limits);
        // The place is given back with the value if a later level refuses.
        let mut place = Place {
            kind,
            taken: Vec::with_capacity(3),
        };
        let of_tenant = account(&self.tenants, session.tenant());
        let of_session = account(&self.sessions, session);
        for (taken, most, whose, key) in [
            (&self.all, bound.all, "on this server", ""),
            (&of_tenant, bound.tenant, "of a tenant", "_per_tenant"),
            (&of_session, bound.session, "of a session", "_per_session"),
        ] {
            // The operator is no tenant.
            let most = if key == "_per_tenant" && *session.tenant() == Tenant::Operator {
                0
            } else {
                most
            };
            let fits = |now: usize| (most == 0 || now < most).then_some(now + 1);
            let count = taken.of(kind);
            if count
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, fits)
                .is_err()
            {
                let name = kind.name();
                return Err(Error::new(
                    Code::NotEnoughResources,
                    format!("There are {most} {name} {whose}, and limits.{name}{key} allows no more"),
                ));
            }
            place.taken.push(taken.clone());
        }
        Ok(place)
    }

    /// Forgets the account of a session that ended. What it took and others hold on to stays counted elsewhere.
    pub(crate) fn close(&self, session: &SessionKey) {
        lock(&self.sessions).remove(session);
    }

    /// Forgets accounts of those who have nothing.
    pub(crate) fn prune(&self) {
        // Each place holds the accounts that it was taken from.
        lock(&self.sessions).retain(|_, taken| Arc::strong_count(taken) > 1);
        lock(&self.tenants).retain(|_, taken| Arc::strong_count(taken) > 1);
    }

    /// How many there are of `kind`.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        self.all.of(kind).load(Ordering::Acquire)
    }
}

fn account<K: Clone + Eq + std::hash::Hash>(
    accounts: &Mutex<HashMap<K, Arc<Taken>>>,
    whose: &K,
) -> Arc<Taken> {
    let mut accounts = lock(accounts);
    if let Some(taken) = accounts.get(whose) {
        return taken.clone();
    }
    accounts.entry(whose.clone()).or_default().clone()
}

/// One of something that was taken; given back when dropped.
pub struct Place {
    kind: Kind,
    taken: Vec<Arc<Taken>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        for taken in &self.taken {
            taken.of(self.kind).fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::TenantName;

    fn session(tenant: &str, id: &str) -> SessionKey {
        SessionKey::new(&Tenant::Named(TenantName::new(tenant).unwrap()), id)
    }

    #[test]
    fn each_level_has_its_bound_and_says_which_it_was() {
        let ledger = Ledger::new(Limits {
            objects: Bound {
                all: 4,
                tenant: 3,
                session: 2,
            },
            ..Limits::default()
        });
        let take = |session: &SessionKey| ledger.take(Kind::Object, session);
        let (a1, a2, b) = (session("a", "1"), session("a", "2"), session("b", "1"));
        let mut kept = vec![take(&a1).unwrap(), take(&a1).unwrap()];
        let refused = take(&a1).map(|_| ()).unwrap_err();
        assert_eq!(refused.code, Code::NotEnoughResources);
        assert!(
            refused.message.contains("limits.objects_per_session"),
            "{refused}"
        );
        kept.push(take(&a2).unwrap());
        assert!(
            take(&a2)
                .map(|_| ())
                .unwrap_err()
                .message
                .contains("limits.objects_per_tenant"),
            "what was refused took nothing of the server's"
        );
        kept.push(take(&b).unwrap());
        let refused = take(&b).map(|_| ()).unwrap_err();
        assert_eq!(
            refused.message,
            "There are 4 objects on this server, and limits.objects allows no more"
        );
        assert_eq!(ledger.count(Kind::Object), 4);
        kept.remove(0);
        kept.push(take(&b).unwrap());
        drop(kept);
        assert_eq!(ledger.count(Kind::Object), 0);
        ledger.close(&a1);
        ledger.prune();
        assert!(lock(&ledger.tenants).is_empty() && lock(&ledger.sessions).is_empty());
    }

    #[test]
    fn the_operator_is_no_tenant_and_nothing_is_bounded_by_default() {
        let bound = Bound {
            tenant: 1,
            ..Bound::default()
        };
        let ledger = Ledger::new(Limits {
            sessions: bound,
            ..Limits::default()
        });
        let operator = SessionKey::new(&Tenant::Operator, "s");
        let kept: Vec<Place> = (0..100)
            .map(|_| ledger.take(Kind::Session, &operator).unwrap())
            .collect();
        assert_eq!(ledger.count(Kind::Session), kept.len());
    }
}
