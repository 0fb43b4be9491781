//! Segments, retention and pictures of a camera.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kms_client::api::types::{MediaProfileSpecType, SnapshotFormat};
use kms_client::api::*;
use protocol::Code;
use serde_json::Value;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::player::{pipeline, within};
use crate::recorder::{judge, out_of_sync};

fn path_of(uri: &str) -> PathBuf {
    PathBuf::from(uri.strip_prefix("file://").unwrap())
}

/// A time of day, milliseconds since 1970, as `date` writes it.
fn date(milliseconds: i64) -> String {
    let output = Command::new("date")
        .args([
            "-u",
            "-d",
            &format!("@{}", milliseconds / 1_000),
            "+%Y-%m-%d/%H-%M-%S",
        ])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_camera_is_recorded_into_files_of_three_seconds_and_old_ones_go() {
    let folder = Folder::new();
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let pattern = format!(
        "{}/{{name}}/{{YYYY}}-{{MM}}-{{DD}}/{{hh}}-{{mm}}-{{ss}}.mp4",
        folder.path("").display()
    );
    let recorder = RecorderEndpoint::create(&client, &pipeline, &pattern)
        .media_profile(MediaProfileSpecType::Mp4)
        .segment_duration(3_000)
        .await
        .unwrap();
    recorder.set_name("front/door").await.unwrap();
    let mut files = recorder.on_file_recorded().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    let mut recorded = Vec::new();
    for _ in 0..3 {
        recorded.push(within("a file", files.next()).await);
    }
    recorder.stop_and_wait().await.unwrap();
    recorded.push(within("the last file", files.next()).await);

    for (index, file) in recorded.iter().enumerate() {
        let path = path_of(&file.uri);
        let expected = format!("front_door/{}.mp4", date(file.start));
        assert!(path.ends_with(&expected), "{path:?}, {expected}");
        assert_eq!(std::fs::metadata(&path).unwrap().len() as i64, file.size);
        let (codecs, seconds) = judge(&path);
        assert_eq!(codecs, ["aac", "h264"]);
        assert!(
            (seconds * 1_000.0 - file.duration as f64).abs() < 150.0,
            "{seconds} s, {file:?}"
        );
        if let Some(next) = recorded.get(index + 1) {
            assert!((2_800..6_500).contains(&file.duration), "{file:?}");
            let hole = next.start - file.start - file.duration;
            assert!(hole.abs() < 200, "{hole} ms between {file:?} and {next:?}");
        }
        // Of the first file, all may be from before the camera's first report.
        if (1..recorded.len() - 1).contains(&index) {
            let worst = out_of_sync(&path, 0);
            assert!(worst < 40.0, "{worst} ms between flash and beep");
        }
    }

    // All but the newest is too much; what others put there stays.
    let foreign = path_of(&recorded[0].uri).with_file_name("notes.mp4");
    std::fs::write(&foreign, [0; 100]).unwrap();
    let newest = recorded.last().unwrap();
    recorder.set_retention_size(newest.size + 1).await.unwrap();
    let third = path_of(&recorded[2].uri);
    for _ in 0..100 {
        if !third.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let left: Vec<bool> = recorded.iter().map(|f| path_of(&f.uri).exists()).collect();
    assert_eq!(left, [false, false, false, true]);
    assert!(foreign.exists());
}

/// Codec, width and height of a picture.
fn picture(file: &Path) -> (String, i64, i64) {
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-show_streams", "-of", "json"])
        .arg(file)
        .output()
        .unwrap();
    let probed: Value = serde_json::from_slice(&probed.stdout).unwrap();
    let stream = &probed["streams"][0];
    let number = |name: &str| stream[name].as_i64().unwrap();
    (
        stream["codec_name"].as_str().unwrap().to_owned(),
        number("width"),
        number("height"),
    )
}

fn decode_base64(text: &str, file: &Path) {
    let mut child = Command::new("base64")
        .arg("-d")
        .stdin(Stdio::piped())
        .stdout(std::fs::File::create(file).unwrap())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[tokio::test]
async fn pictures_are_taken_while_recording_and_while_not() {
    let folder = Folder::new();
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path("camera.mp4")))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let error = recorder.take_snapshot().await.unwrap_err();
    assert_eq!(error.code(), Some(Code::OperationNotSupported), "{error}");
    player.connect(&recorder).await.unwrap();
    let error = recorder.take_snapshot().await.unwrap_err();
    assert!(error.to_string().contains("no video yet"), "{error}");
    let mut flows = player.on_media_flow_out_state_changed().await.unwrap();
    player.play().await.unwrap();
    for _ in 0..2 {
        within("media", flows.next()).await;
    }

    decode_base64(&recorder.take_snapshot().await.unwrap(), &folder.path("a.jpg"));
    assert_eq!(picture(&folder.path("a.jpg")), ("mjpeg".into(), 320, 240));
    let mut recording = recorder.on_recording().await.unwrap();
    recorder.record().await.unwrap();
    within("Recording", recording.next()).await;
    let to = format!("{}/{{name}}.png", folder.path("deep").display());
    recorder.set_name("cam").await.unwrap();
    let at = recorder
        .take_snapshot()
        .uri(&to)
        .format(SnapshotFormat::Png)
        .await
        .unwrap();
    assert_eq!(path_of(&at), folder.path("deep/cam.png"));
    assert_eq!(picture(&folder.path("deep/cam.png")), ("png".into(), 320, 240));
    recorder.stop_and_wait().await.unwrap();
    judge(&folder.path("camera.mp4"));

    let error = recorder
        .take_snapshot()
        .uri("ftp://elsewhere/a.jpg")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(Code::IllegalParam), "{error}");
    drop(camera);
    let error = recorder.take_snapshot().await.unwrap_err();
    assert_eq!(error.code(), Some(Code::OperationNotSupported), "{error}");
}

#[tokio::test]
async fn a_split_recorder_writes_one_file_after_the_other() {
    let folder = Folder::new();
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path("door.mkv")))
        .media_profile(MediaProfileSpecType::KurentoSplitRecorder)
        .await
        .unwrap();
    assert_eq!(recorder.segment_duration().await.unwrap(), 60_000);
    recorder.set_segment_duration(2_000).await.unwrap();
    let mut files = recorder.on_file_recorded().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    for name in ["door.mkv", "door-2.mkv"] {
        let file = within("a file", files.next()).await;
        let path = path_of(&file.uri);
        assert!(path.ends_with(name), "{path:?}");
        let (codecs, seconds) = judge(&path);
        assert_eq!(codecs, ["aac", "h264"]);
        assert!((1.8..5.0).contains(&seconds), "{seconds} s");
    }
    recorder.stop_and_wait().await.unwrap();
}
