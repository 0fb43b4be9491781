//! The server: the objects that exist, the sessions that hold them, and who hears of events.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use protocol::{Api, Code, Error, Ref};
use uuid::Uuid;

use crate::class::ClassEntry;
use crate::events::{ObjectCreated, ObjectDestroyed};
use crate::object::{Object, lock};
use crate::objects::ServerManager;
use crate::registry::Registry;
use crate::session::Sessions;

/// Where a session's events go: the queue of a connection.
pub trait EventSink: Send + Sync {
    /// Puts an event into the queue, in order. Never blocks; a queue that is full ends its connection.
    fn deliver(&self, text: &str);
}

/// Settings of the control plane.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an answer can be asked for again with the same `id` and `sessionId`. Kurento: 20 s.
    pub request_cache: Duration,
    /// Text for `ServerManager.getMetadata`.
    pub metadata: String,
    /// When the server was built, for `ServerManager.getInfo`.
    pub build_time: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            request_cache: Duration::from_secs(20),
            metadata: String::new(),
            build_time: String::new(),
        }
    }
}

struct Stored {
    object: Arc<dyn Object>,
    class: Arc<ClassEntry>,
    /// Ids of children, oldest first.
    children: Vec<String>,
    /// Sessions that hold the object.
    holders: HashSet<String>,
}

/// What a server consists of. Lock order: `objects`, then `sessions`; neither is held while an object's code runs.
pub(crate) struct Inner {
    registry: Registry,
    api: OnceLock<Api>,
    settings: Settings,
    id: String,
    objects: Mutex<HashMap<String, Stored>>,
    sessions: Mutex<Sessions>,
    accepting: AtomicBool,
    next_node: AtomicU64,
    manager: OnceLock<Arc<ServerManager>>,
}

/// A media server's control plane. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    pub(crate) inner: Arc<Inner>,
}

impl Server {
    /// A server with these classes.
    pub fn new(registry: Registry, settings: Settings) -> Server {
        let inner = Inner {
            registry,
            api: OnceLock::new(),
            id: Uuid::new_v4().to_string(),
            objects: Mutex::new(HashMap::new()),
            sessions: Mutex::new(Sessions::new(settings.request_cache)),
            settings,
            accepting: AtomicBool::new(true),
            next_node: AtomicU64::new(1),
            manager: OnceLock::new(),
        };
        let server = Server {
            inner: Arc::new(inner),
        };
        let manager = Arc::new(ServerManager::new(&server));
        if let Some(class) = server.registry().find("ServerManager") {
            server.store(manager.clone(), class.clone());
        }
        // A new server has no manager yet, so this can't fail.
        let _ = server.inner.manager.set(manager);
        server
    }

    /// The classes.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// The description of the API.
    pub fn api(&self) -> &Api {
        self.inner.api.get_or_init(|| self.inner.registry.api())
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The server's id, new at each start.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// A new number for an element in a graph.
    pub(crate) fn next_node(&self) -> u64 {
        self.inner.next_node.fetch_add(1, Ordering::Relaxed)
    }

    /// The object of this id.
    pub fn object(&self, id: &str) -> Result<Arc<dyn Object>, Error> {
        self.find(id).map(|(object, _)| object)
    }

    /// The object of this id and its class.
    pub fn find(&self, id: &str) -> Result<(Arc<dyn Object>, Arc<ClassEntry>), Error> {
        let objects = lock(&self.inner.objects);
        let stored = objects.get(id).ok_or_else(|| Error::object_not_found(id))?;
        Ok((stored.object.clone(), stored.class.clone()))
    }

    /// Ids of an object's children, oldest first.
    pub fn children(&self, id: &str) -> Vec<String> {
        lock(&self.inner.objects)
            .get(id)
            .map(|s| s.children.clone())
            .unwrap_or_default()
    }

    /// Ids of all objects of a class.
    pub fn objects_of(&self, qualified_type: &str) -> Vec<String> {
        let objects = lock(&self.inner.objects);
        let mut ids: Vec<String> = objects
            .iter()
            .filter(|(_, s)| s.object.core().qualified_type() == qualified_type)
            .map(|(id, _)| id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// How many objects exist, the manager included.
    pub fn object_count(&self) -> usize {
        lock(&self.inner.objects).len()
    }

    /// Takes in a new object for a session and announces it.
    pub fn add(&self, object: Arc<dyn Object>, class: Arc<ClassEntry>, session: &str) -> Result<(), Error> {
        if !self.inner.accepting.load(Ordering::Acquire) {
            object.released();
            return Err(Error::new(
                Code::NotEnoughResources,
                "The server is shutting down and takes no new objects",
            ));
        }
        let id = object.core().id().to_owned();
        if !self.store(object.clone(), class) {
            // The parent was released while its child was being made.
            object.released();
            return Err(Error::object_not_found(
                object.core().parent().unwrap_or_default(),
            ));
        }
        self.hold(session, &id)?;
        if let Some(manager) = self.inner.manager.get() {
            manager.core().raise(&ObjectCreated { object: Ref::new(id) });
        }
        Ok(())
    }

    fn store(&self, object: Arc<dyn Object>, class: Arc<ClassEntry>) -> bool {
        let mut objects = lock(&self.inner.objects);
        let id = object.core().id().to_owned();
        if let Some(parent) = object.core().parent() {
            match objects.get_mut(parent) {
                Some(parent) => parent.children.push(id.clone()),
                None => return false,
            }
        }
        objects.insert(
            id,
            Stored {
                object,
                class,
                children: Vec::new(),
                holders: HashSet::new(),
            },
        );
        true
    }

    /// Releases an object and its children, whoever holds them. Unknown ids are nothing to release.
    pub fn release(&self, id: &str) {
        if self.inner.manager.get().is_some_and(|m| m.core().id() == id) {
            return;
        }
        let mut removed = Vec::new();
        {
            let mut objects = lock(&self.inner.objects);
            remove_tree(&mut objects, id, &mut removed);
            if let Some(parent) = removed
                .last()
                .and_then(|s| s.object.core().parent().map(str::to_owned))
                && let Some(parent) = objects.get_mut(&parent)
            {
                parent.children.retain(|c| c != id);
            }
            let mut sessions = lock(&self.inner.sessions);
            for stored in &removed {
                stored
                    .holders
                    .iter()
                    .for_each(|session| sessions.unhold(session, stored.object.core().id()));
            }
        }
        for stored in removed {
            stored.object.released();
            if let Some(manager) = self.inner.manager.get() {
                manager.core().raise(&ObjectDestroyed {
                    object_id: stored.object.core().id().to_owned(),
                });
            }
        }
    }

    /// Notes that a session holds an object.
    pub fn hold(&self, session: &str, id: &str) -> Result<(), Error> {
        let mut objects = lock(&self.inner.objects);
        let stored = objects.get_mut(id).ok_or_else(|| Error::object_not_found(id))?;
        if !stored.holders.contains(session) && lock(&self.inner.sessions).hold(session, id) {
            stored.holders.insert(session.to_owned());
        }
        Ok(())
    }

    /// Notes that a session no longer holds an object, and releases what nobody holds any more.
    pub fn unhold(&self, session: &str, id: &str) {
        lock(&self.inner.sessions).unhold(session, id);
        self.drop_holder(session, id);
    }

    fn drop_holder(&self, session: &str, id: &str) {
        let orphan = {
            let mut objects = lock(&self.inner.objects);
            let Some(stored) = objects.get_mut(id) else { return };
            stored.object.core().unsubscribe_session(session);
            stored.holders.remove(session);
            topmost_orphan(&objects, id)
        };
        if let Some(orphan) = orphan {
            self.release(&orphan);
        }
    }

    /// Begins a session of a new id.
    pub fn new_session(&self) -> String {
        let id = Uuid::new_v4().to_string();
        lock(&self.inner.sessions).touch(&id, None);
        id
    }

    /// Whether a session exists.
    pub fn has_session(&self, id: &str) -> bool {
        lock(&self.inner.sessions).exists(id)
    }

    /// Notes that a session is alive and that its events go to this connection; begins it if it does not exist.
    pub fn touch_session(&self, id: &str, sink: Option<Weak<dyn EventSink>>) {
        lock(&self.inner.sessions).touch(id, sink);
    }

    /// Ids of all sessions.
    pub fn sessions(&self) -> Vec<String> {
        lock(&self.inner.sessions).ids()
    }

    /// Ends a session and releases what nobody else holds.
    pub fn close_session(&self, id: &str) {
        let Some(held) = lock(&self.inner.sessions).remove(id) else {
            return;
        };
        if let Some(manager) = self.inner.manager.get() {
            manager.core().unsubscribe_session(id);
        }
        for object in held {
            self.drop_holder(id, &object);
        }
    }

    /// Ends the sessions not seen since the last call. Call it every `garbageCollectorPeriod`.
    pub fn collect(&self, now: Instant) -> Vec<String> {
        let silent = lock(&self.inner.sessions).sweep(now);
        for session in &silent {
            tracing::info!(
                session,
                "session was silent for a collection period and is closed"
            );
            self.close_session(session);
        }
        silent
    }

    /// The kept answer to a repeated request.
    pub fn cached_answer(&self, session: &str, request: &str) -> Option<String> {
        lock(&self.inner.sessions).cached(session, request, Instant::now())
    }

    /// Keeps an answer in case the request is repeated.
    pub fn cache_answer(&self, session: &str, request: String, answer: &str) {
        lock(&self.inner.sessions).cache(session, request, answer, Instant::now());
    }

    /// The connections of these sessions, one for each session named.
    pub(crate) fn sinks_of<'a>(&self, sessions: impl Iterator<Item = &'a str>) -> Vec<Arc<dyn EventSink>> {
        let mut sessions = sessions.peekable();
        if sessions.peek().is_none() {
            return Vec::new();
        }
        let table = lock(&self.inner.sessions);
        sessions.filter_map(|s| table.sink(s)?.upgrade()).collect()
    }

    /// Takes no new objects and releases all there are, so that files are finalised and sockets closed.
    pub fn shut_down(&self) {
        self.inner.accepting.store(false, Ordering::Release);
        for pipeline in self.objects_of("kurento.MediaPipeline") {
            self.release(&pipeline);
        }
    }
}

/// Takes an object and its children out of the table, children first.
fn remove_tree(objects: &mut HashMap<String, Stored>, id: &str, removed: &mut Vec<Stored>) {
    let Some(mut stored) = objects.remove(id) else {
        return;
    };
    for child in std::mem::take(&mut stored.children) {
        remove_tree(objects, &child, removed);
    }
    removed.push(stored);
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
