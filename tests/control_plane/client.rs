//! A client that does exactly what a test says, right or wrong: no reconnecting, no checks, no types.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Map, Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::daemon::Daemon;

/// How long anything may take before it counts as never.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Id of the next request. No two connections use the same, for in the same session the second request would be
/// answered from the server's cache.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The error of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: i64,
    pub(crate) message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

/// What an answer says: its `result`, or its `error`.
pub(crate) type Outcome = Result<Value, Refused>;

/// One websocket.
pub(crate) struct Connection {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// The session begun by [`Connection::open`]; requests name no other unless they say so.
    pub(crate) session: String,
    /// Events that came while something else was waited for.
    events: VecDeque<Value>,
}

/// Opens a websocket without saying anything on it.
pub(crate) async fn websocket(daemon: &Daemon) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    handshake(daemon, TcpStream::connect(daemon.address).await.unwrap()).await
}

async fn handshake(
    daemon: &Daemon,
    stream: TcpStream,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    enter(daemon, stream, "").await
}

async fn enter(
    daemon: &Daemon,
    stream: TcpStream,
    query: &str,
) -> Result<WebSocketStream<TcpStream>, tungstenite::Error> {
    stream.set_nodelay(true).unwrap();
    let url = format!("ws://{}/kurento{query}", daemon.address);
    let (socket, _) = within(tokio_tungstenite::client_async(url, stream)).await?;
    Ok(socket)
}

/// Fails the test when something takes for ever.
pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("nothing happened for a long time")
}

impl Connection {
    /// A connection with no session.
    pub(crate) async fn bare(daemon: &Daemon) -> Connection {
        Connection::on(websocket(daemon).await.unwrap())
    }

    /// A connection with no session, and its TCP stream to write what no websocket library would.
    pub(crate) async fn with_raw_stream(daemon: &Daemon) -> (Connection, std::net::TcpStream) {
        let stream = TcpStream::connect(daemon.address)
            .await
            .unwrap()
            .into_std()
            .unwrap();
        let raw = stream.try_clone().unwrap();
        let socket = handshake(daemon, TcpStream::from_std(stream).unwrap())
            .await
            .unwrap();
        (Connection::on(socket), raw)
    }

    pub(crate) fn on(socket: WebSocketStream<TcpStream>) -> Connection {
        Connection {
            socket,
            session: String::new(),
            events: VecDeque::new(),
        }
    }

    /// A connection with a session of its own.
    pub(crate) async fn open(daemon: &Daemon) -> Connection {
        Connection::bare(daemon).await.begin().await
    }

    /// A connection of who has a token, with a session of its own.
    pub(crate) async fn with_token(daemon: &Daemon, token: &str) -> Connection {
        let stream = TcpStream::connect(daemon.address).await.unwrap();
        let socket = enter(daemon, stream, &format!("?access_token={token}"))
            .await
            .unwrap();
        Connection::on(socket).begin().await
    }

    async fn begin(self) -> Connection {
        let mut connection = self;
        let connected = connection.request("connect", json!({})).await.unwrap();
        connection.session = connected["sessionId"].as_str().unwrap().to_owned();
        connection
    }

    /// A connection that takes up a session begun before.
    pub(crate) async fn resume(daemon: &Daemon, session: &str) -> Connection {
        let mut connection = Connection::bare(daemon).await;
        let connected = connection
            .request("connect", json!({"sessionId": session}))
            .await
            .unwrap();
        assert_eq!(connected["sessionId"], session);
        connection.session = session.to_owned();
        connection
    }

    /// Sends a frame as it is.
    pub(crate) async fn send(&mut self, frame: impl Into<Message>) {
        within(self.socket.send(frame.into())).await.unwrap();
    }

    /// Queues a request, to be sent with the next flush, and returns its id.
    pub(crate) async fn feed(&mut self, method: &str, params: Value) -> u64 {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        within(self.socket.feed(Message::text(request.to_string())))
            .await
            .unwrap();
        id
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Outcome {
        let id = self.feed(method, params).await;
        self.answer(id).await
    }

    /// Waits for the next answer, which must be the one to request `id`.
    pub(crate) async fn answer(&mut self, id: u64) -> Outcome {
        let (answered, outcome) = self.next_answer().await;
        assert_eq!(
            answered,
            json!(id),
            "answers come in the order of their requests: {outcome:?}"
        );
        outcome
    }

    /// Waits for the next answer, whatever its id; events are put aside.
    pub(crate) async fn next_answer(&mut self) -> (Value, Outcome) {
        loop {
            let mut message = self.receive().await;
            if message.get("method").is_some() {
                self.events.push_back(message);
                continue;
            }
            let outcome = match message.get("error") {
                None => Ok(message["result"].take()),
                Some(error) => Err(Refused {
                    code: error["code"].as_i64().unwrap(),
                    message: error["message"].as_str().unwrap().to_owned(),
                }),
            };
            return (message["id"].take(), outcome);
        }
    }

    /// Waits for the next frame, which must be JSON.
    pub(crate) async fn receive(&mut self) -> Value {
        within(self.socket.flush()).await.unwrap();
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => panic!("the connection should go on, but: {other:?}"),
            }
        }
    }

    /// Waits for the next event: its type and data.
    pub(crate) async fn event(&mut self) -> (String, Value) {
        let mut event = match self.events.pop_front() {
            Some(event) => event,
            None => self.receive().await,
        };
        assert_eq!(event["method"], "onEvent", "an event was expected");
        let value = event["params"]["value"].take();
        (value["type"].as_str().unwrap().to_owned(), value["data"].clone())
    }

    /// How many events came while answers were waited for, and forgets them.
    pub(crate) fn drain_events(&mut self) -> usize {
        std::mem::take(&mut self.events).len()
    }

    /// Waits until the server closes, whatever it says before; the code and reason of its close frame, if there was one.
    pub(crate) async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            match within(self.socket.next()).await {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map(|f| (u16::from(f.code), f.reason.as_str().to_owned()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    /// Creates an object and returns its id.
    pub(crate) async fn create(&mut self, class: &str, constructor: Value) -> String {
        let created = self
            .request("create", json!({"type": class, "constructorParams": constructor}))
            .await;
        id_of(created)
    }

    /// Creates a pipeline and returns its id.
    pub(crate) async fn pipeline(&mut self) -> String {
        self.create("MediaPipeline", json!({})).await
    }

    /// Creates an element in a pipeline and returns its id.
    pub(crate) async fn element(&mut self, class: &str, pipeline: &str) -> String {
        self.create(class, json!({"mediaPipeline": pipeline})).await
    }

    /// Calls a method and returns its value.
    pub(crate) async fn invoke(&mut self, object: &str, operation: &str, params: Value) -> Outcome {
        let params = json!({"object": object, "operation": operation, "operationParams": params});
        self.request("invoke", params)
            .await
            .map(|mut result| result["value"].take())
    }

    /// Subscribes to an event and returns the subscription's id.
    pub(crate) async fn subscribe(&mut self, object: &str, event: &str) -> String {
        id_of(
            self.request("subscribe", json!({"object": object, "type": event}))
                .await,
        )
    }

    /// Whether an object exists.
    pub(crate) async fn exists(&mut self, object: &str) -> bool {
        match self.invoke(object, "getName", json!({})).await {
            Ok(_) => true,
            Err(refused) if refused.code == 40101 => false,
            Err(refused) => panic!("{refused}"),
        }
    }
}

/// The id in the answer to `create` or `subscribe`.
pub(crate) fn id_of(outcome: Outcome) -> String {
    match outcome {
        Ok(result) => result["value"].as_str().unwrap().to_owned(),
        Err(refused) => panic!("{refused}"),
    }
}

/// The code of an error that must have come.
pub(crate) fn code(outcome: Outcome) -> i64 {
    match outcome {
        Ok(result) => panic!("an error was expected, not {result}"),
        Err(refused) => refused.code,
    }
}

/// `params` with one member replaced.
pub(crate) fn with(params: &Value, name: &str, value: Value) -> Value {
    let mut members: Map<String, Value> = params.as_object().unwrap().clone();
    members.insert(name.to_owned(), value);
    members.into()
}
