//! What a client may send at most, and messages that are no requests. Nothing of it harms anybody else.

use std::io::Write;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{self, Message};

use crate::client::{Connection, Refused, code, websocket};
use crate::daemon::Daemon;
use crate::hostile_sdp::recorded_offer;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;

/// Sends a message as it is, expects an error, and that the connection goes on.
async fn refused(connection: &mut Connection, message: Message) -> (Value, Refused) {
    connection.send(message).await;
    let (id, outcome) = connection.next_answer().await;
    assert_eq!(
        connection.request("ping", json!({})).await.unwrap()["value"],
        "pong"
    );
    (id, outcome.unwrap_err())
}

/// Begins a text frame that says it has `length` bytes, as a client must: masked (RFC 6455, section 5.2).
fn header(length: u64) -> Vec<u8> {
    let mut header = vec![0x81, 0xff];
    header.extend(length.to_be_bytes());
    header.extend([0; 4]);
    header
}

#[tokio::test]
async fn a_message_above_the_limit_closes_its_connection_alone() {
    const LENGTH: u64 = 100_000_000;
    let daemon = Daemon::start();
    let mut other = Connection::open(&daemon).await;
    let before = daemon.rss();
    for sent in [0, LENGTH] {
        let (mut connection, mut raw) = Connection::with_raw_stream(&daemon).await;
        let writer = std::thread::spawn(move || {
            let _ = raw.write_all(&header(LENGTH));
            let chunk = vec![b' '; 1_000_000];
            let chunks = (0..sent).step_by(chunk.len());
            // The server stops reading at some point; that writing fails then is as it should be.
            let _ = chunks.map(|_| raw.write_all(&chunk)).find(Result::is_err);
        });
        let (code, reason) = connection.closed().await.expect("a close frame");
        assert_eq!(code, 1009);
        assert!(reason.contains("max_message_bytes"), "{reason}");
        drop(connection);
        writer.join().unwrap();
        other.request("ping", json!({})).await.unwrap();
    }
    assert!(
        daemon.rss() < before + 10_000,
        "{} KiB before, {} KiB after",
        before,
        daemon.rss()
    );
}

#[tokio::test]
async fn a_message_in_fragments_is_bounded_too() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let mut opcode = Data::Text;
    for _ in 0..5 {
        let fragment = Frame::message(vec![b' '; 1_000_000], OpCode::Data(opcode), false);
        if connection.socket.send(Message::Frame(fragment)).await.is_err() {
            break;
        }
        opcode = Data::Continue;
    }
    assert_eq!(connection.closed().await.expect("a close frame").0, 1009);
}

#[tokio::test]
async fn a_message_just_below_the_limit_is_served() {
    let daemon = Daemon::with_config("[server]\nmax_message_bytes = 65536\n");
    let mut connection = Connection::open(&daemon).await;
    let mut ping = json!({"jsonrpc": "2.0", "id": "padded", "method": "ping", "params": {}}).to_string();
    ping.push_str(&" ".repeat(65536 - ping.len()));
    connection.send(ping.as_str()).await;
    assert_eq!(connection.next_answer().await.1.unwrap()["value"], "pong");
    ping.push(' ');
    connection.send(ping).await;
    assert_eq!(connection.closed().await.expect("a close frame").0, 1009);
}

#[tokio::test]
async fn connections_above_the_limit_are_refused_until_one_is_closed() {
    let daemon = Daemon::with_config("[server]\nmax_connections = 3\n");
    let mut connections = Vec::new();
    for _ in 0..3 {
        connections.push(Connection::open(&daemon).await);
    }
    for _ in 0..10 {
        let Err(tungstenite::Error::Http(response)) = websocket(&daemon).await else {
            panic!("a fourth connection was let in");
        };
        assert_eq!(response.status(), 503);
        let body = response.into_body().unwrap_or_default();
        assert!(String::from_utf8_lossy(&body).contains("max_connections"));
    }
    for connection in &mut connections {
        connection.request("ping", json!({})).await.unwrap();
    }
    connections.pop();
    let deadline = Instant::now() + Duration::from_secs(5);
    while websocket(&daemon).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the place of a closed connection is not free"
        );
    }
}

#[tokio::test]
async fn text_that_is_not_json_is_a_parse_error() {
    const DEEP: usize = 100_000;
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": "é"}}).to_string();
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let mut texts = vec![
        String::new(),
        " ".into(),
        "\u{feff}{}".into(),
        "{\"jsonrpc\": \"2.0\"} {}".into(),
        "{\"id\": 1e999, \"jsonrpc\": \"2.0\", \"method\": \"ping\"}".into(),
        "[".repeat(DEEP),
        "{\"a\":".repeat(DEEP),
        format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        request.replace(
            "{\"a\":\"é\"}",
            &format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP)),
        ),
    ];
    texts.extend(
        (1..request.len())
            .filter_map(|end| request.get(..end))
            .map(str::to_owned),
    );
    for text in texts {
        let shown: String = text.chars().take(80).collect();
        let (id, error) = refused(&mut connection, Message::text(text)).await;
        assert_eq!((id, error.code), (Value::Null, PARSE_ERROR), "{shown}");
    }
}

#[tokio::test]
async fn json_that_is_no_request_is_an_invalid_request() {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let mut messages = vec![json!(null), json!(5), json!("ping"), json!(true), json!({})];
    messages.extend([json!([]), json!([ping]), json!([ping, ping]), json!([[[]]])]);
    for (member, wrong) in [
        (
            "jsonrpc",
            vec![json!(null), json!(2.0), json!("1.0"), json!(["2.0"])],
        ),
        ("method", vec![json!(null), json!(5), json!(["ping"]), json!({})]),
        (
            "id",
            vec![
                json!(true),
                json!(1.5),
                json!([1]),
                json!({}),
                json!("x".repeat(100_000)),
            ],
        ),
    ] {
        messages.extend(
            wrong
                .into_iter()
                .map(|value| crate::client::with(&ping, member, value)),
        );
    }
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    for message in messages {
        let text = message.to_string();
        let shown: String = text.chars().take(80).collect();
        let (_, error) = refused(&mut connection, Message::text(text)).await;
        assert_eq!(error.code, INVALID_REQUEST, "{shown}");
    }
}

#[tokio::test]
async fn answers_and_notifications_of_a_client_are_not_answered() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    for message in [
        json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
        json!({"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}}),
        json!({"jsonrpc": "2.0", "method": "ping"}),
    ] {
        connection.send(message.to_string()).await;
    }
    // The next answer is the one to this request.
    connection.request("ping", json!({})).await.unwrap();
}

#[tokio::test]
async fn binary_frames_are_taken_as_text_and_need_valid_utf_8() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let request = json!({"jsonrpc": "2.0", "id": "binary", "method": "ping"}).to_string();
    connection.send(Message::binary(request.clone())).await;
    assert_eq!(connection.next_answer().await.1.unwrap()["value"], "pong");
    let mut invalid = request.into_bytes();
    for (at, byte) in [(0, 0xff), (20, 0xc0), (40, 0x80)] {
        let before = std::mem::replace(&mut invalid[at], byte);
        let (id, error) = refused(&mut connection, Message::binary(invalid.clone())).await;
        assert_eq!((id, error.code), (Value::Null, PARSE_ERROR), "at byte {at}");
        invalid[at] = before;
    }
}

#[tokio::test]
async fn a_broken_websocket_is_closed_and_disturbs_nobody() {
    let daemon = Daemon::start();
    let mut other = Connection::open(&daemon).await;
    // RFC 6455: text that isn't UTF-8 (8.1), reserved bits and opcodes (5.2), a lone continuation (5.4),
    // a fragmented ping (5.5), an unmasked frame (5.1).
    let frames: [(&str, &[u8], u16); 6] = [
        ("invalid UTF-8", b"\x81\x82\0\0\0\0\xff\xfe", 1007),
        ("reserved bit", b"\xc1\x80\0\0\0\0", 1002),
        ("reserved opcode", b"\x83\x80\0\0\0\0", 1002),
        ("lone continuation", b"\x80\x80\0\0\0\0", 1002),
        ("fragmented ping", b"\x09\x80\0\0\0\0", 1002),
        ("unmasked", b"\x81\x02{}", 1002),
    ];
    for (what, frame, expected) in frames {
        let (mut connection, mut raw) = Connection::with_raw_stream(&daemon).await;
        raw.write_all(frame).unwrap();
        let (code, _) = connection
            .closed()
            .await
            .unwrap_or_else(|| panic!("{what}: no close frame"));
        assert_eq!(code, expected, "{what}");
        other.request("ping", json!({})).await.unwrap();
    }
}

#[tokio::test]
async fn transactions_are_bounded_in_depth() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let mut operation = json!({"jsonrpc": "2.0", "id": 0, "method": "keepAlive", "params": {}});
    for _ in 0..20 {
        operation = json!({"jsonrpc": "2.0", "id": 0, "method": "transaction", "params": {"operations": [operation]}});
    }
    let answer = connection
        .request("transaction", json!({"operations": [operation]}))
        .await
        .unwrap();
    assert!(answer.to_string().contains("40008"), "{answer}");
    assert_eq!(
        code(
            connection
                .request("transaction", json!({"operations": [1]}))
                .await
        ),
        -32603
    );
}

#[tokio::test]
async fn subscriptions_to_an_object_are_bounded() {
    const MOST: usize = 10_000;
    const AT_ONCE: usize = 500;
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let params = json!({"object": "manager_ServerManager", "type": "ObjectCreated"});
    for _ in 0..MOST / AT_ONCE {
        let mut sent = Vec::new();
        for _ in 0..AT_ONCE {
            sent.push(connection.feed("subscribe", params.clone()).await);
        }
        for id in sent {
            connection.answer(id).await.unwrap();
        }
    }
    assert_eq!(code(connection.request("subscribe", params.clone()).await), 40009);
    connection.request("closeSession", json!({})).await.unwrap();
    connection.request("subscribe", params).await.unwrap();
}

/// Makes endpoints until the server can't, releases them, and makes one more.
async fn exhaust(daemon: &Daemon) {
    let offer = json!({"offer": recorded_offer()});
    let mut other = Connection::open(daemon).await;
    let mut connection = Connection::open(daemon).await;
    let pipeline = connection.pipeline().await;
    let mut endpoints = Vec::new();
    let refused = loop {
        assert!(endpoints.len() < 100, "there is no end of it");
        let endpoint = connection.element("WebRtcEndpoint", &pipeline).await;
        endpoints.push(endpoint.clone());
        if let Err(refused) = connection.invoke(&endpoint, "processOffer", offer.clone()).await {
            break refused;
        }
    };
    assert_eq!(refused.code, 40009, "{refused}");
    other.request("ping", json!({})).await.unwrap();
    for endpoint in endpoints {
        connection
            .request("release", json!({"object": endpoint}))
            .await
            .unwrap();
    }
    let endpoint = connection.element("WebRtcEndpoint", &pipeline).await;
    // Sockets are closed by other threads, a moment later.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(refused) = connection.invoke(&endpoint, "processOffer", offer.clone()).await {
        assert!(
            refused.code == 40009 && Instant::now() < deadline,
            "after all were released: {refused}"
        );
    }
}

#[tokio::test]
async fn without_a_free_descriptor_a_request_fails_and_what_is_there_goes_on() {
    let daemon = Daemon::with_descriptors(48);
    exhaust(&daemon).await;
    Connection::open(&daemon).await;
}

#[tokio::test]
async fn without_a_free_port_a_request_fails_and_what_is_there_goes_on() {
    // Below the ports that the system gives out by itself.
    let daemon = Daemon::with_config("[webrtc]\nmin_port = 21300\nmax_port = 21309\nice_tcp = false\n");
    exhaust(&daemon).await;
}

#[tokio::test]
async fn who_connects_and_asks_nothing_is_sent_away() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let daemon = Daemon::start();
    let begun = Instant::now();
    let mut slow = Vec::new();
    // Nothing, the beginning of HTTP/2, half a request.
    for said in ["", "PRI * HTTP/2.0\r\n", "GET /kurento HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        slow.push((said, stream));
    }
    for (said, mut stream) in slow {
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(15), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{said:?} holds a connection");
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
    Connection::open(&daemon).await;
}
