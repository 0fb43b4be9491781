//! How a file begins whose video comes without a keyframe, or late.

use super::*;

/// A camera that is playing already, and makes a keyframe every so many pictures, of which there are 30 a second, whoever asks for
/// one. With where it leaves the camera.
fn camera(timeline: &Timeline, keyframes: u32) -> (Live, gst::Pad) {
    let segment = Segment::new(timeline, "camera", |_| {});
    let description = format!(
        "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={keyframes} option-string=scenecut=0 \
         ! h264parse config-interval=-1 ! capsfilter caps=video/x-h264,stream-format=byte-stream,alignment=au \
         ! queue max-size-time=0 max-size-buffers=0 max-size-bytes=0"
    );
    let bin = segment.add(&description).expect("elements");
    let sink = AppSink::builder().build();
    segment.pipeline().add(&sink).expect("a sink");
    bin.link(&sink).expect("a link");
    let deaf = sink.static_pad("sink").expect("a pad").peer().expect("linked");
    deaf.add_probe(gst::PadProbeType::EVENT_UPSTREAM, |_, info| match &info.data {
        Some(gst::PadProbeData::Event(event)) if gst_video::ForceKeyUnitEvent::is(event) => {
            info.data = None;
            gst::PadProbeReturn::Handled
        }
        _ => gst::PadProbeReturn::Ok,
    });
    let source = Source::new(timeline, "camera", MediaType::Video);
    source.set_native(Some(Branch::native(Format::Encoded(Codec::H264), &sink)));
    segment.play().expect("it plays");
    let live = Live {
        source,
        _segment: Some(segment),
        _under: None,
    };
    (live, deaf)
}

#[test]
fn a_file_waits_for_the_keyframe_of_a_camera_that_sends_one_every_four_seconds() {
    let timeline = Timeline::start().expect("GStreamer");
    let (video, _) = camera(&timeline, 120);
    pass(1_000);
    let audio = Live::audio(&timeline);
    let file = File::new(&timeline, Profile::Mp4, "rare-keyframes");
    file.feed(&audio);
    file.feed(&video);
    file.began();
    file.grow(&timeline, 1_500);
    let judged = file.finish();
    assert_eq!(judged.errors, "");
    let widths = &judged.video().widths;
    assert!(
        !widths.is_empty() && widths.iter().all(|width| *width == 320),
        "it begins with a black picture: {widths:?}"
    );
}

#[test]
fn video_that_comes_after_its_placeholder_begins_with_a_keyframe() {
    let timeline = Timeline::start().expect("GStreamer");
    let (video, exit) = camera(&timeline, 60);
    let held = exit.add_probe(gst::PadProbeType::BLOCK_DOWNSTREAM, |_, _| {
        gst::PadProbeReturn::Ok
    });
    pass(300);
    let audio = Live::audio(&timeline);
    let file = File::new(&timeline, Profile::Mp4, "late-video");
    file.feed(&video);
    file.feed(&audio);
    file.began();
    // Its first keyframe is from before the first sound.
    exit.remove_probe(held.expect("a probe"));
    file.grow_of(&timeline, 5_000, &[MediaType::Audio]);
    let judged = file.finish();
    assert_eq!(judged.errors, "", "{judged:?}");
    let widths = &judged.video().widths;
    assert_eq!(widths.first(), Some(&640), "it begins with a placeholder");
    let real = widths.iter().filter(|width| **width == 320).count();
    assert!(real > 30, "{real} pictures of the camera");
}

#[test]
fn what_is_connected_a_moment_later_is_in_the_file() {
    let timeline = Timeline::start().expect("GStreamer");
    let audio = Live::audio(&timeline).native(&timeline, Codec::Opus);
    let video = Live::video(&timeline, 320).native(&timeline, Codec::Vp8);
    pass(500);
    let file = File::new(&timeline, Profile::Webm, "in-turn");
    file.feed(&audio);
    pass(300);
    file.feed(&video);
    let lasts = record(&timeline, &file);
    let judged = file.finish();
    judged.is_good(lasts);
    assert!(judged.video().widths.iter().all(|width| *width == 320));
}
