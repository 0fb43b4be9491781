//! `RtpEndpoint`: ffmpeg and GStreamer at the other end, and endpoints at both.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kms_client::Client;
use kms_client::api::types::{
    ConnectionState, CryptoSuite, MediaProfileSpecType, MediaState, SDES, StatsType,
};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{pipeline, within};
use crate::recorder::judge;

/// A process that is ended with this value.
struct Peer(Child);

impl Peer {
    fn start(program: &str, arguments: &[&str]) -> Peer {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        Peer(child.unwrap())
    }

    /// Waits for its own end.
    async fn ended(&mut self) {
        for _ in 0..400 {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("it never ended");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A description of sections, of a remote at this address.
fn sdp(address: &str, sections: &[String]) -> String {
    let family = if address.contains(':') { "IP6" } else { "IP4" };
    format!(
        "v=0\r\no=- 1 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n{}",
        sections.concat()
    )
}

/// The ports of audio and video in a description, by kind.
fn port(sdp: &str, kind: &str) -> u16 {
    let line = sdp.lines().find(|l| l.starts_with(&format!("m={kind} ")));
    line.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

/// Two ports that were free a moment ago, the first one even.
fn free_ports() -> u16 {
    loop {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        if port % 2 == 0 && std::net::UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// A moving picture and a tone, sent in real time.
const PICTURE: [&str; 10] = [
    "-v",
    "error",
    "-re",
    "-f",
    "lavfi",
    "-i",
    "testsrc=size=320x240:rate=25",
    "-re",
    "-f",
    "lavfi",
];
const TONE: [&str; 2] = ["-i", "sine=frequency=440:sample_rate=48000"];
const H264: [&str; 12] = [
    "-map",
    "0:v",
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-tune",
    "zerolatency",
    "-g",
    "25",
    "-pix_fmt",
    "yuv420p",
];
const VP8: [&str; 10] = [
    "-map",
    "0:v",
    "-c:v",
    "libvpx",
    "-deadline",
    "realtime",
    "-g",
    "25",
    "-b:v",
    "500k",
];

fn send(video: &[&str], to_video: &str, audio: &[&str], to_audio: &str) -> Peer {
    let mut arguments = PICTURE.to_vec();
    arguments.extend(TONE);
    arguments.extend(video);
    // With a name, audio and video are known to belong together.
    arguments.extend([
        "-payload_type",
        "96",
        "-cname",
        "ffmpeg",
        "-f",
        "rtp",
        to_video,
        "-map",
        "1:a",
    ]);
    arguments.extend(audio);
    arguments.extend(["-cname", "ffmpeg", "-f", "rtp", to_audio]);
    Peer::start("ffmpeg", &arguments)
}

async fn recorder(client: &Client, pipeline: &MediaPipeline, file: &Path) -> RecorderEndpoint {
    let profile = match file.extension().and_then(|e| e.to_str()) {
        Some("webm") => MediaProfileSpecType::Webm,
        _ => MediaProfileSpecType::Mp4,
    };
    RecorderEndpoint::create(client, pipeline, &uri(file))
        .media_profile(profile)
        .await
        .unwrap()
}

/// Records what an endpoint receives, for so long after it has begun.
async fn record(
    client: &Client,
    pipeline: &MediaPipeline,
    from: &RtpEndpoint,
    file: &Path,
    seconds: u64,
) -> RecorderEndpoint {
    let recorder = recorder(client, pipeline, file).await;
    let mut recording = recorder.on_recording().await.unwrap();
    from.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    recorder.stop_and_wait().await.unwrap();
    recorder
}

#[tokio::test]
async fn what_ffmpeg_sends_is_received_recorded_and_counted() {
    let folder = Folder::new();
    let file = folder.path("received.mp4");
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let mut connections = endpoint.on_connection_state_changed().await.unwrap();
    let mut states = endpoint.on_media_state_changed().await.unwrap();
    let mut flows = endpoint.on_media_flow_out_state_changed().await.unwrap();
    let offer = sdp(
        "127.0.0.1",
        &[
            "m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=sendonly\r\n".into(),
            "m=audio 5006 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=sendonly\r\n".into(),
        ],
    );
    let answer = endpoint.process_offer(&offer).await.unwrap();
    assert_eq!(answer.matches("a=recvonly").count(), 2, "{answer}");
    assert_eq!(
        within("a connection", connections.next()).await.new_state,
        ConnectionState::Connected
    );
    assert_eq!(endpoint.media_state().await.unwrap(), MediaState::Disconnected);

    let to = |kind| format!("rtp://127.0.0.1:{}", port(&answer, kind));
    let ffmpeg = send(
        &H264,
        &to("video"),
        &["-c:a", "libopus", "-payload_type", "97"],
        &to("audio"),
    );
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    within("a flow", flows.next()).await;
    within("a second flow", flows.next()).await;
    record(&client, &pipeline, &endpoint, &file, 5).await;

    let stats = endpoint.get_stats().await.unwrap();
    let inbound: Vec<_> = stats
        .values()
        .filter(|s| s.r#type == StatsType::Inboundrtp)
        .collect();
    assert_eq!(inbound.len(), 2, "{stats:?}");
    for stream in inbound.into_iter().map(|s| &s.extra) {
        assert!(stream["packetsReceived"].as_i64().unwrap() > 50, "{stream:?}");
        assert!(stream["bytesReceived"].as_i64().unwrap() > 1_000, "{stream:?}");
        assert!(stream["packetsLost"].as_i64().unwrap() <= 0, "{stream:?}");
        assert!(stream["jitter"].as_f64().unwrap() < 1.0, "{stream:?}");
    }
    assert!(endpoint.element_gstreamer_dot().await.unwrap().contains("rtpbin"));
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["h264", "opus"]);
    assert!((3.5..8.0).contains(&seconds), "{seconds} s");

    drop(ffmpeg);
    assert_eq!(
        within("silence", states.next()).await.new_state,
        MediaState::Disconnected
    );
}

/// A file of VP8 and Opus, and a player of it.
async fn player(client: &Client, pipeline: &MediaPipeline, folder: &Folder) -> PlayerEndpoint {
    let file = folder.path("in.webm");
    make(
        &file,
        15,
        &["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"],
    );
    PlayerEndpoint::create(client, pipeline, &uri(&file))
        .await
        .unwrap()
}

#[tokio::test]
async fn ffmpeg_receives_what_is_sent() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let (video, audio) = (free_ports(), free_ports());
    // Audio is wanted in another codec than it comes in.
    let wanted = sdp(
        "127.0.0.1",
        &[
            format!("m=video {video} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n"),
            format!("m=audio {audio} RTP/AVP 8\r\na=recvonly\r\n"),
        ],
    );
    let answer = endpoint.process_offer(&wanted).await.unwrap();
    assert_eq!(answer.matches("a=sendonly").count(), 2, "{answer}");
    std::fs::write(folder.path("in.sdp"), &wanted).unwrap();
    let (sdp, out) = (folder.path("in.sdp"), folder.path("out.mkv"));
    let mut ffmpeg = Peer::start(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-protocol_whitelist",
            "file,udp,rtp",
            "-i",
            sdp.to_str().unwrap(),
            "-t",
            "4",
            "-c",
            "copy",
            out.to_str().unwrap(),
        ],
    );
    player.connect(&endpoint).await.unwrap();
    player.play().await.unwrap();
    ffmpeg.ended().await;
    let (codecs, seconds) = judge(&out);
    assert_eq!(codecs, ["pcm_alaw", "vp8"]);
    assert!((2.5..6.0).contains(&seconds), "{seconds} s");
    let stats = endpoint.get_stats().await.unwrap();
    let outbound: Vec<_> = stats
        .values()
        .filter(|s| s.r#type == StatsType::Outboundrtp)
        .collect();
    assert_eq!(outbound.len(), 2, "{stats:?}");
    for stream in outbound {
        assert!(stream.extra["packetsSent"].as_i64().unwrap() > 50, "{stream:?}");
    }
}

/// Two endpoints that have negotiated: the first one's offer, the other's answer.
async fn pair(a: &RtpEndpoint, b: &RtpEndpoint) -> (String, String) {
    let offer = a.generate_offer().await.unwrap();
    let answer = b.process_offer(&offer).await.unwrap();
    assert_eq!(a.process_answer(&answer).await.unwrap(), offer);
    (offer, answer)
}

#[tokio::test]
async fn each_suite_encrypts_from_endpoint_to_endpoint() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let there = MediaPipeline::create(&client).await.unwrap();
    let suites = [
        (CryptoSuite::Aes128CmHmacSha132, 30),
        (CryptoSuite::Aes128CmHmacSha180, 30),
        (CryptoSuite::Aes256CmHmacSha132, 46),
        (CryptoSuite::Aes256CmHmacSha180, 46),
    ];
    player.play().await.unwrap();
    for (suite, length) in suites {
        let crypto = SDES {
            crypto: Some(suite),
            key: Some("k".repeat(length)),
            key_base64: None,
        };
        let a = RtpEndpoint::create(&client, &pipeline)
            .crypto(&crypto)
            .await
            .unwrap();
        let crypto = SDES {
            crypto: Some(suite),
            key: None,
            key_base64: None,
        };
        let b = RtpEndpoint::create(&client, &there)
            .crypto(&crypto)
            .await
            .unwrap();
        let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
        let (offer, answer) = pair(&a, &b).await;
        assert!(
            offer.contains("RTP/SAVPF") && offer.contains("a=crypto:1 AES_"),
            "{offer}"
        );
        assert!(
            answer.contains("RTP/SAVPF") && answer.contains("a=crypto:1 AES_"),
            "{answer}"
        );
        player.connect(&a).await.unwrap();
        within("media", flows.next()).await;
        within("media of the other kind", flows.next()).await;
        // It is what was sent: it can be decoded.
        let file = folder.path(&format!("{suite:?}.webm"));
        record(&client, &there, &b, &file, 1).await;
        let (codecs, _) = judge(&file);
        assert_eq!(codecs, ["opus", "vp8"], "{suite:?}");
        a.release().await.unwrap();
        b.release().await.unwrap();
    }
}
