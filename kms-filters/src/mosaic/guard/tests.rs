use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::*;
use crate::faces::{Looking, Sight};
use crate::mosaic::class::MosaicStyle;

/// Where the face is that is found in each picture.
const FACE: Area = Area {
    x: 100.0,
    y: 100.0,
    width: 60.0,
    height: 60.0,
};

/// What looks takes this long, as often as that; then it takes forever.
fn guard(takes: Duration, times: usize, when_late: MosaicWhenLate, until: Receiver<()>) -> Arc<Guard> {
    let until = Arc::new(Mutex::new(until));
    let follower = Follower::new(1.0, gst::ClockTime::ZERO, move || {
        let mut looks = 0;
        let until = until.clone();
        std::boxed::Box::new(move |look| {
            looks += 1;
            let wait = if looks > times { Duration::MAX } else { takes };
            let _ = lock(&until).recv_timeout(wait);
            Ok(Sight {
                grey: look.grey,
                faces: vec![Found::new(FACE, 1.0)],
            })
        })
    });
    Arc::new(Guard {
        timeline: Timeline::start().expect("GStreamer"),
        filter: OnceLock::new(),
        gallery: Arc::default(),
        settings: Mutex::new(Settings {
            mode: MosaicMode::Faces,
            regions: Vec::new(),
            cover: Cover {
                style: MosaicStyle::Solid,
                blocks: 6,
            },
            when_late,
        }),
        watch: Mutex::new(Watch::new(follower)),
    })
}

/// Pictures of a live source, as they come out: whether the face is hidden, and whether all is.
fn pictures(guard: Arc<Guard>, count: usize) -> Vec<(bool, bool)> {
    let source = format!(
        "videotestsrc is-live=true num-buffers={count} pattern=checkers-8 \
         ! capsfilter caps=video/x-raw,format=I420,width=640,height=480,framerate=30/1"
    );
    let source = gst::parse::bin_from_description(&source, true).expect("GStreamer's base plugins");
    let painter = crate::painter::element(guard);
    let sink = gst_app::AppSink::builder().sync(false).build();
    let pipeline = gst::Pipeline::new();
    pipeline
        .add_many([source.upcast_ref(), &painter, sink.upcast_ref()])
        .expect("elements");
    gst::Element::link_many([source.upcast_ref(), &painter, sink.upcast_ref()]).expect("a row");
    pipeline.set_state(gst::State::Playing).expect("a live source");
    let mut hidden = Vec::new();
    while let Ok(sample) = sink.pull_sample() {
        let buffer = sample.buffer().expect("a picture");
        let map = buffer.map_readable().expect("its bytes");
        let black = |area: Area| {
            let [left, top, right, low] = area.pixels(640, 480);
            (top..low).all(|y| map[y * 640 + left..y * 640 + right].iter().all(|p| *p == 16))
        };
        hidden.push((black(FACE), black(Area::new(0.0, 0.0, 640.0, 480.0))));
    }
    pipeline.set_state(gst::State::Null).expect("an end");
    hidden
}

#[test]
fn looking_that_takes_200_ms_holds_nothing_up() {
    let (_go_on, until) = sync_channel(0);
    let guard = guard(
        Duration::from_millis(200),
        usize::MAX,
        MosaicWhenLate::Frame,
        until,
    );
    let begun = Instant::now();
    let pictures = pictures(guard, 90);
    let took = begun.elapsed();
    assert_eq!(pictures.len(), 90);
    // 3 s, if 30 come each second; waiting for each look it would be 18.
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(
        pictures.iter().all(|(face, _)| *face),
        "the face is hidden in all of them"
    );
    let whole = pictures.iter().filter(|(_, all)| *all).count();
    assert!(
        (1..45).contains(&whole),
        "all is hidden until the first look: {whole}"
    );
}

#[test]
fn looking_that_stands_still_hides_the_face_and_all_if_it_is_to() {
    for when_late in [MosaicWhenLate::Regions, MosaicWhenLate::Frame] {
        let (go_on, until) = sync_channel(0);
        let guard = guard(Duration::from_millis(10), 3, when_late, until);
        // Five seconds: longer than a face is held that is looked for.
        let pictures = pictures(guard, 150);
        assert!(
            pictures.iter().all(|(face, _)| *face),
            "the face is hidden in all of them"
        );
        assert!(pictures.iter().any(|(_, all)| !*all), "all is not, at first");
        let last = pictures.last().expect("pictures").1;
        assert_eq!(last, when_late == MosaicWhenLate::Frame, "all is hidden at last");
        drop(go_on);
    }
}

#[test]
fn after_a_pause_all_is_hidden_until_somebody_has_looked_again() {
    let (_go_on, until) = sync_channel(0);
    let guard = guard(
        Duration::from_millis(10),
        usize::MAX,
        MosaicWhenLate::Regions,
        until,
    );
    // The second time the source's time begins anew, and other people may be there.
    for _ in 0..2 {
        let pictures = pictures(guard.clone(), 30);
        assert!(pictures[0].1, "all is hidden at first");
        assert!(!pictures[29].1, "all is not hidden at last");
    }
}

#[test]
fn without_anybody_to_look_all_is_hidden() {
    let follower = Follower::new(1.0, gst::ClockTime::ZERO, || -> Looking {
        panic!("as the test wants")
    });
    let (_go_on, until) = sync_channel(0);
    let guard = guard(Duration::ZERO, 0, MosaicWhenLate::Regions, until);
    *lock(&guard.watch) = Watch::new(follower);
    let pictures = pictures(guard, 30);
    assert!(pictures.iter().all(|(_, all)| *all));
}
