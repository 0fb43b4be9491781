//! What the generated types are made of.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::client::{Client, ObjectId};
use crate::error::{Error, Result};
use crate::events::EventStream;

/// A remote object of a known class.
pub trait Object: Clone + Send + Sync + 'static {
    /// Name of the class, e.g. "WebRtcEndpoint".
    const CLASS: &'static str;

    /// Takes hold of an object that exists already, by its id. Nothing is asked of the server.
    fn attach(client: &Client, id: impl Into<ObjectId>) -> Self;

    /// Id and client.
    fn handle(&self) -> &Handle;

    /// The object's id.
    fn id(&self) -> &ObjectId {
        &self.handle().id
    }

    /// The client the object was made with.
    fn client(&self) -> &Client {
        &self.handle().client
    }

    /// Releases the object in the server, with all objects in it.
    fn release(&self) -> impl Future<Output = Result<()>> + Send {
        self.client().release(self.id())
    }
}

/// What every remote object has.
#[derive(Debug, Clone)]
pub struct Handle {
    client: Client,
    id: ObjectId,
}

impl Handle {
    pub(crate) fn new(client: &Client, id: ObjectId) -> Handle {
        Handle {
            client: client.clone(),
            id,
        }
    }

    /// A request for one of the object's operations.
    pub fn invoke<T: DeserializeOwned>(&self, operation: &'static str) -> Request<T> {
        Request::new(&self.client, Verb::Invoke(self.id.clone()), operation, decode)
    }

    /// A subscription to a kind of event.
    pub fn on<E: Event>(&self) -> Subscribe<E> {
        Subscribe {
            handle: self.clone(),
            event: PhantomData,
        }
    }
}

/// Implements [`Object`] for a class.
macro_rules! object {
    ($class:ident) => {
        impl crate::stubs::Object for $class {
            const CLASS: &'static str = stringify!($class);

            fn attach(client: &crate::Client, id: impl Into<crate::ObjectId>) -> Self {
                $class(crate::stubs::Handle::new(client, id.into()))
            }

            fn handle(&self) -> &crate::stubs::Handle {
                &self.0
            }
        }
    };
}
pub(crate) use object;

/// Makes a newtype around a [`Request`] awaitable.
macro_rules! awaitable {
    ($builder:ident => $output:ty) => {
        impl std::future::IntoFuture for $builder {
            type Output = crate::Result<$output>;
            type IntoFuture = <crate::stubs::Request<$output> as std::future::IntoFuture>::IntoFuture;

            fn into_future(self) -> Self::IntoFuture {
                self.0.into_future()
            }
        }
    };
}
pub(crate) use awaitable;

/// A request that is sent when it is awaited.
#[derive(Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Request<T> {
    client: Client,
    verb: Verb,
    /// The class to create, or the operation to invoke.
    name: &'static str,
    params: Map<String, Value>,
    wrong: Option<Error>,
    decode: fn(&Client, &str, Value) -> Result<T>,
}

#[derive(Debug)]
enum Verb {
    Create,
    Invoke(ObjectId),
}

impl<T> Request<T> {
    fn new(
        client: &Client,
        verb: Verb,
        name: &'static str,
        decode: fn(&Client, &str, Value) -> Result<T>,
    ) -> Self {
        Request {
            client: client.clone(),
            verb,
            name,
            params: Map::new(),
            wrong: None,
            decode,
        }
    }

    /// Adds a parameter. What can't be written as JSON is reported when the request is awaited.
    pub fn arg(mut self, name: &str, value: impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => {
                self.params.insert(name.to_owned(), value);
            }
            Err(e) => {
                self.wrong = Some(Error::Argument {
                    name: name.to_owned(),
                    reason: e.to_string(),
                })
            }
        }
        self
    }

    async fn send(self) -> Result<T> {
        if let Some(error) = self.wrong {
            return Err(error);
        }
        let params = Value::Object(self.params);
        let value = match self.verb {
            Verb::Create => json!(self.client.create(self.name, params).await?),
            Verb::Invoke(object) => self.client.invoke(&object, self.name, params).await?,
        };
        (self.decode)(&self.client, self.name, value)
    }
}

impl<O: Object> Request<O> {
    /// A request to create an object.
    pub fn create(client: &Client) -> Request<O> {
        Request::new(client, Verb::Create, O::CLASS, |client, request, value| {
            decode::<ObjectId>(client, request, value).map(|id| O::attach(client, id))
        })
    }
}

impl<T: Send + 'static> IntoFuture for Request<T> {
    type Output = Result<T>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// Reads an answer. `null` also stands for an empty list or map: servers send it where there is nothing to list.
fn decode<T: DeserializeOwned>(_: &Client, request: &str, value: Value) -> Result<T> {
    if value.is_null() {
        let empty = [Value::Null, json!([]), json!({})];
        if let Some(nothing) = empty.into_iter().find_map(|v| serde_json::from_value(v).ok()) {
            return Ok(nothing);
        }
    }
    serde_json::from_value(value).map_err(|e| Error::answer(request, e))
}

/// A kind of event.
pub trait Event: DeserializeOwned + Send + 'static {
    /// Name of the event, e.g. "IceCandidateFound".
    const NAME: &'static str;
}

/// A subscription that is made when it is awaited.
#[derive(Debug)]
#[must_use = "a subscription is made when it is awaited"]
pub struct Subscribe<E> {
    handle: Handle,
    event: PhantomData<fn() -> E>,
}

impl<E: Event> IntoFuture for Subscribe<E> {
    type Output = Result<Events<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<Events<E>>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let raw = self.handle.client.subscribe(&self.handle.id, E::NAME).await?;
            Ok(Events {
                raw,
                event: PhantomData,
            })
        })
    }
}

/// The events of one kind from one object. Bounded and unsubscribed like [`EventStream`], which it wraps.
#[derive(Debug)]
pub struct Events<E> {
    raw: EventStream,
    event: PhantomData<fn() -> E>,
}

impl<E: Event> Events<E> {
    /// Waits for the next event. `None`: the session is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<E> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }

    /// How many events were dropped because this reader was too slow.
    pub fn missed(&self) -> u64 {
        self.raw.missed()
    }
}

impl<E: Event> Stream for Events<E> {
    type Item = E;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        loop {
            let Some(event) = std::task::ready!(Pin::new(&mut self.raw).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            match serde_json::from_value(event.data) {
                Ok(event) => return Poll::Ready(Some(event)),
                Err(error) => {
                    tracing::warn!(event = E::NAME, %error, "an event that can't be understood was skipped")
                }
            }
        }
    }
}

/// Reads a register type as one that extends it, e.g. `Stats` as `RTCInboundRTPStreamStats`: what the base type doesn't
/// know is kept in its `extra`.
pub fn downcast<T: DeserializeOwned>(base: &impl Serialize) -> Result<T> {
    serde_json::to_value(base)
        .and_then(serde_json::from_value)
        .map_err(|e| Error::answer("downcast", e))
}
