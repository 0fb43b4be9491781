//! The typed API against what a real Kurento Media Server 7.3.1 answered (recorded.jsonl).

mod server;

use kms_client::api::*;
use kms_client::{Client, Error, ObjectId};
use serde_json::{Value, json};
use server::Reply;

/// The recorded exchange whose request is contained in this one.
fn recorded(request: &Value) -> Vec<Reply> {
    if request["method"] == "connect" {
        return vec![server::session("7988d11e-9a49-4f6f-a471-e0f233ad59fa")];
    }
    let exchanges = include_str!("recorded.jsonl")
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap());
    let Some(exchange) = exchanges.into_iter().find(|e| contains(request, &e["request"])) else {
        panic!("not in the recording: {request}");
    };
    let mut replies = vec![Reply::Answer(exchange["answer"].clone())];
    replies.extend(
        exchange["events"]
            .as_array()
            .into_iter()
            .flatten()
            .cloned()
            .map(Reply::Event),
    );
    replies
}

fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(k, v)| contains(whole.get(k).unwrap_or(&Value::Null), v)),
        (whole, part) => whole == part,
    }
}

async fn connect() -> Client {
    let (url, _) = server::start(|_, request| recorded(request)).await;
    Client::connect(&url).await.unwrap()
}

#[tokio::test]
async fn a_webrtc_loopback_is_set_up() {
    let client = connect().await;
    let pipeline = MediaPipeline::create(&client).await.unwrap();
    let first = WebRtcEndpoint::create(&client, &pipeline)
        .use_data_channels(true)
        .await
        .unwrap();
    let second = WebRtcEndpoint::create(&client, &pipeline).await.unwrap();
    assert!(first.id().as_str().starts_with(pipeline.id().as_str()));
    assert_ne!(first.id(), second.id());
    first.connect(&second).await.unwrap();
    second
        .connect(&first)
        .media_type(types::MediaType::Video)
        .await
        .unwrap();

    let mut candidates = first.on_ice_candidate_found().await.unwrap();
    let answer = first.process_offer("v=0 ...").await.unwrap();
    assert!(answer.starts_with("v=0\r\n") && answer.contains("m=audio 1 UDP/TLS/RTP/SAVPF"));
    first.gather_candidates().await.unwrap();
    let found = candidates.next().await.unwrap();
    assert_eq!(
        found.candidate.candidate,
        "candidate:1 1 UDP 2015364095 127.0.0.1 48614 typ host"
    );
    assert_eq!(
        (found.candidate.sdp_mid.as_str(), found.candidate.sdp_m_line_index),
        ("0", 0)
    );
    assert_eq!(
        (&found.source, found.r#type.as_str()),
        (first.id(), "IceCandidateFound")
    );

    let theirs = types::IceCandidate {
        candidate: "candidate:1 1 UDP 1 127.0.0.1 5000 typ host".into(),
        sdp_mid: "0".into(),
        sdp_m_line_index: 0,
    };
    first.add_ice_candidate(&theirs).await.unwrap();
    assert_eq!(
        first.get_tags().await.unwrap()[0],
        types::Tag {
            key: "k".into(),
            value: "v".into()
        }
    );
    assert!(
        first.get_stats().await.unwrap().is_empty(),
        "null stands for an empty map"
    );
    first.release().await.unwrap();
    pipeline.release().await.unwrap();
}

#[tokio::test]
async fn the_server_manager_is_read() {
    let client = connect().await;
    let manager = ServerManager::attach(&client, "manager_ServerManager");
    let info = manager.info().await.unwrap();
    assert_eq!(info.r#type, types::ServerType::Kms);
    assert!(
        info.modules
            .iter()
            .any(|m| m.name == "core" && m.factories.contains(&"PassThrough".into()))
    );
    let pipelines = manager.pipelines().await.unwrap();
    let described = client.describe(&pipelines[0]).await.unwrap();
    assert_eq!(
        (described.class.as_str(), described.hierarchy.len()),
        ("MediaPipeline", 1)
    );
}

#[tokio::test]
async fn an_error_keeps_code_name_and_sentence() {
    let client = connect().await;
    let id = "f8937626-176d-4243-bc8d-061ff746f6ac_kurento.MediaPipeline/\
              790c9655-9475-4d5d-be15-703c0679ab0c_kurento.WebRtcEndpoint";
    let endpoint = WebRtcEndpoint::attach(&client, id);
    let error = endpoint.process_offer("garbage").await.unwrap_err();
    assert_eq!(error.code(), Some(protocol::Code::SdpParse));
    let Error::Server(error) = error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (error.kind.as_str(), error.message.as_str()),
        ("SDP_PARSE_ERROR", "Invalid SDP")
    );
}

#[test]
fn statistics_are_read_as_what_they_are() {
    let json = json!({
        "__type__": "RTCInboundRTPStreamStats", "id": "in", "type": "inboundrtp", "timestampMillis": 5,
        "ssrc": "42", "packetsReceived": 7, "jitter": 0.5
    });
    let stats: types::Stats = serde_json::from_value(json).unwrap();
    assert_eq!(stats.r#type, types::StatsType::Inboundrtp);
    let inbound: types::RTCInboundRTPStreamStats = downcast(&stats).unwrap();
    assert_eq!(
        (inbound.ssrc.as_str(), inbound.packets_received, inbound.jitter),
        ("42", 7, 0.5)
    );
}

#[test]
fn a_value_of_a_newer_server_is_not_an_error() {
    let state: types::MediaType = serde_json::from_str("\"SMELL\"").unwrap();
    assert_eq!(state, types::MediaType::Unknown);
    assert_eq!(serde_json::to_value(ObjectId::from("x")).unwrap(), json!("x"));
}
