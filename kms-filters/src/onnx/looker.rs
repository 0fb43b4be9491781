//! A model beside a stream.

use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use gst_video::VideoFrameExt;
use kms_core::media::Timeline;
use kms_core::object::lock;
use protocol::{Code, Error};

use super::class::{Detected, ObjectsDetected};
use super::drawing::draw;
use super::model::{Detection, Model};
use super::picture::Planes;
use crate::beside::{Beside, Failing};
use crate::filter::Filter;
use crate::painter::{Paint, Picture};

/// What was seen is drawn for so long.
const DRAWN: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// What clients have set.
pub(super) struct Settings {
    pub(super) draw: bool,
    pub(super) every_nth: u32,
}

type Seen = Result<(i64, Vec<Detection>), String>;

/// Used by the stream alone.
#[derive(Default)]
pub(super) struct Work {
    beside: Option<Beside<Planes, Seen>>,
    number: u32,
    /// What was seen last, and when that came.
    last: Option<(gst::ClockTime, Vec<Detection>)>,
    failing: Failing,
}

/// Shows pictures to a model, and tells and draws what it finds.
pub(super) struct Looker {
    pub(super) timeline: Timeline,
    pub(super) filter: OnceLock<Weak<Filter>>,
    pub(super) model: Arc<Model>,
    /// Changed by clients, read with each picture.
    pub(super) settings: Mutex<Settings>,
    pub(super) work: Mutex<Work>,
}

impl Looker {
    /// One that belongs to no filter yet.
    pub(super) fn new(timeline: &Timeline, model: Arc<Model>, draw: bool) -> Looker {
        let every_nth = model.description.every_nth;
        Looker {
            timeline: timeline.clone(),
            filter: OnceLock::new(),
            model,
            settings: Mutex::new(Settings { draw, every_nth }),
            work: Mutex::default(),
        }
    }

    fn next(&self, work: &mut Work, picture: &mut Picture<'_>, every_nth: u32) -> Result<(), String> {
        if work.failing.waits(self.timeline.now()) {
            return Ok(());
        }
        let seen = match &work.beside {
            Some(beside) => beside.seen(),
            None => {
                let model = self.model.clone();
                let look = move || {
                    move |picture: Planes| {
                        let found = model.look(&picture)?;
                        Ok((picture.time, found))
                    }
                };
                work.beside =
                    Some(Beside::new("onnx", look).map_err(|e| format!("no thread can be made: {e}"))?);
                None
            }
        };
        if let Some((time, found)) = seen.transpose()? {
            work.failing.works();
            self.tell(
                time,
                &found,
                work.last.as_ref().is_some_and(|(_, last)| !last.is_empty()),
            );
            work.last = Some((self.timeline.now(), found));
        }
        if work.number == 0
            && let Some(planes) = Planes::of(picture, now())
            && let Some(beside) = &work.beside
            && !beside.show(planes)
        {
            return Err("what runs the model has ended".into());
        }
        work.number = (work.number + 1) % every_nth;
        Ok(())
    }

    /// What is seen is told each time; that there is nothing any more, once.
    fn tell(&self, frame_time: i64, found: &[Detection], was_something: bool) {
        if found.is_empty() && !was_something {
            return;
        }
        let description = &self.model.description;
        let detections = found
            .iter()
            .map(|found| Detected::new(found, description.label(found.class)));
        if let Some(filter) = self.filter.get().and_then(Weak::upgrade) {
            filter.element().object.raise(&ObjectsDetected {
                detections: detections.collect(),
                frame_time,
            });
        }
    }
}

impl Paint for Looker {
    fn paint(&self, picture: &mut Picture<'_>) {
        let (draws, every_nth) = {
            let settings = lock(&self.settings);
            (settings.draw, settings.every_nth)
        };
        let mut work = lock(&self.work);
        if let Err(failure) = self.next(&mut work, picture, every_nth) {
            work.beside = None;
            let is_news = work.failing.fails(self.timeline.now());
            if let (true, Some(filter)) = (is_news, self.filter.get().and_then(Weak::upgrade)) {
                let message = format!("The model failed: {failure}");
                filter.raise(Error::new(Code::NotEnoughResources, message));
            }
        }
        let last = work.last.clone().filter(|_| draws);
        drop(work);
        let fresh = last.filter(|(came, _)| self.timeline.now() < *came + DRAWN);
        let whole = (picture.width() as f32, picture.height() as f32);
        for found in fresh.into_iter().flat_map(|(_, found)| found) {
            // What is of all of the picture needs no box.
            if found.area.width < whole.0 || found.area.height < whole.1 {
                let name = self.model.description.label(found.class);
                let _ = draw(picture, found.area, found.class, &name);
            }
        }
    }
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
