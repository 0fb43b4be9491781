//! Real media through real conversions.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use super::*;
use crate::media::Codec;
use crate::media::hardware::Hardware;

const PATIENCE: Duration = Duration::from_secs(10);

fn no_failure(report: Report) {
    assert!(!matches!(report, Report::Failed { .. }), "{report:?}");
}

/// A live source: what `gst-launch` makes of the description, in this format.
struct Live {
    source: Arc<Source>,
    segment: Segment,
    timeline: Timeline,
}

impl Live {
    fn start(kind: MediaType, format: Format, description: &str) -> Live {
        Live::with(Timeline::start().expect("GStreamer"), kind, format, description)
    }

    fn with(timeline: Timeline, kind: MediaType, format: Format, description: &str) -> Live {
        let segment = Segment::new(&timeline, "live", no_failure);
        let bin = segment.add(description).expect("elements");
        let sink = AppSink::builder().build();
        segment.pipeline().add(&sink).expect("a sink");
        bin.link(&sink).expect("a link");
        let source = Source::new(&timeline, "live", kind);
        source.set_native(Some(Branch::native(format, &sink)));
        segment.play().expect("it plays");
        Live {
            source,
            segment,
            timeline,
        }
    }

    fn video() -> Live {
        let raw = "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1";
        Live::start(MediaType::Video, Format::Raw, raw)
    }

    fn branch(&self, format: Format) -> Arc<Branch> {
        let quality = Quality::of(300_000);
        let wanted = Wanted {
            format,
            quality,
            in_order: false,
        };
        let branch = self.source.obtain(|_| Some(wanted));
        branch.expect("it can be made").expect("there is media")
    }
}

/// What comes out of a branch: caps, whether a keyframe, running time, and the buffer itself.
type Seen = (gst::Caps, bool, gst::ClockTime, gst::Buffer);

struct Watcher {
    _segment: Segment,
    input: Input,
    seen: Receiver<Seen>,
}

impl Watcher {
    fn of(timeline: &Timeline) -> Watcher {
        Watcher::behind(timeline, "identity")
    }

    /// One that sees what comes out of an element.
    fn behind(timeline: &Timeline, element: &str) -> Watcher {
        let segment = Segment::new(timeline, "watcher", no_failure);
        let input = Input::new(&segment, gst::ClockTime::SECOND).expect("an input");
        let sink = AppSink::builder().sync(false).async_(false).build();
        let (sender, seen) = sync_channel(10_000);
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let buffer = sample.buffer().expect("a buffer");
                    let key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
                    let segment = sample.segment().expect("a segment");
                    let segment = segment.downcast_ref::<gst::ClockTime>().expect("time");
                    let at = segment.to_running_time(buffer.pts()).expect("a time");
                    let seen = (sample.caps_owned().expect("caps"), key, at, buffer.to_owned());
                    let _ = sender.try_send(seen);
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        segment.pipeline().add(&sink).expect("a sink");
        let element = segment.add(element).expect("an element");
        gst::Element::link_many([
            input.appsrc().upcast_ref(),
            element.upcast_ref::<gst::Element>(),
            sink.upcast_ref(),
        ])
        .expect("a link");
        segment.play().expect("it plays");
        Watcher {
            _segment: segment,
            input,
            seen,
        }
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("media")
    }
}

#[test]
fn raw_media_arrives_as_it_is_and_at_its_time() {
    let live = Live::video();
    let watcher = Watcher::of(&live.timeline);
    watcher.input.connect(Some(live.branch(Format::Raw)));
    let (caps, _, at, _) = watcher.next();
    assert_eq!(caps.structure(0).map(|s| s.name().as_str()), Some("video/x-raw"));
    let now = live.timeline.now();
    assert!(
        at <= now && now - at < gst::ClockTime::from_mseconds(200),
        "{at} is not now, {now}"
    );
}

#[test]
fn every_codec_can_be_encoded_and_decoded_again() {
    for kind in [MediaType::Video, MediaType::Audio] {
        for codec in Codec::all(kind) {
            let raw = match kind {
                MediaType::Video => {
                    "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1"
                }
                _ => {
                    "audiotestsrc is-live=true ! capsfilter caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2"
                }
            };
            let live = Live::start(kind, Format::Raw, raw);
            let encoded = Watcher::of(&live.timeline);
            let branch = live.branch(Format::Encoded(codec));
            encoded.input.connect(Some(branch.clone()));
            let (caps, key, ..) = encoded.next();
            let structure = caps.structure(0).expect("a structure");
            assert_eq!(Codec::from_caps(structure), Some(codec), "{caps}");
            assert!(key, "{codec} begins with a keyframe");

            // The other way: a source that gives this codec.
            let again = Source::new(&live.timeline, "again", kind);
            again.set_native(Some(branch));
            let quality = Quality::ANY;
            let raw = again
                .obtain(|_| {
                    Some(Wanted {
                        format: Format::Raw,
                        quality,
                        in_order: false,
                    })
                })
                .expect("a decoder");
            let decoded = Watcher::of(&live.timeline);
            decoded.input.connect(raw);
            let (caps, ..) = decoded.next();
            assert!(caps.to_string().contains("x-raw"), "{codec}: {caps}");
            drop(live.segment);
        }
    }
}

/// What asks for media as it is, as a container does that holds everything.
fn as_it_is(live: &Live) -> Arc<Branch> {
    let as_it_is = |format| {
        Some(Wanted {
            format,
            quality: Quality::of(300_000),
            in_order: false,
        })
    };
    let branch = live.source.obtain(as_it_is);
    branch.expect("it can be made").expect("there is media")
}

#[test]
fn media_leaves_in_the_format_that_was_asked_for_and_with_fewer_frames() {
    let live = Live::video();
    assert_eq!(as_it_is(&live).format(), Format::Raw);
    live.source.set_leaving(Some(Leaving {
        codec: Some(Codec::H264),
        most_frames: Some((10, 1)),
        audio_bits: None,
    }));
    let branch = as_it_is(&live);
    assert_eq!(branch.format(), Format::Encoded(Codec::H264));
    let watcher = Watcher::of(&live.timeline);
    watcher.input.connect(Some(branch));
    let first = watcher.next().2;
    let last = (0..20).fold(first, |_, _| watcher.next().2);
    let rate = 20.0 / (last - first).seconds_f64();
    assert!((9.5..10.5).contains(&rate), "{rate} frames a second");
    // Who can't take that gets what it can.
    assert_eq!(
        live.branch(Format::Encoded(Codec::Vp8)).format(),
        Format::Encoded(Codec::Vp8)
    );
    live.source.set_leaving(None);
    assert_eq!(as_it_is(&live).format(), Format::Raw);
}

#[test]
fn sound_leaves_with_the_bitrate_that_was_asked_for() {
    let noise = "audiotestsrc is-live=true wave=white-noise ! capsfilter caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";
    let live = Live::start(MediaType::Audio, Format::Raw, noise);
    let bytes_with = |audio_bits| {
        live.source.set_leaving(Some(Leaving {
            codec: Some(Codec::Opus),
            most_frames: None,
            audio_bits,
        }));
        let watcher = Watcher::of(&live.timeline);
        watcher.input.connect(Some(as_it_is(&live)));
        (0..50).map(|_| watcher.next().3.size()).sum::<usize>()
    };
    // A second of it.
    let (usual, little) = (bytes_with(None), bytes_with(Some(24_000)));
    assert!((2_000..4_500).contains(&little), "{little} bytes");
    assert!(usual > 2 * little, "{usual} and {little} bytes");
}

#[test]
fn a_conversion_is_shared_and_ends_with_its_last_consumer() {
    let live = Live::video();
    let vp8 = Format::Encoded(Codec::Vp8);
    let (one, two) = (Watcher::of(&live.timeline), Watcher::of(&live.timeline));
    one.input.connect(Some(live.branch(vp8)));
    two.input.connect(Some(live.branch(vp8)));
    let (a, b) = (
        one.input.branch().expect("a branch"),
        two.input.branch().expect("a branch"),
    );
    assert!(Arc::ptr_eq(&a, &b));
    assert!(one.next().1 && two.next().1, "both begin with a keyframe");
    let gone = Arc::downgrade(&a);
    drop((a, b));
    one.input.connect(None);
    assert!(gone.upgrade().is_some());
    two.input.connect(None);
    assert!(gone.upgrade().is_none());
}

#[test]
fn a_late_consumer_gets_a_keyframe_soon_and_first() {
    let live = Live::video();
    let early = Watcher::of(&live.timeline);
    early
        .input
        .connect(Some(live.branch(Format::Encoded(Codec::H264))));
    for _ in 0..20 {
        early.next();
    }
    let late = Watcher::of(&live.timeline);
    let asked = live.timeline.now();
    late.input
        .connect(Some(live.branch(Format::Encoded(Codec::H264))));
    let (_, key, at, _) = late.next();
    assert!(key);
    assert!(
        at < asked + gst::ClockTime::from_mseconds(1_000),
        "{at}, asked at {asked}"
    );
}

#[test]
fn what_a_consumer_does_to_its_buffers_is_nothing_to_the_others() {
    let sound = "audiotestsrc is-live=true samplesperbuffer=480 ! capsfilter caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2";
    let live = Live::start(MediaType::Audio, Format::Raw, sound);
    let (early, late) = (
        Watcher::of(&live.timeline),
        Watcher::behind(&live.timeline, "opusparse"),
    );
    let opus = Format::Encoded(Codec::Opus);
    early.input.connect(Some(live.branch(opus)));
    for _ in 0..5 {
        early.next();
    }
    // It counts from here on, and writes its count into buffers.
    late.input.connect(Some(live.branch(opus)));
    for _ in 0..10 {
        late.next();
    }
    let counts: Vec<u64> = early.seen.try_iter().map(|seen| seen.3.offset()).collect();
    assert!(
        counts.len() > 5 && counts.is_sorted_by(|a, b| a < b),
        "{counts:?}"
    );
}

struct Failed(std::sync::mpsc::SyncSender<()>);

impl Consumer for Failed {
    fn source_changed(&self, _: MediaType) {}
    fn source_failed(&self, _: MediaType, _: &MediaError) {
        let _ = self.0.try_send(());
    }
}

#[test]
fn an_encoder_in_hardware_that_fails_gives_way_to_software() {
    let mut timeline = Timeline::start().expect("GStreamer");
    // Stands in for hardware: works when it is tried, and fails soon.
    let fails = "identity error-after=20 ! vp8enc target-bitrate={bits} deadline=1";
    timeline.hardware = Arc::new(Hardware::of([(Codec::Vp8, fails.to_owned())]));
    let raw = "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1";
    let live = Live::with(timeline, MediaType::Video, Format::Raw, raw);
    let (sender, failed) = sync_channel(10);
    let consumer: Arc<dyn Consumer> = Arc::new(Failed(sender));
    live.source.attach(Arc::downgrade(&consumer));
    let watcher = Watcher::of(&live.timeline);
    let vp8 = Format::Encoded(Codec::Vp8);
    watcher.input.connect(Some(live.branch(vp8)));
    watcher.next();
    failed.recv_timeout(PATIENCE).expect("a failure");
    let before = watcher.seen.try_iter().count();
    assert!(before < 25, "{before} pictures of an encoder that fails after 20");
    watcher.input.connect(Some(live.branch(vp8)));
    assert!(
        (0..30).map(|_| watcher.next()).any(|seen| seen.1),
        "it goes on, with a keyframe"
    );
}

struct Told(std::sync::mpsc::SyncSender<()>);

impl Consumer for Told {
    fn source_changed(&self, _: MediaType) {
        let _ = self.0.try_send(());
    }
    fn source_failed(&self, _: MediaType, error: &MediaError) {
        panic!("{error}");
    }
}

#[test]
fn consumers_are_told_when_media_begins_and_ends() {
    let timeline = Timeline::start().expect("GStreamer");
    let source = Source::new(&timeline, "camera", MediaType::Video);
    let (sender, told) = sync_channel(10);
    let consumer: Arc<dyn Consumer> = Arc::new(Told(sender));
    let weak = Arc::downgrade(&consumer);
    source.attach(weak.clone());
    source.attach(weak.clone());
    let none = source.obtain(|_| panic!("nothing to choose for"));
    assert!(none.is_ok_and(|b| b.is_none()));
    source.set_native(Some(Branch::native(Format::Raw, &AppSink::builder().build())));
    assert_eq!(source.native(), Some(Format::Raw));
    source.set_native(None);
    assert_eq!(told.try_iter().count(), 2, "once for each change");
    source.detach(&weak);
    source.set_native(None);
    assert_eq!(told.try_iter().count(), 0);
}
