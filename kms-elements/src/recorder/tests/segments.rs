//! One file after the other, compared with one file of the same media.

use super::*;

/// No packet of an encoder is so small, and every filler is.
const LARGEST_FILLER: f64 = 16.0;

/// The packets of a kind in a file, by what is in them. Fillers are left out: on a busy machine the picture is late, and a file begins
/// with silence until the sound of its first picture's time.
fn packets(path: &Path, kind: &str) -> Vec<String> {
    let found = ffprobe(
        path,
        &[
            "-show_data_hash",
            "md5",
            "-select_streams",
            kind,
            "-show_entries",
            "packet=data_hash,size",
        ],
    );
    let packets = found["packets"].as_array().cloned().unwrap_or_default();
    packets
        .iter()
        .filter(|p| number(&p["size"]) > LARGEST_FILLER)
        .filter_map(|p| Some(p["data_hash"].as_str()?.to_owned()))
        .collect()
}

/// Panics unless one is a piece of the other, and says where they differ.
fn is_within(what: &str, part: &[String], whole: &[String]) {
    let begins = part
        .first()
        .and_then(|first| whole.iter().position(|p| p == first));
    let begins = begins.unwrap_or_else(|| panic!("{what}: the first packet is not in the longer file"));
    let differs = part.iter().zip(&whole[begins..]).position(|(a, b)| a != b);
    let differs = differs.or((whole.len() - begins < part.len()).then(|| whole.len() - begins));
    let Some(at) = differs else { return };
    let elsewhere = whole
        .iter()
        .position(|p| *p == part[at])
        .map(|p| p as i64 - begins as i64);
    panic!(
        "{what}: packets are missing, doubled or in disorder: of {} packets, the {at}th is the {elsewhere:?}th of the other file, \
         which has {} from there on",
        part.len(),
        whole.len() - begins
    );
}

fn wait_for_files(file: &File, count: usize) {
    while file.closed.borrow().len() < count {
        match file.news.recv_timeout(PATIENCE) {
            Ok(News::Closed(closed, _)) => file.closed.borrow_mut().push(closed),
            Ok(News::Began) => {}
            other => panic!("a file should be complete: {other:?}"),
        }
    }
}

#[test]
fn segments_hold_every_packet_once_and_each_plays_by_itself() {
    let timeline = Timeline::start().expect("GStreamer");
    // One after the other: of what a machine has no time for, something else is in the file.
    for (name, profile, video, audio) in [
        ("mp4", Profile::Mp4, Codec::H264, Codec::Aac),
        ("webm", Profile::Webm, Codec::Vp8, Codec::Opus),
    ] {
        let video = Live::video(&timeline, 320).native(&timeline, video);
        let audio = Live::noise(&timeline).native(&timeline, audio);
        let whole = File::new(&timeline, profile, &format!("whole-{name}"));
        whole.feed(&video);
        whole.feed(&audio);
        whole.began();
        let segments = Segments::new(1_500, 0).expect("segments");
        let parts = File::with(
            &timeline,
            profile,
            &format!("parts-{name}"),
            segments,
            GapsFixMethod::None,
        );
        parts.feed(&video);
        parts.feed(&audio);
        wait_for_files(&parts, 3);
        let closed = parts.end();
        // What is on its way into the longer one is to be there.
        whole.grow(&timeline, 2_000);
        whole.end();

        assert!(closed.len() >= 4, "{closed:?}");
        let paths: Vec<&PathBuf> = closed.iter().filter_map(|c| c.path.as_ref()).collect();
        for (path, next) in paths.iter().zip(closed.iter().skip(1)) {
            let judged = judge(path);
            assert_eq!(judged.errors, "", "{path:?}: {judged:?}");
            assert!(judged.start.abs() < 0.05, "{path:?} begins at {}", judged.start);
            assert!(
                judged.duration > 1.2 && judged.duration < 6.0,
                "{path:?} lasts {}",
                judged.duration
            );
            assert!(judged.audio.is_some() && next.at > closed[0].at);
        }
        for kind in ["v", "a"] {
            let all: Vec<String> = paths.iter().flat_map(|path| packets(path, kind)).collect();
            assert!(all.len() > 30, "{name} {kind}: {}", all.len());
            let whole = packets(&whole.path, kind);
            is_within(&format!("{name} {kind}"), &all, &whole);
        }
        for file in [&whole.path, &parts.path] {
            let _ = std::fs::remove_dir_all(file.parent().expect("a directory"));
        }
    }
}

#[test]
fn segments_of_a_size_are_not_much_larger() {
    let timeline = Timeline::start().expect("GStreamer");
    let video = Live::video(&timeline, 640).native(&timeline, Codec::H264);
    let segments = Segments::new(0, 100_000).expect("segments");
    let file = File::with(&timeline, Profile::Mp4, "sized", segments, GapsFixMethod::None);
    file.feed(&video);
    wait_for_files(&file, 3);
    let closed = file.end();
    for closed in &closed[..3] {
        let size = std::fs::metadata(closed.path.as_ref().expect("a path"))
            .expect("a file")
            .len();
        // 500 kbit/s, until the keyframe that is asked for comes.
        assert!((100_000..300_000).contains(&size), "{closed:?}: {size} bytes");
    }
    let _ = std::fs::remove_dir_all(file.path.parent().expect("a directory"));
}

#[test]
fn sound_alone_is_cut_anywhere_and_what_is_connected_later_is_in_the_next_file() {
    let timeline = Timeline::start().expect("GStreamer");
    let audio = Live::audio(&timeline).native(&timeline, Codec::Opus);
    let segments = Segments::new(1_000, 0).expect("segments");
    let file = File::with(&timeline, Profile::Mkv, "late", segments, GapsFixMethod::None);
    file.feed(&audio);
    wait_for_files(&file, 2);
    let video = Live::video(&timeline, 320).native(&timeline, Codec::Vp8);
    file.feed(&video);
    wait_for_files(&file, 5);
    let closed = file.end();
    let has_video: Vec<bool> = closed
        .iter()
        .map(|c| judge(c.path.as_ref().expect("a path")))
        .map(|judged| {
            assert_eq!(judged.errors, "");
            assert!(judged.audio.is_some(), "{judged:?}");
            judged.video.is_some()
        })
        .collect();
    assert!(!has_video[0] && !has_video[1], "{has_video:?}");
    assert!(has_video[4], "{has_video:?}");
    let _ = std::fs::remove_dir_all(file.path.parent().expect("a directory"));
}

#[test]
fn no_segment_waits_for_what_is_lost() {
    let timeline = Timeline::start().expect("GStreamer");
    let audio = Live::audio(&timeline).native(&timeline, Codec::Opus);
    let video = Live::video(&timeline, 320).native(&timeline, Codec::Vp8);
    let segments = Segments::new(1_000, 0).expect("segments");
    let file = File::with(&timeline, Profile::Mkv, "lost", segments, GapsFixMethod::None);
    file.feed(&audio);
    file.feed(&video);
    wait_for_files(&file, 2);
    // Still expected, but nothing comes: first of one kind, then of both.
    let silent = |kind| Source::new(&timeline, "silent", kind);
    let (no_video, no_audio) = (silent(MediaType::Video), silent(MediaType::Audio));
    file.writer.feed(MediaType::Video, Some(&no_video), QUALITY);
    wait_for_files(&file, 5);
    file.writer.feed(MediaType::Audio, Some(&no_audio), QUALITY);
    // The last one is closed though nothing comes after it.
    let count = file.closed.borrow().len();
    wait_for_files(&file, count + 1);
    pass(6_500);
    while let Ok(News::Closed(closed, _)) = file.news.try_recv() {
        file.closed.borrow_mut().push(closed);
    }
    let before = file.closed.borrow().len();
    assert!(file.writer.written(MediaType::Audio).is_none(), "no file is open");
    file.feed(&audio);
    file.feed(&video);
    wait_for_files(&file, before + 1);
    let closed = file.end();
    let lengths: Vec<u64> = closed.iter().map(|c| c.duration.mseconds()).collect();
    assert!(lengths.iter().all(|ms| *ms < 9_000), "{lengths:?}");
    for closed in &closed {
        let judged = judge(closed.path.as_ref().expect("a path"));
        assert_eq!(judged.errors, "", "{judged:?}");
        assert!(judged.start.abs() < 0.05, "it begins at {}", judged.start);
    }
    let pause = closed[before]
        .at
        .duration_since(closed[before - 1].at)
        .expect("later");
    assert!(
        pause.as_millis() as u64 > lengths[before - 1] + 500,
        "nothing was written while nothing came"
    );
    let _ = std::fs::remove_dir_all(file.path.parent().expect("a directory"));
}
