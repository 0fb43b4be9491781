//! Real media into real files, judged by FFmpeg.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::Reach;
use kms_core::media::{Branch, Codec, Format, Quality, Segment, Source, Timeline, Wanted, probe};
use kms_core::types::MediaType;
use serde_json::Value;

use super::file::Closed;
use super::naming::{InUse, Naming};
use super::profile::MediaProfileSpecType as Profile;
use super::segments::{GapsFixMethod, Segments};
use super::upload::{Storage, Uploads};
use super::uri;
use super::writer::{News, Plan, Writer};

mod beginnings;
mod events;
mod gaps;
mod segments;

const PATIENCE: Duration = Duration::from_secs(15);
const QUALITY: Quality = Quality::of(500_000);

/// Lets time pass, in which media flows.
fn pass(milliseconds: u64) {
    let (_sender, never) = sync_channel::<()>(0);
    let _ = never.recv_timeout(Duration::from_millis(milliseconds));
}

fn encoded(codec: Codec) -> Wanted {
    Wanted {
        format: Format::Encoded(codec),
        quality: QUALITY,
        in_order: false,
    }
}

/// Something live that gives one kind of media.
struct Live {
    source: Arc<Source>,
    _segment: Option<Segment>,
    _under: Option<Box<Live>>,
}

impl Live {
    fn raw(timeline: &Timeline, kind: MediaType, description: &str) -> Live {
        let segment = Segment::new(timeline, "live", |_| {});
        let bin = segment.add(description).expect("elements");
        let sink = AppSink::builder().build();
        segment.pipeline().add(&sink).expect("a sink");
        bin.link(&sink).expect("a link");
        let source = Source::new(timeline, "live", kind);
        source.set_native(Some(Branch::native(Format::Raw, &sink)));
        segment.play().expect("it plays");
        Live {
            source,
            _segment: Some(segment),
            _under: None,
        }
    }

    fn video(timeline: &Timeline, width: u32) -> Live {
        let height = width * 3 / 4;
        let caps = format!("video/x-raw,format=I420,width={width},height={height},framerate=30/1");
        Live::raw(
            timeline,
            MediaType::Video,
            &format!("videotestsrc is-live=true ! capsfilter caps={caps}"),
        )
    }

    fn audio(timeline: &Timeline) -> Live {
        Live::sound(timeline, "sine")
    }

    /// Of which no two packets are the same.
    fn noise(timeline: &Timeline) -> Live {
        Live::sound(timeline, "white-noise")
    }

    fn sound(timeline: &Timeline, wave: &str) -> Live {
        let caps = "audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";
        Live::raw(
            timeline,
            MediaType::Audio,
            &format!("audiotestsrc is-live=true wave={wave} samplesperbuffer=480 ! capsfilter caps={caps}"),
        )
    }

    /// One whose native format is this codec, such as that of a WebRTC endpoint.
    fn native(self, timeline: &Timeline, codec: Codec) -> Live {
        let source = Source::new(timeline, "native", codec.kind());
        source.set_native(self.source.obtain(|_| Some(encoded(codec))).expect("an encoder"));
        Live {
            source,
            _segment: None,
            _under: Some(Box::new(self)),
        }
    }
}

/// Tries cases side by side: they mostly wait.
fn side_by_side<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    std::thread::scope(|scope| {
        let test = &test;
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

/// A directory of a test's own.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("kms-recorder-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

struct File {
    writer: Writer,
    news: Receiver<News>,
    closed: RefCell<Vec<Closed>>,
    /// How much was in the file when it was heard that it began, seconds: on a busy machine that takes a moment.
    heard_at: Cell<f64>,
    path: PathBuf,
}

impl File {
    fn new(timeline: &Timeline, profile: Profile, name: &str) -> File {
        File::with(timeline, profile, name, Segments::default(), GapsFixMethod::None)
    }

    fn with(
        timeline: &Timeline,
        profile: Profile,
        name: &str,
        segments: Segments,
        gaps: GapsFixMethod,
    ) -> File {
        let path = directory(name).join("recording");
        let (sender, news) = sync_channel(100);
        let profile = profile.profile();
        let target = uri::target(path.to_str().expect("text")).expect("a target");
        let uploads = Uploads::start(Storage::default()).expect("a thread");
        let plan = Plan {
            profile,
            naming: Arc::new(Naming::new(target, Reach::default(), InUse::default(), uploads)),
            name: name.into(),
            segments,
            gaps,
            latency: Arc::default(),
        };
        let writer = Writer::new(timeline, plan, move |news| {
            let _ = sender.try_send(news);
        });
        File {
            writer,
            news,
            closed: RefCell::default(),
            heard_at: Cell::default(),
            path,
        }
    }

    fn feed(&self, live: &Live) {
        self.writer.feed(live.source.kind(), Some(&live.source), QUALITY);
    }

    /// What is told next, but for files that are complete.
    fn hear(&self) -> Result<News, RecvTimeoutError> {
        loop {
            match self.news.recv_timeout(PATIENCE) {
                Ok(News::Closed(closed, _)) => self.closed.borrow_mut().push(closed),
                Ok(News::Unfit(_)) => {}
                other => return other,
            }
        }
    }

    fn began(&self) {
        match self.hear() {
            Ok(News::Began) => {
                let kinds = [MediaType::Audio, MediaType::Video];
                let written = kinds.iter().filter_map(|kind| self.writer.written(*kind));
                self.heard_at
                    .set(seconds(written.map(|w| w.0).max().unwrap_or_default()));
            }
            other => panic!("it should begin: {other:?}"),
        }
    }

    fn finish(self) -> Judged {
        self.end();
        let judged = judge(&self.path);
        let _ = std::fs::remove_dir_all(self.path.parent().expect("a directory"));
        judged
    }

    /// Closes it, and gives all files that were written.
    fn end(&self) -> Vec<Closed> {
        self.writer.finish();
        match self.hear() {
            Ok(News::Finished) => {}
            other => panic!("it should be finished: {other:?}"),
        }
        self.closed.take()
    }
}

/// What FFmpeg says of a file.
#[derive(Debug)]
struct Judged {
    start: f64,
    duration: f64,
    /// Codec, beginning and end of each kind: audio, video.
    audio: Option<Stream>,
    video: Option<Stream>,
    /// Errors of decoding.
    errors: String,
}

#[derive(Debug)]
struct Stream {
    codec: String,
    /// When each packet is shown, seconds, ascending.
    times: Vec<f64>,
    /// When the last one ends.
    until: f64,
    /// Pictures decoded, by their width.
    widths: Vec<u64>,
}

impl Stream {
    /// Nowhere is there no packet for so long.
    fn has_no_gap(&self, name: &str, seconds: f64) {
        for pair in self.times.windows(2) {
            assert!(
                pair[1] - pair[0] < seconds,
                "{name}: {} has nothing between {} and {}",
                self.codec,
                pair[0],
                pair[1]
            );
        }
    }
}

fn ffprobe(path: &Path, what: &[&str]) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json"])
        .args(what)
        .arg(path)
        .output()
        .expect("ffprobe");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|s| s.parse().ok()).unwrap_or(f64::NAN)
}

fn judge(path: &Path) -> Judged {
    let all = ffprobe(
        path,
        &[
            "-show_entries",
            "format=start_time,duration:stream=codec_name,codec_type:packet=pts_time,duration_time,codec_type",
        ],
    );
    let frames = ffprobe(path, &["-select_streams", "v", "-show_entries", "frame=width"]);
    let widths: Vec<u64> = frames["frames"]
        .as_array()
        .map(|frames| frames.iter().filter_map(|f| f["width"].as_u64()).collect())
        .unwrap_or_default();
    let stream = |kind: &str| {
        let streams = all["streams"].as_array()?;
        let found = streams.iter().find(|s| s["codec_type"] == kind)?;
        let packets = all["packets"]
            .as_array()?
            .iter()
            .filter(|p| p["codec_type"] == kind);
        let (mut times, mut until) = (Vec::new(), 0.0_f64);
        for packet in packets {
            let at = number(&packet["pts_time"]);
            let lasts = number(&packet["duration_time"]);
            times.push(at);
            until = until.max(at + if lasts.is_nan() { 0.0 } else { lasts });
        }
        times.sort_by(f64::total_cmp);
        Some(Stream {
            codec: found["codec_name"].as_str().unwrap_or_default().to_owned(),
            times,
            until,
            widths: if kind == "video" {
                widths.clone()
            } else {
                Vec::new()
            },
        })
    };
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        // The file's own times: else FFmpeg squeezes them into a frame rate that it guesses, and complains of that.
        .args([
            "-fps_mode",
            "passthrough",
            "-enc_time_base",
            "-1",
            "-f",
            "null",
            "-",
        ])
        .output()
        .expect("ffmpeg");
    Judged {
        start: number(&all["format"]["start_time"]),
        duration: number(&all["format"]["duration"]),
        audio: stream("audio"),
        video: stream("video"),
        errors: String::from_utf8_lossy(&decoded.stderr).into_owned(),
    }
}

impl Judged {
    fn audio(&self) -> &Stream {
        self.audio.as_ref().expect("audio")
    }

    fn video(&self) -> &Stream {
        self.video.as_ref().expect("video")
    }

    /// It begins at 0, lasts so long, and decodes.
    fn is_good(&self, lasts: Lasts) {
        assert_eq!(self.errors, "", "{self:?}");
        assert!(self.start.abs() < 0.05, "it begins at {}", self.start);
        assert!(
            self.duration > lasts.least - 0.2 && self.duration < lasts.most + 0.2,
            "it lasts {}, not {lasts:?}",
            self.duration
        );
    }
}

/// How long a recording should last, seconds: media of so long was written, in so much time. On a busy machine it takes longer.
#[derive(Debug, Clone, Copy)]
struct Lasts {
    least: f64,
    most: f64,
}

impl Lasts {
    fn and(self, next: Lasts) -> Lasts {
        Lasts {
            least: self.least + next.least,
            most: self.most + next.most,
        }
    }
}

fn seconds(time: gst::ClockTime) -> f64 {
    time.mseconds() as f64 / 1_000.0
}

impl File {
    /// Waits until each of these kinds is that much further in the file than the shortest was, and has media of its source.
    fn grow_of(&self, timeline: &Timeline, milliseconds: u64, kinds: &[MediaType]) -> Lasts {
        let from = timeline.now();
        let written = || -> Vec<_> {
            kinds
                .iter()
                .filter_map(|kind| self.writer.written(*kind))
                .collect()
        };
        let before = written();
        let begun = before.iter().map(|w| w.0).min().unwrap_or_default();
        let until = begun + gst::ClockTime::from_mseconds(milliseconds);
        // A busy machine leaves out pictures. Fewer than every other is no recording.
        let least = milliseconds / 60;
        let enough = |now: Vec<(gst::ClockTime, u64)>| {
            let mut both = now.iter().zip(&before);
            both.all(|(now, before)| now.0 >= until && now.1 >= before.1 + least)
        };
        while !enough(written()) {
            assert!(
                timeline.now() < from + gst::ClockTime::from_seconds(20),
                "the file does not grow: {:?}",
                written()
            );
            pass(20);
        }
        Lasts {
            least: milliseconds as f64 / 1_000.0,
            // What one kind was ahead of the other, and what came while both were waited for.
            most: seconds(timeline.now() - from) + (1.0 + self.heard_at.get()).min(seconds(begun) + 0.3),
        }
    }
}

impl File {
    fn grow(&self, timeline: &Timeline, milliseconds: u64) -> Lasts {
        self.grow_of(timeline, milliseconds, &[MediaType::Audio, MediaType::Video])
    }
}

/// Records for a second and a half.
fn record(timeline: &Timeline, file: &File) -> Lasts {
    file.began();
    let kinds = [MediaType::Audio, MediaType::Video];
    let written = kinds.iter().filter_map(|kind| file.writer.written(*kind));
    // An encoder may be slow to begin: then the other kind is far ahead.
    let (ahead, from) = (written.map(|w| w.0).max().unwrap_or_default(), timeline.now());
    let lasts = file.grow(timeline, 1_500);
    Lasts {
        most: lasts.most.max(seconds(timeline.now() - from + ahead) + 0.3),
        ..lasts
    }
}

fn every_kind(profile: Profile, name: &str, audio: Option<&str>, video: Option<&str>) {
    let timeline = Timeline::start().expect("GStreamer");
    let lives = [Live::audio(&timeline), Live::video(&timeline, 320)];
    let file = File::new(&timeline, profile, name);
    lives.iter().for_each(|live| file.feed(live));
    let lasts = record(&timeline, &file);
    let judged = file.finish();
    assert_eq!(
        judged.audio.as_ref().map(|s| s.codec.as_str()),
        audio,
        "{judged:?}"
    );
    assert_eq!(
        judged.video.as_ref().map(|s| s.codec.as_str()),
        video,
        "{judged:?}"
    );
    if let Some(video) = &judged.video {
        assert!(
            video.widths.len() > 20,
            "{name}: {} pictures: {video:?}",
            video.widths.len()
        );
        video.has_no_gap(name, 1.0);
    }
    judged.is_good(lasts);
}

#[test]
fn webm() {
    every_kind(Profile::Webm, "webm", Some("opus"), Some("vp8"));
}

#[test]
fn mkv() {
    every_kind(Profile::Mkv, "mkv", Some("opus"), Some("vp8"));
}

#[test]
fn mp4() {
    every_kind(Profile::Mp4, "mp4", Some("aac"), Some("h264"));
}

#[test]
fn flv() {
    every_kind(Profile::Flv, "flv", Some("aac"), Some("h264"));
}

#[test]
fn one_kind_only() {
    every_kind(Profile::WebmAudioOnly, "webm-audio", Some("opus"), None);
    every_kind(Profile::Mp4AudioOnly, "mp4-audio", Some("aac"), None);
    every_kind(Profile::MkvAudioOnly, "mkv-audio", Some("opus"), None);
}

#[test]
fn video_only() {
    every_kind(Profile::WebmVideoOnly, "webm-video", None, Some("vp8"));
    every_kind(Profile::Mp4VideoOnly, "mp4-video", None, Some("h264"));
    every_kind(Profile::MkvVideoOnly, "mkv-video", None, Some("vp8"));
    every_kind(Profile::JpegVideoOnly, "jpeg", None, Some("mjpeg"));
}

/// Pairs of codecs that a container takes as they are.
fn passes(profile: Profile, name: &str, pairs: &[(Codec, &str, Codec, &str)]) {
    for (audio, audio_name, video, video_name) in pairs {
        let timeline = Timeline::start().expect("GStreamer");
        let lives = [
            Live::audio(&timeline).native(&timeline, *audio),
            Live::video(&timeline, 320).native(&timeline, *video),
        ];
        let file = File::new(&timeline, profile, &format!("{name}-{audio_name}-{video_name}"));
        lives.iter().for_each(|live| file.feed(live));
        let lasts = record(&timeline, &file);
        // What is fed in is what the source itself gives: there is no encoder of the recorder's.
        let judged = file.finish();
        assert_eq!(judged.audio().codec, *audio_name);
        assert_eq!(judged.video().codec, *video_name);
        judged.is_good(lasts);
    }
}

#[test]
fn webm_takes_its_codecs_as_they_are() {
    let opus = (Codec::Opus, "opus");
    let with = |video, name| (opus.0, opus.1, video, name);
    passes(
        Profile::Webm,
        "webm",
        &[with(Codec::Vp9, "vp9"), with(Codec::Av1, "av1")],
    );
}

#[test]
fn mp4_takes_its_codecs_as_they_are() {
    passes(
        Profile::Mp4,
        "mp4",
        &[
            (Codec::Opus, "opus", Codec::H265, "hevc"),
            (Codec::Aac, "aac", Codec::Vp9, "vp9"),
            (Codec::Opus, "opus", Codec::H264, "h264"),
        ],
    );
}

#[test]
fn matroska_takes_everything() {
    passes(
        Profile::Mkv,
        "mkv",
        &[
            (Codec::Pcmu, "pcm_mulaw", Codec::H264, "h264"),
            (Codec::Aac, "aac", Codec::H265, "hevc"),
        ],
    );
}

/// Video from the beginning; audio is connected, but comes only then, if at all.
fn late_audio(profile: Profile, name: &str, later: bool) {
    let timeline = Timeline::start().expect("GStreamer");
    let video = Live::video(&timeline, 320);
    let live = Live::audio(&timeline);
    let audio = Source::new(&timeline, "late", MediaType::Audio);
    let file = File::new(&timeline, profile, name);
    file.feed(&video);
    file.writer.feed(MediaType::Audio, Some(&audio), QUALITY);
    file.began();
    file.grow_of(&timeline, 2_500, &[MediaType::Video]);
    if later {
        audio.set_native(
            live.source
                .obtain(|_| Some(encoded(Codec::Opus)))
                .expect("an encoder"),
        );
        file.writer.feed(MediaType::Audio, Some(&audio), QUALITY);
        file.grow(&timeline, 1_500);
    }
    let judged = file.finish();
    assert_eq!(judged.errors, "");
    assert!(judged.start.abs() < 0.05);
    let video = judged.video().until;
    assert!(video > 2.3, "{video}");
    judged.video().has_no_gap(name, 1.0);
    let audio = judged.audio();
    audio.has_no_gap(name, 0.4);
    assert!(audio.until > video - 1.8, "{} of {video}", audio.until);
}

#[test]
fn audio_comes_late() {
    let cases = [(Profile::Webm, "late-webm"), (Profile::Mp4, "late-mp4")];
    side_by_side(cases, |(profile, name)| late_audio(profile, name, true));
}

#[test]
fn audio_never_comes() {
    let cases = [(Profile::Mkv, "never-mkv"), (Profile::Flv, "never-flv")];
    side_by_side(cases, |(profile, name)| late_audio(profile, name, false));
}

/// Video goes away and comes back; meanwhile the file grows.
fn video_goes_away(profile: Profile, codec: Codec, name: &str) {
    let timeline = Timeline::start().expect("GStreamer");
    let video = Live::video(&timeline, 320).native(&timeline, codec);
    let audio = Live::audio(&timeline);
    let file = File::new(&timeline, profile, name);
    file.feed(&video);
    file.feed(&audio);
    file.began();
    file.grow(&timeline, 500);
    file.writer.feed(MediaType::Video, None, QUALITY);
    pass(2_500);
    let before = std::fs::metadata(&file.path).expect("a file").len();
    pass(1_000);
    let after = std::fs::metadata(&file.path).expect("a file").len();
    assert!(after > before + 2_000, "the muxer waits: {before}, {after}");
    file.feed(&video);
    file.grow(&timeline, 2_500);
    let judged = file.finish();
    let ends = (judged.audio().until, judged.video().until);
    judged.is_good(Lasts {
        least: ends.0.min(ends.1),
        most: ends.0.max(ends.1),
    });
    assert!(judged.video().until > 4.5, "{}", judged.video().until);
    judged.audio().has_no_gap(name, 0.5);
    assert!(judged.video().widths.len() > 30);
}

#[test]
fn video_goes_away_and_comes_back() {
    let cases = [
        (Profile::Webm, Codec::Vp8, "away-webm"),
        (Profile::Mp4, Codec::H264, "away-mp4"),
        (Profile::Mkv, Codec::H264, "away-mkv"),
    ];
    side_by_side(cases, |(profile, codec, name)| {
        video_goes_away(profile, codec, name)
    });
}

#[test]
fn silent_video_of_other_codecs_decodes() {
    let cases = [
        (Profile::Mp4, Codec::Vp9, "away-vp9"),
        (Profile::Webm, Codec::Av1, "away-av1"),
        (Profile::Flv, Codec::H264, "away-flv"),
        (Profile::Mp4, Codec::H265, "away-h265"),
    ];
    side_by_side(cases, |(profile, codec, name)| {
        video_goes_away(profile, codec, name)
    });
}

#[test]
fn a_pause_leaves_no_gap() {
    for (profile, name) in [(Profile::Webm, "pause-webm"), (Profile::Mp4, "pause-mp4")] {
        let timeline = Timeline::start().expect("GStreamer");
        let lives = [Live::audio(&timeline), Live::video(&timeline, 320)];
        let file = File::new(&timeline, profile, name);
        lives.iter().for_each(|live| file.feed(live));
        let one = record(&timeline, &file);
        file.writer.pause();
        pass(2_000);
        file.writer.resume();
        let two = file.grow(&timeline, 1_500);
        let judged = file.finish();
        judged.is_good(one.and(two));
        judged.video().has_no_gap(name, 1.0);
        judged.audio().has_no_gap(name, 1.0);
    }
}

/// Another source takes over in the middle.
fn switched(profile: Profile, name: &str, first: Live, second: Live, timeline: &Timeline) -> Judged {
    let audio = Live::audio(timeline);
    let file = File::new(timeline, profile, name);
    file.feed(&audio);
    file.feed(&first);
    let one = record(timeline, &file);
    file.feed(&second);
    // Longer than what of the first may still be on its way.
    let two = file.grow(timeline, 2_500);
    let judged = file.finish();
    judged.is_good(one.and(two));
    judged.video().has_no_gap(name, 2.5);
    assert!(judged.video().until > 2.8, "{name}: {:?}", judged.video());
    judged
}

#[test]
fn the_codec_changes() {
    let timeline = Timeline::start().expect("GStreamer");
    let vp8 = Live::video(&timeline, 320).native(&timeline, Codec::Vp8);
    let h264 = Live::video(&timeline, 320).native(&timeline, Codec::H264);
    let judged = switched(Profile::Mkv, "codec", vp8, h264, &timeline);
    assert_eq!(judged.video().codec, "vp8");
}

#[test]
fn the_size_changes() {
    for (profile, codec, name) in [
        (Profile::Mp4, Codec::H264, "size-mp4"),
        (Profile::Webm, Codec::Vp8, "size-webm"),
        (Profile::Flv, Codec::H264, "size-flv"),
    ] {
        let timeline = Timeline::start().expect("GStreamer");
        let small = Live::video(&timeline, 320).native(&timeline, codec);
        let large = Live::video(&timeline, 640).native(&timeline, codec);
        let judged = switched(profile, name, small, large, &timeline);
        let widths = &judged.video().widths;
        let count = |width| widths.iter().filter(|w| **w == width).count();
        assert!(count(320) > 20 && count(640) > 20, "{name}: {widths:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_an_error() {
    let timeline = Timeline::start().expect("GStreamer");
    let live = Live::video(&timeline, 320);
    let file = File::new(&timeline, Profile::Webm, "unwritable");
    // A directory stands where the file should.
    std::fs::create_dir_all(&file.path).expect("a directory");
    file.feed(&live);
    match file.hear() {
        Ok(News::Failed { error, .. }) => {
            assert!(error.message.contains("can't be written"), "{error}");
            assert!(error.message.contains("recording"), "the file is named: {error}");
        }
        other => panic!("it should fail: {other:?}"),
    }
    assert!(matches!(file.hear(), Ok(News::Finished)));
}

#[test]
fn an_abandoned_mp4_plays_nearly_to_its_end() {
    let timeline = Timeline::start().expect("GStreamer");
    let lives = [Live::audio(&timeline), Live::video(&timeline, 320)];
    let file = File::new(&timeline, Profile::Mp4, "abandoned");
    lives.iter().for_each(|live| file.feed(live));
    file.began();
    let from = timeline.now();
    pass(4_300);
    let lasts = (timeline.now() - from).mseconds() as f64 / 1_000.0;
    let copy = file.path.with_extension("copy");
    std::fs::copy(&file.path, &copy).expect("a copy");
    drop(file.writer);
    let judged = judge(&copy);
    assert_eq!(judged.errors, "");
    assert!(
        judged.video().until > lasts - 1.5,
        "{} of {lasts}",
        judged.video().until
    );
    assert!(
        judged.audio().until > lasts - 1.5,
        "{} of {lasts}",
        judged.audio().until
    );
    let _ = std::fs::remove_dir_all(copy.parent().expect("a directory"));
}

#[test]
fn nothing_came_and_nothing_is_left() {
    let timeline = Timeline::start().expect("GStreamer");
    let file = File::new(&timeline, Profile::Webm, "nothing");
    file.writer.finish();
    assert!(matches!(file.hear(), Ok(News::Finished)));
    assert!(!file.path.exists());
}
