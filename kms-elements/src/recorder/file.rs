//! One file, from its first buffer to its last.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use gst::ClockTime;
use gst::prelude::*;
use kms_core::media::{Codec, MediaError, Report, Segment, Timeline};
use kms_core::types::MediaType;

use super::file_time::{FileTime, Times};
use super::ingest::Arrived;
use super::naming::Taken;
use super::profile::Container;
use super::track::Output;

/// Kinds of media, in the order of tracks.
pub(super) const KINDS: [MediaType; 2] = [MediaType::Audio, MediaType::Video];
/// How long a buffer lasts that doesn't say.
const ONE_FRAME: ClockTime = ClockTime::from_mseconds(33);
/// With a gap in all kinds that is longer, the file goes on where it was if times are generated.
const GAP: ClockTime = ClockTime::from_mseconds(500);

/// A kind's place among tracks.
pub(super) fn index(kind: MediaType) -> usize {
    usize::from(kind == MediaType::Video)
}

/// How a file is opened.
pub(super) struct Opening<'a> {
    /// What it is called by until it is closed.
    pub(super) id: u64,
    pub(super) timeline: &'a Timeline,
    pub(super) container: Container,
    /// Codec and caps of each kind that goes into it.
    pub(super) tracks: [Option<(Codec, gst::Caps)>; 2],
    /// Running time of its first media.
    pub(super) zero: ClockTime,
    /// When that is.
    pub(super) at: SystemTime,
}

/// A file that is being written.
pub(super) struct File {
    pub(super) id: u64,
    segment: Segment,
    pub(super) outs: [Option<Output>; 2],
    pub(super) time: FileTime,
    /// Known once it is opened.
    path: Arc<OnceLock<Taken>>,
    at: SystemTime,
    /// Media that was written, bytes.
    pub(super) bytes: u64,
    /// Running time at which the next one began, and since when it ends.
    ends: Option<(ClockTime, ClockTime)>,
}

/// What there is to tell of a file that is closed.
#[derive(Debug, Clone)]
pub(super) struct Closed {
    /// Where it was written; `None`: it could not be made.
    pub(super) path: Option<PathBuf>,
    /// Where it is or will be.
    pub(super) uri: String,
    /// When its first media came.
    pub(super) at: SystemTime,
    /// How long it is.
    pub(super) duration: ClockTime,
}

impl File {
    /// The muxer's segment, with a track for each kind of which there is media. The file itself is made by `make` on another
    /// thread, and media waits for that.
    pub(super) fn open(
        opening: Opening<'_>,
        make: impl FnOnce() -> io::Result<Taken> + Send + 'static,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Result<File, MediaError> {
        let report = Arc::new(report);
        let failed = report.clone();
        let segment = Segment::new(opening.timeline, "recorder-file", move |told| report(told));
        let wrong = |e: &dyn std::fmt::Display| MediaError {
            message: "The recording can't be set up; the server's log has more".into(),
            detail: e.to_string(),
        };
        let muxer = opening.container.muxer()?;
        let sink = gst::ElementFactory::make("filesink")
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
        let mut outs = [None, None];
        for (kind, track) in KINDS.into_iter().zip(opening.tracks) {
            let Some((codec, caps)) = track else { continue };
            let out = Output::new(codec, caps);
            segment.pipeline().add(&out.appsrc).map_err(|e| wrong(&e))?;
            let pads = (
                out.appsrc.static_pad("src"),
                muxer.request_pad_simple(opening.container.pad(kind)),
            );
            let (Some(from), Some(to)) = pads else {
                return Err(wrong(&"the muxer has no pad for it"));
            };
            from.link(&to).map_err(|e| wrong(&e))?;
            outs[index(kind)] = Some(out);
        }
        let path = Arc::new(OnceLock::new());
        let made = path.clone();
        segment.later(move |pipeline| match make() {
            Ok(taken) => {
                sink.set_property("location", taken.path.to_string_lossy().as_ref());
                let _ = made.set(taken);
                if let Err(error) = pipeline.set_state(gst::State::Playing) {
                    // The element that failed has said why.
                    tracing::debug!(%error, "a file can't be opened");
                }
            }
            Err(error) => {
                let full = error.kind() == io::ErrorKind::StorageFull;
                let kind = if full {
                    gst::ResourceError::NoSpaceLeft
                } else {
                    gst::ResourceError::OpenWrite
                };
                failed(Report::Failed {
                    element: "file".into(),
                    error: gst::glib::Error::new(kind, &error.to_string()),
                    detail: String::new(),
                });
            }
        });
        let mut time = FileTime::default();
        time.open_at(opening.zero);
        Ok(File {
            id: opening.id,
            segment,
            outs,
            time,
            path,
            at: opening.at,
            bytes: 0,
            ends: None,
        })
    }

    /// The file's name, once it has one.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.path.get().map(|taken| &taken.path)
    }

    /// Does something that touches the disk, on another thread and after what was asked for before.
    pub(super) fn later(&self, job: impl FnOnce(Option<PathBuf>) + Send + 'static) {
        let path = self.path.clone();
        self.segment
            .later(move |_| job(path.get().map(|taken| taken.path.clone())));
    }

    /// Writes a buffer at its place in the file. A hole in audio that is longer than `hole` is filled.
    pub(super) fn write(&mut self, kind: MediaType, arrived: Arrived, rules: Rules) -> Written {
        let place = self.time.place(arrived.pts);
        let Some(out) = &mut self.outs[index(kind)] else {
            return Written::Nowhere;
        };
        // A source's time may be set back when it is known better, as with a camera's first sender report: what follows needs the picture
        // all the same. (What comes behind a keyframe but is shown before it is no loss.)
        let went_back = kind == MediaType::Video && out.reached.is_some_and(|reached| arrived.dts <= reached);
        let place = place.or_else(|| self.time.beginning().filter(|_| went_back));
        let Some(mut place) = place else {
            // What follows a keyframe can't be decoded without it.
            out.needs_keyframe |= kind == MediaType::Video && arrived.is_keyframe();
            return Written::Nowhere;
        };
        if out.needs_keyframe && !arrived.is_keyframe() {
            return Written::Nowhere;
        }
        if out.is_full() {
            out.needs_keyframe = kind == MediaType::Video;
            out.dropped.count(kind, "the disk is too slow", rules.now);
            return Written::Nowhere;
        }
        if kind == MediaType::Audio && !out.takes(&arrived.caps) {
            return Written::Unfit(out.shape());
        }
        if rules.close_gaps && place > self.time.end() + GAP {
            self.time.skip_to(arrived.pts);
            place = self.time.place(arrived.pts).unwrap_or(place);
        }
        if kind == MediaType::Audio && place + rules.hole < out.time.end() {
            return Written::Nowhere; // silence was written in its place
        }
        if place > out.time.end() + rules.hole && (kind == MediaType::Audio || rules.fill_video) {
            out.fill(place);
        }
        out.needs_keyframe = false;
        out.reached = Some(arrived.dts);
        let dts = self.time.place(arrived.dts).unwrap_or_default();
        let known = arrived.duration();
        // A picture lasts until the next: what follows a pause must not come at the same time.
        let lasts = if known.is_zero() { ONE_FRAME } else { known };
        let times = out.time.next(Times { pts: place, dts }, lasts);
        self.time.wrote_until(out.time.end());
        out.written += 1;
        self.bytes += arrived.buffer.size() as u64;
        out.push(arrived.buffer, times, known);
        Written::Here
    }

    /// Video goes on with the next keyframe.
    pub(super) fn wait_for_keyframe(&mut self) {
        if let Some(out) = &mut self.outs[index(MediaType::Video)] {
            out.needs_keyframe = true;
        }
    }

    /// Whether video goes on with the next keyframe.
    pub(super) fn needs_keyframe(&self) -> bool {
        let video = self.outs[index(MediaType::Video)].as_ref();
        video.is_some_and(|out| out.needs_keyframe)
    }

    /// Fills up kinds that are behind `silent`, running time, until `until`: the muxer waits for them. Whether all kinds are
    /// silent; then nothing is filled if `close_gaps`.
    pub(super) fn fill_silence(&mut self, silent: ClockTime, until: ClockTime, close_gaps: bool) {
        let (Some(silent), Some(until)) = (self.time.place(silent), self.time.place(until)) else {
            return;
        };
        if close_gaps && self.time.end() < silent {
            return;
        }
        for out in self.outs.iter_mut().flatten() {
            if out.time.end() < silent && !out.is_full() {
                out.fill(until);
            }
        }
    }

    /// What comes from this running time on goes into another file; what is before it is still taken.
    pub(super) fn end_at(&mut self, cut: ClockTime, now: ClockTime) {
        self.ends = Some((cut, now));
    }

    /// Whether a buffer goes into this file, which ends: it is from before the end.
    pub(super) fn still_takes(&self, kind: MediaType, arrived: &Arrived) -> bool {
        let open = self.outs[index(kind)].as_ref().is_some_and(|out| !out.ended);
        open && self.ends.is_some_and(|(cut, _)| arrived.pts < cut)
    }

    /// How long it has been ending.
    pub(super) fn ending_for(&self, now: ClockTime) -> ClockTime {
        self.ends
            .map_or(ClockTime::ZERO, |(_, since)| now.saturating_sub(since))
    }

    /// Nothing more of a kind comes.
    pub(super) fn end_track(&mut self, kind: MediaType) {
        if let Some(out) = &mut self.outs[index(kind)]
            && !out.ended
        {
            tracing::debug!(file = ?self.path.get().map(|t| &t.path), codec = %out.codec, buffers = out.written, until = %out.time.end(), "a track ends");
            out.ended = true;
            // Refused only by an appsrc that has stopped.
            let _ = out.appsrc.end_of_stream();
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&mut self) {
        KINDS.into_iter().for_each(|kind| self.end_track(kind));
    }

    /// What there is to tell of it.
    pub(super) fn closed(&self) -> Closed {
        Closed {
            path: self.path().cloned(),
            uri: self.path.get().map(Taken::uri).unwrap_or_default(),
            at: self.at,
            duration: self.time.end(),
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file {} at {:?}", self.id, self.path())
    }
}

/// How what is missing is dealt with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub(super) now: ClockTime,
    /// A hole that is longer is filled.
    pub(super) hole: ClockTime,
    /// Holes in video too.
    pub(super) fill_video: bool,
    /// What is missing of all kinds is left out of the file's time.
    pub(super) close_gaps: bool,
}

/// What became of a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is in the file.
    Here,
    /// It has no place in it.
    Nowhere,
    /// The track can't hold it: it has this rate and so many channels.
    Unfit(Option<(i32, i32)>),
}
