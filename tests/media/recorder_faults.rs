//! Recordings whose server is killed, whose disk is full or gone, and whose camera changes.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kms_client::api::types::MediaProfileSpecType;
use kms_client::api::*;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::player::{pipeline, within};
use crate::recorder::{REPORTED, judge, offsets};

fn ffprobe(file: &Path, arguments: &[&str]) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(arguments)
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Seconds that are in a file that was not finished, by its packets of video: and all of it but the last half second decodes
/// without an error.
fn plays_until(file: &Path) -> f64 {
    let times = ffprobe(
        file,
        &["-select_streams", "v", "-show_entries", "packet=pts_time"],
    );
    let end = times
        .lines()
        .filter_map(|line| line.trim_end_matches(',').parse::<f64>().ok())
        .fold(0.0, f64::max);
    let until = format!("{:.3}", (end - 0.5).max(0.1));
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args([
            "-t",
            &until,
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "-1",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&decoded.stderr).into_owned();
    assert!(
        decoded.status.success() && errors.is_empty(),
        "{}: {errors}",
        file.display()
    );
    end
}

/// A recorder of a camera, which records.
struct Recording {
    recorder: RecorderEndpoint,
    player: PlayerEndpoint,
    _client: kms_client::Client,
    began: Instant,
}

async fn record(daemon: &Daemon, camera: &Camera, file: &Path) -> Recording {
    let (client, pipeline) = pipeline(daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(file))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    Recording {
        recorder,
        player,
        _client: client,
        began: Instant::now(),
    }
}

#[tokio::test]
async fn a_killed_server_leaves_a_file_that_plays_ten_times() {
    let folder = Folder::new();
    let camera = Camera::start(&["--port", "0"]);
    for round in 0..10 {
        let file = folder.path(&format!("{round}.mp4"));
        let daemon = Daemon::start();
        let recording = record(&daemon, &camera, &file).await;
        let milliseconds = 1_500 + RandomState::new().build_hasher().finish() % 3_000;
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        let recorded = recording.began.elapsed().as_secs_f64();
        drop(daemon); // SIGKILL
        let plays = plays_until(&file);
        assert!(
            plays > recorded - 1.5,
            "killed {milliseconds} ms after its beginning: {plays} s of {recorded} s are left"
        );
    }
}

/// A file system of its own, mounted as long as this lives.
pub(crate) struct Mount(std::path::PathBuf);

impl Mount {
    pub(crate) fn new(at: &Path, arguments: &[&str]) -> Mount {
        std::fs::create_dir_all(at).unwrap();
        let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
        assert!(status.success(), "mounting takes root");
        Mount(at.to_owned())
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        self.unmount();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_a_file_that_plays() {
    let folder = Folder::new();
    let _disk = Mount::new(
        &folder.path("small"),
        &["-t", "tmpfs", "-o", "size=512k", "tmpfs"],
    );
    let file = folder.path("small/camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let recording = record(&daemon, &camera, &file).await;
    let mut errors = recording.recorder.on_error().await.unwrap();
    let mut stopped = recording.recorder.on_stopped().await.unwrap();
    let error = tokio::time::timeout(Duration::from_secs(60), errors.next()).await;
    let error = error.expect("the disk becomes full").unwrap();
    assert!(
        error.description.contains("the disk is full"),
        "{}",
        error.description
    );
    within("Stopped", stopped.next()).await;
    let recorded = recording.began.elapsed().as_secs_f64();
    let plays = plays_until(&file);
    assert!(plays > 2.0 && plays > recorded - 3.0, "{plays} s of {recorded} s");
}

#[tokio::test]
async fn a_directory_that_is_unmounted_is_told_and_its_file_plays() {
    let folder = Folder::new();
    // The disk itself stays reachable by another name.
    let disk = Mount::new(&folder.path("disk"), &["-t", "tmpfs", "tmpfs"]);
    let from = disk.0.display().to_string();
    let mounted = Mount::new(&folder.path("mounted"), &["--bind", &from]);
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let recording = record(&daemon, &camera, &folder.path("mounted/camera.mp4")).await;
    let mut errors = recording.recorder.on_error().await.unwrap();
    let mut stopped = recording.recorder.on_stopped().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    mounted.unmount();
    let error = within("Error", errors.next()).await;
    assert!(error.description.contains("is gone"), "{}", error.description);
    within("Stopped", stopped.next()).await;
    let (codecs, seconds) = judge(&folder.path("disk/camera.mp4"));
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(seconds > 2.0, "{seconds} s");
}

#[tokio::test]
async fn a_minute_of_a_camera_stays_in_sync() {
    let folder = Folder::new();
    let file = folder.path("camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let recording = record(&daemon, &camera, &file).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    recording.recorder.stop_and_wait().await.unwrap();
    let (_, seconds) = judge(&file);
    assert!((58.0..65.0).contains(&seconds), "{seconds} s");
    let apart = offsets(&file, REPORTED);
    assert!(apart.len() > 50, "{apart:?}");
    assert!(
        apart.iter().all(|ms| *ms < 40.0),
        "ms between flash and beep: {apart:?}"
    );
}

#[tokio::test]
async fn a_camera_that_changes_its_resolution_is_recorded_on() {
    let folder = Folder::new();
    let file = folder.path("camera.mp4");
    let camera = Camera::start(&["--port", "0", "--change-size", "2"]);
    let daemon = Daemon::start();
    let recording = record(&daemon, &camera, &file).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    recording.recorder.stop_and_wait().await.unwrap();
    recording.player.stop().await.unwrap();
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(seconds > 5.0, "{seconds} s");
    let widths = ffprobe(&file, &["-select_streams", "v", "-show_entries", "frame=width"]);
    for width in ["320", "160"] {
        let count = widths
            .lines()
            .filter(|line| line.trim_end_matches(',') == width)
            .count();
        assert!(count > 20, "{count} pictures of width {width}");
    }
}
