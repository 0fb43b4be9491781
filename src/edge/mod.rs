//! The daemon's edge: the websocket that application servers connect to, and the HTTP routes beside it.

mod access;
mod console;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod metrics;
mod multipart;
mod outbox;
mod pace;
mod rpc;
mod uploads;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{SplitSink, StreamExt};
use futures_util::{FutureExt, SinkExt};
use kms_core::object::lock;
use kms_core::tenant::TenantName;
use kms_core::{Server, Tenant};
use kms_elements::Engines;
use tokio::sync::watch;

use access::Visitor;
pub use access::{Access, Signed};
use metrics::Metrics;
use outbox::{Bounds, Outbox};
use pace::Pace;
pub use rpc::REQUEST_SPANS;
use rpc::{Peer, Rpc};
pub use uploads::PATH as UPLOAD_PATH;

/// How long a client may take to accept one message before its connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes that are read at once from a client.
const READ_BUFFER: usize = 8 * 1024;

/// Close codes of RFC 6455, section 7.4.1, and of its registry.
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_UTF8: u16 = 1007;
const POLICY_VIOLATION: u16 = 1008;
const TOO_BIG: u16 = 1009;
const TRY_AGAIN_LATER: u16 = 1013;

/// What the edge is told by the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Path of the websocket, such as `/kurento`.
    pub path: String,
    /// Answers and events that may wait for a client that reads slowly, before it is cut off.
    pub queue_messages: usize,
    /// Their size together, bytes.
    pub queue_bytes: usize,
    /// The largest message a client may send, bytes.
    pub max_message: usize,
    /// Connections at a time; more are refused with status 503.
    pub max_connections: usize,
    /// Of them, those of each tenant; 0: no limit.
    pub max_connections_per_tenant: usize,
    /// Requests a second that a connection may send; 0: no limit.
    pub max_requests_per_second: usize,
    /// Whether there is a page to look at pipelines, `/console`.
    pub console: bool,
}

struct Edge {
    access: Access,
    rpc: Rpc,
    server: Server,
    engines: Engines,
    metrics: Metrics,
    bounds: Bounds,
    max_message: usize,
    max_connections: usize,
    max_connections_per_tenant: usize,
    max_requests_per_second: usize,
    connections: Mutex<Connections>,
    /// Turns true when the daemon is told to end.
    ending: watch::Receiver<bool>,
}

/// The routes. Connections are closed, with a reason, once `ending` turns true.
pub fn router(
    server: Server,
    engines: Engines,
    settings: &Settings,
    access: Access,
    ending: watch::Receiver<bool>,
) -> Router {
    let uploads = engines.uploads.clone();
    let metrics = Metrics::default();
    let edge = Arc::new(Edge {
        access,
        rpc: Rpc::new(server.clone(), metrics.clone()),
        server,
        engines,
        metrics,
        bounds: Bounds {
            messages: settings.queue_messages,
            bytes: settings.queue_bytes,
        },
        max_message: settings.max_message,
        max_connections: settings.max_connections,
        max_connections_per_tenant: settings.max_connections_per_tenant,
        max_requests_per_second: settings.max_requests_per_second,
        connections: Mutex::default(),
        ending,
    });
    let console = match settings.console {
        true => console::routes(&settings.path),
        false => Router::new(),
    };
    Router::new()
        .route(&settings.path, get(upgrade))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .merge(console)
        .with_state(edge)
        .merge(uploads::routes(uploads))
}

/// Connections that are open.
#[derive(Default)]
struct Connections {
    all: usize,
    of_tenants: HashMap<TenantName, usize>,
}

/// Counts a connection while it is open.
struct Counted {
    edge: Arc<Edge>,
    tenant: Tenant,
}

impl Counted {
    /// The error names the limit that is reached.
    fn new(edge: &Arc<Edge>, tenant: &Tenant) -> Result<Counted, String> {
        let mut open = lock(&edge.connections);
        if open.all >= edge.max_connections {
            return Err(format!(
                "{} connections are open, and server.max_connections allows no more\n",
                edge.max_connections
            ));
        }
        if let Tenant::Named(name) = tenant {
            let most = edge.max_connections_per_tenant;
            let of_tenant = open.of_tenants.entry(name.clone()).or_default();
            if most > 0 && *of_tenant >= most {
                return Err(format!(
                    "The tenant has {most} connections open, and limits.connections_per_tenant allows no more\n"
                ));
            }
            *of_tenant += 1;
        }
        open.all += 1;
        Ok(Counted {
            edge: edge.clone(),
            tenant: tenant.clone(),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = lock(&self.edge.connections);
        open.all -= 1;
        if let Tenant::Named(name) = &self.tenant
            && let Some(of_tenant) = open.of_tenants.get_mut(name)
        {
            *of_tenant -= 1;
            if *of_tenant == 0 {
                open.of_tenants.remove(name);
            }
        }
    }
}

impl Edge {
    fn open_connections(&self) -> usize {
        lock(&self.connections).all
    }

    /// Whether new clients are of use: new objects can be made.
    fn readiness(&self) -> Result<(), String> {
        self.server.readiness().map_err(|error| error.message)
    }
}

/// For those who spread clients over servers: 200, or 503 and what is in the way.
async fn readyz(State(edge): State<Arc<Edge>>) -> Response {
    match edge.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Metrics, for the operator alone: they tell of all tenants.
async fn metrics_page(
    State(edge): State<Arc<Edge>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match edge.access.admit(&headers, query.as_deref()).await {
        Ok(visitor) if visitor.tenant == Tenant::Operator => {}
        Ok(_) => return (StatusCode::FORBIDDEN, "Metrics are for the operator\n").into_response(),
        Err(refused) => return refused,
    }
    match edge.metrics.text(&edge) {
        Ok(page) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], page).into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn upgrade(
    State(edge): State<Arc<Edge>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let visitor = match edge.access.admit(&headers, query.as_deref()).await {
        Ok(visitor) => visitor,
        Err(refused) => {
            edge.metrics.refused("access");
            return refused;
        }
    };
    let counted = match Counted::new(&edge, &visitor.tenant) {
        Ok(counted) => counted,
        Err(message) => {
            edge.metrics.refused("limit");
            return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
        }
    };
    upgrade
        // Each connection has one for as long as it is open, and most requests are small: the library's 128 KiB would be most of its memory.
        .read_buffer_size(READ_BUFFER)
        .max_message_size(edge.max_message)
        .max_frame_size(edge.max_message)
        .on_upgrade(move |socket| async move {
            let _counted = counted;
            edge.metrics.accepted();
            serve(edge, visitor, socket).await;
        })
}

/// Serves a connection: requests one after the other, answers and events through its bounded queue.
async fn serve(edge: Arc<Edge>, visitor: Visitor, socket: WebSocket) {
    let (sender, mut receiver) = socket.split();
    let outbox = Arc::new(Outbox::new(edge.bounds));
    let (close, closing) = watch::channel(None);
    let writer = tokio::spawn(write(sender, outbox.clone(), closing));
    let mut peer = Peer::new(visitor.tenant, Pace::new(edge.max_requests_per_second), &outbox);
    let mut end = std::pin::pin!(cut_short(&outbox, edge.ending.clone(), visitor.stays));
    let reason = loop {
        let message = tokio::select! {
            message = receiver.next() => message,
            reason = &mut end => break reason,
        };
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            // Some clients send their JSON in binary frames.
            Some(Ok(Message::Binary(bytes))) => Utf8Bytes::try_from(bytes).unwrap_or_default(),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(Message::Close(_))) | None => break None,
            Some(Err(error)) => break explain(&error),
        };
        // A request that waits on purpose would otherwise keep its connection for as long.
        tokio::select! {
            () = edge.rpc.handle(&mut peer, &text) => {}
            reason = &mut end => break reason,
        }
    };
    if outbox.overflowed() {
        edge.metrics.cut_off();
        let session = peer.session.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(session, bounds = ?edge.bounds, "a client reads too slowly and is cut off");
    }
    let _ = close.send(Some(reason));
    let _ = writer.await;
}

/// Waits for an end of the connection that the client did not ask for: it reads too slowly, its token expires, or the daemon ends.
async fn cut_short(outbox: &Outbox, mut ending: watch::Receiver<bool>, stays: Option<Duration>) -> Reason {
    let expiry = async {
        match stays {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = outbox.overflow() => None,
        () = expiry => Some((POLICY_VIOLATION, "The access token has expired")),
        _ = ending.wait_for(|ending| *ending) => Some((GOING_AWAY, "The server is shutting down")),
    }
}

/// What to tell a client whose frames can't be taken; nothing if the connection itself broke. axum hands on the
/// websocket library's errors without their type, so they are told apart by their text.
fn explain(error: &axum::Error) -> Reason {
    let text = error.to_string();
    [
        (
            "Space limit exceeded",
            (TOO_BIG, "The message is larger than max_message_bytes"),
        ),
        ("UTF-8 encoding error", (NOT_UTF8, "A text message must be UTF-8")),
        (
            "WebSocket protocol error",
            (PROTOCOL_ERROR, "This is not the websocket protocol"),
        ),
    ]
    .into_iter()
    .find_map(|(beginning, reason)| text.starts_with(beginning).then_some(reason))
}

/// Code and text of a close frame; none if there is nothing to tell.
type Reason = Option<(u16, &'static str)>;

/// Turns `Some` when the connection is to be closed.
type Closing = watch::Receiver<Option<Reason>>;

/// Sends what the queue holds, until the connection is to be closed, breaks, or turns out to be too slow.
async fn write(mut sender: SplitSink<WebSocket, Message>, outbox: Arc<Outbox>, mut closing: Closing) {
    loop {
        let text = tokio::select! {
            biased;
            text = outbox.next() => text,
            _ = closing.wait_for(Option::is_some) => break,
        };
        let Some(text) = text else {
            return cut_off(sender).await;
        };
        let send = tokio::time::timeout(WRITE_TIMEOUT, sender.send(Message::Text(text.into())));
        tokio::select! {
            sent = send => if !matches!(sent, Ok(Ok(()))) { return },
            () = outbox.overflow() => return cut_off(sender).await,
        }
    }
    let frame = closing.borrow().flatten().map(|(code, reason)| CloseFrame {
        code,
        reason: reason.into(),
    });
    let _ = tokio::time::timeout(Duration::from_secs(1), sender.send(Message::Close(frame))).await;
}

/// Tells a slow client why, if it can still be told at once.
async fn cut_off(mut sender: SplitSink<WebSocket, Message>) {
    let frame = CloseFrame {
        code: TRY_AGAIN_LATER,
        reason: "Answers and events are not read fast enough".into(),
    };
    let _ = sender.send(Message::Close(Some(frame))).now_or_never();
}
