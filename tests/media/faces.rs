//! Filters that look for faces. The films are made of a photograph that is moved, scaled and turned, so it is known where its face is in
//! each picture; and each picture has its number in it, so it is known which one it is.

use std::f64::consts::TAU;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use kms_client::api::types::{self, MediaProfileSpecType, MosaicMode, MosaicStyle};
use kms_client::api::*;

use crate::daemon::Daemon;
use crate::files::{Folder, uri};
use crate::filters::decoded;
use crate::hubs::pictures;
use crate::player::{pipeline, within};

const WIDTH: usize = 640;
const HEIGHT: usize = 480;
const RATE: usize = 30;

/// Photographs are squares of this side; a circle of them is shown, around the middle of the face.
const SIDE: usize = 300;

/// A photograph of a face.
#[derive(Clone, Copy)]
struct Photo {
    file: &'static str,
    /// The middle of the face, and how far it is from there to its sides.
    middle: (f64, f64),
    half: f64,
}

const ASTRONAUT: Photo = Photo {
    file: "astronaut",
    middle: (149.0, 118.0),
    half: 42.0,
};
const PRESIDENT: Photo = Photo {
    file: "president",
    middle: (132.0, 80.0),
    half: 44.0,
};
/// What is shown around the face, in halves of it.
const CIRCLE: f64 = 1.8;

fn path(photo: Photo) -> String {
    format!(
        "{}/tests/media/faces/{}.jpg",
        env!("CARGO_MANIFEST_DIR"),
        photo.file
    )
}

fn load(photo: Photo) -> Vec<u8> {
    decoded(Path::new(&path(photo)), &["-pix_fmt", "rgb24", "-f", "rawvideo"])
}

/// Where a face is: its middle, its half width, and by how much it is turned.
#[derive(Clone, Copy)]
struct Pose {
    x: f64,
    y: f64,
    half: f64,
    turned: f64,
}

impl Pose {
    /// Where in the picture a point of the face is, in halves of it from its middle.
    fn place(self, (x, y): (f64, f64)) -> (f64, f64) {
        let (sin, cos) = self.turned.sin_cos();
        (
            self.x + self.half * (x * cos - y * sin),
            self.y + self.half * (x * sin + y * cos),
        )
    }

    /// And the other way.
    fn point(self, (x, y): (f64, f64)) -> (f64, f64) {
        let (sin, cos) = self.turned.sin_cos();
        let (x, y) = ((x - self.x) / self.half, (y - self.y) / self.half);
        (x * cos + y * sin, -x * sin + y * cos)
    }
}

/// A value between pixels.
fn sample(pixels: &[u8], (width, height): (usize, usize), (x, y): (f64, f64), channel: usize) -> f64 {
    let (x, y) = (
        x.clamp(0.0, width as f64 - 1.001),
        y.clamp(0.0, height as f64 - 1.001),
    );
    let (left, top) = (x as usize, y as usize);
    let (right, low) = (x.fract(), y.fract());
    let at = |x: usize, y: usize| f64::from(pixels[(y * width + x) * 3 + channel]);
    let above = at(left, top) * (1.0 - right) + at(left + 1, top) * right;
    let below = at(left, top + 1) * (1.0 - right) + at(left + 1, top + 1) * right;
    above * (1.0 - low) + below * low
}

fn draw(picture: &mut [u8], photo: Photo, pixels: &[u8], pose: Pose) {
    let far = pose.half * CIRCLE;
    let range = |middle: f64, most: usize| {
        let inside = |v: f64| v.clamp(0.0, most as f64) as usize;
        inside(middle - far)..inside(middle + far)
    };
    for y in range(pose.y, HEIGHT) {
        for x in range(pose.x, WIDTH) {
            let (px, py) = pose.point((x as f64, y as f64));
            if px.hypot(py) < CIRCLE {
                let place = (photo.middle.0 + px * photo.half, photo.middle.1 + py * photo.half);
                for channel in 0..3 {
                    picture[(y * WIDTH + x) * 3 + channel] =
                        sample(pixels, (SIDE, SIDE), place, channel) as u8;
                }
            }
        }
    }
}

/// Squares that a picture's number is written in, and their side.
const BITS: usize = 10;
const SQUARE: usize = 16;

fn number(picture: &[u8]) -> usize {
    let bit = |bit: usize| {
        let at = (HEIGHT - SQUARE / 2) * WIDTH + bit * SQUARE + SQUARE / 2;
        usize::from(picture[at * 3 + 1] > 128) << bit
    };
    (0..BITS).map(bit).sum()
}

/// Makes a film of faces; `poses` says where each is in the picture of a number.
fn film(file: &Path, length: usize, cast: &[(Photo, &dyn Fn(f64) -> Pose)]) {
    let mut ffmpeg = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"])
        .args([
            "-s",
            &format!("{WIDTH}x{HEIGHT}"),
            "-r",
            &RATE.to_string(),
            "-i",
            "-",
        ])
        .args([
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-crf",
            "18",
            "-pix_fmt",
            "yuv420p",
            "-g",
            "30",
        ])
        .arg(file)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = ffmpeg.stdin.take().unwrap();
    let photos: Vec<Vec<u8>> = cast.iter().map(|(photo, _)| load(*photo)).collect();
    // A wall with a pattern.
    let wall: Vec<u8> = (0..WIDTH * HEIGHT)
        .flat_map(|n| {
            let (x, y) = (n % WIDTH, n / WIDTH);
            let shade = 110 + (x / 40 + y / 40) % 3 * 20;
            [shade as u8, shade as u8 + 10, shade as u8 + 20]
        })
        .collect();
    for n in 0..length {
        let mut picture = wall.clone();
        for ((photo, pose), pixels) in cast.iter().zip(&photos) {
            draw(&mut picture, *photo, pixels, pose(n as f64 / RATE as f64));
        }
        for y in HEIGHT - SQUARE..HEIGHT {
            for x in 0..BITS * SQUARE {
                let value = if n >> (x / SQUARE) & 1 == 1 { 255 } else { 0 };
                picture[(y * WIDTH + x) * 3..][..3].fill(value);
            }
        }
        input.write_all(&picture).unwrap();
    }
    drop(input);
    assert!(ffmpeg.wait().unwrap().success());
}

/// Points of a face that it is known by, each way.
const GRID: usize = 32;

/// What is left of the face in a picture, 0 to 1: how its details (what differs from their surroundings) go with those of the photograph.
/// `None`: less than half of it is in the picture.
fn visible(picture: &[u8], photo: Photo, pixels: &[u8], pose: Pose) -> Option<f64> {
    let place = |n: usize| {
        let at = |n: usize| ((n as f64 + 0.5) / GRID as f64 - 0.5) * 1.6;
        (at(n % GRID), at(n / GRID))
    };
    let (mut seen, mut is, mut there) = (vec![], vec![], vec![]);
    for n in 0..GRID * GRID {
        let (x, y) = pose.place(place(n));
        let inside = (0.0..WIDTH as f64).contains(&x) && (0.0..HEIGHT as f64).contains(&y);
        there.push(inside);
        seen.push(if inside {
            sample(picture, (WIDTH, HEIGHT), (x, y), 1)
        } else {
            0.0
        });
        let (px, py) = place(n);
        let at = (photo.middle.0 + px * photo.half, photo.middle.1 + py * photo.half);
        is.push(sample(pixels, (SIDE, SIDE), at, 1));
    }
    if there.iter().filter(|t| **t).count() * 2 < GRID * GRID {
        return None;
    }
    let detail = |values: &[f64], n: usize| {
        let (x, y) = (n % GRID, n / GRID);
        let (mut sum, mut count) = (0.0, 0.0);
        for y in y.saturating_sub(3)..(y + 4).min(GRID) {
            for x in x.saturating_sub(3)..(x + 4).min(GRID) {
                if there[y * GRID + x] {
                    sum += values[y * GRID + x];
                    count += 1.0;
                }
            }
        }
        values[n] - sum / count
    };
    let (mut both, mut one, mut other) = (0.0, 0.0, 0.0);
    for n in (0..GRID * GRID).filter(|n| there[*n]) {
        let (a, b) = (detail(&seen, n), detail(&is, n));
        both += a * b;
        one += a * a;
        other += b * b;
    }
    Some(both / (one * other).sqrt().max(1.0))
}

/// More than this, and a face can be recognised; without a mosaic there is 0.9 and more of it.
const VISIBLE: f64 = 0.45;

/// In how many of the pictures a face was there, and in which it was visible.
fn shown(file: &Path, photo: Photo, pose: &dyn Fn(f64) -> Pose) -> (usize, Vec<(usize, f64)>) {
    let pixels = load(photo);
    let mut there = 0;
    let mut visible_in = vec![];
    for picture in pictures(file, (WIDTH, HEIGHT)) {
        let n = number(&picture);
        if let Some(left) = visible(&picture, photo, &pixels, pose(n as f64 / RATE as f64)) {
            there += 1;
            if left > VISIBLE {
                visible_in.push((n, left));
            }
        }
    }
    (there, visible_in)
}

/// Moves about; comes closer and goes away, turning; leaves at the right and comes back, again and again.
fn restless(t: f64) -> Pose {
    let turned = if (3.0..6.0).contains(&t) {
        0.45 * (t * TAU / 3.0).sin()
    } else {
        0.0
    };
    let half = if (3.0..6.0).contains(&t) {
        42.0 + 14.0 * (t * TAU / 1.5).sin()
    } else {
        42.0
    };
    let x = if t < 6.0 {
        320.0 + 180.0 * (t * TAU / 3.0).sin()
    } else {
        // Out beyond 640 and back, every two seconds.
        320.0 + 420.0 * ((t - 6.0) * TAU / 4.0).sin().abs()
    };
    Pose {
        x,
        y: 220.0 + 60.0 * (t * TAU / 2.5).sin(),
        half,
        turned,
    }
}

/// What the player, a filter and a recorder make of a film.
struct Studio {
    folder: Folder,
    _daemon: Daemon,
    client: kms_client::Client,
    pipeline: MediaPipeline,
    player: PlayerEndpoint,
}

impl Studio {
    async fn new(length: usize, cast: &[(Photo, &dyn Fn(f64) -> Pose)]) -> Studio {
        let folder = Folder::new();
        film(&folder.path("film.mp4"), length, cast);
        let daemon = Daemon::start();
        let (client, pipeline) = pipeline(&daemon).await;
        let player = PlayerEndpoint::create(&client, &pipeline, &uri(&folder.path("film.mp4"))).await;
        Studio {
            player: player.unwrap(),
            folder,
            _daemon: daemon,
            client,
            pipeline,
        }
    }

    async fn recorder(&self) -> RecorderEndpoint {
        RecorderEndpoint::create(&self.client, &self.pipeline, &uri(&self.folder.path("out.webm")))
            .media_profile(MediaProfileSpecType::WebmVideoOnly)
            .await
            .unwrap()
    }

    /// Plays all of it into the recorder.
    async fn record(&self, recorder: &RecorderEndpoint) {
        let mut ends = self.player.on_end_of_stream().await.unwrap();
        recorder.record().await.unwrap();
        self.player.play().await.unwrap();
        within("the end", ends.next()).await;
        recorder.stop_and_wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_face_that_nobody_enrolled_is_never_seen() {
    let studio = Studio::new(12 * RATE, &[(ASTRONAUT, &restless)]).await;
    let (there, visible) = shown(&studio.folder.path("film.mp4"), ASTRONAUT, &restless);
    assert!(
        visible.len() == there && there > 250,
        "{} of {there}: that is how it is judged",
        visible.len()
    );

    let filter = MosaicFilter::create(&studio.client, &studio.pipeline)
        .await
        .unwrap();
    let recorder = studio.recorder().await;
    studio.player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    studio.record(&recorder).await;
    let (there, visible) = shown(&studio.folder.path("out.webm"), ASTRONAUT, &restless);
    println!("a face in {there} pictures, visible in {}", visible.len());
    assert!(there > 100, "{there} pictures with a face");
    assert_eq!(visible, [], "pictures in which it can be seen");
}

/// Stands still, but for a slow swing.
fn calm(x: f64) -> impl Fn(f64) -> Pose {
    move |t| Pose {
        x: x + 20.0 * (t * TAU / 4.0).sin(),
        y: 220.0,
        half: 44.0,
        turned: 0.0,
    }
}

#[tokio::test]
async fn who_is_enrolled_is_seen_and_others_are_not() {
    let (left, right) = (calm(180.0), calm(460.0));
    let studio = Studio::new(8 * RATE, &[(ASTRONAUT, &left), (PRESIDENT, &right)]).await;
    let filter = MosaicFilter::create(&studio.client, &studio.pipeline)
        .mode(MosaicMode::FacesExceptEnrolled)
        .await
        .unwrap();
    let image = format!("file://{}", path(ASTRONAUT));
    filter.enroll("Eileen", &image).await.unwrap();
    assert_eq!(filter.get_enrolled().await.unwrap(), ["Eileen"]);
    for (name, uri, why) in [
        ("Nobody", "file:///nowhere.png".to_owned(), "No such file"),
        (
            "Wall",
            String::from("data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'/>"),
            "No face",
        ),
        ("", image.clone(), "1 to 256 bytes"),
    ] {
        let refused = filter.enroll(name, &uri).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let mut entered = filter.on_face_entered().await.unwrap();
    let recorder = studio.recorder().await;
    studio.player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    studio.record(&recorder).await;
    let out = studio.folder.path("out.webm");
    let (there, visible) = shown(&out, PRESIDENT, &right);
    assert!(there > 100, "{there}");
    assert_eq!(
        visible,
        [],
        "pictures of {there} in which somebody can be seen who is not enrolled"
    );
    let (there, visible) = shown(&out, ASTRONAUT, &left);
    assert!(
        visible.len() * 2 > there,
        "who is enrolled is seen in {} of {there}",
        visible.len()
    );
    let mut names = vec![];
    for _ in 0..2 {
        let event = within("FaceEntered", entered.next()).await;
        assert!((0.0..=1.0).contains(&event.confidence), "{event:?}");
        assert!((60..180).contains(&event.region.width), "{event:?}");
        names.push((event.name, event.region.x < 320));
    }
    names.sort();
    assert_eq!(names, [(String::new(), false), ("Eileen".to_owned(), true)]);
    filter.unenroll("Eileen").await.unwrap();
    assert_eq!(filter.get_enrolled().await.unwrap(), [""; 0]);
    let refused = filter.unenroll("Eileen").await.unwrap_err();
    assert!(
        refused.to_string().contains("Nobody is enrolled as 'Eileen'"),
        "{refused}"
    );
}

/// The mean colour of the middle of a face, red, green and blue.
fn colour(picture: &[u8], pose: Pose) -> Option<[f64; 3]> {
    let inside = (0.0..WIDTH as f64).contains(&pose.x) && (0.0..HEIGHT as f64).contains(&pose.y);
    inside.then(|| [0, 1, 2].map(|channel| sample(picture, (WIDTH, HEIGHT), (pose.x, pose.y), channel)))
}

#[tokio::test]
async fn an_image_stays_on_a_face() {
    // It moves, and does not leave.
    let pose = |t: f64| restless(t % 6.0);
    let studio = Studio::new(6 * RATE, &[(ASTRONAUT, &pose)]).await;
    let filter = FaceOverlayFilter::create(&studio.client, &studio.pipeline)
        .await
        .unwrap();
    let green = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 9 9'><circle cx='4.5' cy='4.5' r='4.5' fill='lime'/></svg>";
    filter
        .set_overlayed_image(green, -0.1, -0.1, 1.2, 1.2)
        .await
        .unwrap();
    for (uri, size, why) in [
        ("file:///nowhere.png", 1.0, "No such file"),
        (green, 0.0, "above 0"),
    ] {
        let refused = filter
            .set_overlayed_image(uri, 0.0, 0.0, size, 1.0)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let recorder = studio.recorder().await;
    studio.player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    studio.record(&recorder).await;
    let of = pictures(&studio.folder.path("out.webm"), (WIDTH, HEIGHT));
    let mut covered = 0;
    let mut after = 0;
    for picture in &of {
        let n = number(picture);
        if n > RATE {
            after += 1;
            let [red, green, blue] = colour(picture, pose(n as f64 / RATE as f64)).unwrap();
            covered += usize::from(green > 180.0 && red < 90.0 && blue < 90.0);
        }
    }
    println!("the image is on the face in {covered} of {after} pictures");
    assert!(
        // A machine with other work records fewer of the 150.
        after > 40 && covered * 100 > after * 95,
        "the image is on the face in {covered} of {after} pictures"
    );
}

#[tokio::test]
async fn parts_of_the_picture_or_all_of_it_are_hidden() {
    let pose = calm(180.0);
    let studio = Studio::new(2 * RATE, &[(ASTRONAUT, &pose)]).await;
    let filter = MosaicFilter::create(&studio.client, &studio.pipeline)
        .mode(MosaicMode::Regions)
        .await
        .unwrap();
    filter.set_style(MosaicStyle::Solid).await.unwrap();
    let region = |x, width| types::MosaicRegion {
        x,
        y: 25.0,
        width,
        height: 50.0,
    };
    filter.set_regions(&[region(10.0, 40.0)]).await.unwrap();
    for (x, width) in [(-1.0, 10.0), (0.0, 0.0), (0.0, 101.0)] {
        let refused = filter.set_regions(&[region(x, width)]).await.unwrap_err();
        assert!(refused.to_string().contains("percent"), "{refused}");
    }
    for blocks in [0, 33, -1] {
        filter.set_blocks(blocks).await.unwrap_err();
    }
    let recorder = studio.recorder().await;
    studio.player.connect(&filter).await.unwrap();
    filter.connect(&recorder).await.unwrap();
    studio.record(&recorder).await;
    for picture in pictures(&studio.folder.path("out.webm"), (WIDTH, HEIGHT)) {
        let at = |x: usize, y: usize| picture[(y * WIDTH + x) * 3 + 1];
        for (x, y) in [(70, 126), (314, 126), (70, 354), (314, 354), (180, 220)] {
            assert!(at(x, y) < 20, "{x}, {y}: {}", at(x, y));
        }
        for (x, y) in [(55, 220), (330, 220), (180, 110), (180, 370)] {
            assert!(at(x, y) > 60, "{x}, {y}: {}", at(x, y));
        }
    }
}
