//! Gaps, sound that changes its shape, and keyframes.

use super::*;

fn file(timeline: &Timeline, profile: Profile, name: &str, gaps: GapsFixMethod) -> File {
    File::with(timeline, profile, name, Segments::default(), gaps)
}

/// How long nothing comes, milliseconds: much longer than what is uncertain on a busy machine.
const GAP: u64 = 6_000;

/// A second of media, a gap, and another second. With how long it lasts without the gap.
fn with_a_gap(gaps: GapsFixMethod) -> (Judged, Lasts) {
    let timeline = Timeline::start().expect("GStreamer");
    let lives = [
        Live::audio(&timeline).native(&timeline, Codec::Opus),
        Live::video(&timeline, 320).native(&timeline, Codec::Vp8),
    ];
    let file = file(&timeline, Profile::Webm, gaps.as_str(), gaps);
    lives.iter().for_each(|live| file.feed(live));
    file.began();
    let before = file.grow(&timeline, 1_000);
    for kind in [MediaType::Audio, MediaType::Video] {
        file.writer.feed(kind, None, QUALITY);
    }
    pass(GAP);
    lives.iter().for_each(|live| file.feed(live));
    let after = file.grow(&timeline, 1_000);
    (file.finish(), before.and(after))
}

#[test]
fn gaps_are_kept_or_left_out() {
    side_by_side([GapsFixMethod::None, GapsFixMethod::Genpts], |gaps| {
        let (judged, mut lasts) = with_a_gap(gaps);
        if gaps == GapsFixMethod::None {
            let gap = GAP as f64 / 1_000.0;
            // What is late when the gap begins is left out of the file.
            lasts.least += gap - 1.0;
            lasts.most += gap + 1.0;
        }
        judged.is_good(lasts);
        if gaps == GapsFixMethod::Genpts {
            let (audio, video) = (judged.audio(), judged.video());
            video.has_no_gap("GENPTS", 2.0);
            // Were one kind's times put together without the other's, they would be apart by the gap.
            let apart = (audio.until - video.until).abs();
            assert!(apart < 2.0, "sound and picture end {apart} s apart");
        }
    });
}

#[test]
fn short_gaps_are_filled_in_what_is_transcoded() {
    let timeline = Timeline::start().expect("GStreamer");
    let audio = Live::audio(&timeline);
    let file = file(
        &timeline,
        Profile::WebmAudioOnly,
        "fill",
        GapsFixMethod::FillIfTranscoding,
    );
    file.feed(&audio);
    file.began();
    for _ in 0..4 {
        file.grow_of(&timeline, 700, &[MediaType::Audio]);
        file.writer.feed(MediaType::Audio, None, QUALITY);
        pass(150);
        file.feed(&audio);
    }
    file.grow_of(&timeline, 700, &[MediaType::Audio]);
    let judged = file.finish();
    assert_eq!(judged.errors, "", "{judged:?}");
    // Frames are 20 ms long, and what is at most 50 ms is left to the decoder.
    judged.audio().has_no_gap("FILL_IF_TRANSCODING", 0.095);
}

#[test]
fn sound_that_changes_its_rate_or_channels_goes_on_in_the_same_file() {
    let timeline = Timeline::start().expect("GStreamer");
    let sound = |rate: u32, channels: u32| {
        let caps = format!("audio/x-raw,format=S16LE,layout=interleaved,rate={rate},channels={channels}");
        let description = format!("audiotestsrc is-live=true samplesperbuffer=480 ! capsfilter caps={caps}");
        Live::raw(&timeline, MediaType::Audio, &description).native(&timeline, Codec::Aac)
    };
    let lives = [sound(48_000, 2), sound(44_100, 1), sound(16_000, 2)];
    let file = file(&timeline, Profile::Mp4AudioOnly, "shape", GapsFixMethod::None);
    for (index, live) in lives.iter().enumerate() {
        file.feed(live);
        if index == 0 {
            file.began();
        }
        let until = timeline.now() + gst::ClockTime::from_mseconds(2_000);
        while timeline.now() < until {
            match file.news.recv_timeout(Duration::from_millis(50)) {
                Ok(News::Unfit(kind)) => file.writer.feed(kind, Some(&live.source), QUALITY),
                Ok(other) => panic!("{other:?}"),
                Err(_) => {}
            }
        }
    }
    let path = file.path.clone();
    file.end();
    let judged = judge(&path);
    assert_eq!(judged.errors, "", "{judged:?}");
    assert!(judged.duration > 5.0, "it lasts {}", judged.duration);
    // A tone all along: where sound is missing there is silence.
    let heard = Command::new("ffmpeg")
        .args(["-v", "info", "-i"])
        .arg(&path)
        .args(["-af", "silencedetect=noise=-40dB:duration=0.7", "-f", "null", "-"])
        .output()
        .expect("ffmpeg");
    let heard = String::from_utf8_lossy(&heard.stderr).into_owned();
    assert!(!heard.contains("silence_start"), "{heard}");
    let _ = std::fs::remove_dir_all(path.parent().expect("a directory"));
}

#[test]
fn an_encoder_without_keyframes_of_its_own_is_asked_for_them() {
    let timeline = Timeline::start().expect("GStreamer");
    let segment = Segment::new(&timeline, "encoder", |_| {});
    let description = "videotestsrc is-live=true ! capsfilter caps=video/x-raw,format=I420,width=320,height=240,framerate=30/1 \
         ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=9000 option-string=scenecut=0 bframes=0 \
         ! h264parse config-interval=-1 ! capsfilter caps=video/x-h264,stream-format=byte-stream,alignment=au";
    let bin = segment.add(description).expect("elements");
    let sink = AppSink::builder().build();
    segment.pipeline().add(&sink).expect("a sink");
    bin.link(&sink).expect("a link");
    let source = Source::new(&timeline, "encoder", MediaType::Video);
    source.set_native(Some(Branch::native(Format::Encoded(Codec::H264), &sink)));
    segment.play().expect("it plays");
    let file = file(&timeline, Profile::Mp4VideoOnly, "keyframes", GapsFixMethod::None);
    file.writer.feed(MediaType::Video, Some(&source), QUALITY);
    file.began();
    file.grow_of(&timeline, 8_000, &[MediaType::Video]);
    let path = file.path.clone();
    file.end();
    let packets = ffprobe(&path, &["-show_entries", "packet=pts_time,flags"]);
    let keyframes: Vec<f64> = packets["packets"]
        .as_array()
        .expect("packets")
        .iter()
        .filter(|p| p["flags"].as_str().is_some_and(|f| f.starts_with('K')))
        .map(|p| number(&p["pts_time"]))
        .collect();
    assert!(keyframes.len() >= 3, "{keyframes:?}");
    for pair in keyframes.windows(2) {
        assert!(pair[1] - pair[0] < 4.5, "{keyframes:?}");
    }
    let _ = std::fs::remove_dir_all(path.parent().expect("a directory"));
}

#[test]
fn h265_begins_with_a_picture_that_decoding_can_begin_with() {
    let timeline = Timeline::start().expect("GStreamer");
    let made = directory("h265").join("in.mp4");
    // Of these pictures, only that of the third second is a keyframe; that of the first refers to no other, but those behind it
    // refer to what was before.
    let encoded = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=320x240:rate=25",
            "-t",
            "5",
        ])
        .args([
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-force_key_frames",
            "1",
        ])
        .args([
            "-x265-params",
            "bframes=0:ref=4:keyint=75:min-keyint=75:scenecut=0:log-level=1",
        ])
        .arg(&made)
        .status()
        .expect("ffmpeg");
    assert!(encoded.success());
    let segment = Segment::new(&timeline, "camera", |_| {});
    let description = format!(
        "filesrc location={} ! qtdemux ! identity name=lost ! identity sync=true ! h265parse config-interval=-1 \
         ! capsfilter name=form caps=video/x-h265,stream-format=byte-stream,alignment=au",
        made.display()
    );
    // Its way out is linked by hand: the demuxer's other end isn't there yet.
    let bin = gst::parse::bin_from_description(&description, false).expect("elements");
    let sink = AppSink::builder().name("out").build();
    bin.add(&sink).expect("a sink");
    bin.by_name("form").expect("caps").link(&sink).expect("a link");
    segment.pipeline().add(&bin).expect("added");
    // The camera's first pictures are lost.
    let lost = bin
        .by_name("lost")
        .and_then(|e| e.static_pad("src"))
        .expect("a pad");
    let first = gst::ClockTime::from_mseconds(400);
    probe(&lost, gst::PadProbeType::BUFFER, move |_, info| {
        let is_lost = info.buffer().is_some_and(|b| b.pts() < Some(first));
        if is_lost {
            gst::PadProbeReturn::Drop
        } else {
            gst::PadProbeReturn::Ok
        }
    });
    let source = Source::new(&timeline, "camera", MediaType::Video);
    source.set_native(Some(Branch::native(Format::Encoded(Codec::H265), &sink)));
    let file = file(&timeline, Profile::Mp4VideoOnly, "irap", GapsFixMethod::None);
    file.writer.feed(MediaType::Video, Some(&source), QUALITY);
    segment.play().expect("it plays");
    file.began();
    file.grow_of(&timeline, 1_000, &[MediaType::Video]);
    let judged = file.finish();
    assert_eq!(judged.errors, "", "{judged:?}");
    assert!(judged.start.abs() < 0.05, "it begins at {}", judged.start);
    let _ = std::fs::remove_dir_all(made.parent().expect("a directory"));
}
