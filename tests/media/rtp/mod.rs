//! `RtpEndpoint`: ffmpeg and GStreamer at the other end, and endpoints at both.

mod endpoints;
mod ffmpeg;
mod srtp;
mod strangers;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{pipeline, within};
use crate::recorder::{judge, out_of_sync};

use kms_client::Client;
use kms_client::api::types::{
    ConnectionState, CryptoSuite, MediaProfileSpecType, MediaState, SDES, Stats, StatsType,
};
use kms_client::api::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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
        if port.is_multiple_of(2) && std::net::UdpSocket::bind(("127.0.0.1", port + 1)).is_ok() {
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

/// Two endpoints that have negotiated: the first one's offer, the other's answer.
async fn pair(a: &RtpEndpoint, b: &RtpEndpoint) -> (String, String) {
    let offer = a.generate_offer().await.unwrap();
    let answer = b.process_offer(&offer).await.unwrap();
    assert_eq!(a.process_answer(&answer).await.unwrap(), offer);
    (offer, answer)
}

/// The key that ffmpeg is given: 30 bytes, as Base64.
const KEY: &str = "NDMyMVpZWFdWVVRTUlFQT05NTEtKSUhHRkVEQ0JB";

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
