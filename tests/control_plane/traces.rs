//! Traces of requests, as a collector gets them, and what no log may hold.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::client::Connection;
use crate::daemon::Daemon;

/// A collector (OTLP over HTTP): its URL, and the spans that come.
fn collector() -> (String, Receiver<Span>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, spans) = sync_channel(10_000);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut reader = BufReader::new(connection.unwrap());
            // Connections are kept: one request after the other.
            while let Some(body) = body(&mut reader) {
                let export = ExportTraceServiceRequest::decode(&*body).unwrap();
                let resources = export.resource_spans.into_iter();
                for span in resources.flat_map(|r| r.scope_spans).flat_map(|s| s.spans) {
                    sender.send(span).unwrap();
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                reader.get_mut().write_all(answer).unwrap();
            }
        }
    });
    (url, spans)
}

/// The body of the next request; none: the connection has ended.
fn body(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            return Some(body);
        }
    }
}

fn attributes(span: &Span) -> HashMap<String, String> {
    let text = |value: Any| match value {
        Any::StringValue(text) => text,
        Any::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pair = |pair: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (pair.key.clone(), text(pair.value.clone().unwrap().value.unwrap()))
    };
    span.attributes.iter().map(pair).collect()
}

#[tokio::test]
async fn a_span_a_request_tells_session_object_and_operation() {
    let (url, spans) = collector();
    let mut daemon = Daemon::with_config(&format!("[telemetry]\ntraces_url = \"{url}\"\n"));
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    connection
        .invoke(
            &pipeline,
            "addTag",
            json!({"key": "k", "value": "what is sent along"}),
        )
        .await
        .unwrap();
    connection
        .invoke(&pipeline, "noSuchThing", json!({}))
        .await
        .unwrap_err();
    // What waits is sent when the daemon ends.
    daemon.terminate();
    assert!(daemon.ended(Duration::from_secs(15)).await.success());
    let spans: Vec<Span> = spans.try_iter().collect();
    let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "connect",
            "create MediaPipeline",
            "invoke addTag",
            "invoke noSuchThing"
        ]
    );
    for span in &spans[1..] {
        assert_eq!(attributes(span)["kms.session"], connection.session);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano && span.start_time_unix_nano > 0);
    }
    let told = attributes(&spans[2]);
    assert_eq!(
        (&told["kms.object"], &*told["kms.operation"]),
        (&pipeline, "addTag")
    );
    assert_eq!(told["rpc.method"], "invoke");
    assert!(!format!("{spans:?}").contains("what is sent along"));
    let failed = attributes(&spans[3]);
    assert_eq!(failed["rpc.jsonrpc.error_code"], "40008");
    assert_eq!(spans[3].status.as_ref().unwrap().code, 2, "an error");
}

#[tokio::test]
async fn a_collector_that_is_not_there_holds_nobody_up() {
    let mut daemon = Daemon::with_config("[telemetry]\ntraces_url = \"http://127.0.0.1:1/v1/traces\"\n");
    let mut connection = Connection::open(&daemon).await;
    let begun = Instant::now();
    for _ in 0..5_000 {
        connection.request("ping", json!({})).await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
    daemon.terminate();
    assert!(daemon.ended(Duration::from_secs(15)).await.success());
}

/// Nothing that is secret stands in a log, however much is logged.
#[tokio::test]
async fn logs_hold_no_secret() {
    const TOKEN: &str = "token-SECRETA-of-the-operator";
    let daemon = Daemon::with_config(&format!(
        "[log]\nlevel = \"trace\"\n[access]\ntokens = \"{TOKEN}\"\njwt_secret = \"SECRETB-SECRETB-SECRETB-SECRETB-\"\n\
         [webrtc]\nturn_url = \"user:SECRETC@127.0.0.1:1\"\n[recorder]\ns3_endpoint = \"http://127.0.0.1:1\"\n\
         s3_region = \"eu\"\ns3_access_key_id = \"AKIA\"\ns3_secret_access_key = \"SECRETD\"\nspool = \"{}\"\n",
        std::env::temp_dir()
            .join(format!("kms-secrets-{}", std::process::id()))
            .display()
    ));
    let mut connection = Connection::with_token(&daemon, TOKEN).await;
    let _ = crate::access::enter(&daemon, "?access_token=SECRETE-that-nobody-knows", &[]).await;
    let bearer = [("authorization", "Bearer SECRETF-that-nobody-knows")];
    let _ = crate::access::enter(&daemon, "", &bearer).await;
    let pipeline = connection.pipeline().await;
    let endpoint = connection.element("WebRtcEndpoint", &pipeline).await;
    connection
        .invoke(
            &endpoint,
            "setTurnUrl",
            json!({"turnUrl": "user:SECRETG@127.0.0.1:2"}),
        )
        .await
        .unwrap();
    connection
        .invoke(&endpoint, "generateOffer", json!({}))
        .await
        .unwrap();
    connection
        .invoke(&endpoint, "gatherCandidates", json!({}))
        .await
        .unwrap();
    for uri in [
        "rtsp://user:SECRETH@127.0.0.1:1/camera",
        "rtsps://user:SECRETI@127.0.0.1:1/camera",
        "http://user:SECRETJ@127.0.0.1:1/film.webm",
    ] {
        let player = json!({"mediaPipeline": pipeline, "uri": uri});
        let player = connection.create("PlayerEndpoint", player).await;
        connection.invoke(&player, "play", json!({})).await.unwrap();
    }
    let overlay = connection.element("ImageOverlayFilter", &pipeline).await;
    let image = json!({"id": "x", "uri": "http://user:SECRETK@127.0.0.1:1/a.png", "offsetXPercent": 0.0, "offsetYPercent": 0.0,
        "widthPercent": 0.5, "heightPercent": 0.5, "keepAspectRatio": true, "center": false});
    connection.invoke(&overlay, "addImage", image).await.unwrap_err();
    let recorder = json!({"mediaPipeline": pipeline, "uri": "http://user:SECRETL@127.0.0.1:1/a.webm"});
    let recorder = connection.create("RecorderEndpoint", recorder).await;
    connection.invoke(&recorder, "record", json!({})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let log = daemon.log();
    assert!(log.contains("rtsp://127.0.0.1:1/camera"), "what failed is logged");
    let told: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("SECRET"))
        .take(20)
        .collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}
