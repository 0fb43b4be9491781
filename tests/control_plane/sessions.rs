//! Sessions: whose events go where, what a session holds, and when it is collected.

use std::time::Duration;

use serde_json::json;

use crate::client::{Connection, code, with};
use crate::daemon::Daemon;

/// A sweep every second: what nobody uses is gone after one to two.
const ONE_SECOND_SWEEPS: &str = "[session]\ngarbage_collector_period_s = 1\n";
/// Two periods, and time for a busy machine.
const COLLECTED: Duration = Duration::from_millis(2500);

/// Sleeps through two sweeps; `watcher` keeps its own session alive meanwhile.
async fn two_sweeps(watcher: &mut Connection) {
    let end = tokio::time::Instant::now() + COLLECTED;
    while tokio::time::Instant::now() < end {
        watcher.request("ping", json!({})).await.unwrap();
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn events_follow_a_session_to_its_new_connection() {
    let daemon = Daemon::start();
    let mut before = Connection::open(&daemon).await;
    let pipeline = before.pipeline().await;
    let (source, sink) = (
        before.element("PassThrough", &pipeline).await,
        before.element("PassThrough", &pipeline).await,
    );
    before.subscribe(&source, "ElementConnected").await;
    let session = before.session.clone();
    drop(before);

    let mut after = Connection::resume(&daemon, &session).await;
    after
        .invoke(&source, "connect", json!({"sink": sink, "mediaType": "AUDIO"}))
        .await
        .unwrap();
    let (event, data) = after.event().await;
    assert_eq!(event, "ElementConnected");
    assert_eq!(data["sink"], json!(sink));
    assert_eq!(data["mediaType"], "AUDIO");
}

#[tokio::test]
async fn a_connection_taken_over_stays_open_but_gets_no_events() {
    let daemon = Daemon::start();
    let mut old = Connection::open(&daemon).await;
    old.subscribe("manager_ServerManager", "ObjectCreated").await;
    let mut new = Connection::resume(&daemon, &old.session).await;
    let pipeline = new.pipeline().await;
    assert_eq!(new.event().await.1["object"], json!(pipeline));
    // An unnamed session would bind this connection again, and then the event could be its own.
    assert_eq!(
        old.request("ping", json!({"sessionId": "another"}))
            .await
            .unwrap()["value"],
        "pong"
    );
    assert_eq!(old.drain_events(), 0);
}

#[tokio::test]
async fn a_silent_session_is_collected_with_its_objects() {
    let daemon = Daemon::with_config(ONE_SECOND_SWEEPS);
    let mut watcher = Connection::open(&daemon).await;
    watcher
        .subscribe("manager_ServerManager", "ObjectDestroyed")
        .await;
    let mut silent = Connection::open(&daemon).await;
    let pipeline = silent.pipeline().await;
    let element = silent.element("WebRtcEndpoint", &pipeline).await;

    two_sweeps(&mut watcher).await;
    for id in [&element, &pipeline] {
        let (event, data) = watcher.event().await;
        assert_eq!(
            (event.as_str(), &data["objectId"]),
            ("ObjectDestroyed", &json!(id))
        );
    }
    assert!(!watcher.exists(&pipeline).await);
    let resumed = silent
        .request("connect", json!({"sessionId": silent.session}))
        .await;
    assert_eq!(code(resumed), 40007);
}

#[tokio::test]
async fn an_object_lives_as_long_as_one_session_holds_it() {
    let daemon = Daemon::with_config(ONE_SECOND_SWEEPS);
    let mut maker = Connection::open(&daemon).await;
    let (shared, own) = (maker.pipeline().await, maker.pipeline().await);
    let mut holder = Connection::open(&daemon).await;
    holder.request("ref", json!({"object": shared})).await.unwrap();
    drop(maker);

    two_sweeps(&mut holder).await;
    assert!(holder.exists(&shared).await, "the second session holds it");
    assert!(!holder.exists(&own).await, "nobody holds it");
    holder.request("unref", json!({"object": shared})).await.unwrap();
    assert!(!holder.exists(&shared).await, "the last holder let go");
}

#[tokio::test]
async fn closing_a_session_releases_what_it_alone_holds() {
    let daemon = Daemon::start();
    let mut other = Connection::open(&daemon).await;
    let mut closing = Connection::open(&daemon).await;
    let pipeline = closing.pipeline().await;
    closing.request("closeSession", json!({})).await.unwrap();
    assert!(!other.exists(&pipeline).await);
    let again = closing
        .request("closeSession", json!({"sessionId": closing.session}))
        .await;
    assert_eq!(code(again), 40007);
}

#[tokio::test]
async fn a_sign_of_life_keeps_a_session() {
    let daemon = Daemon::with_config(ONE_SECOND_SWEEPS);
    for sign in ["ping", "keepAlive"] {
        let mut connection = Connection::open(&daemon).await;
        let pipeline = connection.pipeline().await;
        for _ in 0..8 {
            connection
                .request(sign, json!({"sessionId": connection.session}))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(350)).await;
        }
        assert!(connection.exists(&pipeline).await, "{sign}");
    }
}

#[tokio::test]
async fn an_unknown_session_is_refused() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let object = connection.pipeline().await;
    let anything = json!({"object": object, "subscription": "s", "sessionId": "never-begun"});
    for verb in [
        "connect",
        "unsubscribe",
        "ref",
        "unref",
        "keepAlive",
        "closeSession",
    ] {
        assert_eq!(
            code(connection.request(verb, anything.clone()).await),
            40007,
            "{verb}"
        );
    }
    let own = with(&anything, "sessionId", json!(connection.session));
    connection.request("ref", own).await.unwrap();
}
