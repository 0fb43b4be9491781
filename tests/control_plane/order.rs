//! What comes after what on a connection, and that connections don't wait for each other.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Connection, within};
use crate::daemon::Daemon;

#[tokio::test]
async fn a_thousand_requests_in_flight_are_answered_in_order() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    let mut ids = Vec::new();
    for number in 0..500 {
        let set = json!({"object": pipeline, "operation": "setName", "operationParams": {"name": number}});
        ids.push(connection.feed("invoke", set).await);
        ids.push(
            connection
                .feed("invoke", json!({"object": pipeline, "operation": "getName"}))
                .await,
        );
    }
    for (number, pair) in ids.chunks(2).enumerate() {
        connection.answer(pair[0]).await.unwrap();
        let name = connection.answer(pair[1]).await.unwrap();
        assert_eq!(name["value"], number.to_string(), "executed in order too");
    }
}

#[tokio::test]
async fn a_request_that_takes_long_delays_no_other_connection() {
    let daemon = Daemon::start();
    let (mut waiting, mut other) = (Connection::open(&daemon).await, Connection::open(&daemon).await);
    let start = Instant::now();
    let used_cpu = json!({
        "object": "manager_ServerManager", "operation": "getUsedCpu", "operationParams": {"interval": 1000},
    });
    let measured = waiting.feed("invoke", used_cpu).await;
    let behind = waiting.feed("ping", json!({})).await;
    within(futures_util::SinkExt::flush(&mut waiting.socket))
        .await
        .unwrap();

    for _ in 0..100 {
        other.request("ping", json!({})).await.unwrap();
    }
    assert!(
        start.elapsed() < Duration::from_millis(900),
        "the other connection waited"
    );
    waiting.answer(measured).await.unwrap();
    waiting.answer(behind).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_secs(1),
        "the same connection is served in order"
    );
}

#[tokio::test]
async fn events_come_after_the_answer_to_the_request_that_caused_them() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    for event in ["ObjectCreated", "ObjectDestroyed"] {
        connection.subscribe("manager_ServerManager", event).await;
    }
    for _ in 0..50 {
        let pipeline = connection.pipeline().await;
        assert_eq!(
            connection.drain_events(),
            0,
            "an event overtook the answer to create"
        );
        assert_eq!(connection.event().await.1["object"], json!(pipeline));
        connection
            .request("release", json!({"object": pipeline}))
            .await
            .unwrap();
        assert_eq!(
            connection.drain_events(),
            0,
            "an event overtook the answer to release"
        );
        assert_eq!(connection.event().await.1["objectId"], json!(pipeline));
    }
}
