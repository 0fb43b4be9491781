//! Faces over time: each is followed from picture to picture, and set right when it is found again.

use std::collections::VecDeque;
use std::sync::Arc;

use opencv::core::{Mat, Vector};

use super::area::Area;
use super::detector::{Found, Sight};
use super::flow::follow;
use super::grey::{Grey, Pyramid, Small};

/// Faces that are followed at once. What is found beyond them is not.
pub(crate) const MOST: usize = 64;
/// Pictures that it is remembered for where a face was: two seconds, mostly. A look that took longer is compared with where it is now.
const REMEMBERED: usize = 64;
/// Of a mean, what the newest value counts; and what it begins with.
const NEWEST: f32 = 0.3;
const BEGINNING: f32 = 0.5;
/// Six windows of the detector, and four. Photographs of faces give 6 to 20, what only looks like one mostly 2 to 4.
const SURE: f32 = 0.67;
const UNSURE: f32 = 0.56;
/// Pictures that are kept for what is found late: half a second, mostly.
const RECENT: usize = 16;
/// A face that is found is one that is known if they overlap by this, or if their middles are this close, of its size.
const OVERLAP: f32 = 0.15;
const CLOSE: f32 = 0.6;

/// A face.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    /// Its number, from 1.
    pub(crate) id: u64,
    /// Where it is: pixels of the picture.
    pub(crate) area: Area,
    /// How sure it was when it was found last, 0 to 1.
    pub(crate) confidence: f32,
    /// How sure it was on average, lately, from a half on.
    mean: f32,
    /// Whether it is a face for sure: above [`SURE`] on average it becomes one, below [`UNSURE`] it is none any more.
    pub(crate) is_face: bool,
    /// The time of the picture it was found in last.
    pub(crate) seen: gst::ClockTime,
    /// How often it was found.
    pub(crate) hits: u32,
    /// Whether it could be followed into the newest picture.
    pub(crate) is_sure: bool,
    /// It could not be followed once since [`Tracks::doubts`] was asked: it may be somebody else's by now.
    is_doubted: bool,
    /// Where it was, by the pictures' numbers.
    history: VecDeque<(u64, Area)>,
}

impl Track {
    fn at(&self, number: u64) -> Area {
        let was = self.history.iter().rev().find(|(n, _)| *n <= number);
        was.or(self.history.front()).map_or(self.area, |(_, area)| *area)
    }

    /// How fast it was at most, as long as is remembered: pixels a picture.
    pub(crate) fn speed(&self) -> f32 {
        let lately = self.history.iter().map(|(_, area)| area.middle());
        let lately: Vec<(f32, f32)> = lately.collect();
        let steps = lately
            .windows(2)
            .map(|pair| (pair[0].0 - pair[1].0).hypot(pair[0].1 - pair[1].1));
        steps.fold(0.0, f32::max)
    }

    /// It was here in that picture: so much of the difference is set right, in that picture and in all since, for what is found in one of
    /// those is compared with where it was there.
    fn set_right(&mut self, number: u64, found: Area, part: f32) {
        let was = self.at(number);
        let ((x, y), (right_x, right_y)) = (was.middle(), found.middle());
        let moved = ((right_x - x) * part, (right_y - y) * part);
        let grown = |was: f32, right: f32| (right / was.max(1.0)).powf(part);
        let (wider, higher) = (grown(was.width, found.width), grown(was.height, found.height));
        let since = self.history.iter_mut().filter(|(n, _)| *n >= number);
        for area in since.map(|(_, area)| area).chain([&mut self.area]) {
            let (x, y) = area.middle();
            let middle = (x + moved.0, y + moved.1);
            *area = Area::around(middle, area.width * wider, area.height * higher);
        }
    }

    fn is(&self, found: Area, number: u64) -> Option<f32> {
        let was = self.at(number);
        let ((x, y), (at_x, at_y)) = (was.middle(), found.middle());
        let far = (x - at_x).hypot(y - at_y) / was.width.max(found.width).max(1.0);
        let overlap = was.overlap(found);
        (overlap > OVERLAP || far < CLOSE).then_some(overlap - far)
    }
}

/// The faces of a stream.
#[derive(Default)]
pub(crate) struct Tracks {
    list: Vec<Track>,
    ids: u64,
    newest: Option<Arc<Grey>>,
    /// Those before it and it, the newest at the end: what is found in one of them is followed through the others.
    recent: VecDeque<Recent>,
    spares: Spares,
}

/// A picture of some moments ago.
struct Recent {
    number: u64,
    small: Small,
    /// What points are followed in, once that was needed.
    pyramid: Option<Pyramid>,
}

impl Recent {
    fn pyramid(&mut self, spares: &mut Spares) -> opencv::Result<Pyramid> {
        match &self.pyramid {
            Some(pyramid) => Ok(pyramid.clone()),
            None => {
                let spare = spares.pyramids.pop().unwrap_or_default();
                Ok(self.pyramid.insert(self.small.pyramid(spare)?).clone())
            }
        }
    }
}

/// Memory of what is not needed any more, for what is made next.
#[derive(Default)]
struct Spares {
    pictures: Vec<Mat>,
    pyramids: Vec<Vector<Mat>>,
}

/// Spares of each kind; what is beyond is given back.
const MOST_SPARES: usize = 2;

impl Spares {
    fn take_picture(&mut self, small: Small) {
        self.pictures.extend(small.into_spare());
        self.pictures.truncate(MOST_SPARES);
    }

    fn take_pyramid(&mut self, pyramid: Option<Pyramid>) {
        self.pyramids.extend(pyramid.and_then(Arc::into_inner));
        self.pyramids.truncate(MOST_SPARES);
    }
}

impl Tracks {
    /// Those that are there.
    pub(crate) fn all(&self) -> &[Track] {
        &self.list
    }

    /// Those that could not be followed at some time since this was asked last.
    pub(crate) fn doubts(&mut self) -> Vec<u64> {
        let mut doubted = Vec::new();
        for track in &mut self.list {
            if std::mem::take(&mut track.is_doubted) {
                doubted.push(track.id);
            }
        }
        doubted
    }

    /// Takes those away that a condition doesn't hold for, and gives them.
    pub(crate) fn keep(&mut self, keep: impl Fn(&Track) -> bool) -> Vec<Track> {
        let (kept, gone) = std::mem::take(&mut self.list).into_iter().partition(keep);
        self.list = kept;
        gone
    }

    /// Memory for the small one of the next picture.
    pub(crate) fn spare_picture(&mut self) -> Mat {
        self.spares.pictures.pop().unwrap_or_default()
    }

    /// Follows all into the next picture.
    pub(crate) fn step(&mut self, grey: &Arc<Grey>) -> opencv::Result<()> {
        let before = self.newest.replace(grey.clone());
        self.recent.push_back(Recent {
            number: grey.number,
            small: grey.small.clone(),
            pyramid: None,
        });
        // Points are followed from one picture to the next: of those before, pyramids were needed for what was found late alone.
        let older = self.recent.len().saturating_sub(2);
        for recent in self.recent.iter_mut().take(older) {
            self.spares.take_pyramid(recent.pyramid.take());
        }
        if self.recent.len() > RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.spares.take_picture(oldest.small);
        }
        let Some(before) = before else {
            return Ok(());
        };
        let by = grey.extent;
        let was = before.extent;
        if by != was {
            // Another resolution: all is where it was, in proportion.
            self.recent.drain(..self.recent.len() - 1);
            for track in &mut self.list {
                track.area = track.area.stretched((by.0 / was.0, by.1 / was.1));
                track.history.clear();
                track.is_sure = false;
                track.is_doubted = true;
            }
        } else if !self.list.is_empty() {
            let mut two = self.recent.iter_mut().rev();
            let (Some(to), Some(from)) = (two.next(), two.next()) else {
                return Ok(());
            };
            let (from, to) = (from.pyramid(&mut self.spares)?, to.pyramid(&mut self.spares)?);
            for track in &mut self.list {
                let area = follow(&from, &to, track.area.times(1.0 / grey.scale))?;
                track.is_sure = area.is_some();
                track.is_doubted |= area.is_none();
                if let Some(area) = area {
                    track.area = area.times(grey.scale);
                }
            }
        }
        for track in &mut self.list {
            track.history.push_back((grey.number, track.area));
            if track.history.len() > REMEMBERED {
                track.history.pop_front();
            }
        }
        Ok(())
    }

    /// What was found in a picture, perhaps of some time ago: known faces are set right by a part of what they are off (1: at once), new
    /// ones are followed to where they are by now. Gives the track of each face found; `None`: there are too many.
    pub(crate) fn correct(
        &mut self,
        sight: &Sight,
        at: gst::ClockTime,
        part: f32,
    ) -> opencv::Result<Vec<Option<u64>>> {
        let mut ids = vec![None; sight.faces.len()];
        let Some(now) = self.newest.clone() else {
            return Ok(ids);
        };
        if now.extent != sight.grey.extent {
            return Ok(ids);
        }
        let number = sight.grey.number;
        let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
        for (f, found) in sight.faces.iter().enumerate() {
            for (t, track) in self.list.iter().enumerate() {
                pairs.extend(track.is(found.area, number).map(|how| (how, f, t)));
            }
        }
        // The closest ones first.
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut taken = vec![false; self.list.len()];
        for (_, f, t) in pairs {
            if ids[f].is_some() || taken[t] {
                continue;
            }
            taken[t] = true;
            let (found, track) = (sight.faces[f], &mut self.list[t]);
            ids[f] = Some(track.id);
            track.set_right(number, found.area, part);
            track.confidence = found.confidence;
            track.mean += (found.confidence - track.mean) * NEWEST;
            track.is_face = track.mean >= if track.is_face { UNSURE } else { SURE };
            track.hits += 1;
            track.seen = at;
            track.is_sure = true;
        }
        for (f, found) in sight.faces.iter().enumerate() {
            if ids[f].is_none() && self.list.len() < MOST {
                ids[f] = Some(self.begin(sight, *found, &now, at)?);
            }
        }
        Ok(ids)
    }

    fn begin(&mut self, sight: &Sight, found: Found, now: &Grey, at: gst::ClockTime) -> opencv::Result<u64> {
        let mut area = found.area;
        // Followed from a picture that is forgotten, it may be elsewhere.
        let mut is_sure = self
            .recent
            .front()
            .is_some_and(|recent| recent.number <= sight.grey.number);
        let since = self
            .recent
            .iter_mut()
            .filter(|recent| recent.number >= sight.grey.number);
        // Step by step: at once it would be too far.
        let mut before: Option<Pyramid> = None;
        let mut since = since.peekable();
        while let Some(recent) = since.next() {
            // What was found in the newest picture is where it is.
            if before.is_none() && since.peek().is_none() {
                break;
            }
            let pyramid = recent.pyramid(&mut self.spares)?;
            if let Some(before) = &before {
                match follow(before, &pyramid, area.times(1.0 / now.scale))? {
                    Some(there) => area = there.times(now.scale),
                    None => is_sure = false,
                }
            }
            before = Some(pyramid);
        }
        self.ids += 1;
        self.list.push(Track {
            id: self.ids,
            area,
            confidence: found.confidence,
            mean: BEGINNING,
            is_face: false,
            seen: at,
            hits: 1,
            is_sure,
            is_doubted: false,
            history: VecDeque::from([(now.number, area)]),
        });
        Ok(self.ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_late_is_set_right_once() {
        let at = |x: f32| Area::new(x, 0.0, 10.0, 10.0);
        // It moves by 1 a picture, and is followed as if it were 5 further left.
        let mut track = Track {
            id: 1,
            area: at(5.0),
            confidence: 1.0,
            mean: 1.0,
            is_face: true,
            seen: gst::ClockTime::ZERO,
            hits: 1,
            is_sure: true,
            is_doubted: false,
            history: (0..=10_u64).map(|n| (n, at(n as f32 - 5.0))).collect(),
        };
        track.set_right(7, at(7.0), 1.0);
        assert_eq!(track.area, at(10.0));
        // What was found in the next picture agrees with that.
        track.set_right(8, at(8.0), 1.0);
        assert_eq!(track.area, at(10.0));
        track.set_right(8, Area::new(3.0, -5.0, 20.0, 20.0), 0.5);
        assert_eq!(track.area.middle(), (15.0, 5.0));
        assert!((track.area.width - 10.0 * 2.0_f32.sqrt()).abs() < 1e-4);
    }
}
