//! Hubs that mix: what comes out of their ports, judged by the colours and tones in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use kms_client::Client;
use kms_client::api::types::{CompositeLayout, MediaProfileSpecType, MediaType};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::filters::decoded;
use crate::player::{pipeline, within};
use crate::recorder::judge;

const RED: [u8; 3] = [254, 0, 0];
const BLUE: [u8; 3] = [0, 0, 254];
const BLACK: [u8; 3] = [0, 0, 0];
/// Tones of the films, Hz.
const LOW: f64 = 440.0;
const HIGH: f64 = 1_500.0;

/// The stage: a pipeline, a film that is red with a low tone, and one that is blue with a high one.
struct Stage {
    folder: Folder,
    client: Client,
    pipeline: MediaPipeline,
    _daemon: Daemon,
}

/// A picture without a change of colour, and a tone.
pub(crate) fn film(path: &Path, video: &str, tone: f64, loudness: f64) {
    let made = Command::new("ffmpeg")
        .args([
            "-v", "error", "-y", "-f", "lavfi", "-i", video, "-f", "lavfi", "-i",
        ])
        .arg(format!(
            "sine=frequency={tone}:sample_rate=48000,volume={loudness}"
        ))
        .args([
            "-t",
            "60",
            "-g",
            "25",
            "-c:v",
            "libvpx",
            "-deadline",
            "realtime",
            "-b:v",
            "200k",
        ])
        .args(["-c:a", "libopus"])
        .arg(path)
        .status();
    assert!(made.unwrap().success());
}

impl Stage {
    async fn new() -> Stage {
        let folder = Folder::new();
        film(
            &folder.path("red.webm"),
            "color=c=red:size=160x120:rate=25",
            LOW,
            1.0,
        );
        film(
            &folder.path("blue.webm"),
            "color=c=blue:size=160x120:rate=25",
            HIGH,
            4.0,
        );
        let daemon = Daemon::start();
        let (client, pipeline) = pipeline(&daemon).await;
        Stage {
            folder,
            client,
            pipeline,
            _daemon: daemon,
        }
    }

    /// A player that plays, connected to a new port.
    async fn guest(&self, film: &str, hub: &impl Hub) -> (PlayerEndpoint, HubPort) {
        let uri = uri(&self.folder.path(film));
        let player = PlayerEndpoint::create(&self.client, &self.pipeline, &uri)
            .await
            .unwrap();
        let port = HubPort::create(&self.client, hub).await.unwrap();
        player.connect(&port).await.unwrap();
        player.play().await.unwrap();
        (player, port)
    }

    /// A recording of what leaves a port. It has begun.
    async fn recording(&self, port: &HubPort, name: &str) -> Recording {
        let file = self.folder.path(name);
        let recorder = RecorderEndpoint::create(&self.client, &self.pipeline, &uri(&file))
            .media_profile(MediaProfileSpecType::Mp4)
            .await
            .unwrap();
        let mut begun = recorder.on_recording().await.unwrap();
        port.connect(&recorder).await.unwrap();
        recorder.record().await.unwrap();
        within("Recording", begun.next()).await;
        Recording { recorder, file }
    }

    async fn composite(&self) -> Composite {
        Composite::create(&self.client, &self.pipeline)
            .width(320)
            .height(240)
            .framerate(25)
            .await
            .unwrap()
    }
}

struct Recording {
    recorder: RecorderEndpoint,
    file: PathBuf,
}

/// What is in a recording.
struct Recorded {
    width: usize,
    /// All pictures, RGB.
    pictures: Vec<Vec<u8>>,
    /// Samples, 48,000 a second.
    sound: Vec<f64>,
}

impl Recording {
    async fn end(self, (width, height): (usize, usize)) -> Recorded {
        self.recorder.stop_and_wait().await.unwrap();
        let (codecs, _) = judge(&self.file);
        assert_eq!(codecs, ["aac", "h264"]);
        let sound = decoded(&self.file, &["-vn", "-ac", "1", "-ar", "48000", "-f", "s16le"]);
        Recorded {
            width,
            pictures: pictures(&self.file, (width, height)),
            sound: sound
                .chunks_exact(2)
                .map(|s| f64::from(i16::from_le_bytes([s[0], s[1]])))
                .collect(),
        }
    }
}

impl Recorded {
    fn colour(&self, picture: usize, x: usize, y: usize) -> [u8; 3] {
        let at = (y * self.width + x) * 3;
        let pixel = &self.pictures[picture][at..at + 3];
        [pixel[0], pixel[1], pixel[2]]
    }

    /// Of the last picture.
    fn last(&self, x: usize, y: usize) -> [u8; 3] {
        self.colour(self.pictures.len() - 1, x, y)
    }

    /// How strong a tone is in the last second, of 32767 (Goertzel's algorithm).
    fn tone(&self, frequency: f64) -> f64 {
        let last = &self.sound[self.sound.len() - 48_000..];
        let step = 2.0 * (2.0 * std::f64::consts::PI * frequency / 48_000.0).cos();
        let (mut one, mut two) = (0.0, 0.0);
        for sample in last {
            (one, two) = (sample + step * one - two, one);
        }
        2.0 * (one * one + two * two - step * one * two).sqrt() / last.len() as f64
    }
}

/// All pictures of a file, red, green and blue of each pixel.
pub(crate) fn pictures(file: &Path, (width, height): (usize, usize)) -> Vec<Vec<u8>> {
    let raw = decoded(
        file,
        &[
            "-an",
            "-fps_mode",
            "passthrough",
            "-pix_fmt",
            "rgb24",
            "-f",
            "rawvideo",
        ],
    );
    let size = width * height * 3;
    assert_eq!(raw.len() % size, 0, "pictures of {width}x{height}");
    raw.chunks_exact(size).map(<[u8]>::to_vec).collect()
}

/// Whether it is about this colour.
pub(crate) fn is(found: [u8; 3], wanted: [u8; 3]) -> bool {
    found.iter().zip(wanted).all(|(a, b)| a.abs_diff(b) < 40)
}

async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
async fn all_see_everybody_and_hear_the_others() {
    let stage = Stage::new().await;
    let hub = stage.composite().await;
    let (_red, red) = stage.guest("red.webm", &hub).await;
    let (_blue, _) = stage.guest("blue.webm", &hub).await;
    let quiet = HubPort::create(&stage.client, &hub).await.unwrap();
    let (all, others) = (
        stage.recording(&quiet, "all.mp4").await,
        stage.recording(&red, "others.mp4").await,
    );
    pass(4_000).await;
    let (all, others) = (all.end((320, 240)).await, others.end((320, 240)).await);
    for recorded in [&all, &others] {
        assert!(is(recorded.last(80, 120), RED) && is(recorded.last(240, 120), BLUE));
        assert!(is(recorded.last(80, 30), BLACK), "a picture keeps its shape");
    }
    assert!(
        all.tone(LOW) > 1_000.0 && all.tone(HIGH) > 1_000.0,
        "{} {}",
        all.tone(LOW),
        all.tone(HIGH)
    );
    assert!(others.tone(HIGH) > 1_000.0, "{}", others.tone(HIGH));
    assert!(others.tone(LOW) < 30.0, "it hears itself: {}", others.tone(LOW));
}

#[tokio::test]
async fn who_comes_and_goes_freezes_nobody() {
    let stage = Stage::new().await;
    film(
        &stage.folder.path("moving.webm"),
        "testsrc2=size=160x120:rate=25",
        LOW,
        1.0,
    );
    let hub = stage.composite().await;
    let (_one, one) = stage.guest("moving.webm", &hub).await;
    let recording = stage.recording(&one, "moving.mp4").await;
    pass(1_500).await;
    let (blue, port) = stage.guest("blue.webm", &hub).await;
    pass(2_000).await;
    port.release().await.unwrap();
    blue.release().await.unwrap();
    pass(1_500).await;
    let recorded = recording.end((320, 240)).await;
    // The right half is blue while there are two.
    let here: Vec<bool> = (0..recorded.pictures.len())
        .map(|n| is(recorded.colour(n, 240, 120), BLUE) && is(recorded.colour(n, 170, 120), BLUE))
        .collect();
    let count = here.iter().filter(|here| **here).count();
    assert!(count > 25, "{count} pictures of both");
    assert!(!here[here.len() - 1], "the picture of who went is gone");
    // Nowhere do five pictures follow each other, 200 ms, that are all the same.
    let first = recorded
        .pictures
        .iter()
        .position(|p| p.iter().any(|c| *c > 100))
        .unwrap();
    for (n, five) in recorded.pictures.windows(5).enumerate().skip(first) {
        let far = |a: &[u8], b: &[u8]| a.iter().zip(b).filter(|(a, b)| a.abs_diff(**b) > 30).count();
        let moved = five.windows(2).any(|two| far(&two[0], &two[1]) > 20);
        assert!(
            moved,
            "at picture {n} of {} it stands still",
            recorded.pictures.len()
        );
    }
}

#[tokio::test]
async fn a_picture_that_stands_still_turns_grey() {
    let stage = Stage::new().await;
    let hub = stage.composite().await;
    let (player, port) = stage.guest("red.webm", &hub).await;
    let recording = stage.recording(&port, "still.mp4").await;
    pass(1_000).await;
    player.pause().await.unwrap();
    pass(4_000).await;
    let recorded = recording.end((320, 240)).await;
    let was_red = (0..recorded.pictures.len()).any(|n| is(recorded.colour(n, 160, 120), RED));
    assert!(was_red, "before it stood still");
    let [red, green, blue] = recorded.last(160, 120);
    assert!(
        red.abs_diff(green) < 10 && green.abs_diff(blue) < 10 && red > 40,
        "{red} {green} {blue}"
    );
}

#[tokio::test]
async fn pictures_are_arranged_while_they_are_shown() {
    let stage = Stage::new().await;
    let hub = stage.composite().await;
    let (_red, red) = stage.guest("red.webm", &hub).await;
    let (_blue, blue) = stage.guest("blue.webm", &hub).await;
    hub.set_layout(CompositeLayout::Speaker).await.unwrap();
    hub.set_background_color("#00FF00").await.unwrap();
    let recording = stage.recording(&red, "speaker.mp4").await;
    pass(3_000).await;
    let recorded = recording.end((320, 240)).await;
    assert!(
        is(recorded.last(100, 120), BLUE),
        "who is loud is large: {:?}",
        recorded.last(100, 120)
    );
    assert!(is(recorded.last(280, 30), RED), "{:?}", recorded.last(280, 30));
    assert!(
        is(recorded.last(280, 200), [0, 254, 0]),
        "{:?}",
        recorded.last(280, 200)
    );

    hub.set_layout(CompositeLayout::Custom).await.unwrap();
    hub.set_position(&red, 0.0, 0.0, 100.0, 100.0).await.unwrap();
    hub.set_position(&blue, 50.0, 50.0, 50.0, 50.0)
        .z_order(1)
        .await
        .unwrap();
    let recording = stage.recording(&red, "custom.mp4").await;
    pass(2_000).await;
    let recorded = recording.end((320, 240)).await;
    assert!(is(recorded.last(80, 60), RED) && is(recorded.last(240, 180), BLUE));
    let refused = hub.set_position(&red, 0.0, 0.0, 101.0, 1.0).await.unwrap_err();
    assert_eq!(refused.code(), Some(protocol::Code::IllegalParam), "{refused}");
    let refused = hub.set_background_color("green").await.unwrap_err();
    assert_eq!(refused.code(), Some(protocol::Code::IllegalParam), "{refused}");
}

#[tokio::test]
async fn names_are_under_pictures_and_an_image_behind_them() {
    let stage = Stage::new().await;
    let hub = stage.composite().await;
    let (_red, red) = stage.guest("red.webm", &hub).await;
    let (_blue, blue) = stage.guest("blue.webm", &hub).await;
    let green = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 4 3'><rect width='4' height='3' fill='lime'/></svg>";
    hub.set_background_image(green).await.unwrap();
    hub.set_caption(&red, "Анна <b>").await.unwrap();
    hub.set_caption(&blue, "Bob").await.unwrap();
    hub.set_caption(&blue, "").await.unwrap();
    for (text, why) in [("two\nlines", "one line"), (&"x".repeat(257), "256 bytes")] {
        let refused = hub.set_caption(&red, text).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let refused = hub.set_background_image("file:///nowhere.png").await.unwrap_err();
    assert!(refused.to_string().contains("No such file"), "{refused}");
    let recording = stage.recording(&red, "names.mp4").await;
    pass(2_500).await;
    let recorded = recording.end((320, 240)).await;
    // Each is 160x120, in the middle; the name is in the lowest 16 rows.
    let white = |left: usize| {
        let all = (164..180).flat_map(|y| (left..left + 160).map(move |x| (x, y)));
        all.filter(|(x, y)| recorded.last(*x, *y).iter().all(|c| *c > 150))
            .count()
    };
    assert!(white(0) > 20, "{} pixels of the name", white(0));
    assert_eq!(white(160), 0, "who has no name");
    let low = recorded.last(4, 174);
    assert!(low[0] < 140, "it is dark behind the name: {low:?}");
    assert!(is(recorded.last(4, 150), RED) && is(recorded.last(300, 174), BLUE));
    assert!(
        is(recorded.last(80, 30), [0, 254, 0]),
        "{:?}",
        recorded.last(80, 30)
    );
    hub.unset_background_image().await.unwrap();
    let recording = stage.recording(&red, "plain.mp4").await;
    pass(1_500).await;
    let recorded = recording.end((320, 240)).await;
    assert!(
        is(recorded.last(80, 30), [0, 0, 0]),
        "{:?}",
        recorded.last(80, 30)
    );
}

#[tokio::test]
async fn a_mixer_routes_video_and_mixes_what_it_is_told() {
    let stage = Stage::new().await;
    let hub = Mixer::create(&stage.client, &stage.pipeline).await.unwrap();
    let (_red, red) = stage.guest("red.webm", &hub).await;
    let (_blue, blue) = stage.guest("blue.webm", &hub).await;
    let listener = HubPort::create(&stage.client, &hub).await.unwrap();
    hub.connect(MediaType::Video, &red, &listener).await.unwrap();
    hub.connect(MediaType::Audio, &red, &listener).await.unwrap();
    hub.connect(MediaType::Audio, &blue, &listener).await.unwrap();
    let recording = stage.recording(&listener, "both.mp4").await;
    pass(3_000).await;
    let recorded = recording.end((160, 120)).await;
    assert!(is(recorded.last(80, 60), RED));
    assert!(recorded.tone(LOW) > 1_000.0 && recorded.tone(HIGH) > 1_000.0);

    hub.disconnect(MediaType::Audio, &red, &listener).await.unwrap();
    hub.disconnect(MediaType::Video, &blue, &listener).await.unwrap(); // it was not
    hub.connect(MediaType::Video, &blue, &listener).await.unwrap();
    let recording = stage.recording(&listener, "one.mp4").await;
    pass(3_000).await;
    let recorded = recording.end((160, 120)).await;
    assert!(is(recorded.last(80, 60), BLUE));
    assert!(recorded.tone(LOW) < 30.0 && recorded.tone(HIGH) > 1_000.0);
    let refused = hub.connect(MediaType::Data, &red, &listener).await.unwrap_err();
    assert_eq!(refused.code(), Some(protocol::Code::IllegalParam), "{refused}");
}

#[tokio::test]
async fn pictures_are_laid_over_a_master() {
    let stage = Stage::new().await;
    let hub = AlphaBlending::create(&stage.client, &stage.pipeline)
        .await
        .unwrap();
    let (_red, red) = stage.guest("red.webm", &hub).await;
    let (_blue, blue) = stage.guest("blue.webm", &hub).await;
    hub.set_master(&red, 1).await.unwrap();
    hub.set_port_properties(0.5, 0.5, 2, 0.5, 0.5, &blue)
        .await
        .unwrap();
    pass(1_000).await;
    let recording = stage.recording(&red, "laid.mp4").await;
    pass(2_000).await;
    hub.set_port_properties(0.5, 0.5, 0, 0.5, 0.5, &blue)
        .await
        .unwrap();
    pass(1_500).await;
    let recorded = recording.end((160, 120)).await;
    let early = recorded.pictures.len() / 4;
    let found = (recorded.colour(early, 40, 30), recorded.colour(early, 120, 90));
    assert!(
        is(found.0, RED) && is(found.1, BLUE),
        "{found:?} of {}",
        recorded.pictures.len()
    );
    assert!(is(recorded.last(120, 90), RED), "the master is higher now");
}
