//! Metrics of what is converted and recorded.

use std::time::{Duration, Instant};

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{pipeline, within};

const H264: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];

/// A figure of the page.
async fn figure(daemon: &Daemon, name: &str) -> f64 {
    let (status, page) = daemon.get("/metrics", "").await;
    assert_eq!(status, 200, "{page}");
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

/// What a figure is after a second more, as long as it grows.
async fn settled(daemon: &Daemon, name: &str) -> f64 {
    let mut before = -1.0;
    for _ in 0..20 {
        let now = figure(daemon, name).await;
        if now == before {
            return now;
        }
        before = now;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    panic!("{name} goes on to grow: {before}");
}

#[tokio::test]
async fn packets_and_pictures_of_rtp_are_counted_both_ways() {
    let folder = Folder::new();
    make(&folder.path("in.mp4"), 4, &H264);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("in.mp4")))
        .await
        .unwrap();
    let here = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    let there = RtpEndpoint::create(&client, &pipeline).await.unwrap();
    player.connect(&here).await.unwrap();
    let answer = there
        .process_offer(&here.generate_offer().await.unwrap())
        .await
        .unwrap();
    here.process_answer(&answer).await.unwrap();
    let mut ends = player.on_end_of_stream().await.unwrap();
    player.play().await.unwrap();
    within("the end", ends.next()).await;
    let sent = settled(&daemon, "kms_rtp_packets_total{direction=\"sent\"}").await;
    let received = figure(&daemon, "kms_rtp_packets_total{direction=\"received\"}").await;
    // On this machine nothing is lost; what came before the other end knew its stream may not count.
    assert!(
        sent > 200.0 && received > 0.95 * sent && received <= sent,
        "{received} of {sent}"
    );
    let lost = figure(&daemon, "kms_rtp_packets_lost_total").await;
    assert_eq!(lost, 0.0);
    let bytes = figure(&daemon, "kms_rtp_bytes_total{direction=\"sent\"}").await;
    assert!(bytes > 12.0 * sent, "{bytes} of {sent}");
    for (endpoint, counted, least) in [(&here, "framesSent", 95), (&there, "framesReceived", 90)] {
        let stats = endpoint.get_stats().await.unwrap();
        let frames = stats
            .values()
            .find_map(|one| serde_json::to_value(one).ok()?[counted].as_i64());
        let frames = frames.unwrap_or_else(|| panic!("{counted} in {stats:?}"));
        assert!((least..=100).contains(&frames), "{counted}: {frames} of 100");
    }
    // And of what the player gives, as it is.
    let outputs = player.media_outputs().await.unwrap();
    let video = outputs
        .iter()
        .find(|output| output.codec == "H264" && !output.converted);
    assert_eq!(video.map(|output| output.frames), Some(100), "{outputs:?}");
}
