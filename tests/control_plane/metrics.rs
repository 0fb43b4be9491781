//! What operators see: health, readiness, metrics.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::client::Connection;
use crate::daemon::Daemon;
use crate::tokens::{OPERATOR, token};

/// The figures of the page, by name and labels as they stand there.
async fn figures(daemon: &Daemon) -> HashMap<String, f64> {
    let (status, page) = daemon.get("/metrics", "").await;
    assert_eq!(status, 200);
    assert!(page.ends_with("# EOF\n"), "{page}");
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let figure = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (
            name.to_owned(),
            value.parse().unwrap_or_else(|_| panic!("{line}")),
        )
    };
    lines.map(figure).collect()
}

#[tokio::test]
async fn metrics_tell_what_there_is_and_what_was_done() {
    let daemon = Daemon::start();
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    for _ in 0..3 {
        connection.element("PassThrough", &pipeline).await;
    }
    let hostile = "no\"such\nverb{}";
    connection.request(hostile, json!({})).await.unwrap_err();
    connection
        .request("describe", json!({"object": "nothing"}))
        .await
        .unwrap_err();
    connection.send("{").await;
    connection.next_answer().await.1.unwrap_err();
    let operation = json!({"jsonrpc": "2.0", "id": 0, "method": "describe", "params": {"object": pipeline}});
    connection
        .request("transaction", json!({"operations": [operation]}))
        .await
        .unwrap();
    let figures = figures(&daemon).await;
    for (name, value) in [
        ("kms_connections", 1.0),
        ("kms_sessions", 1.0),
        ("kms_objects{class=\"kurento.MediaPipeline\"}", 1.0),
        ("kms_objects{class=\"kurento.PassThrough\"}", 3.0),
        ("kms_requests_total{verb=\"create\",outcome=\"ok\"}", 4.0),
        ("kms_requests_total{verb=\"connect\",outcome=\"ok\"}", 1.0),
        (
            "kms_requests_total{verb=\"describe\",outcome=\"MEDIA_OBJECT_NOT_FOUND\"}",
            1.0,
        ),
        ("kms_requests_total{verb=\"describe\",outcome=\"ok\"}", 1.0),
        ("kms_requests_total{verb=\"transaction\",outcome=\"ok\"}", 1.0),
        (
            "kms_requests_total{verb=\"unknown\",outcome=\"METHOD_NOT_FOUND\"}",
            1.0,
        ),
        (
            "kms_requests_total{verb=\"unknown\",outcome=\"PARSE_ERROR\"}",
            1.0,
        ),
        ("kms_request_seconds_count{verb=\"create\"}", 4.0),
        ("kms_connections_accepted_total", 1.0),
        ("kms_ready", 1.0),
        ("kms_webrtc_peers", 0.0),
        ("kms_webrtc_packets_total{direction=\"received\"}", 0.0),
        ("kms_encoders{kind=\"software\"}", 0.0),
        ("kms_decoders", 0.0),
        ("kms_recorded_files_total", 0.0),
    ] {
        assert_eq!(figures.get(name), Some(&value), "{name} in {figures:?}");
    }
    assert!(figures["kms_request_seconds_sum{verb=\"create\"}"] > 0.0);
    assert!(figures.contains_key("kms_webrtc_worker_busy_seconds_total{worker=\"0\"}"));
}

#[tokio::test]
async fn metrics_are_for_the_operator_and_health_for_all() {
    let daemon = crate::tokens::daemon("");
    for path in ["/healthz", "/readyz"] {
        assert_eq!(daemon.get(path, "").await.0, 200, "{path}");
    }
    assert_eq!(daemon.get("/metrics", "").await.0, 401);
    let tenant = format!("Authorization: Bearer {}\r\n", token("acme", 60));
    assert_eq!(daemon.get("/metrics", &tenant).await.0, 403);
    let operator = format!("Authorization: Bearer {OPERATOR}\r\n");
    let (status, page) = daemon.get("/metrics", &operator).await;
    assert_eq!(status, 200);
    assert!(!page.contains("acme"), "{page}");
}

#[tokio::test]
async fn who_has_no_room_is_not_ready_and_says_why() {
    let daemon = Daemon::with_config("[limits]\nmin_free_memory_mib = 1048576\n");
    let (status, why) = daemon.get("/readyz", "").await;
    assert_eq!(status, 503);
    assert!(why.contains("limits.min_free_memory_mib"), "{why}");
    let mut connection = Connection::open(&daemon).await;
    let refused = connection
        .request("create", json!({"type": "MediaPipeline"}))
        .await
        .unwrap_err();
    assert_eq!(refused.code, 40009);
    assert!(
        refused.message.contains("limits.min_free_memory_mib"),
        "{refused}"
    );
    assert_eq!(daemon.get("/healthz", "").await.0, 200, "it is well");
    assert_eq!(Value::from(0.0), json!(figures(&daemon).await["kms_ready"]));
}

#[tokio::test]
async fn the_dashboard_and_the_docs_ask_for_what_there_is() {
    // What has never happened has no labels yet, and is not told.
    let daemon = crate::tokens::daemon("");
    crate::access::enter(&daemon, "", &[]).await.unwrap_err();
    let _client = Connection::with_token(&daemon, OPERATOR).await;
    let operator = format!("Authorization: Bearer {OPERATOR}\r\n");
    let (_, page) = daemon.get("/metrics", &operator).await;
    let types = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let there: Vec<String> = types
        .flat_map(|(name, kind)| match kind {
            "counter" => vec![format!("{name}_total")],
            "histogram" => ["bucket", "count", "sum"]
                .map(|part| format!("{name}_{part}"))
                .into(),
            _ => vec![name.to_owned()],
        })
        .collect();
    assert!(there.len() > 20, "{there:?}");
    for file in ["docs/grafana.json", "docs/operations.md", "docs/threat-model.md"] {
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let mut asked = 0;
        for (at, _) in text.match_indices("kms_") {
            let name: String = text[at..]
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                .collect();
            if text[..at].ends_with(['/', '"']) || name == "kms_" {
                continue; // a package's file, such as kms_*.deb
            }
            assert!(there.contains(&name), "{file} asks for {name}");
            asked += 1;
        }
        assert!(asked > 0, "{file}");
    }
}
