//! Objects that are unknown, gone, somebody else's or of the wrong kind.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Connection, code};
use crate::daemon::Daemon;

const NOT_FOUND: i64 = 40101;

/// Every request that names an object and needs it.
fn uses(object: &str, pipeline: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("describe", json!({"object": object})),
        ("ref", json!({"object": object})),
        ("subscribe", json!({"object": object, "type": "Error"})),
        ("invoke", json!({"object": object, "operation": "getName"})),
        ("invoke", json!({"object": object, "operation": "nope"})),
        (
            "create",
            json!({"type": "PassThrough", "constructorParams": {"mediaPipeline": object}}),
        ),
        (
            "create",
            json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": object}}),
        ),
        (
            "transaction",
            json!({"operations": [
                {"jsonrpc": "2.0", "id": 0, "method": "invoke", "params": {"object": object, "operation": "getName"}},
                {"jsonrpc": "2.0", "id": 1, "method": "release", "params": {"object": pipeline}},
            ]}),
        ),
    ]
}

/// The code of an answer; of a transaction, that of the operation that failed.
fn error_code(outcome: crate::client::Outcome) -> i64 {
    match outcome {
        Ok(result) => result["value"][0]["error"]["code"]
            .as_i64()
            .unwrap_or_else(|| panic!("{result}")),
        Err(refused) => refused.code,
    }
}

#[tokio::test]
async fn an_object_that_is_not_there_is_not_found() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    let released = connection.element("PassThrough", &pipeline).await;
    connection
        .request("release", json!({"object": released}))
        .await
        .unwrap();
    let unknown = [
        "",
        "nope",
        "/",
        "manager",
        &released,
        &format!("{pipeline}/"),
        &pipeline[..36],
    ];
    for object in unknown.iter().map(|id| id.to_string()) {
        for (verb, params) in uses(&object, &pipeline) {
            let outcome = connection.request(verb, params.clone()).await;
            assert_eq!(error_code(outcome), NOT_FOUND, "{verb} {params}");
        }
        // As with Kurento, letting go of what is not there is no error.
        for verb in ["release", "unref"] {
            connection.request(verb, json!({"object": object})).await.unwrap();
        }
        connection
            .request("unsubscribe", json!({"object": object, "subscription": "nope"}))
            .await
            .unwrap();
    }
    assert!(
        connection.exists(&pipeline).await,
        "a transaction ends at its first error"
    );
}

#[tokio::test]
async fn elements_connect_only_to_elements_of_their_pipeline() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let (here, there) = (connection.pipeline().await, connection.pipeline().await);
    let source = connection.element("PassThrough", &here).await;
    let foreign = connection.element("PassThrough", &there).await;
    let gone = connection.element("PassThrough", &here).await;
    connection
        .request("release", json!({"object": gone}))
        .await
        .unwrap();
    let cases = [
        ("connect", foreign.as_str(), 40004),
        ("connect", gone.as_str(), NOT_FOUND),
        ("connect", here.as_str(), 40107),
        ("connect", "manager_ServerManager", 40107),
        ("disconnect", gone.as_str(), NOT_FOUND),
        ("disconnect", here.as_str(), 40107),
        ("disconnect", "manager_ServerManager", 40107),
    ];
    for (operation, sink, expected) in cases {
        let outcome = connection.invoke(&source, operation, json!({"sink": sink})).await;
        assert_eq!(code(outcome), expected, "{operation} {sink}");
    }
    let connections = connection
        .invoke(&source, "getSinkConnections", json!({}))
        .await
        .unwrap();
    assert_eq!(connections, json!([]), "nothing was connected");
}

/// Connects each to the next, many at a time.
async fn connect_in_a_row(connection: &mut Connection, elements: &[String]) {
    let mut sent = Vec::new();
    for pair in elements.windows(2) {
        let params = json!({"object": pair[0], "operation": "connect", "operationParams": {"sink": pair[1]}});
        sent.push(connection.feed("invoke", params).await);
    }
    for id in sent {
        connection.answer(id).await.unwrap();
    }
}

#[tokio::test]
async fn graphs_may_be_rings_and_longer_than_any_stack() {
    const LONG: usize = 5_000;
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    for (length, ring) in [(1, true), (3, true), (LONG, false)] {
        let pipeline = connection.pipeline().await;
        let mut row = Vec::new();
        for _ in 0..length {
            row.push(connection.element("PassThrough", &pipeline).await);
        }
        // The last one made is the first of the row, for a pipeline releases the oldest first: so nothing is behind it.
        row.reverse();
        row.extend(ring.then(|| row[0].clone()));
        connect_in_a_row(&mut connection, &row).await;
        // What is connected last makes the server look at all that is behind.
        let endpoint = connection.element("WebRtcEndpoint", &pipeline).await;
        for operation in ["connect", "disconnect", "connect"] {
            connection
                .invoke(&endpoint, operation, json!({"sink": row[0]}))
                .await
                .unwrap();
        }
        for object in [&row[length / 2], &endpoint, &pipeline] {
            connection
                .request("release", json!({"object": object}))
                .await
                .unwrap();
        }
        assert!(!connection.exists(&row[0]).await);
    }
}

#[tokio::test]
async fn a_large_audience_is_released_at_once() {
    const VIEWERS: usize = 1_000;
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    for presenter_first in [true, false] {
        let pipeline = connection.pipeline().await;
        let presenter = connection.element("PassThrough", &pipeline).await;
        let mut viewers = Vec::new();
        for _ in 0..VIEWERS {
            let viewer = connection.element("PassThrough", &pipeline).await;
            connection
                .invoke(&presenter, "connect", json!({"sink": viewer}))
                .await
                .unwrap();
            viewers.push(viewer);
        }
        let start = Instant::now();
        let released = if presenter_first { &presenter } else { &pipeline };
        connection
            .request("release", json!({"object": released}))
            .await
            .unwrap();
        connection
            .request("release", json!({"object": pipeline}))
            .await
            .unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(1), "releasing took {took:?}");
    }
}

#[tokio::test]
async fn releasing_a_pipeline_releases_its_children_first() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    let mut children = Vec::new();
    for class in ["PassThrough", "WebRtcEndpoint", "PassThrough"] {
        children.push(connection.element(class, &pipeline).await);
    }
    for sink in &children[1..] {
        connection
            .invoke(&children[0], "connect", json!({"sink": sink}))
            .await
            .unwrap();
    }
    connection
        .subscribe("manager_ServerManager", "ObjectDestroyed")
        .await;
    connection.subscribe(&pipeline, "Error").await;

    connection
        .request("release", json!({"object": pipeline}))
        .await
        .unwrap();
    for expected in children.iter().chain([&pipeline]) {
        let (event, data) = connection.event().await;
        assert_eq!(
            (event.as_str(), &data["objectId"]),
            ("ObjectDestroyed", &json!(expected))
        );
    }
    for object in children.iter().chain([&pipeline]) {
        assert!(!connection.exists(object).await, "{object}");
    }
    connection
        .request("release", json!({"object": pipeline}))
        .await
        .unwrap();
    connection.request("ping", json!({})).await.unwrap();
    assert_eq!(connection.drain_events(), 0, "a second release says nothing");
}

#[tokio::test]
async fn the_manager_can_be_neither_created_nor_released() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    assert_eq!(
        code(
            connection
                .request("create", json!({"type": "ServerManager"}))
                .await
        ),
        40108
    );
    for verb in ["release", "ref", "unref", "release"] {
        connection
            .request(verb, json!({"object": "manager_ServerManager"}))
            .await
            .unwrap();
    }
    assert!(connection.exists("manager_ServerManager").await);
    let info = connection
        .invoke("manager_ServerManager", "getInfo", json!({}))
        .await
        .unwrap();
    assert_eq!(info["type"], "KMS");
}

#[tokio::test]
async fn released_elements_leave_their_connections() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    let source = connection.element("PassThrough", &pipeline).await;
    let sink = connection.element("WebRtcEndpoint", &pipeline).await;
    connection
        .invoke(&source, "connect", json!({"sink": sink}))
        .await
        .unwrap();
    let connected = connection
        .invoke(&source, "getSinkConnections", json!({}))
        .await
        .unwrap();
    assert_eq!(
        connected.as_array().map(Vec::len),
        Some(3),
        "audio, video and data: {connected}"
    );
    connection
        .request("release", json!({"object": sink}))
        .await
        .unwrap();
    assert_eq!(
        connection
            .invoke(&source, "getSinkConnections", json!({}))
            .await
            .unwrap(),
        json!([])
    );
    let children = connection
        .invoke(&pipeline, "getChildren", json!({}))
        .await
        .unwrap();
    assert_eq!(children, json!([source]));
}

#[tokio::test]
async fn two_clients_may_release_the_same_pipeline_while_a_third_fills_it() {
    let daemon = Daemon::start();
    let (mut one, mut two, mut three) = (
        Connection::open(&daemon).await,
        Connection::open(&daemon).await,
        Connection::open(&daemon).await,
    );
    for _ in 0..100 {
        let pipeline = one.pipeline().await;
        let release = json!({"object": pipeline});
        let create = json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": pipeline}});
        let (first, second, created) = tokio::join!(
            one.request("release", release.clone()),
            two.request("release", release.clone()),
            three.request("create", create),
        );
        first.unwrap();
        second.unwrap();
        match created {
            Ok(created) => assert!(!three.exists(created["value"].as_str().unwrap()).await),
            Err(refused) => assert_eq!(refused.code, NOT_FOUND),
        }
    }
    assert_eq!(
        one.invoke("manager_ServerManager", "getPipelines", json!({}))
            .await
            .unwrap(),
        json!([])
    );
}
