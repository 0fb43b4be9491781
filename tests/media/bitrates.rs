//! `encoderBitrate` and its bounds: what encoders then make, weighed.

use std::process::Command;

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::player::{pipeline, within};
use crate::recorder::judge;

/// Pictures that take whatever bits they are given: 640x360 of noise over something that moves.
fn make_noise(path: &std::path::Path, seconds: u32) {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i"])
        .arg("testsrc2=size=640x360:rate=25,noise=alls=10:allf=t")
        .args([
            "-t",
            &seconds.to_string(),
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
        ])
        .args(["-bf", "0", "-g", "25", "-b:v", "8M"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}

#[tokio::test]
async fn video_is_encoded_with_the_bitrate_that_was_set_on_either_end() {
    const SECONDS: u32 = 8;
    let folder = Folder::new();
    let film = folder.path("film.mp4");
    make_noise(&film, SECONDS);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    // The source's target; the recorder's target and bounds; what is to come out, kbit/s.
    for (source, target, min, max, expected) in [
        (None, None, None, None, 2_500),
        (None, Some(600), None, None, 600),
        (None, None, None, Some(800), 800),
        (None, Some(600), Some(1_200), None, 1_200),
        (Some(1_000), None, None, None, 1_000),
        // Who gives it has the last word.
        (Some(1_000), Some(2_000), None, None, 1_000),
    ] {
        let what = format!("source {source:?}, recorder {target:?} ({min:?} to {max:?})");
        let file = folder.path("out.webm");
        let player = PlayerEndpoint::create(&client, &pipeline, &uri(&film))
            .await
            .unwrap();
        let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
            .media_profile(MediaProfileSpecType::WebmVideoOnly)
            .await
            .unwrap();
        if let Some(kbps) = source {
            player.set_encoder_bitrate(kbps * 1_000).await.unwrap();
        }
        if let Some(kbps) = target {
            recorder.set_encoder_bitrate(kbps * 1_000).await.unwrap();
        }
        if let Some(kbps) = min {
            recorder.set_min_encoder_bitrate(kbps * 1_000).await.unwrap();
        }
        if let Some(kbps) = max {
            recorder.set_max_encoder_bitrate(kbps * 1_000).await.unwrap();
        }
        let mut ends = player.on_end_of_stream().await.unwrap();
        player.connect(&recorder).await.unwrap();
        recorder.record().await.unwrap();
        player.play().await.unwrap();
        within("the end", ends.next()).await;
        recorder.stop_and_wait().await.unwrap();
        let (codecs, seconds) = judge(&file);
        assert_eq!(codecs, ["vp8"], "{what}");
        let size = std::fs::metadata(&file).unwrap().len();
        let kbps = size as f64 * 8.0 / 1_000.0 / seconds;
        println!("{what}: {kbps:.0} kbit/s");
        let off = kbps / f64::from(expected);
        assert!((0.7..1.3).contains(&off), "{what}: {kbps} kbit/s");
        player.release().await.unwrap();
        recorder.release().await.unwrap();
    }
}
