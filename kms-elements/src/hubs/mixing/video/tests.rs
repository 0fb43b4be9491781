//! Pictures that are mixed.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use gst_app::AppSink;
use kms_core::media::{Branch, Format, Input as Entrance, Quality, Segment, Wanted};

use super::super::layout::grid;
use super::*;

/// A picture of one brightness.
fn picture((width, height): (u32, u32), brightness: u8) -> Picture {
    let info = VideoInfo::builder(VideoFormat::I420, width, height)
        .build()
        .expect("a size");
    let bytes = vec![brightness; info.size()];
    Picture {
        info,
        buffer: gst::Buffer::from_mut_slice(bytes),
        came: gst::ClockTime::ZERO,
    }
}

#[test]
fn pictures_are_drawn_where_they_belong_and_nowhere_else() {
    gst::init().expect("GStreamer");
    // Above 576 lines GStreamer takes colours for others.
    for (size, small) in [
        ((64, 48), (32, 24)),
        ((800, 600), (640, 480)),
        ((1280, 720), (320, 240)),
    ] {
        let plan = Plan {
            size,
            background: Background::Colour([16, 128, 128]),
        };
        let part = Rect {
            x: size.0 / 2,
            y: 0,
            width: size.0 / 4,
            height: size.1 / 4,
        };
        for (from, place) in [
            (size, Rect::of(size)),
            (small, Rect::of(size)),
            (size, part),
            (small, part),
        ] {
            let mut painter = Painter::default();
            let (info, mut frame) = painter.canvas(&plan, 25).expect("a canvas");
            painter.draw(&mut frame, "a", &picture(from, 200), place);
            for (plane, behind, shift) in [(0, 16, 0), (1, 128, 1), (2, 128, 1)] {
                let stride = info.stride()[plane as usize] as usize;
                let data = frame.plane_data(plane).expect("a plane");
                let range = |at: u32, length: u32| at >> shift..(at + length) >> shift;
                for y in 0..size.1 >> shift {
                    for x in 0..size.0 >> shift {
                        let inside = range(place.x, place.width).contains(&x)
                            && range(place.y, place.height).contains(&y);
                        let wanted = if inside { 200 } else { behind };
                        let found = data[y as usize * stride + x as usize];
                        assert_eq!(
                            found, wanted,
                            "{from:?} in {place:?} at {x}, {y} of plane {plane}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn pictures_of_full_range_become_those_of_video() {
    gst::init().expect("GStreamer");
    let plan = Plan {
        size: (800, 600),
        background: Background::Colour([16, 128, 128]),
    };
    let place = Rect {
        x: 400,
        y: 0,
        width: 400,
        height: 300,
    };
    for (full, video) in [(0, 16), (255, 235), (128, 126)] {
        let mut painter = Painter::default();
        let (info, mut frame) = painter.canvas(&plan, 25).expect("a canvas");
        let mut picture = picture((640, 480), full);
        picture.info = VideoInfo::builder(VideoFormat::I420, 640, 480)
            .colorimetry(&"1:4:0:0".parse().expect("as of JPEG"))
            .build()
            .expect("a size");
        let mut grey = vec![128; picture.info.size()];
        grey[..640 * 480].fill(full);
        picture.buffer = gst::Buffer::from_mut_slice(grey);
        painter.draw(&mut frame, "a", &picture, place);
        let stride = info.stride()[0] as usize;
        let data = frame.plane_data(0).expect("a plane");
        assert!(
            data[100 * stride + 600].abs_diff(video) < 2,
            "{full}: {}",
            data[100 * stride + 600]
        );
        assert_eq!(data[100 * stride + 300], 16, "beside it");
    }
}

/// Pictures side by side, thirty a second.
struct Rows;

impl Arrangement for Rows {
    fn rate(&self) -> u32 {
        30
    }

    fn plan(&self, _shown: &[Shown<'_>]) -> Option<Plan> {
        Some(Plan {
            size: (640, 360),
            background: Background::Colour([16, 128, 128]),
        })
    }

    fn places(&self, shown: &[Shown<'_>], canvas: Rect) -> Vec<(usize, Rect)> {
        grid(shown.len(), canvas).into_iter().enumerate().collect()
    }
}

/// A live picture of one brightness, for as long as the segment is held.
fn live(timeline: &Timeline, grey: &str) -> (Segment, Arc<Source>) {
    let segment = Segment::new(timeline, "live", |_| {});
    let bin = segment
        .add(&format!(
            "videotestsrc is-live=true pattern=solid-color foreground-color={grey} \
             ! capsfilter caps=video/x-raw,format=I420,width=640,height=360,framerate=30/1"
        ))
        .expect("a source");
    let sink = AppSink::builder().build();
    segment.pipeline().add(&sink).expect("a sink");
    bin.link(&sink).expect("a link");
    let source = Source::new(timeline, "live", MediaType::Video);
    source.set_native(Some(Branch::native(Format::Raw, &sink)));
    segment.play().expect("it plays");
    (segment, source)
}

/// What of a picture is mixed: when it came out, and how bright its right half is.
type Seen = (Instant, u8);

fn watch(timeline: &Timeline, source: &Arc<Source>) -> (Segment, Entrance, Receiver<Seen>) {
    let segment = Segment::new(timeline, "watcher", |_| {});
    let entrance = Entrance::new(&segment, gst::ClockTime::SECOND).expect("an input");
    let sink = AppSink::builder().sync(false).async_(false).build();
    let (sender, seen) = sync_channel(1_000);
    let callbacks = gst_app::AppSinkCallbacks::builder().new_sample(move |sink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
        let right = map.and_then(|map| map.get(180 * 640 + 480).copied());
        let _ = sender.try_send((Instant::now(), right.unwrap_or_default()));
        Ok(gst::FlowSuccess::Ok)
    });
    sink.set_callbacks(callbacks.build());
    segment.pipeline().add(&sink).expect("a sink");
    entrance.appsrc().link(&sink).expect("a link");
    segment.play().expect("it plays");
    let raw = Wanted {
        format: Format::Raw,
        quality: Quality::ANY,
        in_order: true,
    };
    entrance.connect(source.obtain(|_| Some(raw)).expect("a picture"));
    (segment, entrance, seen)
}

#[test]
fn who_comes_is_seen_within_100_ms_and_who_goes_is_gone() {
    let timeline = Timeline::start().expect("GStreamer");
    let source = Source::new(&timeline, "mixed", MediaType::Video);
    let mixer = VideoMixer::new(&timeline, source.clone(), Arc::new(Rows));
    let (_black, black) = live(&timeline, "0xff000000");
    let (_white, white) = live(&timeline, "0xffffffff");
    let feed = |id: &str, source| {
        mixer.add(id);
        mixer.port(id).expect("a port").inlet.set_source(Some(source));
    };
    feed("a", black);
    let (_segment, _entrance, seen) = watch(&timeline, &source);
    let until = |is: &dyn Fn(u8) -> bool| loop {
        let (when, right) = seen.recv_timeout(Duration::from_secs(10)).expect("a picture");
        if is(right) {
            return when;
        }
    };
    until(&|right| right < 50);
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..15 {
        let begun = Instant::now();
        feed("b", white.clone());
        times[0].push(until(&|right| right > 200) - begun);
        let begun = Instant::now();
        mixer.remove("b");
        times[1].push(until(&|right| right < 50) - begun);
    }
    for (what, times) in ["comes", "goes"].iter().zip(&mut times) {
        times.sort();
        println!("{what}: median {:?}, longest {:?}", times[7], times[14]);
        // On a machine with other work, now and then more.
        assert!(times[7] < Duration::from_millis(100), "{what}: {times:?}");
    }
}
