//! Sessions, and the objects that they hold: what nobody holds any more is released.

use super::*;

impl Server {
    /// Notes that a session holds an object. Error 40101 if there is none, or it is another tenant's.
    pub fn hold(&self, session: &SessionKey, id: &str) -> Result<(), Error> {
        let mut objects = lock(&self.inner.objects);
        let stored = objects
            .get_mut(id)
            .filter(|stored| stored.is_seen_by(session.tenant()));
        let stored = stored.ok_or_else(|| Error::object_not_found(id))?;
        if !stored.holders.contains(session) && lock(&self.inner.sessions).hold(session, id) {
            stored.holders.insert(session.clone());
        }
        Ok(())
    }

    /// Notes that a session no longer holds an object, and releases what nobody holds any more.
    pub fn unhold(&self, session: &SessionKey, id: &str) {
        lock(&self.inner.sessions).unhold(session, id);
        self.drop_holder(session, id);
    }

    fn drop_holder(&self, session: &SessionKey, id: &str) {
        let orphan = {
            let mut objects = lock(&self.inner.objects);
            let Some(stored) = objects.get_mut(id).filter(|s| s.is_seen_by(session.tenant())) else {
                return;
            };
            stored.object.core().unsubscribe_session(session);
            stored.holders.remove(session);
            topmost_orphan(&objects, id)
        };
        if let Some(orphan) = orphan {
            self.release(&orphan);
        }
    }

    /// Begins a session of a new id. Error 40009 if there are as many as there may be.
    pub fn new_session(&self, tenant: &Tenant) -> Result<SessionKey, Error> {
        let session = SessionKey::unique(tenant);
        self.touch_session(&session, None)?;
        Ok(session)
    }

    /// Whether a session exists.
    pub fn has_session(&self, session: &SessionKey) -> bool {
        lock(&self.inner.sessions).exists(session)
    }

    /// Notes that a session is alive and that its events go to this connection; begins it if it does not exist. Error 40009 if there are
    /// as many as there may be.
    pub fn touch_session(
        &self,
        session: &SessionKey,
        sink: Option<Weak<dyn EventSink>>,
    ) -> Result<(), Error> {
        let mut sessions = lock(&self.inner.sessions);
        if !sessions.touch(session, sink.clone()) {
            sessions.begin(session, self.inner.ledger.take(Kind::Session, session)?);
            sessions.touch(session, sink);
        }
        Ok(())
    }

    /// All sessions that a tenant sees, as it calls them.
    pub fn sessions(&self, tenant: &Tenant) -> Vec<String> {
        let sessions = lock(&self.inner.sessions).keys();
        let seen = sessions.iter().filter(|session| tenant.sees(session.tenant()));
        seen.map(|session| session.as_seen_by(tenant)).collect()
    }

    /// How many sessions there are.
    pub fn session_count(&self) -> usize {
        self.inner.ledger.count(Kind::Session)
    }

    /// Takes a place among the subscriptions of a session. Error 40009 if there are as many as there may be.
    pub(crate) fn take_subscription(&self, session: &SessionKey) -> Result<Place, Error> {
        self.inner.ledger.take(Kind::Subscription, session)
    }

    /// Ends a session and releases what nobody else holds.
    pub fn close_session(&self, session: &SessionKey) {
        let Some(held) = lock(&self.inner.sessions).remove(session) else {
            return;
        };
        if let Some(manager) = self.inner.manager.get() {
            manager.core().unsubscribe_session(session);
        }
        for object in held {
            self.drop_holder(session, &object);
        }
        self.inner.ledger.close(session);
    }

    /// Ends the sessions not seen since the last call. Call it every `garbageCollectorPeriod`.
    pub fn collect(&self, now: Instant) -> Vec<SessionKey> {
        let silent = lock(&self.inner.sessions).sweep(now);
        for session in &silent {
            tracing::info!(
                %session,
                "session was silent for a collection period and is closed"
            );
            self.close_session(session);
        }
        self.inner.ledger.prune();
        silent
    }

    /// The kept answer to a repeated request.
    pub fn cached_answer(&self, session: &SessionKey, request: &str) -> Option<String> {
        lock(&self.inner.sessions).cached(session, request, Instant::now())
    }

    /// Keeps an answer in case the request is repeated.
    pub fn cache_answer(&self, session: &SessionKey, request: String, answer: &str) {
        lock(&self.inner.sessions).cache(session, request, answer, Instant::now());
    }

    /// The connections of these sessions, one for each session named.
    pub(crate) fn sinks_of<'a>(
        &self,
        sessions: impl Iterator<Item = &'a SessionKey>,
    ) -> Vec<Arc<dyn EventSink>> {
        let mut sessions = sessions.peekable();
        if sessions.peek().is_none() {
            return Vec::new();
        }
        let table = lock(&self.inner.sessions);
        sessions.filter_map(|s| table.sink(s)?.upgrade()).collect()
    }
}

/// The highest object at or above `id` that nobody holds, directly or through a child.
fn topmost_orphan(objects: &HashMap<String, Stored>, id: &str) -> Option<String> {
    let mut found = None;
    let mut at = Some(id.to_owned());
    while let Some(id) = at {
        let stored = objects.get(&id)?;
        if stored.object.core().qualified_type() == "kurento.ServerManager" || is_held(objects, &id) {
            break;
        }
        at = stored.object.core().parent().map(str::to_owned);
        found = Some(id);
    }
    found
}

fn is_held(objects: &HashMap<String, Stored>, id: &str) -> bool {
    objects
        .get(id)
        .is_some_and(|s| !s.holders.is_empty() || s.children.iter().any(|c| is_held(objects, c)))
}
