//! A repeated request gets the answer it got, and executes nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Connection, id_of};
use crate::daemon::Daemon;

/// Sends `create` with a given id, as a client does that is not sure whether the first attempt arrived.
async fn create_pipeline(connection: &mut Connection, id: &Value, session: &str) -> String {
    let request = json!({
        "jsonrpc": "2.0", "id": id, "method": "create", "params": {"type": "MediaPipeline", "sessionId": session},
    });
    connection.send(request.to_string()).await;
    let (answered, outcome) = connection.next_answer().await;
    assert_eq!(&answered, id);
    id_of(outcome)
}

async fn pipelines(connection: &mut Connection) -> usize {
    let all = connection
        .invoke("manager_ServerManager", "getPipelines", json!({}))
        .await;
    all.unwrap().as_array().unwrap().len()
}

#[tokio::test]
async fn a_repeated_request_executes_nothing() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let session = connection.session.clone();
    for (count, id) in [json!(500), json!("five hundred")].iter().enumerate() {
        let first = create_pipeline(&mut connection, id, &session).await;
        assert_eq!(create_pipeline(&mut connection, id, &session).await, first);
        let mut reconnected = Connection::resume(&daemon, &session).await;
        assert_eq!(
            create_pipeline(&mut reconnected, id, &session).await,
            first,
            "on a new connection too"
        );
        assert_eq!(pipelines(&mut Connection::open(&daemon).await).await, count + 1);
    }
}

#[tokio::test]
async fn the_same_id_in_another_session_is_another_request() {
    let daemon = Daemon::start();
    let (mut one, mut two) = (Connection::open(&daemon).await, Connection::open(&daemon).await);
    let (session_one, session_two) = (one.session.clone(), two.session.clone());
    let first = create_pipeline(&mut one, &json!(500), &session_one).await;
    assert_ne!(create_pipeline(&mut two, &json!(500), &session_two).await, first);
    assert_ne!(
        create_pipeline(&mut one, &json!("500"), &session_one).await,
        first,
        "\"500\" is not 500"
    );
}

#[tokio::test]
async fn an_answer_is_forgotten_after_the_configured_time() {
    let daemon = Daemon::with_config("[session]\nrequest_cache_s = 1\n");
    let mut connection = Connection::open(&daemon).await;
    let session = connection.session.clone();
    let first = create_pipeline(&mut connection, &json!(500), &session).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_ne!(
        create_pipeline(&mut connection, &json!(500), &session).await,
        first
    );
    assert_eq!(pipelines(&mut connection).await, 2);
}

#[tokio::test]
async fn no_time_means_no_cache() {
    let daemon = Daemon::with_config("[session]\nrequest_cache_s = 0\n");
    let mut connection = Connection::open(&daemon).await;
    let session = connection.session.clone();
    let first = create_pipeline(&mut connection, &json!(500), &session).await;
    assert_ne!(
        create_pipeline(&mut connection, &json!(500), &session).await,
        first
    );
}
