//! What every remote object is and has.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use protocol::{Code, Error, Event, Wire};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::element::Element;
use crate::hub::Hub;
use crate::limits::Place;
use crate::objects::MediaPipeline;
use crate::server::{EventSink, Inner, Server};
use crate::tenant::{SessionKey, Tenant};
use crate::types::Tag;

/// A remote object: something that clients create, call, listen to and release.
pub trait Object: Any + Send + Sync {
    /// The part that all objects share.
    fn core(&self) -> &ObjectCore;

    /// This object as its concrete type. Implement as `self`.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;

    /// This object as an element, if it is one.
    fn into_element(self: Arc<Self>) -> Option<Arc<dyn Element>> {
        None
    }

    /// This object as a hub, if it is one.
    fn into_hub(self: Arc<Self>) -> Option<Arc<dyn Hub>> {
        None
    }

    /// Called once when the object was released or collected: stop media, close transports, free memory.
    fn released(&self) {}
}

/// Locks a mutex. A panic elsewhere while it was held does not stop this object from being used and released.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds since 1970.
pub fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis() as u64
}

/// Subscriptions an object can have.
pub const MOST_SUBSCRIPTIONS: usize = 10_000;

/// Tags an object can have.
pub const MOST_TAGS: usize = 256;

/// Bytes of a tag, key and value together.
pub const LONGEST_TAG: usize = 16 * 1024;

/// One subscription of a session to one type of event.
struct Subscription {
    id: String,
    event: &'static str,
    session: SessionKey,
    /// What bounds how many there are.
    _place: Place,
}

/// The part that all objects share: identity, name, tags and who listens.
pub struct ObjectCore {
    id: String,
    qualified_type: String,
    parent: Option<String>,
    pipeline: Option<Weak<MediaPipeline>>,
    creation_time: u64,
    server: Weak<Inner>,
    /// Replaced by `setName` from any connection.
    name: Mutex<Option<String>>,
    /// Changed by `addTag`, read by every event when they are sent along.
    tags: Mutex<BTreeMap<String, String>>,
    send_tags: AtomicBool,
    /// Changed by `subscribe` on any connection, read when an event is raised on any thread.
    subscriptions: Mutex<Vec<Subscription>>,
}

impl ObjectCore {
    /// Identity of a new object: a child of `parent`, or of nobody.
    pub fn new(server: &Server, qualified_type: &str, parent: Option<&ObjectCore>) -> ObjectCore {
        let own = format!("{}_{qualified_type}", Uuid::new_v4());
        let id = parent.map(|p| format!("{}/{own}", p.id)).unwrap_or(own);
        ObjectCore::with_id(server, id, qualified_type, parent)
    }

    /// Like [`ObjectCore::new`] with a given id (the manager has a fixed one).
    pub fn with_id(
        server: &Server,
        id: String,
        qualified_type: &str,
        parent: Option<&ObjectCore>,
    ) -> ObjectCore {
        ObjectCore {
            id,
            qualified_type: qualified_type.to_owned(),
            parent: parent.map(|p| p.id.clone()),
            pipeline: None,
            creation_time: unix_millis() / 1000,
            server: Arc::downgrade(&server.inner),
            name: Mutex::new(None),
            tags: Mutex::new(BTreeMap::new()),
            send_tags: AtomicBool::new(false),
            subscriptions: Mutex::new(Vec::new()),
        }
    }

    /// Says which pipeline the object belongs to.
    pub fn in_pipeline(mut self, pipeline: Weak<MediaPipeline>) -> ObjectCore {
        self.pipeline = Some(pipeline);
        self
    }

    /// The object's id, unique for ever.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The qualified type, e.g. "kurento.PassThrough".
    pub fn qualified_type(&self) -> &str {
        &self.qualified_type
    }

    /// Id of the parent, if there is one.
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_deref()
    }

    /// The pipeline the object belongs to; `None` for the manager, or once the pipeline is gone.
    pub fn pipeline(&self) -> Option<Arc<MediaPipeline>> {
        self.pipeline.as_ref()?.upgrade()
    }

    /// When the object was created, seconds since 1970.
    pub fn creation_time(&self) -> u64 {
        self.creation_time
    }

    /// The server, unless it is being dropped.
    pub fn server(&self) -> Option<Server> {
        self.server.upgrade().map(|inner| Server { inner })
    }

    /// The name; the id if none was set.
    pub fn name(&self) -> String {
        lock(&self.name).clone().unwrap_or_else(|| self.id.clone())
    }

    /// Sets the name.
    pub fn set_name(&self, name: String) {
        *lock(&self.name) = Some(name);
    }

    /// The tags, by key.
    pub fn tags(&self) -> Vec<Tag> {
        lock(&self.tags)
            .iter()
            .map(|(key, value)| Tag {
                key: key.clone(),
                value: value.clone(),
            })
            .collect()
    }

    /// The value of a tag.
    pub fn tag(&self, key: &str) -> Option<String> {
        lock(&self.tags).get(key).cloned()
    }

    /// Sets a tag.
    ///
    /// An object has [`MOST_TAGS`] tags of [`LONGEST_TAG`] bytes at most, key and value together: what clients store here
    /// is bounded. Error 40107 beyond.
    pub fn add_tag(&self, key: String, value: String) -> Result<(), Error> {
        let mut tags = lock(&self.tags);
        let too_much = if key.len() + value.len() > LONGEST_TAG {
            Some(format!(
                "A tag has at most {LONGEST_TAG} bytes, key and value together"
            ))
        } else if tags.len() >= MOST_TAGS && !tags.contains_key(&key) {
            Some(format!("An object has at most {MOST_TAGS} tags"))
        } else {
            None
        };
        if let Some(message) = too_much {
            return Err(Error::new(Code::IllegalParam, message));
        }
        tags.insert(key, value);
        Ok(())
    }

    /// Removes a tag, if it is there.
    pub fn remove_tag(&self, key: &str) {
        lock(&self.tags).remove(key);
    }

    /// Whether events carry the tags.
    pub fn send_tags(&self) -> bool {
        self.send_tags.load(Ordering::Relaxed)
    }

    /// Says whether events carry the tags.
    pub fn set_send_tags(&self, send: bool) {
        self.send_tags.store(send, Ordering::Relaxed);
    }

    /// Subscribes a session to a type of event and returns the subscription's id. An object has at most
    /// [`MOST_SUBSCRIPTIONS`]; a client that asks for more has lost count and gets an error instead of memory.
    pub(crate) fn subscribe(
        &self,
        event: &'static str,
        session: &SessionKey,
        place: Place,
    ) -> Result<String, Error> {
        let mut subscriptions = lock(&self.subscriptions);
        if subscriptions.len() >= MOST_SUBSCRIPTIONS {
            let message =
                format!("The object has {MOST_SUBSCRIPTIONS} subscriptions; end some of them first");
            return Err(Error::new(Code::NotEnoughResources, message));
        }
        let id = Uuid::new_v4().to_string();
        subscriptions.push(Subscription {
            id: id.clone(),
            event,
            session: session.clone(),
            _place: place,
        });
        Ok(id)
    }

    /// Ends a subscription, if it exists.
    pub(crate) fn unsubscribe(&self, subscription: &str) {
        lock(&self.subscriptions).retain(|s| s.id != subscription);
    }

    /// Ends all subscriptions of a session.
    pub(crate) fn unsubscribe_session(&self, session: &SessionKey) {
        lock(&self.subscriptions).retain(|s| s.session != *session);
    }

    /// Raises an event: everybody who subscribed gets it, once a subscription, in the order raised.
    pub fn raise<E: Event>(&self, event: &E) {
        self.raise_for(event, |_| true);
    }

    /// As [`ObjectCore::raise`], for sessions of some tenants.
    pub(crate) fn raise_for<E: Event>(&self, event: &E, sees: impl Fn(&Tenant) -> bool) {
        let Some(server) = self.server() else { return };
        let sinks: Vec<Arc<dyn EventSink>> = {
            let subscriptions = lock(&self.subscriptions);
            let sessions = subscriptions
                .iter()
                .filter(|s| s.event == E::NAME && sees(s.session.tenant()))
                .map(|s| &s.session);
            server.sinks_of(sessions)
        };
        if sinks.is_empty() {
            return;
        }
        let text = self.event_text(E::NAME, E::PARENT, event.encode());
        for sink in sinks {
            sink.deliver(&text);
        }
    }

    fn event_text(&self, name: &str, parent: &str, mut data: Map<String, Value>) -> String {
        data.insert("source".into(), self.id.clone().into());
        data.insert("timestampMillis".into(), unix_millis().to_string().into());
        let tags = if self.send_tags() { self.tags() } else { Vec::new() };
        data.insert("tags".into(), tags.encode().unwrap_or_default());
        if parent == "Media" {
            data.insert("type".into(), name.into());
        }
        json!({
            "jsonrpc": "2.0",
            "method": "onEvent",
            "params": {"value": {"data": data, "object": self.id, "type": name}},
        })
        .to_string()
    }
}
