//! What of a picture is hidden. Whatever is not known is hidden too.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use gst_video::VideoFrameExt;
use kms_core::media::Timeline;
use kms_core::object::lock;

use super::class::{FaceEntered, FaceLeft, MosaicMode, MosaicWhenLate, Region};
use super::cover::{Cover, hide};
use super::gallery::Gallery;
use crate::faces::{Area, Follower, Found, MOST_FACES, Track, raise_failure};
use crate::filter::Filter;
use crate::painter::{Paint, Picture};

/// A face that is not found for so long stays hidden: it may have turned away.
const HOLD: gst::ClockTime = gst::ClockTime::from_seconds(3);
/// What left at an edge may come back there, and would be seen before it is found.
const HOLD_EDGE: gst::ClockTime = gst::ClockTime::from_seconds(5);
/// Looking is late when the newest picture that was looked at is so old.
const LATE: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Beyond what the detector calls a face there are hair, ears and a chin.
const MARGIN: f32 = 1.6;
/// What is hidden grows by so much a second while a face is not found, up to this; and by so much if it can't be followed either.
const GROWS: f32 = 0.5;
const MOST_GROWN: f32 = 1.0;
const UNSURE: f32 = 0.5;
/// With less of it in the picture, a face has left.
const INSIDE: f32 = 0.4;
/// A face that is this near to an edge, of its size, and was not found for so long, may have left.
const NEAR: f32 = 1.5;
const SOON: gst::ClockTime = gst::ClockTime::from_mseconds(150);
/// How deep and long the strip is that stays hidden at the edge it left by, of the face's size.
const STRIP: (f32, f32) = (1.8, 5.0);
/// It is as much deeper as the face can come, as fast as it left, until it is found: that may take two looks.
const LOOKS_TO_FIND: f32 = 2.0;
/// Of so many looks at a face, so many have to give the same name.
const LOOKS: usize = 5;
const SAME: usize = 3;
/// And the newest of them may be this old.
const FRESH: gst::ClockTime = gst::ClockTime::from_mseconds(400);

/// What clients have set.
pub(super) struct Settings {
    pub(super) mode: MosaicMode,
    /// Parts of the picture's width and height, 0 to 1.
    pub(super) regions: Vec<Area>,
    pub(super) cover: Cover,
    pub(super) when_late: MosaicWhenLate,
}

/// A part of the picture that stays hidden for a while.
struct Strip {
    face: Area,
    /// Pixels a picture.
    speed: f32,
    until: gst::ClockTime,
}

/// What was seen of one face.
#[derive(Default)]
struct Votes {
    /// Who it was, the newest at the end.
    looks: VecDeque<(gst::ClockTime, Option<u32>)>,
    /// It was told that it entered.
    told: bool,
}

impl Votes {
    fn add(&mut self, at: gst::ClockTime, person: Option<u32>) {
        // After a while, or of a stream that was set back, somebody else may be there.
        if self
            .looks
            .back()
            .is_some_and(|(seen, _)| at < *seen || at > *seen + FRESH)
        {
            self.looks.clear();
        }
        self.looks.push_back((at, person));
        if self.looks.len() > LOOKS {
            self.looks.pop_front();
        }
    }

    /// Who it is, if enough looks agree and none of them says another.
    fn person(&self) -> Option<u32> {
        let mut named = self.looks.iter().filter_map(|(_, person)| *person);
        let first = named.next()?;
        let others: Vec<u32> = named.collect();
        (others.iter().all(|other| *other == first) && others.len() + 1 >= SAME).then_some(first)
    }

    fn is_fresh(&self, at: gst::ClockTime) -> bool {
        self.looks.back().is_some_and(|(seen, _)| at <= *seen + FRESH)
    }
}

/// Used by the stream alone.
pub(super) struct Watch {
    follower: Follower,
    votes: HashMap<u64, Votes>,
    strips: Vec<Strip>,
    /// Of the pictures.
    size: Option<Area>,
}

/// Hides.
pub(super) struct Guard {
    pub(super) timeline: Timeline,
    pub(super) filter: OnceLock<Weak<Filter>>,
    pub(super) gallery: Arc<Gallery>,
    /// Changed by clients, read with each picture.
    pub(super) settings: Mutex<Settings>,
    pub(super) watch: Mutex<Watch>,
}

impl Watch {
    pub(super) fn new(follower: Follower) -> Watch {
        Watch {
            follower,
            votes: HashMap::new(),
            strips: Vec::new(),
            size: None,
        }
    }
}

/// An event that is due.
enum Due {
    Entered(Track, Option<u32>),
    Left(Track, Option<u32>),
}

impl Guard {
    /// What is hidden of this picture because of faces; `None`: all of it.
    fn faces(
        &self,
        picture: &mut Picture<'_>,
        when_late: MosaicWhenLate,
        shows_enrolled: bool,
    ) -> Option<Vec<Area>> {
        let at = picture.buffer().pts().unwrap_or_else(|| self.timeline.now());
        let size = Area::new(0.0, 0.0, picture.width() as f32, picture.height() as f32);
        let mut watch = lock(&self.watch);
        let watch = &mut *watch;
        let news = watch.follower.next(picture, at);
        let filter = self.filter.get().and_then(Weak::upgrade);
        if let (Some(failure), Some(filter)) = (news.failure, &filter) {
            raise_failure(filter, format!("{failure}. All of the picture is hidden"));
        }
        if watch.follower.has_failed() {
            return None;
        }
        let looked = watch.follower.looked()?;
        let mut due = Vec::new();
        if let Some(found) = news.found {
            watch.vote(looked, &found);
        }
        watch.scale(size);
        due.extend(watch.leave(at, looked, size));
        due.extend(watch.enter());
        if let Some(filter) = filter {
            due.into_iter().for_each(|due| self.tell(&filter, due));
        }
        // Behind a picture that was set back there is no telling.
        let is_late = at > looked + LATE;
        let too_many = watch.follower.tracks().all().len() >= MOST_FACES;
        if too_many || (is_late && when_late == MosaicWhenLate::Frame) {
            return None;
        }
        Some(watch.hidden(at, size, |person| {
            shows_enrolled && !is_late && self.gallery.name(person).is_some()
        }))
    }

    fn tell(&self, filter: &Filter, due: Due) {
        let object = &filter.element().object;
        let name = |person: Option<u32>| {
            person
                .and_then(|person| self.gallery.name(person))
                .unwrap_or_default()
        };
        let number = |track: &Track| i32::try_from(track.id).unwrap_or(i32::MAX);
        match due {
            Due::Entered(track, person) => object.raise(&FaceEntered {
                face: number(&track),
                name: name(person),
                region: Region::of(track.area),
                confidence: track.confidence,
            }),
            Due::Left(track, person) => object.raise(&FaceLeft {
                face: number(&track),
                name: name(person),
                region: Region::of(track.area),
                confidence: track.confidence,
            }),
        }
    }
}

impl Watch {
    /// Each face that was found says who it is.
    fn vote(&mut self, at: gst::ClockTime, found: &[(Option<u64>, Found)]) {
        for id in self.follower.tracks().doubts() {
            if let Some(votes) = self.votes.get_mut(&id) {
                votes.looks.clear();
            }
        }
        for (id, face) in found {
            if let Some(id) = id {
                self.votes.entry(*id).or_default().add(at, face.person);
            }
        }
        // Two that are this close may be taken for each other: they have to be recognised anew.
        let tracks = self.follower.tracks().all();
        for track in tracks {
            let near = |other: &Track| other.id != track.id && other.area.overlap(track.area) > 0.0;
            if tracks.iter().any(near)
                && let Some(votes) = self.votes.get_mut(&track.id)
            {
                votes.looks.clear();
            }
        }
    }

    /// Pictures of another size: strips are where they were, in proportion.
    fn scale(&mut self, size: Area) {
        if let Some(was) = self.size.replace(size) {
            let (x, y) = (size.width / was.width, size.height / was.height);
            for strip in &mut self.strips {
                let face = strip.face;
                strip.face = Area::new(face.x * x, face.y * y, face.width * x, face.height * y);
                strip.speed *= x.max(y);
            }
        }
    }

    /// Faces that are gone: not found any more for as long as somebody looked, or out of the picture.
    fn leave(&mut self, at: gst::ClockTime, looked: gst::ClockTime, size: Area) -> Vec<Due> {
        let inside = |area: Area| area.shared(size).surface() / area.surface().max(1.0);
        let gone = self
            .follower
            .tracks()
            .keep(|track| inside(track.area) >= INSIDE && looked < track.seen + HOLD);
        let mut due = Vec::new();
        for track in gone {
            if inside(track.area) < INSIDE {
                self.strips.push(Strip {
                    face: track.area,
                    speed: track.speed(),
                    until: at + HOLD_EDGE,
                });
            }
            if let Some(votes) = self.votes.remove(&track.id)
                && votes.told
            {
                due.push(Due::Left(track, votes.person()));
            }
        }
        // One that lies further ahead than it may is of a time before the stream was set back.
        self.strips
            .retain(|strip| at < strip.until && strip.until <= at + HOLD_EDGE);
        self.strips.drain(..self.strips.len().saturating_sub(MOST_FACES));
        due
    }

    /// Faces that have come, once it is clear whether they are known.
    fn enter(&mut self) -> Vec<Due> {
        let mut due = Vec::new();
        // What only looks like a face is hidden, but is nobody.
        for track in self.follower.tracks().all().iter().filter(|track| track.is_face) {
            let Some(votes) = self.votes.get_mut(&track.id).filter(|votes| !votes.told) else {
                continue;
            };
            let person = votes.person();
            if person.is_some() || votes.looks.len() == LOOKS {
                votes.told = true;
                due.push(Due::Entered(track.clone(), person));
            }
        }
        due
    }

    /// Where faces are, but for those that may be shown.
    fn hidden(&mut self, at: gst::ClockTime, size: Area, may_show: impl Fn(u32) -> bool) -> Vec<Area> {
        let votes = &self.votes;
        let is_shown = |track: &Track| {
            let votes = votes.get(&track.id).filter(|votes| votes.is_fresh(at));
            track.is_sure && votes.and_then(Votes::person).is_some_and(&may_show)
        };
        let comes = self.follower.lag() as f32 * LOOKS_TO_FIND;
        let tracks = self.follower.tracks().all().iter();
        let mut hidden = Vec::new();
        for track in tracks.filter(|track| !is_shown(track)) {
            let lost = at.saturating_sub(track.seen);
            let grows = lost.mseconds() as f32 / 1_000.0 * GROWS;
            let unsure = if track.is_sure { 0.0 } else { UNSURE };
            hidden.push(track.area.grown(MARGIN + grows.min(MOST_GROWN) + unsure));
            if lost > SOON {
                // At an edge it may have left unseen: points are followed on what is behind it.
                hidden.extend(strips(track.area.grown(NEAR), size, track.speed() * comes));
            }
        }
        for strip in &self.strips {
            hidden.extend(strips(strip.face, size, strip.speed * comes));
        }
        hidden
    }
}

/// What stays hidden at the edges that a face has left by.
fn strips(face: Area, size: Area, comes: f32) -> impl Iterator<Item = Area> {
    let (x, y) = face.middle();
    let side = face.width.max(face.height);
    let (depth, length) = (side * STRIP.0 + comes, side * STRIP.1);
    let beside = |x| Area::new(x, y - length / 2.0, depth, length);
    let along = |y| Area::new(x - length / 2.0, y, length, depth);
    [
        (face.x < 0.0).then(|| beside(0.0)),
        (face.x + face.width > size.width).then(|| beside(size.width - depth)),
        (face.y < 0.0).then(|| along(0.0)),
        (face.y + face.height > size.height).then(|| along(size.height - depth)),
    ]
    .into_iter()
    .flatten()
}

impl Paint for Guard {
    fn paint(&self, picture: &mut Picture<'_>) {
        let (width, height) = (picture.width() as f32, picture.height() as f32);
        let all = || vec![Area::new(0.0, 0.0, width, height)];
        let (mode, when_late, cover, regions) = {
            let settings = lock(&self.settings);
            let regions: Vec<Area> = settings
                .regions
                .iter()
                .map(|r| Area::new(r.x * width, r.y * height, r.width * width, r.height * height))
                .collect();
            (settings.mode, settings.when_late, settings.cover, regions)
        };
        let hidden = match mode {
            MosaicMode::Frame => all(),
            MosaicMode::Regions => regions,
            MosaicMode::Faces => self.faces(picture, when_late, false).unwrap_or_else(all),
            MosaicMode::FacesExceptEnrolled => self.faces(picture, when_late, true).unwrap_or_else(all),
        };
        for area in hidden {
            hide(picture, area, cover);
        }
    }
}

#[cfg(test)]
mod tests {
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
        let follower = Follower::new(1.0, gst::ClockTime::ZERO, move || {
            let mut looks = 0;
            std::boxed::Box::new(move |look| {
                looks += 1;
                let wait = if looks > times { Duration::MAX } else { takes };
                let _ = until.recv_timeout(wait);
                let found = Found {
                    area: FACE,
                    confidence: 1.0,
                    person: None,
                };
                Ok(Sight {
                    grey: look.grey,
                    faces: vec![found],
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
}
