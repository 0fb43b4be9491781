//! `HttpPostEndpoint`: files that are played while curl uploads them, and uploads that go wrong.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kms_client::Client;
use kms_client::api::types::{MediaFlowState, MediaProfileSpecType};
use kms_client::api::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{WEBM, pipeline, within};
use crate::recorder::judge;

/// Runs curl; gives the answer's status and text.
async fn curl(arguments: &[&str]) -> (u16, String) {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "60", "-w", "\n%{http_code}"])
        .args(arguments)
        .stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().expect("curl is installed"));
    let Output { stdout, stderr, .. } = run.await.unwrap();
    let said = String::from_utf8_lossy(&stdout).into_owned();
    let (text, status) = said.rsplit_once('\n').unwrap();
    let status = status.parse().unwrap();
    assert!(status != 0, "{}", String::from_utf8_lossy(&stderr));
    (status, text.to_owned())
}

async fn endpoint(client: &Client, pipeline: &MediaPipeline) -> (HttpPostEndpoint, String) {
    let endpoint = HttpPostEndpoint::create(client, pipeline).await.unwrap();
    let url = endpoint.get_url().await.unwrap();
    (endpoint, url)
}

/// Uploads a file with curl, records it as it is, and judges the recording.
async fn is_recorded(folder: &Folder, name: &str, curl_arguments: &[&str], expected: [&str; 2]) {
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let (endpoint, url) = endpoint(&client, &pipeline).await;
    assert!(
        url.starts_with(&format!("http://{}/upload/", daemon.address)),
        "{url}"
    );
    let file = folder.path(&format!("{name}.mkv"));
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
        .media_profile(MediaProfileSpecType::Mkv)
        .await
        .unwrap();
    let mut started = endpoint.on_media_session_started().await.unwrap();
    let mut ends = endpoint.on_end_of_stream().await.unwrap();
    let mut terminated = endpoint.on_media_session_terminated().await.unwrap();
    endpoint.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();

    let begun = Instant::now();
    let mut arguments = curl_arguments.to_vec();
    arguments.push(&url);
    let (status, text) = curl(&arguments).await;
    assert_eq!((status, text.contains("played")), (200, true), "{name}: {text}");
    assert!(
        begun.elapsed() > Duration::from_millis(2_500),
        "{name}: 3 s in {:?}",
        begun.elapsed()
    );
    within("MediaSessionStarted", started.next()).await;
    within("EndOfStream", ends.next()).await;
    recorder.stop_and_wait().await.unwrap();
    within("MediaSessionTerminated", terminated.next()).await;
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, expected, "{name}");
    // On a busy machine the recorder may be ready only for the second keyframe, a second after the first.
    assert!((1.4..4.0).contains(&seconds), "{name}: {seconds} s");
}

/// Arguments for curl with the path of a file in them.
fn with(before: &str, path: &Path) -> String {
    format!("{before}{}", path.display())
}

#[tokio::test]
async fn webm_is_played_while_it_is_uploaded_as_a_body_and_in_a_form() {
    let folder = Folder::new();
    let file = folder.path("in.webm");
    make(&file, 3, &WEBM);
    let (body, form) = (with("@", &file), with("file=@", &file));
    is_recorded(&folder, "body", &["--data-binary", &body], ["opus", "vp8"]).await;
    is_recorded(
        &folder,
        "form",
        &["-F", "title=A film", "-F", &form],
        ["opus", "vp8"],
    )
    .await;
}

#[tokio::test]
async fn mp4_is_played_wherever_its_index_is() {
    let folder = Folder::new();
    let kinds: [(&str, &[&str]); 3] = [
        ("faststart", &["-movflags", "+faststart"]),
        ("fragments", &["-movflags", "+frag_keyframe+empty_moov"]),
        ("index-at-its-end", &[]),
    ];
    for (name, flags) in kinds {
        let file = folder.path(&format!("{name}.mp4"));
        let mut encoding = vec![
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-pix_fmt",
            "yuv420p",
            "-c:a",
            "aac",
        ];
        encoding.extend_from_slice(flags);
        make(&file, 3, &encoding);
        let path = file.display().to_string();
        is_recorded(&folder, name, &["--upload-file", &path], ["aac", "h264"]).await;
    }
}

/// An upload whose bytes come when the test wants it.
struct SlowUpload(TcpStream);

impl SlowUpload {
    async fn begin(url: &str) -> SlowUpload {
        let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let mut connection = TcpStream::connect(host).await.unwrap();
        let head = format!(
            "POST /{path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        SlowUpload(connection)
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0
            .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())
            .await?;
        self.0.write_all(bytes).await?;
        self.0.write_all(b"\r\n").await
    }

    async fn answer(mut self) -> String {
        let mut answer = Vec::new();
        let read = self.0.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(15), read)
            .await
            .expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    }
}

#[tokio::test]
async fn a_slow_upload_plays_before_it_is_complete() {
    let folder = Folder::new();
    let file = folder.path("in.webm");
    make(&file, 4, &WEBM);
    let bytes = std::fs::read(&file).unwrap();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let (endpoint, url) = endpoint(&client, &pipeline).await;
    let mut flows = endpoint.on_media_flow_out_state_changed().await.unwrap();
    let mut ends = endpoint.on_end_of_stream().await.unwrap();
    let mut upload = SlowUpload::begin(&url).await;
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    for piece in first.chunks(2_000) {
        upload.send(piece).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for _ in 0..2 {
        assert_eq!(within("media", flows.next()).await.state, MediaFlowState::Flowing);
    }
    for piece in rest.chunks(10_000) {
        upload.send(piece).await.unwrap();
    }
    upload.0.write_all(b"0\r\n\r\n").await.unwrap();
    within("EndOfStream", ends.next()).await;
    let answer = upload.answer().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_upload_is_read_as_fast_as_it_is_played_and_may_break_off() {
    let folder = Folder::new();
    let file = folder.path("in.mkv");
    // 2.9 MB a second.
    make(
        &file,
        25,
        &["-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-c:a", "pcm_s16le"],
    );
    let bytes = std::fs::read(&file).unwrap();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let endpoint = HttpPostEndpoint::create(&client, &pipeline)
        .disconnection_timeout(1)
        .await
        .unwrap();
    let url = endpoint.get_url().await.unwrap();
    let mut flows = endpoint.on_media_flow_out_state_changed().await.unwrap();
    let mut ends = endpoint.on_end_of_stream().await.unwrap();
    let mut terminated = endpoint.on_media_session_terminated().await.unwrap();
    let before = daemon.rss();
    let mut upload = SlowUpload::begin(&url).await;
    let mut sent = 0;
    let as_much_as_it_takes = async {
        for piece in bytes.chunks(100_000) {
            upload.send(piece).await.unwrap();
            sent += piece.len();
        }
    };
    let all = tokio::time::timeout(Duration::from_secs(3), as_much_as_it_takes).await;
    assert!(all.is_err(), "{} bytes of 25 s were taken in 3 s", bytes.len());
    // What waits: sockets, 1 MiB before the demuxer, and some behind it.
    assert!(sent < 40_000_000, "{sent} bytes were taken in 3 s");
    let grown = daemon.rss().saturating_sub(before);
    assert!(grown < 60_000, "{grown} KiB for one upload");
    assert_eq!(within("media", flows.next()).await.state, MediaFlowState::Flowing);

    let (status, text) = curl(&["--data-binary", "more", &url]).await;
    assert_eq!(status, 409, "one at a time: {text}");

    drop(upload);
    within("MediaSessionTerminated", terminated.next()).await;
    let no_end = tokio::time::timeout(Duration::from_millis(100), ends.next()).await;
    assert!(no_end.is_err(), "the file did not come to its end");

    make(&folder.path("in.webm"), 2, &WEBM);
    let body = with("@", &folder.path("in.webm"));
    let (status, text) = curl(&["--data-binary", &body, &url]).await;
    assert_eq!(status, 200, "the next one is played: {text}");
    within("EndOfStream", ends.next()).await;
}

#[tokio::test]
async fn what_cannot_be_played_is_refused_with_a_reason() {
    let folder = Folder::new();
    let daemon = Daemon::with_config("[uploads]\nmax_unindexed_bytes = 1000\n");
    let (client, pipeline) = pipeline(&daemon).await;
    let (endpoint, url) = endpoint(&client, &pipeline).await;
    let mut errors = endpoint.on_error().await.unwrap();

    let rubbish = folder.path("rubbish");
    std::fs::write(&rubbish, "this is no media. ".repeat(20_000)).unwrap();
    let late = folder.path("late.mp4");
    make(
        &late,
        2,
        &["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"],
    );
    let cases = [
        (with("@", &rubbish), 415, "can't be played"),
        ("".into(), 415, "can't be played"),
        (with("@", &late), 422, "faststart"),
    ];
    for (body, expected, words) in cases {
        let (status, text) = curl(&["--data-binary", &body, &url]).await;
        assert_eq!((status, text.contains(words)), (expected, true), "{body}: {text}");
        let error = within("Error", errors.next()).await;
        assert!(error.r#type.starts_with("STREAM_ERROR_"), "{error:?}");
        assert!(error.description.contains(words), "{error:?}");
    }
    let (status, text) = curl(&["-F", "title=no file", &url]).await;
    assert_eq!((status, text.contains("no file")), (400, true), "{text}");

    let (status, text) = curl(&[
        "--data-binary",
        "x",
        &format!("http://{}/upload/nobody", daemon.address),
    ])
    .await;
    assert_eq!((status, text.contains("wrong")), (404, true), "{text}");
    assert_eq!(curl(&[&url]).await.0, 405);
    let (status, headers) = curl(&["-i", "-X", "OPTIONS", "-H", "Origin: https://example.org", &url]).await;
    assert_eq!(status, 204);
    assert!(
        headers.to_lowercase().contains("access-control-allow-origin: *"),
        "{headers}"
    );

    for wrong in [-1, 86_401] {
        let refused = HttpPostEndpoint::create(&client, &pipeline)
            .disconnection_timeout(wrong)
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Some(protocol::Code::IllegalParam), "{refused}");
    }
}

#[tokio::test]
async fn a_release_ends_the_upload_and_the_address() {
    let folder = Folder::new();
    make(&folder.path("in.webm"), 20, &WEBM);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let (endpoint, url) = endpoint(&client, &pipeline).await;
    let mut flows = endpoint.on_media_flow_out_state_changed().await.unwrap();
    let body = with("@", &folder.path("in.webm"));
    let uploading = {
        let url = url.clone();
        tokio::spawn(async move { curl(&["--data-binary", &body, &url]).await })
    };
    within("media", flows.next()).await;
    endpoint.release().await.unwrap();
    let (status, text) = uploading.await.unwrap();
    assert_eq!((status, text.contains("released")), (410, true), "{text}");
    assert_eq!(curl(&["--data-binary", "x", &url]).await.0, 404);
}
