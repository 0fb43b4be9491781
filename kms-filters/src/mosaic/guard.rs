//! What of a picture is hidden. Whatever is not known is hidden too.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use gst_video::VideoFrameExt;
use kms_core::media::Timeline;
use kms_core::object::lock;
use protocol::{Code, Error};

use super::class::{FaceEntered, FaceLeft, MosaicMode, MosaicWhenLate, Region};
use super::cover::{Cover, hide};
use super::gallery::Gallery;
use crate::faces::{Area, Follower, Found, MOST_FACES, Track};
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
    /// It was told that it entered, and as whom.
    told: Option<Option<u32>>,
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
struct Due {
    /// It has entered, or left.
    entered: bool,
    track: Track,
    person: Option<u32>,
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
            let message = format!("{failure}. All of the picture is hidden");
            filter.raise(Error::new(Code::NotEnoughResources, message));
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

    fn tell(
        &self,
        filter: &Filter,
        Due {
            entered,
            track,
            person,
        }: Due,
    ) {
        let object = &filter.element().object;
        let face = i32::try_from(track.id).unwrap_or(i32::MAX);
        let name = person.and_then(|person| self.gallery.name(person));
        let name = name.unwrap_or_default();
        let (region, confidence) = (Region::of(track.area), track.confidence);
        match entered {
            true => object.raise(&FaceEntered {
                face,
                name,
                region,
                confidence,
            }),
            false => object.raise(&FaceLeft {
                face,
                name,
                region,
                confidence,
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
                strip.face = strip.face.stretched((x, y));
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
            let told = self.votes.remove(&track.id).and_then(|votes| votes.told);
            if let Some(person) = told {
                due.push(Due {
                    entered: false,
                    track,
                    person,
                });
            }
        }
        // One that lies further ahead than it may is of a time before the stream was set back.
        self.strips
            .retain(|strip| at < strip.until && strip.until <= at + HOLD_EDGE);
        self.strips.drain(..self.strips.len().saturating_sub(MOST_FACES));
        due
    }

    /// Faces that have come, once it is clear whether they are known; and those that were nobody's, and are recognised.
    fn enter(&mut self) -> Vec<Due> {
        let mut due = Vec::new();
        // What only looks like a face is hidden, but is nobody.
        for track in self.follower.tracks().all().iter().filter(|track| track.is_face) {
            let Some(votes) = self.votes.get_mut(&track.id) else {
                continue;
            };
            let person = votes.person();
            let is_news = match votes.told {
                None => person.is_some() || votes.looks.len() == LOOKS,
                Some(told) => person.is_some() && person != told,
            };
            if is_news {
                votes.told = Some(person);
                due.push(Due {
                    entered: true,
                    track: track.clone(),
                    person,
                });
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
                .map(|region| region.stretched((width, height)))
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
mod tests;
