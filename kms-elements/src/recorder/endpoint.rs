//! States and events of a recorder, as clients see them.

use std::any::Any;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::time::SystemTime;

use gst::prelude::*;
use kms_core::events;
use kms_core::media::{Consumer, Format, MediaError, Quality, Source, Timeline};
use kms_core::object::lock;
use kms_core::types::MediaType;
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};
use tokio::sync::oneshot;

use super::changeable::Changeable;
use super::events::{FileRecorded, FileUploaded, Paused, Recording, Stopped};
use super::file::Closed;
use super::naming::Naming;
use super::profile::Profile;
use super::recordings::{OpenFile, Recordings};
use super::snapshot::{PATIENCE, Snapshot, SnapshotFormat};
use super::upload::{Outcome, Uploads};
use super::writer::{News, Plan, Writer};
use crate::endpoint::{UriEndpoint, UriEndpointState, UriEndpointStateChanged};

/// Bitrate of video that has to be encoded for a recording, bits a second, unless the user asks for another: the default of
/// live video, 300,000, is too little for what is kept.
const VIDEO_BITRATE: u32 = 2_500_000;

mod beside;

/// How often recordings are looked through for those that are too old.
const TIDY: gst::ClockTime = gst::ClockTime::from_seconds(30);

/// A recording ends when what is had from one source has failed so often.
const MOST_FAILURES: u32 = 3;

const KINDS: [MediaType; 2] = [MediaType::Audio, MediaType::Video];

/// A file that is being written.
struct Active {
    writer: Arc<Writer>,
    /// Clients were told that it began.
    announced: bool,
    /// Its end is being written.
    ending: bool,
    paused: bool,
    /// Once released: the endpoint itself, which is to live until the file is closed.
    keeps: Option<Arc<RecorderEndpoint>>,
    _open: OpenFile,
}

#[derive(Default)]
struct State {
    /// What was last announced.
    announced: Option<UriEndpointState>,
    active: Option<Active>,
    /// Begin a new file when this one is closed.
    again: bool,
    /// Who waits for the file to be closed.
    waiting: Vec<oneshot::Sender<()>>,
    /// By kind, audio first.
    sources: [Option<Arc<Source>>; 2],
    ended: [bool; 2],
    /// How often what is had from the source failed in this recording.
    failures: [u32; 2],
    released: bool,
}

/// How a recorder was made.
pub(super) struct Options {
    /// As the client wrote it.
    pub(super) uri: String,
    /// The files it names.
    pub(super) naming: Arc<Naming>,
    /// What goes into it.
    pub(super) profile: Profile,
    /// Whether to stop when all sources have reached their end.
    pub(super) stop_on_end_of_stream: bool,
}

/// A recorder. What takes time or locks is done on the thread of [`Recordings`]; but a source that changes is fed from at once, on
/// the thread that tells: a file holds its media back only until all have been told, and its first keyframe may be the only one.
pub struct RecorderEndpoint {
    this: Weak<RecorderEndpoint>,
    element: ElementCore,
    timeline: Timeline,
    recordings: Recordings,
    options: Options,
    /// Changed by clients' calls.
    changeable: Mutex<Changeable>,
    /// Changed by clients' calls, by the graph (sources) and on the recorders' thread. Held for moments only.
    state: Mutex<State>,
    /// Held while the writer is given what there is, so that what is given last is what there is last. Taken before `state`.
    feeding: Mutex<()>,
    /// Calls for old recordings to be removed.
    tidied: Mutex<Option<gst::PeriodicClockId>>,
}

impl Drop for RecorderEndpoint {
    fn drop(&mut self) {
        if let Some(tick) = lock(&self.tidied).take() {
            tick.unschedule();
        }
    }
}

impl RecorderEndpoint {
    pub(super) fn new(
        element: ElementCore,
        timeline: Timeline,
        recordings: Recordings,
        options: Options,
        changeable: Changeable,
    ) -> Result<Arc<RecorderEndpoint>, Error> {
        changeable.check(&options.naming)?;
        let recorder = Arc::new_cyclic(|this| RecorderEndpoint {
            this: this.clone(),
            element,
            timeline,
            recordings,
            options,
            changeable: Mutex::new(changeable),
            state: Mutex::default(),
            feeding: Mutex::default(),
            tidied: Mutex::new(None),
        });
        recorder.hear_of_uploads();
        recorder.tidy_now_and_then();
        Ok(recorder)
    }

    /// What clients may change.
    pub(super) fn changeable(&self) -> Changeable {
        *lock(&self.changeable)
    }

    /// Changes it, or refuses and leaves it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Changeable)) -> Result<(), Error> {
        let mut current = lock(&self.changeable);
        let mut next = *current;
        change(&mut next);
        next.check(&self.options.naming)?;
        *current = next;
        drop(current);
        self.tidy();
        Ok(())
    }

    /// Does this on the recorders' thread, if the recorder still exists then.
    fn soon(&self, job: impl FnOnce(&RecorderEndpoint) + Send + 'static) {
        let this = self.this.clone();
        self.recordings.soon(move || {
            if let Some(this) = this.upgrade() {
                job(&this);
            }
        });
    }

    /// Begins, or goes on after a pause.
    pub(super) fn record(&self) {
        let mut state = lock(&self.state);
        if state.released {
            return;
        }
        match &mut state.active {
            Some(active) if active.ending => state.again = true,
            Some(active) if active.paused => {
                active.paused = false;
                active.announced = true;
                let writer = active.writer.clone();
                state.announced = Some(UriEndpointState::Start);
                drop(state);
                self.soon(move |this| {
                    writer.resume();
                    this.core().raise(&Recording {});
                    this.core().raise(&changed(UriEndpointState::Start));
                });
            }
            Some(_) => {}
            None => self.begin(&mut state),
        }
    }

    fn begin(&self, state: &mut State) {
        let this = self.this.clone();
        let recordings = self.recordings.clone();
        let tell = move |news| {
            let this = this.clone();
            recordings.soon(move || {
                if let Some(this) = this.upgrade() {
                    this.hear(news);
                }
            });
        };
        let changeable = self.changeable();
        let plan = Plan {
            profile: self.options.profile,
            naming: self.options.naming.clone(),
            name: self.core().name(),
            segments: changeable.segments().unwrap_or_default(),
            gaps: changeable.gaps,
            latency: self.element.latency().clone(),
        };
        let writer = Arc::new(Writer::new(&self.timeline, plan, tell));
        state.ended = [false; 2];
        state.failures = [0; 2];
        state.active = Some(Active {
            writer,
            announced: false,
            ending: false,
            paused: false,
            keeps: None,
            _open: self.recordings.opened(),
        });
        self.soon(|this| {
            let (naming, name) = (&this.options.naming, this.core().name());
            if let Err(error) = naming.check(&name) {
                let path = naming.example(&name);
                let message = format!("The file '{}' can't be written: {error}", path.display());
                this.fail(Code::UriPathFileNotFound, &MediaError::new(message));
                this.end(None);
                return;
            }
            KINDS.into_iter().for_each(|kind| this.feed(kind));
        });
    }

    /// Ends the file; `done` is told when it is closed.
    pub(super) fn end(&self, done: Option<oneshot::Sender<()>>) {
        let mut state = lock(&self.state);
        state.again = false;
        let Some(active) = &mut state.active else {
            return; // dropping `done` tells as well
        };
        active.ending = true;
        let writer = active.writer.clone();
        state.waiting.extend(done);
        drop(state);
        self.recordings.soon(move || writer.finish());
    }

    /// The writer tells something; on the recorders' thread.
    fn hear(self: &Arc<Self>, news: News) {
        match news {
            News::Began => self.began(),
            News::Failed { error, no_space } => {
                let code = if no_space {
                    Code::NotEnoughResources
                } else {
                    Code::Unexpected
                };
                self.fail(code, &error);
            }
            News::Unfit(kind) => self.feed(kind),
            News::Closed(closed, file) => {
                drop(file);
                self.file_closed(&closed);
            }
            News::Finished => self.finished(),
        }
    }

    fn began(&self) {
        let mut state = lock(&self.state);
        let Some(active) = &mut state.active else { return };
        if active.announced {
            return;
        }
        active.announced = true;
        if active.paused {
            active.writer.pause();
            return;
        }
        state.announced = Some(UriEndpointState::Start);
        drop(state);
        self.core().raise(&changed(UriEndpointState::Start));
        self.core().raise(&Recording {});
    }

    fn fail(&self, code: Code, error: &MediaError) {
        tracing::warn!(recorder = self.core().id(), detail = %error.detail, "{error}");
        self.recordings
            .counters()
            .failures
            .fetch_add(1, Ordering::Relaxed);
        self.core().raise(&events::Error {
            description: error.message.clone(),
            error_code: code.number(),
            error_type: code.name().into(),
        });
    }

    /// A file is complete; on the recorders' thread.
    fn file_closed(&self, closed: &Closed) {
        let Some(path) = &closed.path else { return };
        let since = closed
            .at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let whole = |n: u128| i64::try_from(n).unwrap_or(i64::MAX);
        let size = std::fs::metadata(path).map_or(0, |file| file.len());
        let counters = self.recordings.counters();
        counters.files.fetch_add(1, Ordering::Relaxed);
        counters.bytes.fetch_add(size, Ordering::Relaxed);
        self.core().raise(&FileRecorded {
            uri: closed.uri.clone(),
            start: whole(since.as_millis()),
            duration: whole(closed.duration.mseconds().into()),
            size: whole(size.into()),
        });
        self.tidy();
    }

    fn finished(&self) {
        let mut state = lock(&self.state);
        let active = state.active.take();
        let waiting = std::mem::take(&mut state.waiting);
        state.announced = Some(UriEndpointState::Stop);
        let again = std::mem::take(&mut state.again) && !state.released;
        drop(state);
        if active.is_none() {
            return;
        }
        self.core().raise(&changed(UriEndpointState::Stop));
        // The file is closed before anybody hears that it is.
        drop(active);
        for waits in waiting {
            let _ = waits.send(()); // it may have gone away
        }
        self.core().raise(&Stopped {});
        if again {
            self.record();
        }
    }

    /// Gives the writer what there is of a kind.
    fn feed(&self, kind: MediaType) {
        let _one_at_a_time = lock(&self.feeding);
        let (source, writer) = {
            let state = lock(&self.state);
            let writer = state.active.as_ref().map(|a| a.writer.clone());
            (state.sources[index(kind)].clone(), writer)
        };
        if let Some(writer) = writer {
            writer.feed(kind, source.as_ref(), self.quality());
        }
    }

    /// This kind comes from there from now on. From now on, too, it is told when that changes.
    fn take_from(&self, kind: MediaType, source: Option<Arc<Source>>) {
        let me: Weak<dyn Consumer> = self.this.clone();
        let before = std::mem::replace(&mut lock(&self.state).sources[index(kind)], source.clone());
        if let Some(before) = before {
            before.detach(&me);
        }
        if let Some(source) = source {
            source.attach(me);
        }
        self.soon(move |this| this.feed(kind));
    }

    fn quality(&self) -> Quality {
        Quality::of(self.element.bitrates().aim(VIDEO_BITRATE))
    }
}

fn index(kind: MediaType) -> usize {
    usize::from(kind == MediaType::Video)
}

fn changed(state: UriEndpointState) -> UriEndpointStateChanged {
    UriEndpointStateChanged { state }
}

impl UriEndpoint for RecorderEndpoint {
    fn uri(&self) -> String {
        self.options.uri.clone()
    }

    fn state(&self) -> UriEndpointState {
        lock(&self.state).announced.unwrap_or(UriEndpointState::Stop)
    }

    fn pause(self: Arc<Self>) -> Result<(), Error> {
        let mut state = lock(&self.state);
        let Some(active) = &mut state.active else {
            return Ok(());
        };
        if active.paused || active.ending {
            return Ok(());
        }
        active.paused = true;
        // At once, not soon: what is said after the call is not to be recorded.
        active.writer.pause();
        state.announced = Some(UriEndpointState::Pause);
        drop(state);
        self.soon(|this| {
            this.core().raise(&Paused {});
            this.core().raise(&changed(UriEndpointState::Pause));
        });
        Ok(())
    }

    fn stop(self: Arc<Self>) -> Result<(), Error> {
        self.end(None);
        Ok(())
    }
}

impl Object for RecorderEndpoint {
    fn core(&self) -> &ObjectCore {
        &self.element.object
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
    fn into_element(self: Arc<Self>) -> Option<Arc<dyn Element>> {
        Some(self)
    }
    fn released(&self) {
        self.element.leave();
        {
            let mut state = lock(&self.state);
            state.released = true;
            // It lives until its file is closed, whoever lets go of it: `finished` takes this away again.
            if let Some(active) = &mut state.active {
                active.keeps = self.this.upgrade();
            }
        }
        self.end(None);
        KINDS.into_iter().for_each(|kind| self.take_from(kind, None));
    }
}

impl Element for RecorderEndpoint {
    fn element(&self) -> &ElementCore {
        &self.element
    }

    fn fed_by(&self, kind: MediaType, source: Option<&Arc<dyn Element>>) {
        if kind == MediaType::Data {
            return;
        }
        self.take_from(kind, source.and_then(|s| s.source(kind)));
    }

    fn taking(&self, kind: MediaType) -> Option<Format> {
        let writer = lock(&self.state).active.as_ref()?.writer.clone();
        let codec = self.options.profile.takes(kind).then(|| writer.codec(kind));
        codec.flatten().map(Format::Encoded)
    }

    fn is_endpoint(&self) -> bool {
        true
    }
}

impl Consumer for RecorderEndpoint {
    fn source_changed(&self, kind: MediaType) {
        self.feed(kind);
    }

    fn source_ended(&self, kind: MediaType) {
        if !self.options.stop_on_end_of_stream {
            return;
        }
        let mut state = lock(&self.state);
        state.ended[index(kind)] = true;
        let all = (0..2).all(|k| state.sources[k].is_none() || state.ended[k]);
        drop(state);
        if all {
            self.end(None);
        }
    }

    fn source_failed(&self, kind: MediaType, error: &MediaError) {
        let error = error.clone();
        let failures = {
            let mut state = lock(&self.state);
            state.failures[index(kind)] += 1;
            state.failures[index(kind)]
        };
        self.soon(move |this| {
            this.fail(Code::Unexpected, &error);
            // What failed once is made anew; what fails again and again is broken.
            if failures < MOST_FAILURES {
                this.feed(kind);
            } else {
                this.end(None);
            }
        });
    }
}
