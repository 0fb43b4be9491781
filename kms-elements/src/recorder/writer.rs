//! One file, from its first buffer to its last.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};

use gst::ClockTime;
use gst::prelude::*;
use kms_core::media::{Codec, Format, MediaError, Quality, Report, Segment, Source, Timeline, Wanted};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::file_time::{FileTime, Times};
use super::ingest::{Arrived, Ingest, Told};
use super::placeholder::Placeholder;
use super::profile::{Container, Profile};
use super::track::{LONGEST_QUEUE, Output};

/// How long the file waits for media of all connected kinds once some has come.
const PATIENCE: ClockTime = ClockTime::from_mseconds(1_000);
/// How long a resumed file waits for a keyframe of its video.
const KEYFRAME_PATIENCE: ClockTime = ClockTime::from_mseconds(2_000);
/// A kind that is this far behind has fallen silent, and is filled up...
const SILENT: ClockTime = ClockTime::from_mseconds(1_500);
/// ...until so far behind now, so that media that is late still has a place.
const MARGIN: ClockTime = ClockTime::from_mseconds(1_000);
/// A hole in audio that is longer is filled with silence; a shorter one is left to the decoder, which conceals it.
const HOLE: ClockTime = ClockTime::from_mseconds(300);
/// How long a buffer lasts that doesn't say.
const ONE_FRAME: ClockTime = ClockTime::from_mseconds(33);
/// How long the end of a file may take to be written.
const LONGEST_END: ClockTime = ClockTime::from_seconds(10);
/// How often a writer looks after what is silent or late.
const TICK: ClockTime = ClockTime::from_mseconds(100);
/// Kinds of media, in the order of tracks.
const KINDS: [MediaType; 2] = [MediaType::Audio, MediaType::Video];

/// What a writer tells, on GStreamer's threads: whoever hears it must be quick, and drop nothing there.
#[derive(Debug)]
pub(super) enum News {
    /// The first media was written.
    Began,
    /// Something failed. The file ends; `Finished` follows.
    Failed {
        /// What.
        error: MediaError,
        /// Whether the disk is full.
        no_space: bool,
    },
    /// The file is closed, and nothing more comes.
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

/// One kind of media.
#[derive(Default)]
struct Track {
    /// A source is connected.
    expected: bool,
    /// The codec in the file, once known.
    codec: Option<Codec>,
    ingest: Option<Arc<Ingest>>,
    /// What came before the file began.
    pending: VecDeque<Arrived>,
    /// The track in the file.
    out: Option<Output>,
    placeholder: Option<Placeholder>,
}

struct State {
    phase: Phase,
    tracks: [Track; 2],
    time: FileTime,
    /// The muxer's segment, while the file is open.
    file: Option<Segment>,
}

struct Shared {
    timeline: Timeline,
    profile: Profile,
    path: PathBuf,
    tell: Box<dyn Fn(News) + Send + Sync>,
    /// Changed with every buffer (GStreamer's threads), every tick (the clock's thread) and by the endpoint. Nothing waits while
    /// it is held: appsrcs take what they get.
    state: Mutex<State>,
    /// Nothing more is told. Apart from the state, for the file's segment reports while that is locked: a file that can't be
    /// opened does so from within.
    closed: AtomicBool,
}

/// Writes a file. Dropped before its end, it leaves what was written so far.
pub(super) struct Writer {
    shared: Arc<Shared>,
    tick: gst::PeriodicClockId,
}

impl Writer {
    /// A file that begins with the first media.
    pub(super) fn new(
        timeline: &Timeline,
        profile: Profile,
        path: PathBuf,
        tell: impl Fn(News) + Send + Sync + 'static,
    ) -> Writer {
        let shared = Arc::new(Shared {
            timeline: timeline.clone(),
            profile,
            path,
            tell: Box::new(tell),
            closed: AtomicBool::new(false),
            state: Mutex::new(State {
                phase: Phase::Waiting { since: None },
                tracks: Default::default(),
                time: FileTime::default(),
                file: None,
            }),
        });
        let clock = timeline.clock();
        let tick = clock.new_periodic_id(clock.time() + TICK, TICK);
        let weak = Arc::downgrade(&shared);
        let waits = tick.wait_async(move |_, _, _| {
            if let Some(shared) = weak.upgrade() {
                shared.tick();
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
            state.phase = Phase::Paused;
            state.time.pause();
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
        if let Some(out) = &mut state.tracks[index(MediaType::Video)].out {
            out.needs_keyframe = true;
        }
        let ingest = state.tracks[index(MediaType::Video)].ingest.clone();
        drop(state);
        if let Some(ingest) = ingest {
            ingest.request_keyframe();
        }
    }

    /// How far a kind is in the file, and how many buffers of its sources are; `None`: it isn't in it.
    #[cfg(test)]
    pub(super) fn written(&self, kind: MediaType) -> Option<(ClockTime, u64)> {
        let state = lock(&self.shared.state);
        let out = state.tracks[index(kind)].out.as_ref()?;
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
        let file = state.file.take();
        drop(state);
        drop((tracks, file));
    }
}

fn index(kind: MediaType) -> usize {
    usize::from(kind == MediaType::Video)
}

impl Shared {
    fn container(&self) -> Container {
        self.profile.container
    }

    fn feed(
        self: &Arc<Self>,
        kind: MediaType,
        source: Option<&Arc<Source>>,
        quality: Quality,
    ) -> Result<(), MediaError> {
        if !self.profile.takes(kind) {
            return Ok(());
        }
        let (fixed, ingest) = {
            let mut state = lock(&self.state);
            if matches!(state.phase, Phase::Ending { .. } | Phase::Ended) {
                return Ok(());
            }
            let begun = state.file.is_some();
            let track = &mut state.tracks[index(kind)];
            track.expected = source.is_some();
            if begun && track.out.is_none() && source.is_some() {
                tracing::warn!(?kind, file = %self.path.display(), "connected after the recording began: it is not in the file");
                return Ok(());
            }
            (track.codec, track.ingest.clone())
        };
        let branch = match source {
            None => None,
            Some(source) => source.obtain(|native| {
                let codec = fixed.unwrap_or_else(|| self.container().codec_for(kind, native));
                Some(Wanted {
                    format: Format::Encoded(codec),
                    quality,
                    in_order: false,
                })
            })?,
        };
        let Some(Format::Encoded(codec)) = branch.as_ref().map(|b| b.format()) else {
            if let Some(ingest) = ingest {
                ingest.connect(None);
            }
            return Ok(());
        };
        let ingest = match ingest {
            Some(ingest) if ingest.codec() == codec => ingest,
            _ => self.ingest(kind, codec)?,
        };
        ingest.connect(branch);
        let before = {
            let mut state = lock(&self.state);
            let track = &mut state.tracks[index(kind)];
            track.codec = Some(codec);
            track.ingest.replace(ingest)
        };
        drop(before);
        Ok(())
    }

    fn ingest(self: &Arc<Self>, kind: MediaType, codec: Codec) -> Result<Arc<Ingest>, MediaError> {
        let parser = self.container().parser(codec);
        let this = Arc::downgrade(self);
        let ingest = Ingest::new(
            &self.timeline,
            (codec, parser),
            LONGEST_QUEUE,
            move |told| match (this.upgrade(), told) {
                (Some(this), Told::Arrived(arrived)) => this.arrived(kind, arrived),
                (Some(this), Told::Failed(error)) => this.failed(error, false),
                (None, _) => {}
            },
        )?;
        Ok(Arc::new(ingest))
    }

    /// A buffer of a source came.
    fn arrived(self: &Arc<Self>, kind: MediaType, arrived: Arrived) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let now = self.timeline.now();
        let mut state = lock(&self.state);
        let began = match state.phase {
            Phase::Waiting { since } => {
                let track = &mut state.tracks[index(kind)];
                if track.pending.is_empty() && !arrived.is_keyframe() {
                    return;
                }
                track.pending.push_back(arrived);
                let since = since.unwrap_or(now);
                state.phase = Phase::Waiting { since: Some(since) };
                self.begin_if_ready(&mut state, now.saturating_sub(since))
            }
            Phase::Writing => {
                state.write(kind, arrived, now);
                Ok(false)
            }
            Phase::Resuming { since } => {
                let video = &state.tracks[index(MediaType::Video)];
                let has_video = video.out.is_some() && video.expected;
                let begins = match kind {
                    MediaType::Video => arrived.is_keyframe(),
                    _ => !has_video || now.saturating_sub(since) > KEYFRAME_PATIENCE,
                };
                if begins {
                    state.time.open_at(arrived.pts);
                    state.phase = Phase::Writing;
                    state.write(kind, arrived, now);
                }
                Ok(false)
            }
            Phase::Paused | Phase::Ending { .. } | Phase::Ended => return,
        };
        drop(state);
        match began {
            Ok(true) => (self.tell)(News::Began),
            Ok(false) => {}
            Err(error) => self.failed(error, false),
        }
    }

    /// Begins the file if media of all kinds is there, or has been waited for long enough: then what is missing begins with a
    /// placeholder. `waited`: since the first media came.
    fn begin_if_ready(self: &Arc<Self>, state: &mut State, waited: ClockTime) -> Result<bool, MediaError> {
        for kind in KINDS {
            let track = &mut state.tracks[index(kind)];
            if !track.expected || !track.pending.is_empty() {
                continue;
            }
            // A placeholder is there within moments; without one the file begins all the same.
            if waited > PATIENCE + PATIENCE {
                track.expected = false;
                continue;
            }
            if waited > PATIENCE && track.placeholder.is_none() {
                let codec = *track.codec.get_or_insert(self.container().usual(kind));
                track.placeholder = Some(self.placeholder(kind, codec)?);
            }
            return Ok(false);
        }
        self.begin(state)?;
        Ok(true)
    }

    fn placeholder(self: &Arc<Self>, kind: MediaType, codec: Codec) -> Result<Placeholder, MediaError> {
        let this: Weak<Shared> = Arc::downgrade(self);
        let parser = self.container().parser(codec);
        Placeholder::new(&self.timeline, kind, (codec, parser), move |told| {
            let (Some(this), Told::Arrived(mut arrived)) = (this.upgrade(), told) else {
                return;
            };
            let mut state = lock(&this.state);
            let track = &mut state.tracks[index(kind)];
            if track.pending.is_empty() && track.out.is_none() {
                // It goes to the very beginning, whenever it was made.
                (arrived.pts, arrived.dts) = (ClockTime::ZERO, ClockTime::ZERO);
                track.pending.push_back(arrived);
            }
        })
    }

    /// Opens the file and writes what has come so far.
    fn begin(self: &Arc<Self>, state: &mut State) -> Result<(), MediaError> {
        let file = self.open(state)?;
        state.file = Some(file);
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
        state.time.open_at(zero);
        state.phase = Phase::Writing;
        let now = self.timeline.now();
        for kind in KINDS {
            for mut arrived in std::mem::take(&mut state.tracks[index(kind)].pending) {
                if arrived.pts.is_zero() {
                    (arrived.pts, arrived.dts) = (zero, zero);
                }
                state.write(kind, arrived, now);
            }
        }
        Ok(())
    }

    /// The muxer's segment, with a track for each kind of which there is media.
    fn open(self: &Arc<Self>, state: &mut State) -> Result<Segment, MediaError> {
        let this = Arc::downgrade(self);
        let segment = Segment::new(&self.timeline, "recorder-file", move |report| {
            let Some(this) = this.upgrade() else { return };
            match report {
                Report::EndOfStream => this.finished(),
                Report::Failed {
                    element,
                    error,
                    detail,
                } => this.file_failed(&element, &error, &detail),
                Report::State(_) => {}
            }
        });
        let wrong = |e: &dyn std::fmt::Display| MediaError {
            message: "The recording can't be set up; the server's log has more".into(),
            detail: e.to_string(),
        };
        let muxer = self.container().muxer()?;
        let sink = gst::ElementFactory::make("filesink")
            .property("location", self.path.to_string_lossy().as_ref())
            .property("sync", false)
            .property("async", false)
            .build()
            .map_err(|e| wrong(&e))?;
        // What was muxed is with the operating system at once: should the process be killed, it is in the file.
        sink.set_property_from_str("buffer-mode", "unbuffered");
        segment
            .pipeline()
            .add_many([&muxer, &sink])
            .map_err(|e| wrong(&e))?;
        muxer.link(&sink).map_err(|e| wrong(&e))?;
        for kind in KINDS {
            let track = &mut state.tracks[index(kind)];
            let (Some(first), Some(codec)) = (track.pending.front(), track.codec) else {
                continue;
            };
            let out = Output::new(codec, first.caps.clone());
            segment.pipeline().add(&out.appsrc).map_err(|e| wrong(&e))?;
            let pads = (
                out.appsrc.static_pad("src"),
                muxer.request_pad_simple(self.container().pad(kind)),
            );
            let (Some(from), Some(to)) = pads else {
                return Err(wrong(&"the muxer has no pad for it"));
            };
            from.link(&to).map_err(|e| wrong(&e))?;
            track.out = Some(out);
        }
        segment.play().map_err(|error| MediaError {
            message: format!("The file '{}' can't be written", self.path.display()),
            ..error
        })?;
        Ok(segment)
    }

    /// Looks after what is silent or late.
    fn tick(self: &Arc<Self>) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let now = self.timeline.now();
        let mut spent = Vec::new();
        let mut state = lock(&self.state);
        match state.phase {
            Phase::Writing => {
                spent.extend(state.tracks.iter_mut().filter_map(|t| t.placeholder.take()));
                if state.tracks.iter().filter(|t| t.out.is_some()).count() > 1 {
                    state.fill_silence(now);
                }
            }
            Phase::Ending { since } if now.saturating_sub(since) > LONGEST_END => {
                drop(state);
                tracing::warn!(file = %self.path.display(), "the end of a recording can't be written; the file is left as it is");
                self.finished();
            }
            _ => {}
        }
        drop(spent);
    }

    fn finish(self: &Arc<Self>) {
        let now = self.timeline.now();
        let mut state = lock(&self.state);
        if matches!(state.phase, Phase::Ending { .. } | Phase::Ended) {
            return;
        }
        // Stopped before the file began: what has come is written all the same.
        let some = state.tracks.iter().any(|t| !t.pending.is_empty());
        let begun = match state.phase {
            Phase::Waiting { .. } if some => self.begin(&mut state),
            _ => Ok(()),
        };
        state.phase = Phase::Ending { since: now };
        for track in &state.tracks {
            if let Some(out) = &track.out {
                tracing::debug!(file = %self.path.display(), codec = %out.codec, buffers = out.written, until = %out.time.end(), "a recording ends");
                // Refused only by an appsrc that has stopped.
                let _ = out.appsrc.end_of_stream();
            }
        }
        let open = state.file.is_some();
        drop(state);
        if let Err(error) = begun {
            self.failed(error, false);
        } else if !open {
            self.finished();
        }
    }

    fn finished(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            (self.tell)(News::Finished);
        }
    }

    /// The file itself can't be written any more.
    fn file_failed(&self, element: &str, error: &gst::glib::Error, detail: &str) {
        let no_space = error.matches(gst::ResourceError::NoSpaceLeft);
        let why = if no_space { ": the disk is full" } else { "" };
        let error = MediaError {
            message: format!("The file '{}' can't be written{why}", self.path.display()),
            detail: format!("{element}: {error} ({detail})"),
        };
        if !self.closed.swap(true, Ordering::AcqRel) {
            (self.tell)(News::Failed { error, no_space });
            (self.tell)(News::Finished);
        }
    }

    /// A source or what is made of it failed, or the file can't be begun.
    fn failed(self: &Arc<Self>, error: MediaError, no_space: bool) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        (self.tell)(News::Failed { error, no_space });
        let file_is_open = lock(&self.state).file.is_some();
        if file_is_open {
            self.finish();
        } else {
            self.finished();
        }
    }
}

impl State {
    /// Writes a buffer at its place in the file.
    fn write(&mut self, kind: MediaType, arrived: Arrived, now: ClockTime) {
        let Some(place) = self.time.place(arrived.pts) else {
            return;
        };
        let Some(out) = &mut self.tracks[index(kind)].out else {
            return;
        };
        if out.needs_keyframe && !arrived.is_keyframe() {
            return;
        }
        if out.is_full() {
            out.needs_keyframe = kind == MediaType::Video;
            out.dropped.count(kind, "the disk is too slow", now);
            return;
        }
        if kind == MediaType::Audio {
            if !out.takes(&arrived.caps) {
                out.dropped
                    .count(kind, "its new source has another sample rate", now);
                return;
            }
            if place + HOLE < out.time.end() {
                return; // silence was written in its place
            }
            if place > out.time.end() + HOLE {
                out.fill(place);
            }
        }
        out.needs_keyframe = false;
        let dts = self.time.place(arrived.dts).unwrap_or_default();
        let known = arrived.duration();
        // A picture lasts until the next: what follows a pause must not come at the same time.
        let lasts = if known.is_zero() { ONE_FRAME } else { known };
        let times = out.time.next(Times { pts: place, dts }, lasts);
        self.time.wrote_until(out.time.end());
        out.written += 1;
        out.push(arrived.buffer, times, known);
    }

    /// Fills up kinds that have fallen silent: the muxer waits for them.
    fn fill_silence(&mut self, now: ClockTime) {
        let place = |behind| self.time.place(now.saturating_sub(behind));
        let (Some(silent), Some(until)) = (place(SILENT), place(MARGIN)) else {
            return;
        };
        for track in &mut self.tracks {
            if let Some(out) = &mut track.out
                && out.time.end() < silent
                && !out.is_full()
            {
                out.fill(until);
            }
        }
    }
}
