//! Tenants share a server and must not know of each other.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Connection, Outcome, code};
use crate::daemon::Daemon;
use crate::tokens::{OPERATOR, daemon, token};

const MANAGER: &str = "manager_ServerManager";
/// What clocks may differ by, as the configuration's documentation says.
const LEEWAY: i64 = 60;

async fn enter(daemon: &Daemon, tenant: &str) -> Connection {
    Connection::with_token(daemon, &token(tenant, 3600)).await
}

async fn listed(connection: &mut Connection, operation: &str) -> Value {
    connection.invoke(MANAGER, operation, json!({})).await.unwrap()
}

/// Code and text, with the id that was asked for taken out.
fn without_id(outcome: Outcome, id: &str) -> String {
    match outcome {
        Ok(mut result) => {
            result["sessionId"] = Value::Null;
            result.to_string()
        }
        Err(refused) => refused.to_string().replace(id, "ID"),
    }
}

#[tokio::test]
async fn what_is_anothers_answers_as_what_never_was() {
    let daemon = daemon("");
    let (mut acme, mut other) = (enter(&daemon, "acme").await, enter(&daemon, "other").await);
    let pipeline = acme.pipeline().await;
    let element = acme.element("PassThrough", &pipeline).await;
    let hub = acme.element("Composite", &pipeline).await;
    let own = other.pipeline().await;
    let own_element = other.element("PassThrough", &own).await;
    let never = "01234567-89ab-cdef-0123-456789abcdef_kurento.MediaPipeline";
    for foreign in [&pipeline, &element, &hub] {
        // With each id, what the protocol can be asked with it.
        let questions = |id: &str| {
            [
                ("describe", json!({"object": id})),
                ("ref", json!({"object": id})),
                ("unref", json!({"object": id})),
                ("subscribe", json!({"object": id, "type": "Error"})),
                ("unsubscribe", json!({"object": id, "subscription": "x"})),
                ("release", json!({"object": id})),
                ("invoke", json!({"object": id, "operation": "getName"})),
                ("invoke", json!({"object": id, "operation": "noSuchThing"})),
                (
                    "invoke",
                    json!({"object": own_element, "operation": "connect", "operationParams": {"sink": id}}),
                ),
                (
                    "invoke",
                    json!({"object": own_element, "operation": "disconnect", "operationParams": {"sink": id}}),
                ),
                (
                    "create",
                    json!({"type": "PassThrough", "constructorParams": {"mediaPipeline": id}}),
                ),
                (
                    "create",
                    json!({"type": "HubPort", "constructorParams": {"hub": id}}),
                ),
                (
                    "create",
                    json!({"type": "WebRtcEndpoint", "constructorParams": {"mediaPipeline": id}}),
                ),
            ]
        };
        for ((verb, anothers), (_, nobodys)) in questions(foreign).into_iter().zip(questions(never)) {
            let anothers_answer = other.request(verb, anothers.clone()).await;
            let nobodys_answer = other.request(verb, nobodys).await;
            assert_eq!(
                without_id(anothers_answer, foreign),
                without_id(nobodys_answer, never),
                "{verb} {anothers}"
            );
        }
    }
    for id in [&pipeline, &element, &hub] {
        assert!(acme.exists(id).await, "it is there as before: {id}");
    }
}

#[tokio::test]
async fn each_is_shown_its_own_and_the_operator_all() {
    let daemon = daemon("");
    let (mut acme, mut other) = (enter(&daemon, "acme").await, enter(&daemon, "other").await);
    let mut operator = Connection::with_token(&daemon, OPERATOR).await;
    for connection in [&mut other, &mut operator] {
        connection.subscribe(MANAGER, "ObjectCreated").await;
        connection.subscribe(MANAGER, "ObjectDestroyed").await;
    }
    let pipeline = acme.pipeline().await;
    assert_eq!(listed(&mut acme, "getPipelines").await, json!([pipeline]));
    assert_eq!(listed(&mut other, "getPipelines").await, json!([]));
    assert_eq!(listed(&mut operator, "getPipelines").await, json!([pipeline]));
    let (session, others) = (acme.session.clone(), other.session.clone());
    assert_eq!(listed(&mut acme, "getSessions").await, json!([session]));
    assert_eq!(listed(&mut other, "getSessions").await, json!([others]));
    let all = json!([
        operator.session,
        format!("acme/{session}"),
        format!("other/{others}")
    ]);
    assert_eq!(listed(&mut operator, "getSessions").await, all);

    acme.request("release", json!({"object": pipeline}))
        .await
        .unwrap();
    let own = other.pipeline().await;
    assert_eq!(
        other.event().await.1["object"],
        json!(own),
        "of another's it heard nothing"
    );
    for expected in ["ObjectCreated", "ObjectDestroyed", "ObjectCreated"] {
        assert_eq!(operator.event().await.0, expected);
    }
    // What the operator makes in a tenant's pipeline is the tenant's, who hears of it.
    let element = operator.element("PassThrough", &own).await;
    assert_eq!(other.event().await.1["object"], json!(element));
    assert!(other.exists(&element).await);
    other
        .request("release", json!({"object": element}))
        .await
        .unwrap();
    assert_eq!(other.event().await.1["objectId"], json!(element));
    // The operator may end what a tenant has.
    operator.request("release", json!({"object": own})).await.unwrap();
    assert!(!other.exists(&own).await);
    assert_eq!(other.event().await.1["objectId"], json!(own));
}

#[tokio::test]
async fn a_session_id_of_another_leads_nowhere() {
    let daemon = daemon("");
    let (mut acme, mut other) = (enter(&daemon, "acme").await, enter(&daemon, "other").await);
    let session = acme.session.clone();
    acme.subscribe(MANAGER, "ObjectCreated").await;
    let resumed = other.request("connect", json!({"sessionId": session})).await;
    assert_eq!(code(resumed), 40007);
    let closed = other.request("closeSession", json!({"sessionId": session})).await;
    assert_eq!(code(closed), 40007);
    // An answer that is kept for acme's client is not given to another's who sends the same.
    let create = json!({"jsonrpc": "2.0", "id": "same", "method": "create",
        "params": {"type": "MediaPipeline", "sessionId": session}});
    let mut answers = Vec::new();
    for connection in [&mut acme, &mut other] {
        connection.send(create.to_string()).await;
        answers.push(connection.next_answer().await.1.unwrap());
    }
    assert_ne!(answers[0]["value"], answers[1]["value"]);
    assert_eq!(
        answers[1]["sessionId"],
        json!(session),
        "it is a session of its own, of the same name"
    );
    assert_eq!(acme.event().await.1["object"], answers[0]["value"]);
    assert_eq!(
        listed(&mut acme, "getPipelines").await,
        json!([answers[0]["value"]])
    );
    assert_eq!(
        acme.drain_events(),
        0,
        "events of the other session don't come here"
    );
    other
        .request("closeSession", json!({"sessionId": session}))
        .await
        .unwrap();
    assert_eq!(listed(&mut acme, "getSessions").await, json!([session]));
}

#[tokio::test]
async fn what_all_share_is_not_written_by_one() {
    let daemon = daemon("");
    let (mut acme, mut operator) = (
        enter(&daemon, "acme").await,
        Connection::with_token(&daemon, OPERATOR).await,
    );
    for (operation, params) in [
        ("setName", json!({"name": "mine"})),
        ("addTag", json!({"key": "k", "value": "v"})),
        ("removeTag", json!({"key": "k"})),
        ("getTags", json!({})),
        ("setSendTagsInEvents", json!({"sendTagsInEvents": true})),
    ] {
        let refused = acme.invoke(MANAGER, operation, params.clone()).await;
        assert_eq!(code(refused), 40111, "{operation}");
        operator.invoke(MANAGER, operation, params).await.unwrap();
    }
    for operation in ["getInfo", "getCpuCount", "getUsedMemory", "getName"] {
        acme.invoke(MANAGER, operation, json!({})).await.unwrap();
    }
    acme.request("release", json!({"object": MANAGER})).await.unwrap();
    assert!(operator.exists(MANAGER).await);
}

#[tokio::test]
async fn who_has_an_expired_token_has_to_come_back_with_a_new_one() {
    let daemon = daemon("");
    let mut acme = Connection::with_token(&daemon, &token("acme", 2 - LEEWAY)).await;
    let pipeline = acme.pipeline().await;
    let (code, reason) = acme.closed().await.expect("a close frame");
    assert_eq!((code, reason.as_str()), (1008, "The access token has expired"));
    let mut again = enter(&daemon, "acme").await;
    again
        .request("connect", json!({"sessionId": acme.session}))
        .await
        .unwrap();
    assert!(again.exists(&pipeline).await, "the session has what it had");
}

#[tokio::test]
async fn limits_hold_for_each_and_are_named() {
    let limits = "[limits]\npipelines_per_tenant = 2\nobjects_per_session = 4\nobjects = 7\nsubscriptions_per_session = 1\n\
        sessions_per_tenant = 2\nconnections_per_tenant = 3\n";
    let daemon = daemon(limits);
    let (mut acme, mut other) = (enter(&daemon, "acme").await, enter(&daemon, "other").await);
    let create = |class: &str, pipeline: &str| json!({"type": class, "constructorParams": {"mediaPipeline": pipeline}});
    async fn refused(connection: &mut Connection, verb: &str, params: Value, limit: &str) {
        let refused = connection.request(verb, params).await.unwrap_err();
        assert_eq!(refused.code, 40009, "{refused}");
        assert!(refused.message.contains(&format!("limits.{limit} ")), "{refused}");
    }
    let pipelines = [acme.pipeline().await, acme.pipeline().await];
    refused(
        &mut acme,
        "create",
        json!({"type": "MediaPipeline"}),
        "pipelines_per_tenant",
    )
    .await;
    for _ in 0..2 {
        acme.element("PassThrough", &pipelines[0]).await;
    }
    refused(
        &mut acme,
        "create",
        create("PassThrough", &pipelines[0]),
        "objects_per_session",
    )
    .await;
    let own = other.pipeline().await;
    for _ in 0..2 {
        other.element("PassThrough", &own).await;
    }
    refused(&mut other, "create", create("PassThrough", &own), "objects").await;
    // What is released makes room, with all that was in it.
    acme.request("release", json!({"object": pipelines[0]}))
        .await
        .unwrap();
    other.element("PassThrough", &own).await;
    acme.subscribe(MANAGER, "ObjectCreated").await;
    let more = json!({"object": MANAGER, "type": "ObjectDestroyed"});
    refused(&mut acme, "subscribe", more, "subscriptions_per_session").await;

    let mut second = enter(&daemon, "acme").await;
    let named = json!({"type": "MediaPipeline", "sessionId": "third"});
    refused(&mut second, "create", named, "sessions_per_tenant").await;

    let query = format!("?access_token={}", token("acme", 3600));
    let third = crate::access::websocket(&daemon, &query).await.unwrap();
    let (status, text) = crate::access::websocket(&daemon, &query)
        .await
        .map(|_| ())
        .unwrap_err();
    assert_eq!(status, 503);
    assert!(
        text.contains("limits.connections_per_tenant") || text.is_empty(),
        "{text}"
    );
    drop(third);
    let deadline = Instant::now() + Duration::from_secs(5);
    while crate::access::websocket(&daemon, &query).await.is_err() {
        assert!(Instant::now() < deadline, "who left makes room");
    }
}

#[tokio::test]
async fn requests_have_a_pace() {
    let daemon = Daemon::with_config("[limits]\nrequests_per_second = 20\n");
    let mut connection = Connection::open(&daemon).await;
    let mut refused = 0;
    for _ in 0..60 {
        match connection.invoke(MANAGER, "getName", json!({})).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.code, 40009);
                assert!(error.message.contains("limits.requests_per_second"), "{error}");
                refused += 1;
            }
        }
    }
    assert!((20..=41).contains(&refused), "{refused}");
    for _ in 0..100 {
        connection.request("ping", json!({})).await.unwrap();
    }
    // Operations of a transaction are requests.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let operation =
        |n| json!({"jsonrpc": "2.0", "id": n, "method": "describe", "params": {"object": MANAGER}});
    let operations: Vec<Value> = (0..100).map(operation).collect();
    let answer = connection
        .request("transaction", json!({"operations": operations}))
        .await
        .unwrap();
    let results = answer["value"].as_array().unwrap();
    assert!((15..=25).contains(&results.len()), "{}", results.len());
    assert_eq!(results.last().unwrap()["error"]["code"], 40009);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    connection.invoke(MANAGER, "getName", json!({})).await.unwrap();
}
