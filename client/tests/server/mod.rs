//! A media server of a few lines: it says what a test tells it to.

#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test says what it expects by failing")]

use std::sync::{Arc, Mutex};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;

/// What the server does about a request, in order.
#[derive(Clone)]
pub(crate) enum Reply {
    /// Answers: an object with `result` or `error`.
    Answer(Value),
    /// Sends an event: an object with `object`, `type` and `data`.
    Event(Value),
    /// Drops the connection.
    Hangup,
}

/// `{"result": {"value": value, "sessionId": ...}}`
pub(crate) fn value(value: Value) -> Reply {
    Reply::Answer(json!({"result": {"value": value, "sessionId": "session-1"}}))
}

/// The answer to `connect`.
pub(crate) fn session(id: &str) -> Reply {
    Reply::Answer(json!({"result": {"sessionId": id, "serverId": "server"}}))
}

/// Every request the server got, as (number of the connection, request).
pub(crate) type Log = Arc<Mutex<Vec<(usize, Value)>>>;

/// The requests of one method in a log.
pub(crate) fn requests(log: &Log, method: &str) -> Vec<(usize, Value)> {
    log.lock()
        .unwrap()
        .iter()
        .filter(|(_, r)| r["method"] == method)
        .cloned()
        .collect()
}

/// Starts a server; gives its URL and its log.
pub(crate) async fn start(
    script: impl Fn(usize, &Value) -> Vec<Reply> + Send + Sync + 'static,
) -> (String, Log) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/kurento", listener.local_addr().unwrap());
    let log = Log::default();
    let (script, seen) = (Arc::new(script), log.clone());
    tokio::spawn(async move {
        for connection in 0.. {
            let (socket, _) = listener.accept().await.unwrap();
            let (script, seen) = (script.clone(), seen.clone());
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
                while let Some(Ok(Message::Text(text))) = socket.next().await {
                    let request: Value = serde_json::from_str(&text).unwrap();
                    seen.lock().unwrap().push((connection, request.clone()));
                    for reply in script(connection, &request) {
                        let frame = match reply {
                            Reply::Answer(mut answer) => {
                                answer["id"] = request["id"].clone();
                                answer["jsonrpc"] = "2.0".into();
                                answer
                            }
                            Reply::Event(event) => {
                                json!({"jsonrpc": "2.0", "method": "onEvent", "params": {"value": event}})
                            }
                            Reply::Hangup => return,
                        };
                        socket.send(Message::text(frame.to_string())).await.unwrap();
                    }
                }
            });
        }
    });
    (url, log)
}
