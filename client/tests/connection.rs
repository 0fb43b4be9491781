//! What happens to requests and subscriptions when the connection or the server has its troubles.

mod server;

use std::time::Duration;

use kms_client::{Client, Error, ObjectId, Options, State};
use serde_json::{Value, json};
use server::{Reply, requests, session, value};

fn event(n: u32) -> Reply {
    Reply::Event(json!({"object": "o", "type": "K", "data": n}))
}

fn object() -> ObjectId {
    ObjectId::from("o")
}

/// A server that hangs up when told to `drop`, and raises an event when told to `raise`.
fn ordinary(request: &Value) -> Vec<Reply> {
    match (
        request["method"].as_str().unwrap(),
        request["params"]["operation"].as_str(),
    ) {
        ("connect", _) => vec![session("session-1")],
        ("subscribe", _) => vec![value("subscription-1".into())],
        ("invoke", Some("drop")) => vec![Reply::Hangup],
        ("invoke", Some("raise")) => vec![value(Value::Null), event(7)],
        ("invoke", Some("fail")) => {
            vec![Reply::Answer(
                json!({"error": {"code": 40101, "message": "gone", "data": {"type": "X"}}}),
            )]
        }
        ("invoke", Some("silence")) => vec![],
        _ => vec![value("ok".into())],
    }
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_with_the_same_session() {
    let (url, log) = server::start(|_, r| ordinary(r)).await;
    let client = Client::connect(&url).await.unwrap();
    let mut events = client.subscribe(&object(), "K").await.unwrap();

    let broken = client.invoke(&object(), "drop", json!({})).await;
    assert!(matches!(broken, Err(Error::Interrupted(_))), "{broken:?}");
    client.invoke(&object(), "raise", json!({})).await.unwrap(); // waits for the new connection
    assert_eq!(events.next().await.unwrap().data, 7);
    assert_eq!(client.state(), State::Connected);

    // A server answers an id it knows from its cache.
    let ids: Vec<u64> = log
        .lock()
        .unwrap()
        .iter()
        .map(|(_, r)| r["id"].as_u64().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");

    let connects = requests(&log, "connect");
    assert_eq!(connects[0].1["params"], json!({}));
    assert_eq!(
        (connects[1].0, &connects[1].1["params"]["sessionId"]),
        (1, &json!("session-1"))
    );
    assert_eq!(
        requests(&log, "subscribe").len(),
        1,
        "subscriptions live in the session"
    );
}

#[tokio::test]
async fn a_forgotten_session_ends_the_streams() {
    let script = |connection: usize, request: &Value| match (connection, request["method"].as_str().unwrap())
    {
        (1.., "connect") if request["params"]["sessionId"] == "session-1" => {
            vec![Reply::Answer(
                json!({"error": {"code": 40007, "message": "no such session"}}),
            )]
        }
        (1.., "connect") => vec![session("session-2")],
        _ => ordinary(request),
    };
    let (url, _) = server::start(script).await;
    let client = Client::connect(&url).await.unwrap();
    let mut events = client.subscribe(&object(), "K").await.unwrap();
    let _ = client.invoke(&object(), "drop", json!({})).await;
    assert!(events.next().await.is_none());
    client.ping().await.unwrap();
    assert_eq!(client.session_id(), "session-2");
}

#[tokio::test]
async fn a_session_that_was_collected_is_noticed_by_the_keep_alive() {
    let script = |_: usize, request: &Value| match request["method"].as_str() {
        Some("ping" | "connect") if request["params"]["sessionId"] == "session-1" => {
            vec![Reply::Answer(
                json!({"error": {"code": 40007, "message": "no such session"}}),
            )]
        }
        Some("connect") if request["id"] != 0 => vec![session("session-2")],
        _ => ordinary(request),
    };
    let (url, _) = server::start(script).await;
    let options = Options {
        keep_alive: Duration::from_millis(20),
        ..Options::default()
    };
    let client = Client::connect_with(&url, options).await.unwrap();
    let mut events = client.subscribe(&object(), "K").await.unwrap();
    assert!(events.next().await.is_none());
    client.ping().await.unwrap();
    assert_eq!(client.session_id(), "session-2");
}

#[tokio::test]
async fn subscribers_of_one_event_share_a_subscription() {
    let (url, log) = server::start(|_, r| ordinary(r)).await;
    let client = Client::connect(&url).await.unwrap();
    let (first, second) = tokio::join!(async { client.subscribe(&object(), "K").await }, async {
        client.subscribe(&object(), "K").await
    });
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    client.invoke(&object(), "raise", json!({})).await.unwrap();
    assert_eq!(first.next().await.unwrap().data, 7);
    assert_eq!(second.next().await.unwrap().data, 7);
    assert_eq!(requests(&log, "subscribe").len(), 1);

    drop(first);
    client.ping().await.unwrap();
    assert!(requests(&log, "unsubscribe").is_empty());
    drop(second);
    while requests(&log, "unsubscribe").is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(
        requests(&log, "unsubscribe")[0].1["params"]["subscription"],
        "subscription-1"
    );
}

#[tokio::test]
async fn errors_and_silence_are_told_apart() {
    let (url, _) = server::start(|_, r| ordinary(r)).await;
    let options = Options {
        request_timeout: Duration::from_millis(200),
        ..Options::default()
    };
    let client = Client::connect_with(&url, options).await.unwrap();
    let error = client.invoke(&object(), "fail", json!({})).await.unwrap_err();
    assert_eq!(error.code(), Some(protocol::Code::ObjectNotFound));
    assert!(matches!(
        client.invoke(&object(), "silence", json!({})).await,
        Err(Error::Timeout)
    ));
    client.ping().await.unwrap(); // neither hurts the connection
}

#[tokio::test]
async fn giving_up_is_final_and_says_why() {
    let script = |connection: usize, request: &Value| match connection {
        0 => ordinary(request),
        _ => vec![Reply::Hangup],
    };
    let (url, _) = server::start(script).await;
    let options = Options {
        reconnect_for: Duration::from_millis(200),
        ..Options::default()
    };
    let client = Client::connect_with(&url, options).await.unwrap();
    let mut events = client.subscribe(&object(), "K").await.unwrap();
    let _ = client.invoke(&object(), "drop", json!({})).await;
    assert!(client.closed().await.contains("could not be re-established"));
    assert!(events.next().await.is_none());
    assert!(matches!(client.ping().await, Err(Error::Unreachable(_))));
}

#[tokio::test]
async fn nobody_listening_is_an_error_without_the_token() {
    let error = Client::connect("ws://127.0.0.1:1/kurento?access_token=secret")
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)));
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_transaction_keeps_results_and_errors_in_order() {
    let script = |_: usize, request: &Value| match request["method"].as_str().unwrap() {
        "transaction" => vec![value(json!([
            {"id": 0, "result": {"value": "p"}},
            {"id": 1, "error": {"code": 40101, "message": "gone", "data": {"type": "MEDIA_OBJECT_NOT_FOUND"}}},
        ]))],
        _ => ordinary(request),
    };
    let (url, log) = server::start(script).await;
    let client = Client::connect(&url).await.unwrap();
    let mut transaction = client.transaction();
    let pipeline = transaction.create("MediaPipeline", json!({}));
    transaction.create("PassThrough", json!({"mediaPipeline": pipeline}));
    let results = transaction.commit().await.unwrap();
    assert_eq!(results[0].as_ref().unwrap(), "p");
    assert_eq!(results[1].as_ref().unwrap_err().code, 40101);
    let sent = &requests(&log, "transaction")[0].1["params"]["operations"];
    assert_eq!(
        sent[1]["params"]["constructorParams"]["mediaPipeline"],
        "newref:0"
    );
}

#[tokio::test]
async fn closing_the_session_ends_everything() {
    let (url, log) = server::start(|_, r| ordinary(r)).await;
    let client = Client::connect(&url).await.unwrap();
    let mut events = client.subscribe(&object(), "K").await.unwrap();
    client.close_session().await.unwrap();
    assert!(events.next().await.is_none());
    assert_eq!(requests(&log, "closeSession").len(), 1);
    assert!(matches!(client.state(), State::Closed(_)));
}
