//! The generic layer: the protocol's verbs, with JSON.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::connection::{Connection, State};
use crate::error::{Error, Result};
use crate::events::{EventStream, Router};
use crate::transaction::Transaction;

/// The id of a remote object, e.g. `<uuid>_kurento.MediaPipeline/<uuid>_kurento.WebRtcEndpoint`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectId(Arc<str>);

impl ObjectId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ObjectId {
    fn from(id: &str) -> ObjectId {
        ObjectId(id.into())
    }
}

impl From<String> for ObjectId {
    fn from(id: String) -> ObjectId {
        ObjectId(id.into())
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a [`Client`] behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a request may take, waiting for a connection that is being re-established included. Default: 30 s.
    pub request_timeout: Duration,
    /// How often the server is told that we are still there. Default: 120 s, half of the period after which a server
    /// begins to forget sessions it hears nothing from.
    pub keep_alive: Duration,
    /// How long a broken connection is tried again before the client gives up. Default: 480 s, after which the server has
    /// forgotten the session anyway. Zero: never try again.
    pub reconnect_for: Duration,
    /// How many unread events an [`EventStream`] holds before it drops the oldest. Default: 256, at least 1.
    pub event_buffer: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(120),
            reconnect_for: Duration::from_secs(480),
            event_buffer: 256,
        }
    }
}

/// What `describe` says about an object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// Class, e.g. "WebRtcEndpoint".
    #[serde(rename = "type")]
    pub class: String,
    /// Class with its module, e.g. "kurento.WebRtcEndpoint".
    pub qualified_type: String,
    /// The classes it inherits from, nearest first.
    pub hierarchy: Vec<String>,
}

/// A session with a media server. Clones share it.
///
/// One connection carries all requests, in the order they were made. When it breaks, it is tried again in the background
/// and the session taken up where it was: objects, subscriptions and [`EventStream`]s live on. Requests under way fail
/// with [`Error::Interrupted`], later ones wait for the connection.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Connects to a media server, e.g. `ws://127.0.0.1:8888/kurento`, and opens a session.
    pub async fn connect(url: &str) -> Result<Client> {
        Client::connect_with(url, Options::default()).await
    }

    /// Connects with options.
    pub async fn connect_with(url: &str, options: Options) -> Result<Client> {
        Ok(Client {
            connection: Arc::new(Connection::open(url, options).await?),
        })
    }

    /// The id of the session. It changes when the server forgot the old one.
    pub fn session_id(&self) -> String {
        self.connection.session_id()
    }

    /// How the connection is doing now.
    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// Waits until the connection is given up for good, and says why.
    pub async fn closed(&self) -> String {
        self.connection.closed().await
    }

    /// Creates an object; `params` are its constructor's parameters, a JSON object.
    pub async fn create(&self, class: &str, params: Value) -> Result<ObjectId> {
        let params = object(json!({"type": class, "constructorParams": params, "properties": {}}));
        let value = value_of(self.request("create", params).await?);
        serde_json::from_value(value).map_err(|e| Error::answer("create", e))
    }

    /// Invokes an operation of an object; `params` is a JSON object.
    pub async fn invoke(&self, target: &ObjectId, operation: &str, params: Value) -> Result<Value> {
        let params = object(json!({"object": target, "operation": operation, "operationParams": params}));
        Ok(value_of(self.request("invoke", params).await?))
    }

    /// Subscribes to a kind of event of an object. Events raised after the call are in the stream.
    pub async fn subscribe(&self, target: &ObjectId, event: &str) -> Result<EventStream> {
        self.router().subscribe(self, target, event).await
    }

    /// Ends a subscription by its id. Streams do this themselves when they are dropped.
    pub async fn unsubscribe(&self, target: &ObjectId, subscription: &str) -> Result<()> {
        let params = object(json!({"object": target, "subscription": subscription}));
        self.request("unsubscribe", params).await.map(drop)
    }

    /// Releases an object and all objects in it.
    pub async fn release(&self, target: &ObjectId) -> Result<()> {
        self.request("release", object(json!({"object": target})))
            .await
            .map(drop)
    }

    /// Asks what class an object is of. It also makes this session hold the object.
    pub async fn describe(&self, target: &ObjectId) -> Result<Description> {
        let answer = self
            .request("describe", object(json!({"object": target})))
            .await?;
        serde_json::from_value(answer.into()).map_err(|e| Error::answer("describe", e))
    }

    /// Asks whether the server is there.
    pub async fn ping(&self) -> Result<()> {
        self.request("ping", object(json!({"interval": 240_000})))
            .await
            .map(drop)
    }

    /// Starts a list of operations that are sent in one request.
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// Ends the session: the server releases the objects that no other session holds. Event streams end too.
    pub async fn close_session(&self) -> Result<()> {
        let result = self.request("closeSession", Map::new()).await.map(drop);
        self.connection.close();
        result
    }

    /// Sends any verb. `sessionId` is filled in; the answer's `result` comes back whole.
    pub async fn request(&self, verb: &str, params: Map<String, Value>) -> Result<Map<String, Value>> {
        self.connection.request(verb, params).await
    }

    pub(crate) async fn request_subscription(&self, target: &ObjectId, event: &str) -> Result<String> {
        let params = object(json!({"object": target, "type": event}));
        match value_of(self.request("subscribe", params).await?) {
            Value::String(id) => Ok(id),
            other => Err(Error::answer(
                "subscribe",
                format!("'{other}' is no subscription id"),
            )),
        }
    }

    pub(crate) fn router(&self) -> &Router {
        self.connection.router()
    }

    pub(crate) fn options(&self) -> &Options {
        self.connection.options()
    }
}

/// The map inside a `json!` object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn value_of(mut answer: Map<String, Value>) -> Value {
    answer.remove("value").unwrap_or_default()
}
