//! `RtpEndpoint`: ffmpeg and GStreamer at the other end, and endpoints at both.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kms_client::Client;
use kms_client::api::types::{
    ConnectionState, CryptoSuite, MediaProfileSpecType, MediaState, SDES, StatsType,
};
use kms_client::api::*;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{pipeline, within};
use crate::recorder::{judge, out_of_sync};

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

/// Has ffmpeg write 4 s of what it receives, as it is.
fn receive(description: &Path, out: &Path) -> Peer {
    let mut arguments = vec!["-v", "error", "-protocol_whitelist", "file,udp,rtp,srtp", "-i"];
    arguments.extend([description.to_str().unwrap(), "-t", "4", "-c", "copy"]);
    arguments.push(out.to_str().unwrap());
    Peer::start("ffmpeg", &arguments)
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
    let lines = [
        format!("m=video {video} RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n"),
        format!("m=audio {audio} RTP/AVP 8\r\na=recvonly\r\n"),
    ];
    let answer = endpoint.process_offer(&sdp("127.0.0.1", &lines)).await.unwrap();
    assert_eq!(answer.matches("a=sendonly").count(), 2, "{answer}");
    // One ffmpeg each: over two streams it jumps in time when the first sender report comes.
    let mut files = Vec::new();
    for (line, codec) in lines.iter().zip(["vp8", "pcm_alaw"]) {
        let description = folder.path(&format!("{codec}.sdp"));
        std::fs::write(&description, sdp("127.0.0.1", std::slice::from_ref(line))).unwrap();
        let out = folder.path(&format!("{codec}.mkv"));
        files.push((codec, receive(&description, &out), out));
    }
    player.connect(&endpoint).await.unwrap();
    player.play().await.unwrap();
    for (codec, ffmpeg, out) in &mut files {
        ffmpeg.ended().await;
        let (codecs, seconds) = judge(out);
        assert_eq!(codecs, [*codec]);
        assert!((2.5..6.0).contains(&seconds), "{seconds} s");
    }
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

/// The key that ffmpeg is given: 30 bytes, as Base64.
const KEY: &str = "NDMyMVpZWFdWVVRTUlFQT05NTEtKSUhHRkVEQ0JB";

#[tokio::test]
async fn ffmpeg_sends_and_receives_srtp() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    // In: the endpoint was made without a suite, and takes the one that is offered.
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let offer = sdp(
        "127.0.0.1",
        &[format!(
            "m=video 5004 RTP/SAVP 96\r\na=rtpmap:96 VP8/90000\r\na=sendonly\r\n\
             a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n"
        )],
    );
    let answer = endpoint.process_offer(&offer).await.unwrap();
    assert!(
        answer.contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"),
        "{answer}"
    );
    assert!(!answer.contains(KEY), "each side has a key of its own");
    let mut arguments = PICTURE[..7].to_vec();
    let to = format!("srtp://127.0.0.1:{}", port(&answer, "video"));
    arguments.extend(VP8);
    arguments.extend([
        "-srtp_out_suite",
        "AES_CM_128_HMAC_SHA1_80",
        "-srtp_out_params",
        KEY,
    ]);
    arguments.extend(["-payload_type", "96", "-f", "rtp", to.as_str()]);
    let sender = Peer::start("ffmpeg", &arguments);

    // Out: a client's key, to which ffmpeg has the answer.
    let crypto = SDES {
        crypto: Some(CryptoSuite::Aes128CmHmacSha180),
        key: None,
        key_base64: Some(KEY.into()),
    };
    let out = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let video = free_ports();
    let line = format!("m=video {video} RTP/SAVP 96\r\na=rtpmap:96 VP8/90000\r\na=recvonly\r\n");
    let refused = out
        .process_offer(&sdp("127.0.0.1", &[line.replace("SAVP", "AVP")]))
        .await
        .unwrap();
    assert!(
        refused.contains("m=video 0 RTP/AVP 96"),
        "not in clear: {refused}"
    );
    let out = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let line = format!("{line}a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n");
    let answer = out
        .process_offer(&sdp("127.0.0.1", std::slice::from_ref(&line)))
        .await
        .unwrap();
    assert!(answer.contains(KEY), "{answer}");
    let (description, file) = (folder.path("in.sdp"), folder.path("out.mkv"));
    std::fs::write(&description, sdp("127.0.0.1", &[line])).unwrap();
    let mut receiver = receive(&description, &file);
    endpoint.connect(&out).await.unwrap();
    receiver.ended().await;
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["vp8"]);
    assert!((2.5..6.0).contains(&seconds), "{seconds} s");
    drop(sender);
    let log = daemon.log();
    assert!(!log.contains(KEY), "{log}");
}

#[tokio::test]
async fn over_one_port_and_ipv6_it_is_transcoded_to_what_the_other_side_takes() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let there = MediaPipeline::create(&client).await.unwrap();
    let a = RtpEndpoint::create(&client, &pipeline)
        .use_ipv6(true)
        .await
        .unwrap();
    let b = RtpEndpoint::create(&client, &there).await.unwrap();
    b.set_max_video_recv_bandwidth(300).await.unwrap();
    let offer = a.generate_offer().await.unwrap();
    assert!(offer.contains("c=IN IP6 "), "{offer}");
    // Only H.264 is left of the video that is offered, and all is to come over one port, from this machine.
    let offer: String = offer
        .lines()
        .map(|line| match line {
            line if line.starts_with("c=") => "c=IN IP6 ::1".to_owned(),
            line if line.starts_with("m=video") => {
                let words: Vec<&str> = line.split(' ').collect();
                format!("{} {} {} 98", words[0], words[1], words[2])
            }
            line => line.to_owned(),
        })
        .map(|line| line + "\r\n")
        .collect();
    let offer = offer.replace("a=mid:", "a=rtcp-mux\r\na=mid:");
    let answer = b.process_offer(&offer).await.unwrap();
    assert!(answer.contains("c=IN IP6 ::1"), "{answer}");
    assert_eq!(answer.matches("a=rtcp-mux").count(), 2, "{answer}");
    assert!(
        answer.contains("b=AS:300") && answer.contains("H264/90000"),
        "{answer}"
    );
    assert!(!answer.contains("VP8"), "{answer}");
    let rtcp = format!("a=rtcp:{}", port(&answer, "video"));
    assert!(answer.contains(&rtcp), "{answer}");
    a.process_answer(&answer).await.unwrap();
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    let file = folder.path("received.mp4");
    record(&client, &there, &b, &file, 4).await;
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["h264", "opus"]);
    assert!((2.5..7.0).contains(&seconds), "{seconds} s");
    // The encoder keeps to the bandwidth.
    let video = video_bits(&file) as f64 / seconds;
    assert!(video < 300_000.0, "{video} bit/s");
}

/// Bits of a file's video.
fn video_bits(file: &Path) -> u64 {
    let probed = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "packet=size",
            "-of",
            "csv=p=0",
        ])
        .arg(file)
        .output();
    let sizes = String::from_utf8(probed.unwrap().stdout).unwrap();
    sizes
        .lines()
        .filter_map(|l| l.trim_end_matches(',').parse::<u64>().ok())
        .sum::<u64>()
        * 8
}

#[tokio::test]
async fn a_remote_that_asks_for_it_gets_media_where_its_own_comes_from() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    // Nobody is where this description says.
    let line = "m=audio 9 RTP/AVP 0\r\na=sendrecv\r\na=direction:active\r\n".to_owned();
    let answer = endpoint.process_offer(&sdp("127.0.0.1", &[line])).await.unwrap();
    assert!(answer.contains("a=direction:passive"), "{answer}");
    let player = player(&client, &pipeline, &folder).await;
    player.connect(&endpoint).await.unwrap();
    player.play().await.unwrap();

    let to = ("127.0.0.1", port(&answer, "audio"));
    let mut received = [0; 2048];
    let [remote, stranger] = [(); 2].map(|()| std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&remote, &stranger] {
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    }
    let mut packet = vec![0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    packet.extend([0xff; 160]);
    let mut answered = 0;
    for sequence in 0..60_u8 {
        packet[3] = sequence;
        remote.send_to(&packet, to).unwrap();
        // A stranger who would like to have it sends too: at once, and while the remote does.
        if sequence > 0 {
            stranger.send_to(&packet, to).unwrap();
        }
        if let Ok((length, from)) = remote.recv_from(&mut received) {
            assert_eq!(from.port(), to.1);
            assert_eq!((received[0], received[1] & 0x7f), (0x80, 0), "{length} bytes");
            answered += 1;
        }
        if answered == 20 {
            break;
        }
    }
    assert_eq!(answered, 20, "media comes back");
    stranger.set_nonblocking(true).unwrap();
    assert!(
        stranger.recv_from(&mut received).is_err(),
        "the stranger gets nothing"
    );
}

#[tokio::test]
async fn what_is_no_description_is_refused_and_what_is_unknown_is_rejected() {
    use protocol::Code;
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let refused = async |offer: &str| endpoint.process_offer(offer).await.unwrap_err().code().unwrap();
    assert_eq!(refused("").await, Code::SdpParse);
    assert_eq!(refused("hello").await, Code::SdpParse);
    let line = || "m=audio 5004 RTP/AVP 0\r\n".to_owned();
    assert_eq!(
        refused(&sdp("example.com", &[line()])).await,
        Code::SdpProcessOffer
    );
    assert_eq!(refused(&sdp("239.1.1.1", &[line()])).await, Code::SdpProcessOffer);
    let early = endpoint.process_answer(&sdp("127.0.0.1", &[line()])).await;
    assert_eq!(early.unwrap_err().code(), Some(Code::SdpNoOffer));
    let missing = endpoint.get_local_session_descriptor().await;
    assert_eq!(missing.unwrap_err().code(), Some(Code::SdpNoLocal));

    let unknown = "m=video 5006 RTP/AVP 96\r\na=rtpmap:96 H261/90000\r\n".to_owned();
    let data = "m=application 5008 UDP/BFCP *\r\n".to_owned();
    let answer = endpoint
        .process_offer(&sdp("127.0.0.1", &[unknown, line(), data]))
        .await
        .unwrap();
    let lines: Vec<&str> = answer.lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(lines[0], "m=video 0 RTP/AVP 96");
    assert!(
        lines[1].starts_with("m=audio ") && lines[1].ends_with(" RTP/AVP 0"),
        "{answer}"
    );
    assert_eq!(lines[2], "m=application 0 UDP/BFCP *");
    let again = endpoint.process_offer(&sdp("127.0.0.1", &[line()])).await;
    assert_eq!(again.unwrap_err().code(), Some(Code::SdpAlreadyNegotiated));
}

#[tokio::test]
async fn nothing_is_left_when_it_is_released() {
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let line = "m=audio 5004 RTP/AVP 0\r\na=sendonly\r\n".to_owned();
    let answer = endpoint.process_offer(&sdp("127.0.0.1", &[line])).await.unwrap();
    let port = port(&answer, "audio");
    let mut states = endpoint.on_media_state_changed().await.unwrap();
    let mut arguments = vec!["-v", "quiet", "-re", "-f", "lavfi"];
    let to = format!("rtp://127.0.0.1:{port}");
    arguments.extend(TONE);
    arguments.extend(["-c:a", "pcm_mulaw", "-ar", "8000", "-f", "rtp", &to]);
    let _sender = Peer::start("ffmpeg", &arguments);
    within("media", states.next()).await;
    assert!(
        daemon.thread_names().iter().any(|t| t == "rtp"),
        "{:?}",
        daemon.thread_names()
    );
    endpoint.release().await.unwrap();
    // GStreamer keeps a thread that has nothing to do for a while.
    for _ in 0..400 {
        let threads = daemon.thread_names();
        let gone = |name: &str| threads.iter().all(|t| !t.starts_with(name));
        let closed = [port, port + 1]
            .iter()
            .all(|p| std::net::UdpSocket::bind(("0.0.0.0", *p)).is_ok());
        if closed && gone("rtp") && gone("rtpsession") && gone("rtpjitter") && gone("appsrc") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("left: {:?}", daemon.thread_names());
}

#[tokio::test]
async fn keyframes_can_be_asked_for_over_rtcp() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let a = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let b = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
    pair(&a, &b).await;
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    let requests = async |endpoint: &RtpEndpoint, kind| {
        let stats = endpoint.get_stats().await.unwrap();
        let of_kind = stats
            .values()
            .filter(|s| s.r#type == kind && s.extra["codecId"] == "VP8");
        let counts =
            of_kind.map(|s| s.extra["pliCount"].as_i64().unwrap() + s.extra["firCount"].as_i64().unwrap());
        counts.sum::<i64>()
    };
    let before = requests(&a, StatsType::Outboundrtp).await;
    for _ in 0..100 {
        b.request_keyframe().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if requests(&a, StatsType::Outboundrtp).await > before {
            assert!(requests(&b, StatsType::Inboundrtp).await > 0);
            return;
        }
    }
    panic!("no request came");
}

#[tokio::test]
async fn picture_and_sound_stay_together_over_rtp() {
    let folder = Folder::new();
    let file = folder.path("camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &camera.uri)
        .network_cache(200)
        .await
        .unwrap();
    let a = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let b = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
    pair(&a, &b).await;
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    // Sender reports have come by then, by which the streams find together.
    tokio::time::sleep(Duration::from_secs(3)).await;
    record(&client, &pipeline, &b, &file, 8).await;
    let (codecs, _) = judge(&file);
    assert_eq!(codecs, ["h264", "opus"]);
    let worst = out_of_sync(&file);
    assert!(worst.abs() < 60.0, "{worst} ms between flash and beep");
}

/// Bytes that look like chance, and are the same every time.
fn noise(seed: &mut u64, length: usize) -> Vec<u8> {
    let mut next = || {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn hostile_packets_harm_neither_the_server_nor_who_comes_after() {
    let folder = Folder::new();
    let file = folder.path("received.mp4");
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let line =
        "m=video 5004 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack pli\r\na=sendonly\r\n";
    let audio = "m=audio 5006 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=sendonly\r\n";
    let offer = sdp("127.0.0.1", &[line.to_owned(), audio.to_owned()]);
    let answer = endpoint.process_offer(&offer).await.unwrap();
    let mut states = endpoint.on_media_state_changed().await.unwrap();
    let recorder = recorder(&client, &pipeline, &file).await;
    let mut recording = recorder.on_recording().await.unwrap();
    endpoint.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();

    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (rtp, rtcp) = (port(&answer, "video"), port(&answer, "video") + 1);
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    for round in 0..3_000_u32 {
        let mut packet = vec![0x80, 96];
        packet.extend((round as u16).to_be_bytes());
        packet.extend((round * 3_000).to_be_bytes());
        // Mostly one stream; some of many others.
        packet.extend(if round % 10 == 0 { round } else { 7 }.to_be_bytes());
        packet.extend(noise(&mut seed, 1 + round as usize % 1_400));
        socket.send_to(&packet, ("127.0.0.1", rtp)).unwrap();
        let length = round as usize % 200;
        socket
            .send_to(&noise(&mut seed, length), ("127.0.0.1", rtp))
            .unwrap();
        let mut report = vec![0x81, 200 + (round % 8) as u8, 0, (length / 4) as u8];
        report.extend(noise(&mut seed, length));
        socket.send_to(&report, ("127.0.0.1", rtcp)).unwrap();
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    assert_eq!(
        within("silence", states.next()).await.new_state,
        MediaState::Disconnected
    );

    let to = |kind| format!("rtp://127.0.0.1:{}", port(&answer, kind));
    let _ffmpeg = send(
        &H264,
        &to("video"),
        &["-c:a", "libopus", "-payload_type", "97"],
        &to("audio"),
    );
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    recorder.stop_and_wait().await.unwrap();
    let size = std::fs::metadata(&file).unwrap().len();
    assert!(size > 50_000, "{size} bytes");
}

#[tokio::test]
async fn strangers_do_not_disturb_what_is_encrypted() {
    let folder = Folder::new();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = player(&client, &pipeline, &folder).await;
    let crypto = SDES {
        crypto: Some(CryptoSuite::Aes256CmHmacSha180),
        key: None,
        key_base64: None,
    };
    let a = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let b = RtpEndpoint::create(&client, &pipeline)
        .crypto(&crypto)
        .await
        .unwrap();
    let mut flows = b.on_media_flow_out_state_changed().await.unwrap();
    let mut states = b.on_media_state_changed().await.unwrap();
    let (_, answer) = pair(&a, &b).await;
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (video, mut seed) = (port(&answer, "video"), 1);
    let mut disturb = || {
        for round in 0..300_u32 {
            let mut packet = vec![0x80, if round % 3 == 0 { 200 } else { 97 }];
            packet.extend(noise(&mut seed, 100));
            socket.send_to(&packet, ("127.0.0.1", video)).unwrap();
        }
    };
    disturb();
    assert_eq!(b.media_state().await.unwrap(), MediaState::Disconnected);
    player.connect(&a).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    assert_eq!(
        within("media", states.next()).await.new_state,
        MediaState::Connected
    );
    let file = folder.path("received.webm");
    let recorder = recorder(&client, &pipeline, &file).await;
    let mut recording = recorder.on_recording().await.unwrap();
    b.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    within("Recording", recording.next()).await;
    for _ in 0..10 {
        disturb();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    recorder.stop_and_wait().await.unwrap();
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["opus", "vp8"]);
    assert!(seconds > 1.5, "{seconds} s");
    let stats = b.get_stats().await.unwrap();
    let inbound = stats.values().filter(|s| s.r#type == StatsType::Inboundrtp);
    assert_eq!(inbound.count(), 2, "{stats:?}");
}
