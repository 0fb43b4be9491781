//! The faces of a stream: looked for beside it, followed in it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::area::Area;
use super::detector::{Detector, Found, Sight};
use super::grey::Grey;
use super::models::Models;
use super::tracks::Tracks;
use crate::beside::{Beside, Failing};
use crate::painter::Picture;

/// A picture to be looked at, and where faces are in it as far as is known.
pub(crate) struct Look {
    pub(crate) grey: Arc<Grey>,
    pub(crate) known: Vec<Area>,
}

type Seen = Result<Sight, String>;

/// Looks at a picture.
pub(crate) type Looking = Box<dyn FnMut(Look) -> Seen>;

/// Pictures that are further apart are a new beginning.
const GAP: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Pictures whose time is remembered until they were looked at.
const REMEMBERED: usize = 256;

/// What one picture brought.
#[derive(Default)]
pub(crate) struct News {
    /// The faces that were found in the newest picture that was looked at since, with their tracks.
    pub(crate) found: Option<Vec<(Option<u64>, Found)>>,
    /// Why faces can't be found; told once, until they could be again.
    pub(crate) failure: Option<String>,
}

/// Finds and follows.
pub(crate) struct Follower {
    prepare: Arc<dyn Fn() -> Looking + Send + Sync>,
    beside: Option<Beside<Look, Seen>>,
    tracks: Tracks,
    number: u64,
    /// When the newest pictures were, by their numbers.
    times: VecDeque<(u64, gst::ClockTime)>,
    /// The time of the newest picture that was looked at.
    looked: Option<gst::ClockTime>,
    failing: Failing,
    /// How much of a difference is set right when a face is found again.
    part: f32,
    /// From one look to the next at least: between them faces are followed, which costs a tenth.
    interval: gst::ClockTime,
    /// The picture that was shown to it last.
    shown: Option<gst::ClockTime>,
    /// The newest picture, and its size.
    newest: Option<gst::ClockTime>,
    size: (f32, f32),
    /// The first picture since they came without a gap and in one size.
    begun: u64,
    /// The number of the newest picture that was looked at.
    looked_number: u64,
}

impl Follower {
    /// Begins with the first picture. `prepare` is called on the thread that looks.
    pub(crate) fn new(
        part: f32,
        interval: gst::ClockTime,
        prepare: impl Fn() -> Looking + Send + Sync + 'static,
    ) -> Follower {
        Follower {
            prepare: Arc::new(prepare),
            beside: None,
            tracks: Tracks::default(),
            number: 0,
            times: VecDeque::new(),
            looked: None,
            failing: Failing::default(),
            part,
            interval,
            shown: None,
            newest: None,
            size: (0.0, 0.0),
            begun: 0,
            looked_number: 0,
        }
    }

    /// The faces that are there.
    pub(crate) fn tracks(&mut self) -> &mut Tracks {
        &mut self.tracks
    }

    /// The time of the newest picture that was looked at, since they came without a gap and in one size.
    pub(crate) fn looked(&self) -> Option<gst::ClockTime> {
        self.looked
    }

    /// How many pictures have come since that.
    pub(crate) fn lag(&self) -> u64 {
        self.number - self.looked_number
    }

    /// Whether nobody looks, until that is tried again.
    pub(crate) fn has_failed(&self) -> bool {
        self.failing.has_failed()
    }

    /// One more picture. Takes a moment: what takes longer is done beside the stream.
    pub(crate) fn next(&mut self, picture: &mut Picture<'_>, at: gst::ClockTime) -> News {
        match self.try_next(picture, at) {
            Ok(news) => news,
            Err(why) => {
                self.beside = None;
                self.begin();
                let failure = self.failing.fails(at).then_some(why);
                News { found: None, failure }
            }
        }
    }

    /// Nothing is known of what is to be seen from this picture on.
    fn begin(&mut self) {
        self.begun = self.number;
        self.looked = None;
    }

    fn try_next(&mut self, picture: &mut Picture<'_>, at: gst::ClockTime) -> Result<News, String> {
        if self.failing.waits(at) {
            return Ok(News::default());
        }
        let told = |e: opencv::Error| format!("OpenCV: {e}");
        self.number += 1;
        // After a gap, or when the stream was set back, nothing is known of what is to be seen.
        let newest = self.newest.replace(at);
        if newest.is_none_or(|newest| at < newest || at > newest + GAP) {
            self.begin();
        }
        // A stream that was set back is looked at at once.
        let is_due = self
            .shown
            .is_none_or(|shown| at < shown || at >= shown + self.interval);
        let spare = self.tracks.spare_picture();
        let grey = Arc::new(Grey::of(picture, self.number, is_due, spare).map_err(told)?);
        if std::mem::replace(&mut self.size, grey.extent) != grey.extent {
            self.begin();
        }
        self.times.push_back((self.number, at));
        if self.times.len() > REMEMBERED {
            self.times.pop_front();
        }
        self.tracks.step(&grey).map_err(told)?;
        let beside = match &self.beside {
            Some(beside) => beside,
            None => {
                let prepare = self.prepare.clone();
                let beside = Beside::new("faces", move || prepare());
                self.beside
                    .insert(beside.map_err(|e| format!("no thread can be made: {e}"))?)
            }
        };
        if is_due {
            self.shown = Some(at);
            let known = self.tracks.all().iter().map(|track| track.area).collect();
            if !beside.show(Look { grey, known }) {
                return Err("what looks for faces has ended".into());
            }
        }
        let Some(seen) = beside.seen() else {
            return Ok(News::default());
        };
        let sight = seen?;
        self.failing.works();
        let number = sight.grey.number;
        if number < self.begun {
            return Ok(News::default());
        }
        // Of one that is so old nothing is said.
        let Some((_, when)) = self.times.iter().find(|(n, _)| *n == number).copied() else {
            return Ok(News::default());
        };
        self.looked = Some(when);
        self.looked_number = number;
        let ids = self.tracks.correct(&sight, when, self.part).map_err(told)?;
        let found = ids.into_iter().zip(sight.faces).collect();
        Ok(News {
            found: Some(found),
            failure: None,
        })
    }
}

/// Looks for faces, and then at each.
pub(crate) fn detector(
    models: &Models,
    mut each: impl FnMut(&Grey, &mut Found) -> Result<(), String> + 'static,
) -> Looking {
    let mut detector = Detector::new(models);
    Box::new(move |look| {
        let detector = detector.as_mut().map_err(|why| why.clone())?;
        let mut faces = detector.find(&look.grey, &look.known)?;
        for face in &mut faces {
            each(&look.grey, face)?;
        }
        Ok(Sight {
            grey: look.grey,
            faces,
        })
    })
}
