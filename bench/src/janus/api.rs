//! Janus's JSON API over its websocket: as much of it as the load needs, one request at a time.
//!
//! <https://janus.conf.meetecho.com/docs/rest.html>

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::error::{Error, Result};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A session with a Janus.
pub(crate) struct Janus {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Value,
    transactions: u64,
}

/// What a plugin answered.
pub(crate) struct Answer(Value);

impl Answer {
    /// The plugin's part of it.
    pub(crate) fn data(&self) -> &Value {
        &self.0["plugindata"]["data"]
    }

    /// The session description that came with it.
    pub(crate) fn description(&self) -> Result<String> {
        match &self.0["jsep"]["sdp"] {
            Value::String(sdp) => Ok(sdp.clone()),
            _ => Err(Error::Server(format!("Janus sent no description: {}", self.0))),
        }
    }
}

impl Janus {
    /// Connects and opens a session.
    pub(crate) async fn connect(url: &str) -> Result<Janus> {
        let unreachable = |e| Error::Server(format!("Janus at {url}: {e}"));
        let mut request = url.into_client_request().map_err(unreachable)?;
        let protocol = HeaderValue::from_static("janus-protocol");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = connect_async(request).await.map_err(unreachable)?;
        let mut janus = Janus {
            socket,
            session: Value::Null,
            transactions: 0,
        };
        janus.session = janus.request(json!({"janus": "create"})).await?["data"]["id"].take();
        Ok(janus)
    }

    /// Attaches to a plugin and answers the handle.
    pub(crate) async fn attach(&mut self, plugin: &str) -> Result<u64> {
        let answer = self.request(json!({"janus": "attach", "plugin": plugin})).await?;
        let id = answer["data"]["id"].as_u64();
        id.ok_or_else(|| Error::Server(format!("Janus gave no handle: {answer}")))
    }

    /// Sends a plugin a message, with a description of this type if any, and waits for what it says to it.
    pub(crate) async fn message(
        &mut self,
        handle: u64,
        body: Value,
        description: Option<(&str, &str)>,
    ) -> Result<Answer> {
        let mut request = json!({"janus": "message", "handle_id": handle, "body": body});
        if let Some((kind, sdp)) = description {
            // All candidates are in it already.
            request["jsep"] = json!({"type": kind, "sdp": sdp, "trickle": false});
        }
        let answer = Answer(self.request(request).await?);
        match answer.data().get("error") {
            Some(error) => Err(Error::Server(format!("Janus answered: {error}"))),
            None => Ok(answer),
        }
    }

    /// Waits until a handle's peer is connected. It must not have been waited for anything else since.
    pub(crate) async fn connected(&mut self, handle: u64) -> Result<()> {
        self.wait_for(|m| m["janus"] == "webrtcup" && m["sender"] == handle)
            .await
            .map(drop)
    }

    async fn request(&mut self, mut request: Value) -> Result<Value> {
        self.transactions += 1;
        let transaction = self.transactions.to_string();
        request["transaction"] = json!(transaction);
        if !self.session.is_null() {
            request["session_id"] = self.session.clone();
        }
        let lost = |e| Error::Server(format!("Janus: {e}"));
        self.socket
            .send(Message::text(request.to_string()))
            .await
            .map_err(lost)?;
        // Plugins first say that they got it, and answer later.
        let answer = self
            .wait_for(|m| m["transaction"] == transaction.as_str() && m["janus"] != "ack")
            .await?;
        match answer["janus"] == "error" {
            true => Err(Error::Server(format!("Janus answered: {}", answer["error"]))),
            false => Ok(answer),
        }
    }

    async fn wait_for(&mut self, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
        let reading = async {
            while let Some(message) = self.socket.next().await {
                let message = message.map_err(|e| Error::Server(format!("Janus: {e}")))?;
                let Ok(text) = message.to_text() else { continue };
                let message = serde_json::from_str(text).unwrap_or(Value::Null);
                if is_it(&message) {
                    return Ok(message);
                }
            }
            Err(Error::Server("Janus closed the connection".into()))
        };
        tokio::time::timeout(PATIENCE, reading)
            .await
            .unwrap_or_else(|_| Err(Error::Late("Janus did not answer".into(), PATIENCE.as_secs())))
    }
}
