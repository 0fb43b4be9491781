//! `PlayerEndpoint`: files, errors, and where it is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kms_client::Client;
use kms_client::api::events::MediaFlowOutStateChanged;
use kms_client::api::types::{MediaFlowState, UriEndpointState};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};

/// How long anything may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = Option<T>>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result
        .unwrap_or_else(|_| panic!("{what} never came"))
        .unwrap_or_else(|| panic!("no {what} any more"))
}

pub(crate) async fn pipeline(daemon: &Daemon) -> (Client, MediaPipeline) {
    let client = Client::connect(&format!("ws://{}/kurento", daemon.address))
        .await
        .unwrap();
    let pipeline = MediaPipeline::create(&client).await.unwrap();
    (client, pipeline)
}

pub(crate) const WEBM: [&str; 6] = ["-c:v", "libvpx", "-deadline", "realtime", "-c:a", "libopus"];

#[tokio::test]
async fn a_file_is_played_to_its_end_in_its_own_time_and_again() {
    let folder = Folder::new();
    make(&folder.path("in.webm"), 3, &WEBM);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("in.webm")))
        .await
        .unwrap();
    let mut states = player.on_uri_endpoint_state_changed().await.unwrap();
    let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
    let mut ends = player.on_end_of_stream().await.unwrap();
    assert_eq!(player.state().await.unwrap(), UriEndpointState::Stop);
    assert_eq!(player.video_info().await.unwrap().duration, 0);

    for round in 0..2 {
        let begun = Instant::now();
        player.play().await.unwrap();
        if round == 0 {
            assert_eq!(
                within("a state", states.next()).await.state,
                UriEndpointState::Start
            );
        }
        let mut flowing = Vec::new();
        for _ in 0..2 {
            let MediaFlowOutStateChanged {
                state, media_type, ..
            } = within("media", flows.next()).await;
            assert_eq!(state, MediaFlowState::Flowing);
            flowing.push(media_type);
        }
        assert_ne!(flowing[0], flowing[1], "audio and video");
        within("the end", ends.next()).await;
        let took = begun.elapsed();
        assert!(
            (2.5..10.0).contains(&took.as_secs_f64()),
            "3 s were played in {took:?}"
        );
        for _ in 0..2 {
            assert_eq!(
                within("media's end", flows.next()).await.state,
                MediaFlowState::NotFlowing
            );
        }
    }
    assert_eq!(
        player.state().await.unwrap(),
        UriEndpointState::Start,
        "as in Kurento"
    );
    player.stop().await.unwrap();
    assert_eq!(
        within("a state", states.next()).await.state,
        UriEndpointState::Stop
    );
}

#[tokio::test]
async fn it_can_be_paused_and_sought_in() {
    let folder = Folder::new();
    make(
        &folder.path("in.mp4"),
        20,
        &["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"],
    );
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("in.mp4")))
        .await
        .unwrap();
    let mut states = player.on_uri_endpoint_state_changed().await.unwrap();
    let refused = player.set_position(1_000).await.unwrap_err();
    assert_eq!(refused.code(), Some(protocol::Code::PlayerSeek), "{refused}");

    player.play().await.unwrap();
    assert_eq!(
        within("a state", states.next()).await.state,
        UriEndpointState::Start
    );
    let info = player.video_info().await.unwrap();
    assert!(info.is_seekable && info.seekable_init == 0, "{info:?}");
    assert!(
        (19_900..20_100).contains(&info.duration) && info.seekable_end == info.duration,
        "{info:?}"
    );
    wait_for_position(&player, 500).await;

    player.pause().await.unwrap();
    assert_eq!(
        within("a state", states.next()).await.state,
        UriEndpointState::Pause
    );
    let paused_at = player.position().await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(player.position().await.unwrap() - paused_at < 250, "it stands");

    player.set_position(10_000).await.unwrap();
    wait_for_position(&player, 9_000).await;
    player.play().await.unwrap();
    assert_eq!(
        within("a state", states.next()).await.state,
        UriEndpointState::Start
    );
    wait_for_position(&player, 10_500).await;
    let (at, before) = (Instant::now(), player.position().await.unwrap());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let passed = player.position().await.unwrap() - before;
    let real = at.elapsed().as_millis() as i64;
    assert!(
        (passed - real).abs() < 500,
        "{passed} ms were played in {real} ms"
    );

    player.set_position(2_000).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        (1_000..4_000).contains(&player.position().await.unwrap()),
        "back again while it plays"
    );
    for wrong in [-1, 30_000] {
        let refused = player.set_position(wrong).await.unwrap_err();
        assert_eq!(refused.code(), Some(protocol::Code::PlayerSeek), "{refused}");
    }
}

async fn wait_for_position(player: &PlayerEndpoint, at_least: i64) {
    let deadline = Instant::now() + PATIENCE;
    while player.position().await.unwrap() < at_least {
        assert!(
            Instant::now() < deadline,
            "it never gets to {at_least} ms, is at {}",
            player.position().await.unwrap()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A web server that answers every request with this.
fn web_server(answer: impl Into<String>) -> String {
    web_server_at("127.0.0.1", answer)
}

/// The same at this address.
pub(crate) fn web_server_at(address: &str, answer: impl Into<String>) -> String {
    let answer = answer.into();
    let listener = TcpListener::bind((address, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/video.mp4")
}

/// A web server for the files of a folder, ended with this value.
pub(crate) struct Files(Child, pub(crate) String);

impl Files {
    fn serve(folder: &Path) -> Files {
        Files::serve_at("127.0.0.1", folder)
    }

    /// The same at this address.
    pub(crate) fn serve_at(address: &str, folder: &Path) -> Files {
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", address, "--directory"])
            .arg(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line.split(' ').nth(5).unwrap_or_else(|| panic!("{line:?}"));
        let url = format!("http://{address}:{port}");
        Files(child, url)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_playlist_is_played_over_http_behind_a_redirect() {
    let folder = Folder::new();
    let encoding = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-c:a",
        "aac",
        "-hls_time",
        "1",
        "-hls_playlist_type",
        "vod",
    ];
    make(&folder.path("index.m3u8"), 4, &encoding);
    let files = Files::serve(&folder.path(""));
    let redirect = web_server(format!(
        "HTTP/1.1 302 Found\r\nLocation: {}/index.m3u8\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        files.1
    ));
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &redirect)
        .await
        .unwrap();
    let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
    let mut ends = player.on_end_of_stream().await.unwrap();
    player.play().await.unwrap();
    let kinds = [
        within("media", flows.next()).await,
        within("media", flows.next()).await,
    ];
    assert_ne!(kinds[0].media_type, kinds[1].media_type, "audio and video");
    within("the end", ends.next()).await;
    let position = player.position().await.unwrap();
    // Times in the segments of a playlist begin where they like: ffmpeg's at 0.7 s.
    assert!((3_500..5_500).contains(&position), "{position} ms of 4 s");
}

#[tokio::test]
async fn what_cannot_be_played_says_why_within_seconds() {
    let folder = Folder::new();
    std::fs::write(folder.path("text.mp4"), "this is no media").unwrap();
    let closed = "127.0.0.1:1"; // nothing listens there, and no ephemeral port is as low
    let cases = [
        (uri(&folder.path("missing.mp4")), "RESOURCE_ERROR_NOT_FOUND"),
        (
            uri(&folder.path("text.mp4")),
            "STREAM_ERROR_TYPE_NOT_FOUND STREAM_ERROR_WRONG_TYPE",
        ),
        (
            web_server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "RESOURCE_ERROR_NOT_FOUND",
        ),
        (
            web_server("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
            "RESOURCE_ERROR_NOT_AUTHORIZED",
        ),
        (format!("http://{closed}/video.mp4"), "RESOURCE_ERROR_OPEN_READ"),
        (
            format!("rtsp://user:s3cret@{closed}/camera"),
            "RESOURCE_ERROR_OPEN_READ",
        ),
        (
            "http://nowhere.invalid/video.mp4".into(),
            "RESOURCE_ERROR_NOT_FOUND",
        ),
    ];
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    for (uri, types) in cases {
        let player = PlayerEndpoint::create(&client, &pipeline, &uri).await.unwrap();
        let mut errors = player.on_error().await.unwrap();
        player.play().await.unwrap();
        let error = within(&format!("an error of {uri}"), errors.next()).await;
        println!(
            "{uri}: {} {} {}",
            error.error_code, error.r#type, error.description
        );
        assert!(types.split(' ').any(|t| t == error.r#type), "{uri}: {error:?}");
        assert!(!error.description.contains("s3cret"), "{error:?}");
        assert_eq!(player.state().await.unwrap(), UriEndpointState::Stop);
        assert!(!player.uri().await.unwrap().contains("s3cret"));
        player.release().await.unwrap();
    }
    assert!(!daemon.log().contains("s3cret"), "{}", daemon.log());
    for uri in ["", "video.mp4", "ftp://host/video.mp4"] {
        let refused = PlayerEndpoint::create(&client, &pipeline, uri).await.unwrap_err();
        assert_eq!(refused.code(), Some(protocol::Code::IllegalParam), "{refused}");
    }
}

#[tokio::test]
async fn a_released_player_leaves_nothing_behind() {
    let folder = Folder::new();
    make(&folder.path("in.webm"), 10, &WEBM);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let play = async || {
        let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("in.webm")))
            .await
            .unwrap();
        let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
        player.play().await.unwrap();
        within("media", flows.next()).await;
        player.release().await.unwrap();
    };
    for _ in 0..3 {
        play().await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (threads, descriptors) = (daemon.threads(), daemon.descriptors());
    for _ in 0..20 {
        play().await;
    }
    // GStreamer ends them in threads of its own.
    let deadline = Instant::now() + PATIENCE;
    while daemon.threads() > threads + 2 || daemon.descriptors() > descriptors + 2 {
        let now = (daemon.threads(), daemon.descriptors());
        assert!(
            Instant::now() < deadline,
            "{now:?} after 20 rounds, {:?} before",
            (threads, descriptors)
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
