//! Session descriptions and candidates that no browser sends. Each gets an answer or an error, and the server goes on.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Connection, Outcome};
use crate::daemon::Daemon;

/// The longest that one of these may keep its connection waiting, in a debug build on a busy machine.
const BOUND: Duration = Duration::from_secs(5);

/// An offer of a real client with audio, video and data, out of the recordings of a real server.
pub(crate) fn recorded_offer() -> String {
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/webrtc.jsonl");
    let frames = std::fs::read_to_string(recording).unwrap();
    let offers = frames.lines().filter_map(|line| {
        let mut frame: Value = serde_json::from_str(line).unwrap();
        let offer = frame.pointer_mut("/frame/params/operationParams/offer")?.take();
        Some(offer.as_str()?.to_owned())
    });
    offers.max_by_key(String::len).unwrap()
}

/// Fails unless the server answered in time, with a description or an error of the kind that says so.
fn assert_sane(what: &str, outcome: Outcome, start: Instant) {
    assert!(start.elapsed() < BOUND, "{what}: took {:?}", start.elapsed());
    match outcome {
        Ok(answer) => assert!(
            answer.as_str().is_none_or(|sdp| sdp.starts_with("v=0")),
            "{what}: {answer}"
        ),
        Err(refused) => {
            assert!((40000..41000).contains(&refused.code), "{what}: {refused}");
            assert_ne!(refused.code, 40003, "{what}: {refused}");
            assert!(
                refused.message.len() < 1000,
                "{what}: a message of {} bytes",
                refused.message.len()
            );
        }
    }
}

/// A daemon with one pipeline, and a second client that must notice nothing.
struct Scene {
    daemon: Daemon,
    connection: Connection,
    bystander: Connection,
    pipeline: String,
}

impl Scene {
    async fn new() -> Scene {
        let daemon = Daemon::start();
        let mut connection = Connection::open(&daemon).await;
        Scene {
            bystander: Connection::open(&daemon).await,
            pipeline: connection.pipeline().await,
            connection,
            daemon,
        }
    }

    async fn endpoint(&mut self) -> String {
        self.connection.element("WebRtcEndpoint", &self.pipeline).await
    }

    /// Gives an offer to a new endpoint, lets it gather, and releases it.
    async fn offer(&mut self, what: &str, offer: &str) {
        let endpoint = self.endpoint().await;
        let start = Instant::now();
        let outcome = self
            .connection
            .invoke(&endpoint, "processOffer", json!({"offer": offer}))
            .await;
        assert_sane(what, outcome, start);
        self.connection
            .invoke(&endpoint, "gatherCandidates", json!({}))
            .await
            .ok();
        self.connection
            .request("release", json!({"object": endpoint}))
            .await
            .unwrap();
    }

    /// Lets a new endpoint offer, and gives it an answer.
    async fn answer(&mut self, what: &str, answer: &str) {
        let endpoint = self.endpoint().await;
        self.connection
            .invoke(&endpoint, "generateOffer", json!({}))
            .await
            .unwrap();
        let start = Instant::now();
        let outcome = self
            .connection
            .invoke(&endpoint, "processAnswer", json!({"answer": answer}))
            .await;
        assert_sane(what, outcome, start);
        self.connection
            .request("release", json!({"object": endpoint}))
            .await
            .unwrap();
    }

    /// After all that, what browsers send works, and nothing panicked.
    async fn still_works(mut self) {
        self.bystander.request("ping", json!({})).await.unwrap();
        let endpoint = self.endpoint().await;
        let offer = json!({"offer": recorded_offer()});
        let answer = self
            .connection
            .invoke(&endpoint, "processOffer", offer)
            .await
            .unwrap();
        let answer = answer.as_str().unwrap();
        for line in [
            "m=audio ",
            "m=video ",
            "m=application ",
            "a=ice-ufrag:",
            "a=fingerprint:sha-256 ",
        ] {
            assert!(answer.contains(line), "{line} is missing in:\n{answer}");
        }
        let log = self.daemon.log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

/// An offer with `line` in place of each line that begins with `prefix`.
fn replaced(prefix: &str, line: &str) -> String {
    let offer = recorded_offer();
    let lines = offer
        .lines()
        .map(|l| if l.starts_with(prefix) { line } else { l });
    lines.collect::<Vec<_>>().join("\r\n") + "\r\n"
}

#[tokio::test]
async fn offers_cut_anywhere() {
    let offer = recorded_offer();
    let mut scene = Scene::new().await;
    for end in (0..offer.len()).step_by(50) {
        scene.offer(&format!("cut at byte {end}"), &offer[..end]).await;
    }
    scene.still_works().await;
}

#[tokio::test]
async fn offers_without_one_of_their_lines_or_with_it_twice() {
    let offer = recorded_offer();
    let lines: Vec<&str> = offer.lines().collect();
    let mut scene = Scene::new().await;
    for at in 0..lines.len() {
        let (mut without, mut twice) = (lines.clone(), lines.clone());
        let line = without.remove(at);
        scene
            .offer(
                &format!("without line {at}, {line}"),
                &(without.join("\r\n") + "\r\n"),
            )
            .await;
        twice.insert(at, line);
        scene
            .offer(
                &format!("twice line {at}, {line}"),
                &(twice.join("\r\n") + "\r\n"),
            )
            .await;
    }
    scene.still_works().await;
}

#[tokio::test]
async fn answers_cut_anywhere() {
    let offer = recorded_offer();
    let answer = offer.replace("a=setup:actpass", "a=setup:active");
    let mut scene = Scene::new().await;
    for end in (0..answer.len()).step_by(150).chain([answer.len()]) {
        scene.answer(&format!("cut at byte {end}"), &answer[..end]).await;
    }
    scene.still_works().await;
}

#[tokio::test]
async fn descriptions_that_are_garbage_or_far_too_much() {
    let section =
        "m=audio 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtpmap:96 opus/48000/2\r\na=sendrecv\r\n";
    let head = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
    let offer = recorded_offer();
    let many_sections: String = (0..10_000).map(|n| format!("{section}a=mid:{n}\r\n")).collect();
    let many_candidates: String = (0..4_000)
        .map(|n| {
            format!(
                "a=candidate:{n} 1 udp 2130706431 192.0.2.{} {} typ host\r\n",
                n % 256,
                1024 + n
            )
        })
        .collect();
    let payload_types: String = (0..60_000).map(|n| format!(" {n}")).collect();
    let cases = [
        ("empty", String::new()),
        ("garbage", "garbage".into()),
        ("NUL bytes", "\0".repeat(1000)),
        ("only line ends", "\r\n".repeat(10_000)),
        ("only a head", head.into()),
        ("no line ends", offer.replace("\r\n", " ")),
        ("wrong line ends", offer.replace("\r\n", "\r")),
        ("not ASCII", offer.replace("opus", "öpüs\u{202e}")),
        (
            "300 KB in one line",
            format!("{offer}a={}\r\n", "x".repeat(300_000)),
        ),
        ("300 KB of one byte", "v".repeat(300_000)),
        ("300 KB of candidates", format!("{offer}{many_candidates}")),
        (
            "300 KB of payload types",
            replaced("m=audio", &format!("m=audio 9 UDP/TLS/RTP/SAVPF{payload_types}")),
        ),
        ("10,000 m-lines", format!("{head}{many_sections}")),
        (
            "10,000 m-lines without mid",
            format!("{head}{}", section.repeat(10_000)),
        ),
        ("the offer 60 times", offer.repeat(60)),
        (
            "a session 60 times in one",
            format!("{offer}{}", offer[offer.find("m=").unwrap()..].repeat(60)),
        ),
    ];
    let mut scene = Scene::new().await;
    for (what, description) in &cases {
        scene.offer(what, description).await;
        scene.answer(what, description).await;
    }
    scene.still_works().await;
}

#[tokio::test]
async fn offers_with_one_wrong_value() {
    let long = "x".repeat(10_000);
    let cases = [
        ("v=", "v=99999999999999999999".to_owned()),
        ("o=", "o=- -1 99999999999999999999999 IN IP6 nowhere".into()),
        ("m=audio", "m=audio 70000 UDP/TLS/RTP/SAVPF 96".into()),
        ("m=audio", "m=audio 9 UDP/TLS/RTP/SAVPF".into()),
        ("m=audio", "m=audio 9 UDP/TLS/RTP/SAVPF 300 -1 x".into()),
        ("m=audio", "m=text 9 UDP/TLS/RTP/SAVPF 96".into()),
        ("m=video", "m=video 0 UDP/TLS/RTP/SAVPF 97".into()),
        ("m=video", "m=video 9 RTP/AVP 97".into()),
        ("m=application", "m=application 9 UDP/DTLS/SCTP".into()),
        ("c=", "c=IN IP4 999.999.999.999".into()),
        ("a=mid:", "a=mid:same".into()),
        ("a=mid:", format!("a=mid:{long}")),
        ("a=group:", "a=group:BUNDLE 7 8 9".into()),
        ("a=rtpmap:96", "a=rtpmap:96 opus/0/0".into()),
        ("a=rtpmap:97", "a=rtpmap:97 VP8/99999999999".into()),
        ("a=rtpmap:98", "a=rtpmap:98".into()),
        ("a=fmtp:98", "a=fmtp:98 apt=98".into()),
        ("a=fmtp:99", format!("a=fmtp:99 profile-level-id={long}")),
        (
            "a=extmap:1 ",
            "a=extmap:0 urn:ietf:params:rtp-hdrext:sdes:mid".into(),
        ),
        (
            "a=extmap:1 ",
            "a=extmap:70000 urn:ietf:params:rtp-hdrext:sdes:mid".into(),
        ),
        ("a=ssrc:", "a=ssrc:99999999999 cname:x".into()),
        ("a=ssrc-group:", "a=ssrc-group:FID 1".into()),
        ("a=setup:", "a=setup:nobody".into()),
        ("a=ice-ufrag:", "a=ice-ufrag:".into()),
        ("a=ice-ufrag:", format!("a=ice-ufrag:{long}")),
        ("a=ice-pwd:", "a=ice-pwd:x".into()),
        ("a=fingerprint:", "a=fingerprint:sha-256 ZZ".into()),
        ("a=fingerprint:", "a=fingerprint:md5 00:11".into()),
        ("a=fingerprint:", "a=fingerprint:".into()),
        ("a=sctp-port:", "a=sctp-port:70000".into()),
        (
            "a=max-message-size:",
            "a=max-message-size:99999999999999999999".into(),
        ),
        ("a=candidate:", "a=candidate:".into()),
        (
            "a=candidate:",
            "a=candidate:1 1 udp 1 nowhere 99999 typ host".into(),
        ),
    ];
    let mut scene = Scene::new().await;
    for (prefix, line) in &cases {
        let shown: String = line.chars().take(60).collect();
        let offer = replaced(prefix, line);
        assert_ne!(offer, recorded_offer(), "{prefix} is in no line of the offer");
        scene.offer(&shown, &offer).await;
    }
    scene.still_works().await;
}

/// The second half of candidate attributes (RFC 8839, section 5.1) that are wrong, useless or both.
fn wrong_candidates() -> Vec<String> {
    let long = "9".repeat(100_000);
    [
        "",
        "candidate:",
        "candidate",
        "garbage",
        "\0\0\0",
        "candidate:1",
        "candidate:1 1 udp 2130706431 127.0.0.1",
        "candidate:1 1 udp 2130706431 127.0.0.1 5000",
        "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ",
        "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ wrong",
        "candidate:1 1 udp 2130706431 127.0.0.1 0 typ host",
        "candidate:1 1 udp 2130706431 127.0.0.1 65536 typ host",
        "candidate:1 1 udp 2130706431 127.0.0.1 -1 typ host",
        "candidate:1 1 udp 2130706431 0.0.0.0 5000 typ host",
        "candidate:1 1 udp 2130706431 255.255.255.255 5000 typ host",
        "candidate:1 1 udp 2130706431 224.0.0.1 5000 typ host",
        "candidate:1 1 udp 2130706431 :: 5000 typ host",
        "candidate:1 1 udp 2130706431 fe80::1%eth0 5000 typ host",
        "candidate:1 1 udp 2130706431 999.1.1.1 5000 typ host",
        "candidate:1 1 udp 2130706431 nowhere.invalid 5000 typ host",
        "candidate:1 1 udp 2130706431 6b7ba8c5-1d4b-4e3a-9a6b-0d9a5b8c7d6e.local 5000 typ host",
        "candidate:1 1 udp 2130706431 ../../etc/passwd 5000 typ host",
        "candidate:1 257 udp 2130706431 127.0.0.1 5000 typ host",
        "candidate:1 0 udp 2130706431 127.0.0.1 5000 typ host",
        "candidate:1 1 udp 99999999999999999999 127.0.0.1 5000 typ host",
        "candidate:1 1 udp -5 127.0.0.1 5000 typ host",
        "candidate:1 1 sctp 2130706431 127.0.0.1 5000 typ host",
        "candidate:1 1 tcp 2130706431 127.0.0.1 5000 typ host tcptype wrong",
        "candidate:1 1 tcp 2130706431 127.0.0.1 5000 typ host tcptype",
        "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ srflx raddr nowhere rport 99999",
        "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ relay raddr",
        "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host generation",
        "a=candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host\r\na=candidate:2",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        long.clone(),
        format!("candidate:{long} 1 udp 2130706431 127.0.0.1 5000 typ host"),
        format!("candidate:1 1 udp 2130706431 127.0.0.1 {long} typ host"),
    ])
    .collect()
}

#[tokio::test]
async fn candidates_that_are_wrong_or_lead_nowhere() {
    let mut scene = Scene::new().await;
    let endpoint = scene.endpoint().await;
    let real = "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host";
    let mut candidates: Vec<Value> = Vec::new();
    for text in wrong_candidates() {
        candidates.push(json!({"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}));
    }
    for (mid, index) in [
        ("nope", 0),
        ("", -1),
        ("0", 2_000_000_000),
        ("99999999999", -2_000_000_000),
    ] {
        candidates.push(json!({"candidate": real, "sdpMid": mid, "sdpMLineIndex": index}));
    }
    candidates.push(json!({"candidate": real}));
    candidates.push(json!({}));
    for negotiated in [false, true] {
        if negotiated {
            let offer = json!({"offer": recorded_offer()});
            scene
                .connection
                .invoke(&endpoint, "processOffer", offer)
                .await
                .unwrap();
            scene
                .connection
                .invoke(&endpoint, "gatherCandidates", json!({}))
                .await
                .unwrap();
        }
        for candidate in &candidates {
            let start = Instant::now();
            let params = json!({"candidate": candidate});
            let outcome = scene
                .connection
                .invoke(&endpoint, "addIceCandidate", params)
                .await;
            let what: String = candidate.to_string().chars().take(120).collect();
            assert_sane(&what, outcome, start);
        }
    }
    scene.still_works().await;
}

#[tokio::test]
async fn more_candidates_than_any_client_has() {
    let mut scene = Scene::new().await;
    let endpoint = scene.endpoint().await;
    let before = scene.daemon.rss();
    scene
        .connection
        .invoke(&endpoint, "processOffer", json!({"offer": recorded_offer()}))
        .await
        .unwrap();
    scene
        .connection
        .invoke(&endpoint, "gatherCandidates", json!({}))
        .await
        .unwrap();
    let start = Instant::now();
    let mut sent = Vec::new();
    for number in 0..3_000 {
        let text = format!(
            "candidate:{number} 1 udp 2130706431 192.0.2.{} {} typ host",
            number % 250,
            1024 + number
        );
        let candidate = json!({"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0});
        let params = json!({
            "object": endpoint, "operation": "addIceCandidate", "operationParams": {"candidate": candidate},
        });
        sent.push(scene.connection.feed("invoke", params).await);
    }
    for id in sent {
        let outcome = scene.connection.answer(id).await;
        assert!(outcome.is_ok() || outcome.is_err_and(|refused| refused.code == 40401));
    }
    assert!(start.elapsed() < BOUND, "took {:?}", start.elapsed());
    scene
        .connection
        .request("release", json!({"object": endpoint}))
        .await
        .unwrap();
    let grown = scene.daemon.rss().saturating_sub(before);
    assert!(grown < 16 * 1024, "grew by {grown} KiB");
    scene.still_works().await;
}
