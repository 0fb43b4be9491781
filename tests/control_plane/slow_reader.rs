//! A client that asks for much and reads nothing: it loses its connection, and nobody else anything.

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Connection, within};
use crate::daemon::Daemon;

/// Subscriptions of the slow client; it gets as many events for each object created.
const SUBSCRIPTIONS: usize = 500;
/// Objects created: with the subscriptions some 100 MB of events, many times what sockets and the queue hold.
const OBJECTS: usize = 600;
/// What the daemon may grow by, KiB: the queue's 4 MiB as configured by default, as much in the socket's buffers and
/// the objects themselves. Without a bound it would be more than ten times that.
const GROWTH: u64 = 12 * 1024;

async fn subscribe_often(connection: &mut Connection) {
    let params = json!({"object": "manager_ServerManager", "type": "ObjectCreated"});
    let mut sent = Vec::new();
    for _ in 0..SUBSCRIPTIONS {
        sent.push(connection.feed("subscribe", params.clone()).await);
    }
    for id in sent {
        connection.answer(id).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_its_events_is_cut_off() {
    let daemon = Daemon::start();
    let mut slow = Connection::open(&daemon).await;
    subscribe_often(&mut slow).await;
    let mut listener = Connection::open(&daemon).await;
    listener.subscribe("manager_ServerManager", "ObjectCreated").await;
    let mut other = Connection::open(&daemon).await;
    let before = daemon.peak_rss();

    let mut slowest = Duration::ZERO;
    for _ in 0..OBJECTS {
        let start = Instant::now();
        let pipeline = other.pipeline().await;
        slowest = slowest.max(start.elapsed());
        assert_eq!(listener.event().await.1["object"], json!(pipeline));
    }
    assert!(
        slowest < Duration::from_secs(1),
        "another client waited {slowest:?}"
    );
    let grown = daemon.peak_rss().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} KiB");
    daemon.logged("reads too slowly and is cut off").await;
    daemon.logged(&slow.session).await;
    // What it gets to read once it reads is less than there was to say, and then the end.
    slow.closed().await;

    let mut back = Connection::resume(&daemon, &slow.session).await;
    assert_eq!(
        back.request("ping", json!({})).await.unwrap()["value"],
        "pong",
        "its session is still there"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let daemon = Daemon::start();
    let mut deaf = Connection::open(&daemon).await;
    let mut other = Connection::open(&daemon).await;
    let before = daemon.peak_rss();
    let get_kmd = json!({
        "object": "manager_ServerManager", "operation": "getKmd", "operationParams": {"moduleName": "core"},
    });
    let request = json!({"jsonrpc": "2.0", "id": "again", "method": "invoke", "params": get_kmd}).to_string();
    let cut_off = within(async {
        // The answers are some 30 kB each. Sending fails once the server has closed.
        while deaf.socket.send(Message::text(request.clone())).await.is_ok() {}
    });
    cut_off.await;
    other.request("ping", json!({})).await.unwrap();
    let grown = daemon.peak_rss().saturating_sub(before);
    assert!(grown < GROWTH, "grew by {grown} KiB");
    daemon.logged("reads too slowly and is cut off").await;
}

#[tokio::test]
async fn the_configured_bound_is_the_one_that_counts() {
    let daemon = Daemon::with_config("[server]\nevent_queue_messages = 16\n");
    let mut connection = Connection::open(&daemon).await;
    for _ in 0..16 {
        connection
            .subscribe("manager_ServerManager", "ObjectCreated")
            .await;
    }
    // The answer and sixteen events are one message too many to wait at once.
    connection.feed("create", json!({"type": "MediaPipeline"})).await;
    connection.socket.flush().await.unwrap();
    let (code, _) = connection.closed().await.expect("a close frame");
    assert_eq!(code, 1013);
}
