//! The connection and the session on it: keep-alive, reconnecting, and taking up the session again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonrpsee::client_transport::ws::{Url, WsTransportClientBuilder};
use jsonrpsee::core::client::async_client::RpcService;
use jsonrpsee::core::client::{Client as JsonRpc, ClientBuilder, ClientT, Subscription, SubscriptionClientT};
use jsonrpsee::core::middleware::RpcServiceBuilder;
use jsonrpsee::core::traits::ToRpcParams;
use protocol::Code;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::client::Options;
use crate::error::{Error, Result};
use crate::events::{Notification, Router};
use crate::ids::{Ids, Numbered};

/// jsonrpsee's client, on one connection.
type Rpc = JsonRpc<Numbered<RpcService>>;

/// How a client's connection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Requests can be made.
    Connected,
    /// The connection broke and is tried again; requests wait.
    Reconnecting,
    /// Given up or closed, with the reason; requests fail.
    Closed(String),
}

/// The largest frame taken or sent. Recordings of real servers stay below 100 KB; a description of a module is the largest.
const MAX_FRAME: u32 = 10 << 20;
/// Notifications that may wait between jsonrpsee's reader and our router. The router never waits for a subscriber, so this
/// only fills when the runtime is starved; jsonrpsee then ends the subscription, and we treat that as a broken connection.
const NOTIFICATION_BUFFER: usize = 4096;
/// First and longest pause between two attempts to reconnect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

#[derive(Debug)]
pub(crate) struct Connection {
    shared: Arc<Shared>,
    driver: tokio::task::AbortHandle,
}

/// What the driver task and the clients both see.
#[derive(Debug)]
struct Shared {
    url: Url,
    options: Options,
    router: Router,
    session: Mutex<String>,
    ids: Ids,
    link: watch::Sender<Link>,
}

#[derive(Debug, Clone)]
enum Link {
    Up(Arc<Rpc>),
    Down,
    Closed(String),
}

/// A fresh connection, its session taken up or opened.
struct Established {
    rpc: Arc<Rpc>,
    events: Subscription<Notification>,
}

impl Connection {
    pub(crate) async fn open(url: &str, options: Options) -> Result<Connection> {
        let url = Url::parse(url).map_err(|e| Error::Unreachable(format!("'{url}' is no URL: {e}")))?;
        let (link, _) = watch::channel(Link::Down);
        let shared = Shared {
            url,
            options,
            router: Router::default(),
            session: Mutex::default(),
            ids: Ids::default(),
            link,
        };
        let shared = Arc::new(shared);
        let established = shared.establish().await?;
        shared.link.send_replace(Link::Up(established.rpc.clone()));
        let driver = tokio::spawn(drive(shared.clone(), established)).abort_handle();
        Ok(Connection { shared, driver })
    }

    pub(crate) async fn request(&self, verb: &str, params: Map<String, Value>) -> Result<Map<String, Value>> {
        let deadline = Instant::now() + self.shared.options.request_timeout;
        let rpc = tokio::time::timeout_at(deadline, self.shared.up())
            .await
            .map_err(|_| Error::Timeout)??;
        let answer = self.shared.call(&rpc, verb, params);
        tokio::time::timeout_at(deadline, answer)
            .await
            .map_err(|_| Error::Timeout)?
    }

    pub(crate) fn state(&self) -> State {
        match &*self.shared.link.borrow() {
            Link::Up(rpc) if rpc.is_connected() => State::Connected,
            Link::Up(_) | Link::Down => State::Reconnecting,
            Link::Closed(why) => State::Closed(why.clone()),
        }
    }

    pub(crate) async fn closed(&self) -> String {
        let mut link = self.shared.link.subscribe();
        match link.wait_for(|l| matches!(l, Link::Closed(_))).await.as_deref() {
            Ok(Link::Closed(why)) => why.clone(),
            _ => "closed".into(),
        }
    }

    pub(crate) fn close(&self) {
        self.driver.abort();
        self.shared.close("closed by the application");
    }

    pub(crate) fn session_id(&self) -> String {
        self.shared.session_id()
    }

    pub(crate) fn router(&self) -> &Router {
        &self.shared.router
    }

    pub(crate) fn options(&self) -> &Options {
        &self.shared.options
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort(); // it owns the last reference to the socket
    }
}

impl Shared {
    /// Connects, listens for events, and takes up the session or opens one.
    async fn establish(&self) -> Result<Established> {
        let limit = self.options.request_timeout;
        timeout(limit, self.try_establish())
            .await
            .map_err(|_| Error::Unreachable("no answer in time".into()))?
    }

    async fn try_establish(&self) -> Result<Established> {
        let transport = WsTransportClientBuilder::default()
            .max_request_size(MAX_FRAME)
            .max_response_size(MAX_FRAME)
            .max_frame_size(MAX_FRAME)
            .connection_timeout(self.options.request_timeout);
        let (sender, receiver) = transport
            .build(self.url.clone())
            .await
            // Only host and port: the query may carry a token.
            .map_err(|e| Error::Unreachable(format!("{}: {e}", self.url.authority())))?;
        let ids = self.ids.clone();
        let number = move |service| Numbered::new(service, ids.clone());
        let rpc: Rpc = ClientBuilder::default()
            .set_rpc_middleware(RpcServiceBuilder::new().layer_fn(number))
            .request_timeout(self.options.request_timeout)
            .max_buffer_capacity_per_subscription(NOTIFICATION_BUFFER)
            .build_with_tokio(sender, receiver);
        // Before the session is bound to this connection: its first event must find a listener.
        let events = rpc.subscribe_to_method("onEvent").await?;
        self.bind_session(&rpc).await?;
        Ok(Established {
            rpc: Arc::new(rpc),
            events,
        })
    }

    /// Says `connect`, with the session we had. A server that has forgotten it gets us as a new one.
    async fn bind_session(&self, rpc: &Rpc) -> Result<()> {
        let answer = match self.call(rpc, "connect", Map::new()).await {
            Err(error) if error.code() == Some(Code::InvalidSession) => {
                tracing::warn!(%error, "the media server forgot the session: its objects are gone");
                self.set_session(String::new());
                self.router.end_all();
                self.call(rpc, "connect", Map::new()).await?
            }
            answer => answer?,
        };
        match answer.get("sessionId") {
            Some(Value::String(id)) => self.set_session(id.clone()),
            _ => return Err(Error::answer("connect", "no sessionId")),
        }
        Ok(())
    }

    async fn call(
        &self,
        rpc: &Rpc,
        verb: &str,
        mut params: Map<String, Value>,
    ) -> Result<Map<String, Value>> {
        let session = self.session_id();
        if !session.is_empty() {
            params.insert("sessionId".into(), session.into());
        }
        // `closeSession` has no more to answer than `null`.
        let members: Option<Map<String, Value>> = rpc.request(verb, ObjectParams(params)).await?;
        Ok(members.unwrap_or_default())
    }

    /// The connection, as soon as there is one.
    async fn up(&self) -> Result<Arc<Rpc>> {
        let mut link = self.link.subscribe();
        // A link may have broken a moment before the driver takes note: that is down as well.
        let settled = |l: &Link| match l {
            Link::Up(rpc) => rpc.is_connected(),
            Link::Down => false,
            Link::Closed(_) => true,
        };
        match link.wait_for(settled).await.as_deref() {
            Ok(Link::Up(rpc)) => Ok(rpc.clone()),
            Ok(Link::Closed(why)) => Err(Error::Unreachable(why.clone())),
            _ => Err(Error::Unreachable("closed".into())),
        }
    }

    /// Tells the server that we are there, until it no longer answers.
    async fn keep_alive(&self, rpc: &Rpc) -> Error {
        loop {
            sleep(self.options.keep_alive).await;
            let mut params = Map::new();
            params.insert("interval".into(), 240_000.into());
            match self.call(rpc, "ping", params).await {
                // The server has collected the session: `connect` sorts that out.
                Err(error) if error.code() == Some(Code::InvalidSession) => return error,
                Ok(_) | Err(Error::Server(_)) => {}
                Err(error) => return error,
            }
        }
    }

    /// Hands events on until the connection breaks, and says why it did.
    async fn pump(&self, established: Established) -> Error {
        let Established { rpc, mut events } = established;
        let deliver = async {
            while let Some(event) = events.next().await {
                match event {
                    Ok(notification) => self.router.dispatch(notification.value),
                    Err(error) => tracing::warn!(%error, "an event that can't be understood was skipped"),
                }
            }
        };
        tokio::select! {
            () = deliver => Error::Interrupted("the event stream ended".into()),
            error = self.keep_alive(&rpc) => error,
            error = rpc.on_disconnect() => error.into(),
        }
    }

    /// Tries again until it works or the time is up.
    async fn reconnect(&self) -> Result<Established> {
        let give_up = Instant::now() + self.options.reconnect_for;
        let mut pause = BACKOFF.0;
        loop {
            if Instant::now() >= give_up {
                return Err(Error::Unreachable(
                    "the connection broke and could not be re-established".into(),
                ));
            }
            sleep(pause).await;
            pause = (pause * 2).min(BACKOFF.1);
            match self.establish().await {
                Ok(established) => return Ok(established),
                Err(error) => tracing::debug!(%error, "could not reconnect yet"),
            }
        }
    }

    fn close(&self, why: &str) {
        self.link.send_replace(Link::Closed(why.to_owned()));
        self.router.end_all();
    }

    fn session_id(&self) -> String {
        self.session
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set_session(&self, id: String) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

/// The background task: hands on events, keeps the session alive, reconnects.
async fn drive(shared: Arc<Shared>, mut established: Established) {
    loop {
        let error = shared.pump(established).await;
        shared.link.send_replace(Link::Down);
        tracing::warn!(%error, "the connection to the media server broke");
        established = match shared.reconnect().await {
            Ok(established) => established,
            Err(error) => return shared.close(&error.to_string()),
        };
        shared.link.send_replace(Link::Up(established.rpc.clone()));
        tracing::info!("connected to the media server again");
    }
}

/// `params` as an object; jsonrpsee's own type takes them one by one.
struct ObjectParams(Map<String, Value>);

impl ToRpcParams for ObjectParams {
    fn to_rpc_params(self) -> std::result::Result<Option<Box<RawValue>>, serde_json::Error> {
        to_raw_value(&self.0).map(Some)
    }
}
