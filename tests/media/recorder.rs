//! `RecorderEndpoint`: cameras and files into files, judged by ffmpeg.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kms_client::api::types::{
    AudioCaps, AudioCodec, Fraction, MediaProfileSpecType, UriEndpointState, VideoCaps, VideoCodec,
};
use kms_client::api::*;
use serde_json::Value;

use crate::camera::Camera;
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{pipeline, within};

/// What ffprobe says of a file that decodes without an error: names of the codecs, and seconds.
pub(crate) fn judge(file: &Path) -> (Vec<String>, f64) {
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        // Frames keep their own times: rounded to a frame rate two may fall together, which is no fault of the file.
        .args([
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "-1",
            "-f",
            "null",
            "-",
        ])
        .output();
    let errors = String::from_utf8_lossy(&decoded.unwrap().stderr).into_owned();
    assert!(errors.is_empty(), "{}: {errors}", file.display());
    let probed = Command::new("ffprobe")
        .args(["-v", "error", "-show_streams", "-show_format", "-of", "json"])
        .arg(file)
        .output();
    let probed: Value = serde_json::from_slice(&probed.unwrap().stdout).unwrap();
    let streams = probed["streams"].as_array().unwrap();
    let mut codecs: Vec<String> = streams
        .iter()
        .map(|s| s["codec_name"].as_str().unwrap().to_owned())
        .collect();
    codecs.sort();
    (
        codecs,
        probed["format"]["duration"].as_str().unwrap().parse().unwrap(),
    )
}

/// How many pictures a file has.
fn pictures_of(file: &Path) -> u32 {
    let count = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-count_packets"])
        .args(["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"])
        .arg(file)
        .output();
    let count = String::from_utf8(count.unwrap().stdout).unwrap();
    count.trim().parse().expect("a number")
}

/// Before a camera's first sender report nobody can know how its streams fit together (RFC 3550, section 6.4.1): so many seconds at
/// the beginning of a recording are not judged.
pub(crate) const REPORTED: u32 = 3;

/// Milliseconds between each flash and its beep, without their sign, as tests/media/flash_beep.py measures them. The first seconds
/// of the file, so many, don't count.
pub(crate) fn offsets(file: &Path, after: u32) -> Vec<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/media/flash_beep.py");
    let output = Command::new("/usr/bin/python3")
        .arg(script)
        .arg(file)
        .arg(after.to_string())
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(said["unmatched"], 0, "each flash has its beep: {said}");
    let offsets = said["offsets_ms"].as_array().unwrap_or_else(|| panic!("{said}"));
    offsets.iter().map(|ms| ms.as_f64().unwrap().abs()).collect()
}

/// The worst of them.
pub(crate) fn out_of_sync(file: &Path, after: u32) -> f64 {
    let worst = offsets(file, after).into_iter().reduce(f64::max);
    worst.expect("flashes with their beeps")
}

#[tokio::test]
async fn a_camera_is_recorded_into_mp4_as_it_is_and_in_sync() {
    let folder = Folder::new();
    let file = folder.path("deep/down/camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    let mut stopped = recorder.on_stopped().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(8)).await;
    recorder.stop_and_wait().await.unwrap();
    within("Stopped", stopped.next()).await;
    assert_eq!(recorder.state().await.unwrap(), UriEndpointState::Stop);

    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["aac", "h264"]);
    assert!((6.5..11.0).contains(&seconds), "{seconds} s");
    let worst = out_of_sync(&file, REPORTED);
    assert!(worst < 40.0, "{worst} ms between flash and beep");
}

#[tokio::test]
async fn a_recording_is_finished_when_the_server_is_told_to_end() {
    let folder = Folder::new();
    let file = folder.path("camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let mut daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    daemon.terminate();
    let status = daemon.ended(Duration::from_secs(9)).await;
    assert!(status.success(), "{status}");
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["aac", "h264"]);
    assert!((2.0..6.0).contains(&seconds), "{seconds} s");
    // An ordinary file, its index in one piece; a fragmented one has `moof` boxes.
    let boxes = boxes(&std::fs::read(&file).unwrap());
    assert!(
        boxes.contains(&"moov".into()) && !boxes.contains(&"moof".into()),
        "{boxes:?}"
    );
}

/// The boxes of an MP4 file (ISO/IEC 14496-12, section 4.2), outermost.
fn boxes(mut bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(header) = bytes.get(..8) {
        names.push(String::from_utf8_lossy(&header[4..]).into_owned());
        let size = match u32::from_be_bytes(header[..4].try_into().unwrap()) {
            0 => bytes.len(),
            1 => u64::from_be_bytes(bytes[8..16].try_into().unwrap()) as usize,
            size => size as usize,
        };
        bytes = bytes.get(size.max(8)..).unwrap_or_default();
    }
    names
}

#[tokio::test]
async fn a_recording_goes_on_when_its_camera_comes_back() {
    let folder = Folder::new();
    let file = folder.path("camera.mp4");
    let camera = Camera::start(&["--port", "0"]);
    let port = camera.port();
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = camera.player(&client, &pipeline).await;
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&file))
        .media_profile(MediaProfileSpecType::Mp4)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    let mut returns = player.on_connection_restored().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(camera);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _camera = Camera::start(&["--port", &port]);
    within("the return", returns.next()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    recorder.stop_and_wait().await.unwrap();
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["aac", "h264"]);
    assert!(seconds > 8.0, "the file goes over the loss: {seconds} s");
}

/// A file of three seconds, recorded as it is played; codecs and seconds of the recording.
async fn play_into(profile: MediaProfileSpecType, name: &str, encoding: &[&str]) -> (Vec<String>, f64) {
    let folder = Folder::new();
    let (played, recorded) = (folder.path("in.mkv"), folder.path(name));
    make(&played, 3, encoding);
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&played))
        .await
        .unwrap();
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&recorded))
        .media_profile(profile)
        .await
        .unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    let mut ends = player.on_end_of_stream().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    within("the end", ends.next()).await;
    recorder.stop_and_wait().await.unwrap();
    judge(&recorded)
}

#[tokio::test]
async fn media_leaves_a_player_in_the_format_that_was_asked_for() {
    let folder = Folder::new();
    let (played, recorded) = (folder.path("in.webm"), folder.path("out.mkv"));
    let realtime = ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8"];
    make(&played, 4, &[&realtime[..], &["-c:a", "libopus"]].concat());
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    let player = PlayerEndpoint::create(&client, &pipeline, &uri(&played))
        .await
        .unwrap();
    let caps = |numerator, denominator| VideoCaps {
        codec: VideoCodec::H264,
        framerate: Fraction {
            numerator,
            denominator,
        },
    };
    let error = player.set_video_format(&caps(10, 0)).await.unwrap_err();
    assert!(error.to_string().contains("not 10/0"), "{error}");
    player.set_video_format(&caps(10, 1)).await.unwrap();
    let pcmu = AudioCaps {
        codec: AudioCodec::Pcmu,
        bitrate: 64_000,
    };
    player.set_audio_format(&pcmu).await.unwrap();
    let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&recorded))
        .media_profile(MediaProfileSpecType::Mkv)
        .await
        .unwrap();
    let mut ends = player.on_end_of_stream().await.unwrap();
    player.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("the end", ends.next()).await;
    recorder.stop_and_wait().await.unwrap();
    let (codecs, seconds) = judge(&recorded);
    assert_eq!(codecs, ["h264", "pcm_mulaw"]);
    let pictures = pictures_of(&recorded);
    let rate = pictures as f64 / seconds;
    assert!((9.0..11.0).contains(&rate), "{pictures} pictures in {seconds} s");
}

#[tokio::test]
async fn all_of_a_file_is_recorded_though_it_has_one_keyframe() {
    let encoding = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-g",
        "250",
        "-bf",
        "0",
        "-c:a",
        "aac",
    ];
    let (codecs, seconds) = play_into(MediaProfileSpecType::Mp4, "out.mp4", &encoding).await;
    assert_eq!(codecs, ["aac", "h264"]);
    assert!((2.8..3.3).contains(&seconds), "{seconds} s of 3 s");
}

#[tokio::test]
async fn vp9_of_any_chroma_is_recorded_into_mp4() {
    // The muxer takes no RGB. That is seen with the first keyframe, and the recording begins with the next.
    for (chroma, codec, least) in [
        ("yuv420p", "vp9", 2.8),
        ("yuv444p", "vp9", 2.8),
        ("gbrp", "h264", 0.8),
    ] {
        let encoding = [
            "-c:v",
            "libvpx-vp9",
            "-deadline",
            "realtime",
            "-cpu-used",
            "8",
            "-pix_fmt",
            chroma,
            "-c:a",
            "libopus",
        ];
        let (codecs, seconds) = play_into(MediaProfileSpecType::Mp4, "out.mp4", &encoding).await;
        let mut expected = ["opus", codec];
        expected.sort();
        assert_eq!(codecs, expected, "{chroma}");
        assert!((least..3.3).contains(&seconds), "{chroma}: {seconds} s of 3 s");
    }
}

#[tokio::test]
async fn cameras_of_every_codec_are_recorded_into_mp4_and_matroska() {
    let daemon = Daemon::start();
    let (client, pipeline) = pipeline(&daemon).await;
    // What the camera sends; what is in MP4, which takes no G.711 and no JPEG; what is in Matroska, which takes all.
    for (video, audio, mp4, mkv) in [
        ("h264", "pcmu", ["aac", "h264"], ["h264", "pcm_mulaw"]),
        ("h264", "pcma", ["aac", "h264"], ["h264", "pcm_alaw"]),
        ("h264", "opus", ["h264", "opus"], ["h264", "opus"]),
        ("h265", "aac", ["aac", "hevc"], ["aac", "hevc"]),
        ("mjpeg", "aac", ["aac", "h264"], ["aac", "mjpeg"]),
    ] {
        let folder = Folder::new();
        let camera = Camera::start(&["--port", "0", "--video", video, "--audio", audio]);
        let player = PlayerEndpoint::create(&client, &pipeline, &camera.uri)
            .network_cache(200)
            .await
            .unwrap();
        let mut recordings = Vec::new();
        for (profile, name, codecs) in [
            (MediaProfileSpecType::Mp4, "camera.mp4", mp4),
            (MediaProfileSpecType::Mkv, "camera.mkv", mkv),
        ] {
            let recorder = RecorderEndpoint::create(&client, &pipeline, &uri(&folder.path(name)))
                .media_profile(profile)
                .await
                .unwrap();
            let began = recorder.on_recording().await.unwrap();
            player.connect(&recorder).await.unwrap();
            recorder.record().await.unwrap();
            recordings.push((recorder, began, name, codecs));
        }
        player.play().await.unwrap();
        for (_, began, name, _) in &mut recordings {
            within(name, began.next()).await;
        }
        tokio::time::sleep(Duration::from_secs(4)).await;
        for (recorder, _, name, codecs) in recordings {
            recorder.stop_and_wait().await.unwrap();
            let (found, seconds) = judge(&folder.path(name));
            assert_eq!(found, codecs, "{video} and {audio} in {name}");
            assert!(
                (2.5..9.0).contains(&seconds),
                "{video} and {audio} in {name}: {seconds} s"
            );
        }
        player.release().await.unwrap();
    }
}
