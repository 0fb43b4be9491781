//! The server: the objects that exist, the sessions that hold them, and who hears of events.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use protocol::{Api, Code, Error, Event, Ref};
use tokio::sync::watch;
use uuid::Uuid;

use crate::class::ClassEntry;
use crate::events::{ObjectCreated, ObjectDestroyed};
use crate::limits::{Kind, Ledger, Limits, Place};
use crate::object::{Object, lock};
use crate::objects::ServerManager;
use crate::reach::Reach;
use crate::registry::Registry;
use crate::session::Sessions;
use crate::tenant::{SessionKey, Tenant};

mod holding;

/// Where a session's events go: the queue of a connection.
pub trait EventSink: Send + Sync {
    /// Puts an event into the queue, in order. Never blocks; a queue that is full ends its connection.
    fn deliver(&self, text: &str);
}

/// Settings of the control plane.
#[derive(Clone)]
pub struct Settings {
    /// How long an answer can be asked for again with the same `id` and `sessionId`. Kurento: 20 s.
    pub request_cache: Duration,
    /// Text for `ServerManager.getMetadata`.
    pub metadata: String,
    /// When the server was built, for `ServerManager.getInfo`.
    pub build_time: String,
    /// How much clients may take.
    pub limits: Limits,
    /// Whether the machine has room for another object.
    pub room: Room,
    /// What may be reached on behalf of the operator.
    pub reach: Reach,
    /// What may be reached on behalf of tenants.
    pub tenants_reach: Reach,
}

/// Asked before an object is made: an error says what the machine lacks. By default there is always room.
#[derive(Clone)]
pub struct Room(pub Arc<dyn Fn() -> Result<(), Error> + Send + Sync>);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(|| Ok(())))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            request_cache: Duration::from_secs(20),
            metadata: String::new(),
            build_time: String::new(),
            limits: Limits::default(),
            room: Room::default(),
            reach: Reach::default(),
            tenants_reach: Reach::default(),
        }
    }
}

struct Stored {
    object: Arc<dyn Object>,
    class: Arc<ClassEntry>,
    /// Ids of children, oldest first.
    children: Vec<String>,
    /// Sessions that hold the object.
    holders: HashSet<SessionKey>,
    /// Whose it is; none: everybody's.
    owner: Option<Tenant>,
    /// What bounds how many there are.
    _places: Vec<Place>,
}

impl Stored {
    fn is_seen_by(&self, tenant: &Tenant) -> bool {
        self.owner.as_ref().is_none_or(|owner| tenant.sees(owner))
    }
}

/// Leave to make an object: what it takes is its own until it is released, or is given back when this is dropped.
pub struct Leave {
    session: SessionKey,
    places: Vec<Place>,
}

/// What a server consists of. Lock order: `objects`, then `sessions`; neither is held while an object's code runs.
pub(crate) struct Inner {
    registry: Registry,
    api: OnceLock<Api>,
    settings: Settings,
    id: String,
    ledger: Ledger,
    objects: Mutex<HashMap<String, Stored>>,
    sessions: Mutex<Sessions>,
    accepting: AtomicBool,
    /// Set once the server takes no new pipelines: how long those there are may go on.
    draining: watch::Sender<Option<Duration>>,
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
            ledger: Ledger::new(settings.limits),
            objects: Mutex::new(HashMap::new()),
            sessions: Mutex::new(Sessions::new(settings.request_cache)),
            settings,
            accepting: AtomicBool::new(true),
            draining: watch::Sender::new(None),
            next_node: AtomicU64::new(1),
            manager: OnceLock::new(),
        };
        let server = Server {
            inner: Arc::new(inner),
        };
        let manager = Arc::new(ServerManager::new(&server));
        if let Some(class) = server.registry().find("ServerManager") {
            // It has no parent that could be gone.
            let _ = server.store(manager.clone(), class.clone(), None, Vec::new());
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

    /// What may be reached on somebody's behalf.
    pub fn reach(&self, tenant: &Tenant) -> Reach {
        match tenant {
            Tenant::Operator => self.inner.settings.reach.clone(),
            Tenant::Named(_) => self.inner.settings.tenants_reach.of(tenant),
        }
    }

    /// A new number for an element in a graph.
    pub(crate) fn next_node(&self) -> u64 {
        self.inner.next_node.fetch_add(1, Ordering::Relaxed)
    }

    /// The object of this id and its class. Error 40101 if there is none, or it is another tenant's.
    pub fn find(&self, tenant: &Tenant, id: &str) -> Result<(Arc<dyn Object>, Arc<ClassEntry>), Error> {
        let objects = lock(&self.inner.objects);
        let stored = objects.get(id).filter(|stored| stored.is_seen_by(tenant));
        let stored = stored.ok_or_else(|| Error::object_not_found(id))?;
        Ok((stored.object.clone(), stored.class.clone()))
    }

    /// Ids of an object's children, oldest first.
    pub fn children(&self, id: &str) -> Vec<String> {
        lock(&self.inner.objects)
            .get(id)
            .map(|s| s.children.clone())
            .unwrap_or_default()
    }

    /// Ids of all objects of a class that a tenant sees.
    pub fn objects_of(&self, tenant: &Tenant, qualified_type: &str) -> Vec<String> {
        let objects = lock(&self.inner.objects);
        let mut ids: Vec<String> = objects
            .iter()
            .filter(|(_, s)| s.object.core().qualified_type() == qualified_type && s.is_seen_by(tenant))
            .map(|(id, _)| id.clone())
            .collect();
        ids.sort();
        ids
    }

    /// How many objects there are of each class, by its qualified name.
    pub fn objects_by_class(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for stored in lock(&self.inner.objects).values() {
            *counts.entry(stored.class.def.qualified()).or_default() += 1;
        }
        counts
    }

    /// Whether new pipelines can be made. Error 40009 says what is in the way.
    pub fn readiness(&self) -> Result<(), Error> {
        if self.inner.draining.borrow().is_some() {
            return Err(Error::new(
                Code::NotEnoughResources,
                "The server is draining and takes no new pipelines",
            ));
        }
        self.room()
    }

    /// Whether there is room for new objects.
    fn room(&self) -> Result<(), Error> {
        self.accepts()?;
        (self.inner.settings.room.0)()
    }

    /// Whether the server is not ending.
    fn accepts(&self) -> Result<(), Error> {
        match self.inner.accepting.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(Error::new(
                Code::NotEnoughResources,
                "The server is shutting down and takes no new objects",
            )),
        }
    }

    /// Takes no new pipelines from now on. Those there are may go on for so long; then the server ends.
    pub fn drain(&self, longest: Duration) {
        self.inner.draining.send_replace(Some(longest));
    }

    /// Tells when the server was told to drain, and for how long.
    pub fn drains(&self) -> watch::Receiver<Option<Duration>> {
        self.inner.draining.subscribe()
    }

    /// Asks for leave to make an object in a session, before anything of it is made. Error 40009, which names the limit, if there is no
    /// room for it.
    pub fn ask_leave(&self, session: &SessionKey, class: &ClassEntry) -> Result<Leave, Error> {
        let is_pipeline = class.def.name == "MediaPipeline";
        // What is there may be worked on while the server drains.
        if is_pipeline {
            self.readiness()?;
        } else {
            self.room()?;
        }
        let mut leave = Leave {
            session: session.clone(),
            places: vec![self.inner.ledger.take(Kind::Object, session)?],
        };
        if is_pipeline {
            leave
                .places
                .push(self.inner.ledger.take(Kind::Pipeline, session)?);
        }
        Ok(leave)
    }

    /// Takes in a new object and announces it.
    pub fn add(&self, object: Arc<dyn Object>, class: Arc<ClassEntry>, leave: Leave) -> Result<(), Error> {
        let id = object.core().id().to_owned();
        let Leave { session, places } = leave;
        let owner = Some(session.tenant().clone());
        // If its parent was released while it was being made, it is nobody's.
        let owner = self
            .store(object.clone(), class, owner, places)
            .inspect_err(|_| object.released())?;
        // Else it was made while the others were released.
        self.accepts().inspect_err(|_| self.release(&id))?;
        self.hold(&session, &id)?;
        self.announce(&ObjectCreated { object: Ref::new(id) }, owner.as_ref());
        Ok(())
    }

    /// Tells those who see it that an object came or went.
    fn announce<E: Event>(&self, event: &E, owner: Option<&Tenant>) {
        if let Some(manager) = self.inner.manager.get() {
            manager
                .core()
                .raise_for(event, |tenant| owner.is_none_or(|owner| tenant.sees(owner)));
        }
    }

    /// Puts an object into the table; whose it is, is returned. Error 40101 if its parent is gone.
    fn store(
        &self,
        object: Arc<dyn Object>,
        class: Arc<ClassEntry>,
        mut owner: Option<Tenant>,
        places: Vec<Place>,
    ) -> Result<Option<Tenant>, Error> {
        let mut objects = lock(&self.inner.objects);
        let id = object.core().id().to_owned();
        if let Some(parent) = object.core().parent() {
            let parent = objects
                .get_mut(parent)
                .ok_or_else(|| Error::object_not_found(parent))?;
            parent.children.push(id.clone());
            // What the operator makes in a tenant's pipeline is the tenant's.
            owner = parent.owner.clone();
        }
        objects.insert(
            id,
            Stored {
                object,
                class,
                children: Vec::new(),
                holders: HashSet::new(),
                owner: owner.clone(),
                _places: places,
            },
        );
        Ok(owner)
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
            let object_id = stored.object.core().id().to_owned();
            self.announce(&ObjectDestroyed { object_id }, stored.owner.as_ref());
        }
    }

    /// Takes no new objects and releases all there are, so that files are finalised and sockets closed.
    pub fn shut_down(&self) {
        self.inner.accepting.store(false, Ordering::Release);
        for pipeline in self.objects_of(&Tenant::Operator, "kurento.MediaPipeline") {
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
