//! What is recorded between `record` and its end: one file, or one after the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use gst::ClockTime;
use gst::prelude::*;
use kms_core::element::Latency;
use kms_core::media::{Codec, Format, MediaError, Quality, Report, Source, Timeline, Wanted, guarded};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::file::{Closed, File, KINDS, Opening, Rules, Written, index};
use super::ingest::{Arrived, Ingest, Told};
use super::keyframes::Keyframes;
use super::naming::Naming;
use super::placeholder::Placeholder;
use super::profile::{Container, Profile};
use super::segments::{GapsFixMethod, Segments};
use super::track::LONGEST_QUEUE;

mod roll;
mod sources;

/// How long the file waits for media of all kinds that its profile has, once some has come.
const PATIENCE: ClockTime = ClockTime::from_mseconds(1_000);
/// How long it waits for a keyframe of video that comes already: many cameras send one every few seconds, and none when asked.
const FIRST_KEYFRAME: ClockTime = ClockTime::from_mseconds(5_000);
/// How long it waits for the placeholder of what has not come, which is there within moments, but on a busy machine later: without it
/// the kind is in no part of the file.
const PLACEHOLDER: ClockTime = ClockTime::from_seconds(4);
/// How long a resumed file waits for a keyframe of its video.
const KEYFRAME_PATIENCE: ClockTime = ClockTime::from_mseconds(2_000);
/// A kind that is this far behind has fallen silent, and is filled up...
const SILENT: ClockTime = ClockTime::from_mseconds(1_500);
/// ...until so far behind now, so that media that is late still has a place.
const MARGIN: ClockTime = ClockTime::from_mseconds(1_000);
/// A hole in audio that is longer is filled with silence; a shorter one is left to the decoder, which conceals it.
const HOLE: ClockTime = ClockTime::from_mseconds(300);
/// The same, for a source that is converted and whose gaps are to be filled.
const SMALL_HOLE: ClockTime = ClockTime::from_mseconds(50);
/// How long the end of a file may take to be written.
const LONGEST_END: ClockTime = ClockTime::from_seconds(10);
/// How often a writer looks after what is silent or late.
const TICK: ClockTime = ClockTime::from_mseconds(100);
/// What sent nothing for so long is lost: no segment waits for it any more.
const LOST: ClockTime = ClockTime::from_seconds(5);
/// How often it looks whether the file is still there.
const LOOK: u64 = 10;
/// Files that may be ending at once. With a disk that is slower than that, the one that is open grows on.
const MOST_ENDING: usize = 3;

/// What a writer tells, on GStreamer's threads: whoever hears it must be quick, and drop nothing there.
#[derive(Debug)]
pub(super) enum News {
    /// There is a file for the first media.
    Began,
    /// Something failed. The file ends; `Finished` follows.
    Failed {
        /// What.
        error: MediaError,
        /// Whether the disk is full.
        no_space: bool,
    },
    /// A file is complete. What is dropped with it is to be dropped where this is heard.
    Closed(Closed, Box<File>),
    /// What comes of a kind has to be converted, as was seen only now: it is to be fed again.
    Unfit(MediaType),
    /// All is closed, and nothing more comes.
    Finished,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Media is waited for, since the first came (running time).
    Waiting { since: Option<ClockTime> },
    /// Media is written.
    Writing,
    /// Media is thrown away.
    Paused,
    /// Writing goes on with the next keyframe; asked for then (running time).
    Resuming { since: ClockTime },
    /// The end is being written, since then (running time).
    Ending { since: ClockTime },
    /// The file is closed.
    Ended,
}

/// Whether media goes on its way.
enum Accepted {
    Yes,
    No,
    /// It comes again in another codec.
    Converted,
}

/// One kind of media.
#[derive(Default)]
struct Track {
    /// A source is connected.
    expected: bool,
    /// The codec in the file, once known.
    codec: Option<Codec>,
    ingest: Option<Arc<Ingest>>,
    /// The source's media is converted for the file.
    converted: bool,
    /// Rate and channels that sound is converted to, since it changed in the middle of a file.
    shape: Option<(i32, i32)>,
    /// Caps of what came last.
    caps: Option<gst::Caps>,
    /// When that was.
    came: Option<ClockTime>,
    /// How far its source has come, running time.
    reached: Option<ClockTime>,
    /// What came before the file began.
    pending: VecDeque<Arrived>,
    /// What came, and when, of which isn't known yet whether it goes into this file or the next.
    held: VecDeque<(ClockTime, Arrived)>,
    placeholder: Option<Placeholder>,
    keyframes: Keyframes,
}

impl Track {
    /// A source is connected, and media comes from it.
    fn is_alive(&self, now: ClockTime) -> bool {
        self.expected && self.came.is_some_and(|came| now < came + LOST)
    }
}

struct State {
    phase: Phase,
    tracks: [Track; 2],
    /// The file that is written, while there is one.
    file: Option<File>,
    /// Those before it that are not yet closed, oldest first.
    ending: Vec<File>,
    /// Files begun so far.
    files: u64,
    ticks: u64,
}

/// What is to be recorded, and how.
pub(super) struct Plan {
    /// Container and kinds.
    pub(super) profile: Profile,
    /// Which files.
    pub(super) naming: Arc<Naming>,
    /// The recorder's name.
    pub(super) name: String,
    /// When a new file begins.
    pub(super) segments: Segments,
    /// What to do about gaps.
    pub(super) gaps: GapsFixMethod,
    /// How old media is when it comes.
    pub(super) latency: Arc<Latency>,
}

struct Shared {
    timeline: Timeline,
    plan: Plan,
    tell: Box<dyn Fn(News) + Send + Sync>,
    /// Changed with every buffer (GStreamer's threads), every tick (the clock's thread) and by the endpoint. Nothing waits while
    /// it is held: appsrcs take what they get, and files are opened elsewhere.
    state: Mutex<State>,
    /// Nothing more is told.
    closed: AtomicBool,
}

/// Writes files. Dropped before its end, it leaves what was written so far.
pub(super) struct Writer {
    shared: Arc<Shared>,
    tick: gst::PeriodicClockId,
}

impl Writer {
    /// A file that begins with the first media.
    pub(super) fn new(
        timeline: &Timeline,
        plan: Plan,
        tell: impl Fn(News) + Send + Sync + 'static,
    ) -> Writer {
        let shared = Arc::new(Shared {
            timeline: timeline.clone(),
            plan,
            tell: Box::new(tell),
            closed: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Waiting { since: None },
                tracks: Default::default(),
                file: None,
                ending: Vec::new(),
                files: 0,
                ticks: 0,
            }),
        });
        let clock = timeline.clock();
        let tick = clock.new_periodic_id(clock.time() + TICK, TICK);
        let weak = Arc::downgrade(&shared);
        #[expect(clippy::disallowed_methods, reason = "it is guarded")]
        let waits = tick.wait_async(move |_, _, _| {
            if let Some(shared) = weak.upgrade()
                && guarded(None, || shared.tick()).is_none()
            {
                guarded(None, || {
                    shared.failed(MediaError::new("The recording failed unexpectedly"), false)
                });
            }
        });
        if let Err(error) = waits {
            tracing::error!(%error, "a recording has no clock: silent media will stop it");
        }
        Writer { shared, tick }
    }

    /// This kind of media comes from `source` from now on, or again after it changed; or from nowhere.
    pub(super) fn feed(&self, kind: MediaType, source: Option<&Arc<Source>>, quality: Quality) {
        if let Err(error) = self.shared.feed(kind, source, quality) {
            self.shared.failed(error, false);
        }
    }

    /// Writes nothing until [`Writer::resume`].
    pub(super) fn pause(&self) {
        let mut state = lock(&self.shared.state);
        if matches!(state.phase, Phase::Writing | Phase::Resuming { .. }) {
            self.shared
                .write_held(&mut state, self.shared.timeline.now(), true);
            state.phase = Phase::Paused;
            state.ending.iter_mut().for_each(File::end);
            if let Some(file) = &mut state.file {
                file.time.pause();
            }
        }
    }

    /// Goes on where it was, with a keyframe if there is video.
    pub(super) fn resume(&self) {
        let now = self.shared.timeline.now();
        let mut state = lock(&self.shared.state);
        if state.phase != Phase::Paused {
            return;
        }
        state.phase = Phase::Resuming { since: now };
        if let Some(file) = &mut state.file {
            file.wait_for_keyframe();
        }
        let ingest = state.tracks[index(MediaType::Video)].ingest.clone();
        drop(state);
        if let Some(ingest) = ingest {
            ingest.request_keyframe();
        }
    }

    /// The codec that a kind is written in; `None`: nothing of it has come.
    pub(super) fn codec(&self, kind: MediaType) -> Option<Codec> {
        lock(&self.shared.state).tracks[index(kind)].codec
    }

    /// How far a kind is in the file, and how many buffers of its sources are; `None`: it isn't in it.
    #[cfg(test)]
    pub(super) fn written(&self, kind: MediaType) -> Option<(ClockTime, u64)> {
        let state = lock(&self.shared.state);
        let out = state.file.as_ref()?.outs[index(kind)].as_ref()?;
        Some((out.time.end(), out.written))
    }

    /// Closes the file. [`News::Finished`] tells when that is done: at once, or after 10 s at the latest.
    pub(super) fn finish(&self) {
        self.shared.finish();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tick.unschedule();
        // Sources are let go of outside the lock: conversions end with them.
        let mut state = lock(&self.shared.state);
        state.phase = Phase::Ended;
        let tracks = std::mem::take(&mut state.tracks);
        let files = (state.file.take(), std::mem::take(&mut state.ending));
        drop(state);
        drop((tracks, files));
    }
}

impl Shared {
    fn container(&self) -> Container {
        self.plan.profile.container
    }

    /// A buffer of a source came.
    fn arrived(self: &Arc<Self>, kind: MediaType, arrived: Arrived) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let now = self.timeline.now();
        self.plan
            .latency
            .note(kind, now.saturating_sub(arrived.pts).into());
        let mut state = lock(&self.state);
        let track = &mut state.tracks[index(kind)];
        track.came = Some(now);
        track.reached = track.reached.max(Some(arrived.pts));
        if arrived.is_keyframe() {
            track.keyframes.came(now);
        }
        if track.caps.as_ref() != Some(&arrived.caps) {
            match self.accept(&mut state, kind, &arrived.caps) {
                Accepted::Yes => {}
                Accepted::No => return,
                Accepted::Converted => {
                    drop(state);
                    (self.tell)(News::Unfit(kind));
                    return;
                }
            }
        }
        let (done, unfit) = match state.phase {
            Phase::Waiting { since } => {
                let track = &mut state.tracks[index(kind)];
                if track.pending.is_empty() && !arrived.is_keyframe() {
                    return;
                }
                track.pending.push_back(arrived);
                let since = since.unwrap_or(now);
                state.phase = Phase::Waiting { since: Some(since) };
                (self.begin_if_ready(&mut state, now.saturating_sub(since)), false)
            }
            Phase::Writing => match self.cut_if_due(&mut state, kind, &arrived, now) {
                Ok(unfit) => {
                    let unfit_too = self.write_in_turn(&mut state, kind, arrived, now);
                    (Ok(()), unfit || unfit_too)
                }
                Err(error) => (Err(error), false),
            },
            Phase::Resuming { since } => {
                let video = index(MediaType::Video);
                let in_file = state.file.as_ref().is_some_and(|f| f.outs[video].is_some());
                let has_video = in_file && state.tracks[video].expected;
                let begins = match kind {
                    MediaType::Video => arrived.is_keyframe(),
                    _ => !has_video || now.saturating_sub(since) > KEYFRAME_PATIENCE,
                };
                let mut unfit = false;
                if begins {
                    if let Some(file) = &mut state.file {
                        file.time.open_at(arrived.pts);
                    }
                    state.phase = Phase::Writing;
                    unfit = self.write(&mut state, kind, arrived, now);
                }
                (Ok(()), unfit)
            }
            Phase::Paused | Phase::Ending { .. } | Phase::Ended => return,
        };
        drop(state);
        if unfit {
            (self.tell)(News::Unfit(kind));
        }
        if let Err(error) = done {
            self.failed(error, false);
        }
    }

    /// Media of these caps comes from now on. What the muxer doesn't take is converted, if the file has not begun.
    fn accept(&self, state: &mut State, kind: MediaType, caps: &gst::Caps) -> Accepted {
        let (container, waits) = (self.container(), matches!(state.phase, Phase::Waiting { .. }));
        let track = &mut state.tracks[index(kind)];
        let codec = caps.structure(0).and_then(Codec::from_caps);
        if track.codec.is_some() && track.codec != codec {
            return Accepted::No; // on its way from before the codec was changed
        }
        let usual = container.usual(kind);
        if waits && codec != Some(usual) && !container.holds(kind, caps) {
            tracing::info!(recorder = %self.plan.name, %caps, "converted for the recording: its container doesn't take it");
            track.codec = Some(usual);
            track.pending.clear();
            return Accepted::Converted;
        }
        track.caps = Some(caps.clone());
        Accepted::Yes
    }

    /// Writes a buffer into the file it belongs to. Whether its kind has to be converted from now on.
    fn write(&self, state: &mut State, kind: MediaType, arrived: Arrived, now: ClockTime) -> bool {
        let track = &mut state.tracks[index(kind)];
        let fills = self.plan.gaps == GapsFixMethod::FillIfTranscoding && track.converted;
        let rules = Rules {
            now,
            hole: if fills { SMALL_HOLE } else { HOLE },
            fill_video: fills,
            close_gaps: self.plan.gaps == GapsFixMethod::Genpts,
        };
        let before = state.ending.iter_mut().find(|f| f.still_takes(kind, &arrived));
        let file = match before {
            Some(file) => Some(file),
            None => {
                state.ending.iter_mut().for_each(|f| f.end_track(kind));
                state.file.as_mut()
            }
        };
        let Some(file) = file else { return false };
        match file.write(kind, arrived, rules) {
            Written::Unfit(shape) if shape.is_some() && track.shape != shape => {
                track.shape = shape;
                true
            }
            _ => false,
        }
    }

    /// Begins the file if media of all kinds is there, or has been waited for long enough: then what is missing begins with a
    /// placeholder. `waited`: since the first media came.
    fn begin_if_ready(self: &Arc<Self>, state: &mut State, waited: ClockTime) -> Result<(), MediaError> {
        for kind in KINDS {
            let track = &mut state.tracks[index(kind)];
            if !track.pending.is_empty() {
                continue;
            }
            if !track.expected {
                // Clients connect one kind after the other.
                if self.plan.profile.takes(kind) && waited <= PATIENCE {
                    return Ok(());
                }
                continue;
            }
            let waits = track.ingest.as_ref().is_some_and(|i| i.waits_for_keyframe());
            let patience = if waits { FIRST_KEYFRAME } else { PATIENCE };
            if waited > patience + PLACEHOLDER {
                track.expected = false;
                continue;
            }
            if waited > patience && track.placeholder.is_none() {
                let codec = *track.codec.get_or_insert(self.container().usual(kind));
                track.placeholder = Some(self.placeholder(kind, codec)?);
            }
            return Ok(());
        }
        self.begin(state)
    }

    /// Opens the file and writes what has come so far.
    fn begin(self: &Arc<Self>, state: &mut State) -> Result<(), MediaError> {
        // The file begins with its first picture, for that has to be a keyframe; what was heard before is left out.
        let first = |kind| {
            state.tracks[index(kind)]
                .pending
                .iter()
                .map(|a| a.pts)
                .find(|pts| *pts > ClockTime::ZERO)
        };
        let zero = first(MediaType::Video)
            .or(first(MediaType::Audio))
            .unwrap_or_default();
        let tracks = [0, 1].map(|kind| {
            let track = &state.tracks[kind];
            Some((track.codec?, track.pending.front()?.caps.clone()))
        });
        state.file = Some(self.open(state, tracks, zero)?);
        state.phase = Phase::Writing;
        let now = self.timeline.now();
        for kind in KINDS {
            for mut arrived in std::mem::take(&mut state.tracks[index(kind)].pending) {
                let is_placeholder = arrived.pts.is_zero();
                if is_placeholder {
                    (arrived.pts, arrived.dts) = (zero, zero);
                }
                self.write(state, kind, arrived, now);
                if is_placeholder
                    && kind == MediaType::Video
                    && let Some(file) = &mut state.file
                {
                    file.wait_for_keyframe();
                }
            }
        }
        Ok(())
    }
}
