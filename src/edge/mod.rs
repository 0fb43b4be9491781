//! The daemon's edge: the websocket that application servers connect to, and the HTTP routes beside it.

mod access;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod multipart;
mod outbox;
mod rpc;
mod uploads;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{SplitSink, StreamExt};
use futures_util::{FutureExt, SinkExt};
use kms_core::Server;
use kms_elements::http_post::Uploads;
use tokio::sync::watch;

pub use access::Access;
use outbox::{Bounds, Outbox};
use rpc::{Peer, Rpc};
pub use uploads::PATH as UPLOAD_PATH;

/// How long a client may take to accept one message before its connection is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Close codes of RFC 6455, section 7.4.1, and of its registry.
const GOING_AWAY: u16 = 1001;
const PROTOCOL_ERROR: u16 = 1002;
const NOT_UTF8: u16 = 1007;
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
}

struct Edge {
    access: Access,
    rpc: Rpc,
    bounds: Bounds,
    max_message: usize,
    max_connections: usize,
    connections: AtomicUsize,
    /// Turns true when the daemon is told to end.
    ending: watch::Receiver<bool>,
}

/// The routes. Connections are closed, with a reason, once `ending` turns true.
pub fn router(
    server: Server,
    uploads: Uploads,
    settings: &Settings,
    access: Access,
    ending: watch::Receiver<bool>,
) -> Router {
    let edge = Arc::new(Edge {
        access,
        rpc: Rpc::new(server),
        bounds: Bounds {
            messages: settings.queue_messages,
            bytes: settings.queue_bytes,
        },
        max_message: settings.max_message,
        max_connections: settings.max_connections,
        connections: AtomicUsize::new(0),
        ending,
    });
    Router::new()
        .route(&settings.path, get(upgrade))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(edge)
        .merge(uploads::routes(uploads))
}

/// Counts a connection while it is open.
struct Counted(Arc<Edge>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn upgrade(
    State(edge): State<Arc<Edge>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Err(refused) = edge.access.admit(&headers, query.as_deref()).await {
        return refused;
    }
    if edge.connections.fetch_add(1, Ordering::AcqRel) >= edge.max_connections {
        edge.connections.fetch_sub(1, Ordering::AcqRel);
        let message = format!(
            "{} connections are open, and max_connections allows no more\n",
            edge.max_connections
        );
        return (StatusCode::SERVICE_UNAVAILABLE, message).into_response();
    }
    let counted = Counted(edge.clone());
    upgrade
        .max_message_size(edge.max_message)
        .max_frame_size(edge.max_message)
        .on_upgrade(move |socket| async move {
            let _counted = counted;
            serve(edge, socket).await;
        })
}

/// Serves a connection: requests one after the other, answers and events through its bounded queue.
async fn serve(edge: Arc<Edge>, socket: WebSocket) {
    let (sender, mut receiver) = socket.split();
    let outbox = Arc::new(Outbox::new(edge.bounds));
    let (close, closing) = watch::channel(None);
    let writer = tokio::spawn(write(sender, outbox.clone(), closing));
    let mut peer = Peer {
        session: None,
        outbox: outbox.clone(),
    };
    let mut ending = edge.ending.clone();
    let reason = loop {
        let message = tokio::select! {
            message = receiver.next() => message,
            reason = cut_short(&outbox, &mut ending) => break reason,
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
            reason = cut_short(&outbox, &mut ending) => break reason,
        }
    };
    if outbox.overflowed() {
        let session = peer.session.as_deref().unwrap_or("none");
        tracing::warn!(session, bounds = ?edge.bounds, "a client reads too slowly and is cut off");
    }
    let _ = close.send(Some(reason));
    let _ = writer.await;
}

/// Waits for an end of the connection that the client did not ask for: it reads too slowly, or the daemon ends.
async fn cut_short(outbox: &Outbox, ending: &mut watch::Receiver<bool>) -> Reason {
    tokio::select! {
        () = outbox.overflow() => None,
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
