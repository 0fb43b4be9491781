//! Filters: what they do to media that flows, judged by ffmpeg.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kms_client::Client;
use kms_client::api::types::{MediaFlowState, MediaProfileSpecType, MediaType};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::{WEBM, pipeline, within};
use crate::recorder::judge;

const MP4: [&str; 6] = ["-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac"];

/// What ffmpeg decodes a file's stream to.
pub(crate) fn decoded(file: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(file)
        .args(arguments)
        .arg("-")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// How much colour each picture has: how far its chroma is from grey on average, 0 to 128.
fn colours(file: &Path) -> Vec<f64> {
    const SIZE: usize = 64 * 48;
    let raw = decoded(
        file,
        &[
            "-an",
            "-vf",
            "scale=64:48",
            "-pix_fmt",
            "yuv444p",
            "-fps_mode",
            "passthrough",
            "-f",
            "rawvideo",
        ],
    );
    let colour = |picture: &[u8]| {
        let far: u64 = picture[SIZE..].iter().map(|c| u64::from(c.abs_diff(128))).sum();
        far as f64 / (2 * SIZE) as f64
    };
    let pictures: Vec<f64> = raw.chunks_exact(3 * SIZE).map(colour).collect();
    assert!(!pictures.is_empty(), "no picture in {}", file.display());
    pictures
}

/// The most colour that a picture has which was made grey, and the least of one that was not: testsrc has about 40.
const GREY: f64 = 3.0;
const COLOURED: f64 = 15.0;

/// Root mean square of a file's sound, of 32767, without its first half second.
fn loudness(file: &Path) -> f64 {
    let raw = decoded(file, &["-vn", "-ar", "48000", "-ac", "1", "-f", "s16le"]);
    let samples: Vec<f64> = raw
        .chunks_exact(2)
        .skip(24_000)
        .map(|s| f64::from(i16::from_le_bytes([s[0], s[1]])))
        .collect();
    assert!(samples.len() > 24_000, "too little sound in {}", file.display());
    (samples.iter().map(|s| s * s).sum::<f64>() / samples.len() as f64).sqrt()
}

/// A pipeline in a daemon, and a folder with a film in it.
struct Studio {
    folder: Folder,
    daemon: Daemon,
    client: Client,
    pipeline: MediaPipeline,
}

impl Studio {
    async fn new(film: &str, seconds: u32, encoding: &[&str]) -> Studio {
        let folder = Folder::new();
        make(&folder.path(film), seconds, encoding);
        let daemon = Daemon::start();
        let (client, pipeline) = pipeline(&daemon).await;
        Studio {
            folder,
            daemon,
            client,
            pipeline,
        }
    }

    async fn player(&self, film: &str) -> PlayerEndpoint {
        let uri = uri(&self.folder.path(film));
        PlayerEndpoint::create(&self.client, &self.pipeline, &uri)
            .await
            .unwrap()
    }

    async fn filter(&self, command: &str) -> GStreamerFilter {
        GStreamerFilter::create(&self.client, &self.pipeline, command)
            .await
            .unwrap()
    }

    async fn recorder(&self, file: &str, profile: MediaProfileSpecType) -> RecorderEndpoint {
        RecorderEndpoint::create(&self.client, &self.pipeline, &uri(&self.folder.path(file)))
            .media_profile(profile)
            .await
            .unwrap()
    }

    /// Threads that media enters segments on: players of files have none, and each decoder, filter and track of a recorder has one.
    /// When those end, threads are kept for others for a while, with their names.
    fn inputs(&self) -> Vec<String> {
        let names = self.daemon.thread_names().into_iter();
        let of_segments = ["appsrc", "filter", "player-Decode"];
        names
            .filter(|name| of_segments.iter().any(|of| name.starts_with(of)))
            .collect()
    }
}

/// Plays the whole film into the recorder.
async fn record_all(player: &PlayerEndpoint, recorder: &RecorderEndpoint) {
    let mut ends = player.on_end_of_stream().await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("the end", ends.next()).await;
    recorder.stop_and_wait().await.unwrap();
}

#[tokio::test]
async fn video_loses_its_colours_and_audio_passes() {
    let studio = Studio::new("in.mp4", 4, &MP4).await;
    let player = studio.player("in.mp4").await;
    let filter = studio.filter("videobalance saturation=0.0").await;
    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    let mut flows = filter.on_media_flow_out_state_changed().await.unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    record_all(&player, &recorder).await;

    let file = studio.folder.path("out.webm");
    let (codecs, seconds) = judge(&file);
    assert_eq!(codecs, ["opus", "vp8"]);
    assert!((2.5..7.0).contains(&seconds), "{seconds} s");
    let colours = colours(&file);
    assert!(colours.iter().all(|c| *c < GREY), "{colours:?}");
    let (before, after) = (loudness(&studio.folder.path("in.mp4")), loudness(&file));
    assert!((0.8..1.25).contains(&(after / before)), "{before} became {after}");

    let mut began = Vec::new();
    for _ in 0..2 {
        let flow = within("flow", flows.next()).await;
        assert_eq!(flow.state, MediaFlowState::Flowing);
        began.push(flow.media_type);
    }
    assert!(began.contains(&MediaType::Audio) && began.contains(&MediaType::Video));
    assert_eq!(
        within("no flow", flows.next()).await.state,
        MediaFlowState::NotFlowing
    );
}

#[tokio::test]
async fn a_property_changes_the_picture_while_it_flows() {
    let studio = Studio::new("in.webm", 30, &WEBM).await;
    let player = studio.player("in.webm").await;
    let filter = studio.filter("videobalance").await;
    assert_eq!(filter.command().await.unwrap(), "videobalance");
    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    filter.set_element_property("saturation", "0.0").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    recorder.stop_and_wait().await.unwrap();

    let colours = colours(&studio.folder.path("out.webm"));
    let (first, last) = (colours[0], colours[colours.len() - 1]);
    assert!(first > COLOURED && last < GREY, "{colours:?}");
    let dot = filter.element_gstreamer_dot().await.unwrap();
    assert!(dot.starts_with("digraph"), "{dot}");
    let refused = filter.set_element_property("saturation", "7").await.unwrap_err();
    assert_eq!(refused.code(), Some(protocol::Code::Marshall), "{refused}");
}

#[tokio::test]
async fn audio_is_made_quieter_and_video_passes_as_it_is() {
    let studio = Studio::new("in.mp4", 4, &MP4).await;
    let player = studio.player("in.mp4").await;
    let filter = studio.filter("volume volume=0.1").await;
    let recorder = studio.recorder("out.mp4", MediaProfileSpecType::Mp4).await;
    let mut transcoding = player.on_media_transcoding_state_changed().await.unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    record_all(&player, &recorder).await;
    // Frames of the film are those of the recording: nobody has decoded them.
    let said = within("transcoding", transcoding.next()).await;
    let of_video = if said.media_type == MediaType::Video {
        said
    } else {
        within("video", transcoding.next()).await
    };
    assert_eq!(of_video.state, types::MediaTranscodingState::NotTranscoding);

    let file = studio.folder.path("out.mp4");
    assert_eq!(judge(&file).0, ["aac", "h264"]);
    let (before, after) = (loudness(&studio.folder.path("in.mp4")), loudness(&file));
    assert!(
        (0.07..0.14).contains(&(after / before)),
        "{before} became {after}"
    );
}

#[tokio::test]
async fn two_filters_stand_in_a_row() {
    let studio = Studio::new("in.webm", 4, &WEBM).await;
    let player = studio.player("in.webm").await;
    let grey = studio
        .filter("videoflip method=horizontal-flip ! videobalance saturation=0")
        .await;
    let small = studio
        .filter("videoscale ! video/x-raw,width=160,height=120")
        .await;
    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    player.connect(&grey).await.unwrap();
    grey.connect(&small).await.unwrap();
    small.connect(&recorder).await.unwrap();
    record_all(&player, &recorder).await;
    let file = studio.folder.path("out.webm");
    assert_eq!(judge(&file).0, ["opus", "vp8"]);
    let colours = colours(&file);
    assert!(colours.iter().all(|c| *c < GREY), "{colours:?}");
    let size = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-select_streams",
            "v",
            "-show_entries",
            "stream=width,height",
            "-of",
            "csv=p=0",
        ])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&size.stdout).trim(), "160,120");
}

#[tokio::test]
async fn a_filter_whose_media_nobody_takes_does_nothing() {
    let studio = Studio::new("in.webm", 60, &WEBM).await;
    let player = studio.player("in.webm").await;
    let filter = studio.filter("videobalance").await;
    let mut flows = filter.on_media_flow_in_state_changed().await.unwrap();
    player.connect(&filter).await.unwrap();
    player.play().await.unwrap();
    within("media", flows.next()).await;
    within("media of the other kind", flows.next()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let inputs = studio.inputs();
    assert!(inputs.is_empty(), "{inputs:?}");
    assert!(!filter.is_media_flowing_out(MediaType::Video).await.unwrap());
    let nothing = filter.element_gstreamer_dot().await.unwrap();

    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    let mut flows = filter.on_media_flow_out_state_changed().await.unwrap();
    filter.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    let flow = within("media", flows.next()).await;
    assert_eq!(
        (flow.state, flow.media_type),
        (MediaFlowState::Flowing, MediaType::Video)
    );
    assert!(
        filter
            .element_gstreamer_dot()
            .await
            .unwrap()
            .contains("videobalance")
    );
    assert!(
        player.is_media_transcoding(MediaType::Video).await.unwrap(),
        "it is decoded"
    );
    assert!(!studio.inputs().is_empty());

    recorder.stop_and_wait().await.unwrap();
    recorder.release().await.unwrap();
    let flow = within("its end", flows.next()).await;
    assert_eq!(
        (flow.state, flow.media_type),
        (MediaFlowState::NotFlowing, MediaType::Video)
    );
    assert_eq!(filter.element_gstreamer_dot().await.unwrap(), nothing);
    assert!(
        !player.is_media_transcoding(MediaType::Video).await.unwrap(),
        "nothing is decoded"
    );
}

#[tokio::test]
async fn it_is_disconnected_connected_and_released_while_media_flows() {
    let studio = Studio::new("in.webm", 60, &WEBM).await;
    make(
        &studio.folder.path("large.mp4"),
        60,
        &[
            "-s",
            "640x480",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-c:a",
            "aac",
        ],
    );
    let player = studio.player("in.webm").await;
    let other = studio.player("large.mp4").await;
    let filter = studio.filter("videobalance saturation=0").await;
    let mut errors = filter.on_error().await.unwrap();
    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    let mut recording = recorder.on_recording().await.unwrap();
    recorder.record().await.unwrap();
    player.play().await.unwrap();
    other.play().await.unwrap();
    within("Recording", recording.next()).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        filter.disconnect(&recorder).await.unwrap();
        filter.connect(&recorder).await.unwrap();
        player.disconnect(&filter).await.unwrap();
        player.connect(&filter).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    // Pictures of another size and another codec: the same segment goes on.
    other.connect(&filter).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    recorder.stop_and_wait().await.unwrap();
    let colours = colours(&studio.folder.path("out.webm"));
    assert!(colours.iter().all(|c| *c < GREY), "{colours:?}");
    let early = tokio::time::timeout(Duration::from_millis(100), errors.next()).await;
    assert!(early.is_err(), "{early:?}");

    let again = studio.recorder("again.webm", MediaProfileSpecType::Webm).await;
    filter.connect(&again).await.unwrap();
    let mut recording = again.on_recording().await.unwrap();
    again.record().await.unwrap();
    within("Recording", recording.next()).await;
    filter.release().await.unwrap();
    player.connect(&again).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    again.stop_and_wait().await.unwrap();
    assert_eq!(judge(&studio.folder.path("again.webm")).0, ["opus", "vp8"]);
}

#[tokio::test]
async fn a_filter_that_fails_says_so_and_the_rest_goes_on() {
    let studio = Studio::new("in.webm", 6, &WEBM).await;
    let player = studio.player("in.webm").await;
    // Nothing in it makes pictures of that size.
    let filter = studio
        .filter("videobalance ! video/x-raw,width=16,height=16")
        .await;
    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    let mut errors = filter.on_error().await.unwrap();
    player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    record_all(&player, &recorder).await;
    let error = within("an error", errors.next()).await;
    assert!(error.description.starts_with("The filter failed"), "{error:?}");
    // The recorder puts black pictures where none came.
    let file = studio.folder.path("out.webm");
    judge(&file);
    let colours = colours(&file);
    assert!(colours.iter().all(|c| *c < GREY), "{colours:?}");
    let (before, after) = (loudness(&studio.folder.path("in.webm")), loudness(&file));
    assert!((0.8..1.25).contains(&(after / before)), "{before} became {after}");
}

#[tokio::test]
async fn a_circle_and_a_row_that_is_too_long_give_an_error_and_the_server_goes_on() {
    let studio = Studio::new("in.webm", 60, &WEBM).await;
    let player = studio.player("in.webm").await;
    player.play().await.unwrap();
    let mut row = Vec::new();
    for _ in 0..33 {
        row.push(studio.filter("videobalance").await);
    }
    for (before, after) in row.iter().zip(&row[1..]) {
        before.connect(after).await.unwrap();
    }
    player.connect(&row[0]).await.unwrap();
    let too_long = studio.recorder("row.webm", MediaProfileSpecType::Webm).await;
    let mut errors = too_long.on_error().await.unwrap();
    row[32].connect(&too_long).await.unwrap();
    too_long.record().await.unwrap();
    let error = within("an error", errors.next()).await;
    assert!(error.description.starts_with("More than 32 filters"), "{error:?}");
    too_long.release().await.unwrap();

    let (first, second) = (&row[0], &row[1]);
    second.connect(first).await.unwrap();
    let circle = studio.recorder("circle.webm", MediaProfileSpecType::Webm).await;
    let mut errors = circle.on_error().await.unwrap();
    second.connect(&circle).await.unwrap();
    circle.record().await.unwrap();
    let error = within("an error", errors.next()).await;
    assert!(error.description.starts_with("More than 32 filters"), "{error:?}");
    circle.release().await.unwrap();

    player.connect(first).await.unwrap();
    let recorder = studio.recorder("out.webm", MediaProfileSpecType::Webm).await;
    let mut recording = recorder.on_recording().await.unwrap();
    second.connect(&recorder).await.unwrap();
    recorder.record().await.unwrap();
    within("Recording", recording.next()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    recorder.stop_and_wait().await.unwrap();
    let colours = colours(&studio.folder.path("out.webm"));
    assert!(colours.iter().any(|c| *c > COLOURED), "{colours:?}");
}
