//! Metrics of what is converted and recorded.

use std::time::{Duration, Instant};

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{pipeline, within};

const H264: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];

/// A figure of the page.
async fn figure(daemon: &Daemon, name: &str) -> f64 {
    let mut stream = TcpStream::connect(daemon.address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} in {page}"))
        .parse()
        .unwrap()
}

async fn until(daemon: &Daemon, name: &str, wanted: f64) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let value = figure(daemon, name).await;
        if value == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{name} is {value}, never {wanted}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn encoders_decoders_and_recordings_are_counted() {
    let folder = Folder::new();
    make(&folder.path("in.mp4"), 10, &H264);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("in.mp4")))
        .await
        .unwrap();
    let out = folder.path("out.webm");
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&out))
        .media_profile(MediaProfileSpecType::Webm)
        .await
        .unwrap();
    let mut recordings = recorder.on_recording().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("the recording", recordings.next()).await;
    // Sound and pictures, each decoded and encoded.
    until(&daemon, "kms_decoders", 2.0).await;
    until(&daemon, "kms_encoders{kind=\"software\"}", 2.0).await;
    assert_eq!(figure(&daemon, "kms_recordings").await, 1.0);
    recorder.stop_and_wait().await.unwrap();
    assert_eq!(figure(&daemon, "kms_recorded_files_total").await, 1.0);
    let size = out.metadata().unwrap().len();
    assert_eq!(figure(&daemon, "kms_recorded_bytes_total").await, size as f64);
    pipeline.release().await.unwrap();
    until(&daemon, "kms_decoders", 0.0).await;
    until(&daemon, "kms_encoders{kind=\"software\"}", 0.0).await;
    until(&daemon, "kms_recordings", 0.0).await;
    assert_eq!(figure(&daemon, "kms_recording_failures_total").await, 0.0);
    assert_eq!(figure(&daemon, "kms_media_dropped_total").await, 0.0);
}
