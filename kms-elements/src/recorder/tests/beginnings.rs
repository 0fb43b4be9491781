//! How a file begins whose video comes without a keyframe, or late.

use super::*;

/// A camera that is playing already, and makes a keyframe every so many pictures, of which there are 30 a second, whoever asks for
/// one. With where it leaves the camera.
fn camera(timeline: &Timeline, codec: Codec, keyframes: u32) -> (Live, gst::Pad) {
    let (encoder, parser, name) = match codec {
        Codec::H265 => ("x265enc", "h265parse", "video/x-h265"),
        _ => ("x264enc", "h264parse", "video/x-h264"),
    };
    let segment = Segment::new(timeline, "camera", |_| {});
    let description = format!(
        "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! {encoder} tune=zerolatency speed-preset=ultrafast key-int-max={keyframes} option-string=scenecut=0 \
         ! {parser} config-interval=-1 ! capsfilter caps={name},stream-format=byte-stream,alignment=au \
         ! queue max-size-time=0 max-size-buffers=0 max-size-bytes=0"
    );
    let bin = segment.add(&description).expect("elements");
    let sink = AppSink::builder().build();
    segment.pipeline().add(&sink).expect("a sink");
    bin.link(&sink).expect("a link");
    let deaf = sink.static_pad("sink").expect("a pad").peer().expect("linked");
    probe(&deaf, gst::PadProbeType::EVENT_UPSTREAM, |_, info| {
        match &info.data {
            Some(gst::PadProbeData::Event(event)) if gst_video::ForceKeyUnitEvent::is(event) => {
                info.data = None;
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        }
    });
    let source = Source::new(timeline, "camera", MediaType::Video);
    source.set_native(Some(Branch::native(Format::Encoded(codec), &sink)));
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
    let (video, _) = camera(&timeline, Codec::H264, 120);
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
    let (video, exit) = camera(&timeline, Codec::H264, 60);
    let held = probe(&exit, gst::PadProbeType::BLOCK_DOWNSTREAM, |_, _| {
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

#[test]
fn a_picture_stays_though_its_time_is_set_back_before_the_beginning() {
    let timeline = Timeline::start().expect("GStreamer");
    let (video, exit) = camera(&timeline, Codec::H265, 30);
    // The one behind each keyframe is to be shown before it, by its time.
    probe(&exit, gst::PadProbeType::BUFFER, |_, info| {
        let delta = |buffer: &gst::Buffer| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        if let Some(buffer) = info.buffer_mut().filter(|buffer| delta(buffer)) {
            let back = |time: gst::ClockTime| time.saturating_sub(gst::ClockTime::from_mseconds(50));
            let (pts, dts) = (buffer.pts().map(back), buffer.dts().map(back));
            let buffer = buffer.make_mut();
            buffer.set_pts(pts);
            buffer.set_dts(dts);
        }
        gst::PadProbeReturn::Ok
    });
    pass(500);
    let file = File::new(&timeline, Profile::Mp4VideoOnly, "set-back");
    file.feed(&video);
    file.began();
    file.grow_of(&timeline, 2_000, &[MediaType::Video]);
    let judged = file.finish();
    assert_eq!(judged.errors, "", "{judged:?}");
    assert!(judged.video().widths.len() > 30);
}
