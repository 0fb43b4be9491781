//! Files of a recording that are opened, give way to the next, and are closed.

use super::*;

impl Shared {
    /// A file with these tracks that begins at this running time.
    pub(super) fn open(
        self: &Arc<Self>,
        state: &mut State,
        tracks: [Option<(Codec, gst::Caps)>; 2],
        zero: ClockTime,
    ) -> Result<File, MediaError> {
        state.files += 1;
        let (id, this) = (state.files, Arc::downgrade(self));
        let at = self.wall_clock(zero);
        let (naming, name) = (self.plan.naming.clone(), self.plan.name.clone());
        let overwrite = self.plan.segments.is_none();
        let opening = Opening {
            id,
            timeline: &self.timeline,
            container: self.container(),
            tracks,
            zero,
            at,
        };
        let first = this.clone();
        let make = move || {
            let path = naming.begin(&name, at, overwrite)?;
            if id == 1
                && let Some(this) = first.upgrade()
            {
                (this.tell)(News::Began);
            }
            Ok(path)
        };
        File::open(opening, make, move |report| {
            let Some(this) = this.upgrade() else { return };
            match report {
                Report::EndOfStream => this.file_closed(id),
                Report::Failed {
                    element,
                    error,
                    detail,
                } => this.file_failed(id, &element, &error, &detail),
                Report::State(_) => {}
            }
        })
    }

    /// The time of day at a running time.
    fn wall_clock(&self, running: ClockTime) -> SystemTime {
        let (day, now) = (SystemTime::now(), self.timeline.now());
        let apart = Duration::from_nanos(now.nseconds().abs_diff(running.nseconds()));
        if running > now { day + apart } else { day - apart }
    }

    /// Whether the file has reached its end, and the next one waits for a keyframe.
    fn is_due(&self, state: &State, running: ClockTime) -> bool {
        let Some(file) = &state.file else { return false };
        let place = file.time.place(running).unwrap_or_default();
        self.plan.segments.are_over(place, file.bytes) && state.ending.len() < MOST_ENDING
    }

    /// Begins the next file if this one is long enough and the next can begin with this buffer. Whether sound has to be converted
    /// from now on.
    pub(super) fn cut_if_due(
        self: &Arc<Self>,
        state: &mut State,
        kind: MediaType,
        arrived: &Arrived,
        now: ClockTime,
    ) -> Result<bool, MediaError> {
        if self.plan.segments.is_none() || !arrived.is_keyframe() || !self.is_due(state, arrived.pts) {
            return Ok(false);
        }
        let led_by_video = state.tracks[index(MediaType::Video)].is_alive(now);
        if led_by_video != (kind == MediaType::Video) {
            return Ok(false);
        }
        // Sound was held back for a picture that did not come. Its place is in this file, whose sound ends here.
        let unfit = kind == MediaType::Audio && self.write_held(state, now, true);
        let tracks = state.tracks.each_ref().map(|track| {
            let known = track.codec.zip(track.caps.clone());
            known.filter(|_| track.is_alive(now))
        });
        let next = self.open(state, tracks, arrived.pts)?;
        if let Some(mut before) = state.file.replace(next) {
            before.end_at(arrived.pts, now);
            before.end_track(kind);
            if kind == MediaType::Audio {
                before.end();
            }
            state.ending.push(before);
        }
        Ok(unfit)
    }

    /// Writes a buffer after what is held back of its kind, or holds it back.
    pub(super) fn write_in_turn(
        &self,
        state: &mut State,
        kind: MediaType,
        arrived: Arrived,
        now: ClockTime,
    ) -> bool {
        if kind == MediaType::Audio {
            state.tracks[index(kind)].held.push_back((now, arrived));
            return self.write_held(state, now, false);
        }
        let unfit = self.write(state, kind, arrived, now);
        self.write_held(state, now, false) || unfit
    }

    /// Writes the sound that was held back, as far as it is known where it belongs, or all. Whether it has to be converted from now
    /// on.
    pub(super) fn write_held(&self, state: &mut State, now: ClockTime, all: bool) -> bool {
        let kind = MediaType::Audio;
        let mut unfit = false;
        while let Some((came, arrived)) = state.tracks[index(kind)].held.pop_front() {
            if !all && now.saturating_sub(came) < PATIENCE && self.may_be_of_next(state, &arrived, now) {
                state.tracks[index(kind)].held.push_front((came, arrived));
                break;
            }
            unfit |= self.write(state, kind, arrived, now);
        }
        unfit
    }

    /// Whether sound may belong into the next file: this one is long enough, and the picture that is late may be its last.
    fn may_be_of_next(&self, state: &State, sound: &Arrived, now: ClockTime) -> bool {
        let video = &state.tracks[index(MediaType::Video)];
        !self.plan.segments.is_none()
            && video.is_alive(now)
            && video.reached.is_none_or(|reached| reached <= sound.pts)
            && self.is_due(state, sound.pts)
    }

    /// Ends a file that is long enough while nothing comes at all, such as of a camera that is away: the next begins with the
    /// next media.
    fn close_if_lost(&self, state: &mut State, now: ClockTime) {
        let lost = !state.tracks.iter().any(|track| track.is_alive(now));
        if lost
            && self.is_due(state, now)
            && let Some(mut file) = state.file.take()
        {
            file.end_at(now, now);
            file.end();
            state.ending.push(file);
            state.phase = Phase::Waiting { since: None };
        }
    }

    /// Looks after what is silent, late or gone.
    pub(super) fn tick(self: &Arc<Self>) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let now = self.timeline.now();
        let mut spent = Vec::new();
        let mut unfit = false;
        let mut state = lock(&self.state);
        state.ticks += 1;
        let mut urgent = matches!(state.phase, Phase::Waiting { .. } | Phase::Resuming { .. });
        match state.phase {
            Phase::Writing => {
                spent.extend(state.tracks.iter_mut().filter_map(|t| t.placeholder.take()));
                unfit = self.write_held(&mut state, now, false);
                let close_gaps = self.plan.gaps == GapsFixMethod::Genpts;
                if let Some(file) = &mut state.file
                    && file.outs.iter().flatten().count() > 1
                {
                    file.fill_silence(now.saturating_sub(SILENT), now.saturating_sub(MARGIN), close_gaps);
                }
                self.close_if_lost(&mut state, now);
                // What should have come into a file that ends came not, or won't any more.
                let late = state.ending.iter_mut().filter(|f| f.ending_for(now) > SILENT);
                late.for_each(File::end);
                let waits = state.file.as_ref().is_some_and(File::needs_keyframe);
                urgent = waits || self.is_due(&state, now);
            }
            Phase::Ending { since } if now.saturating_sub(since) > LONGEST_END => {
                drop(state);
                tracing::warn!(recorder = %self.plan.name, "the end of a recording can't be written; the file is left as it is");
                self.finished();
                return;
            }
            _ => {}
        }
        self.look(&state);
        let asked = self.keyframe_wanted(&mut state, now, urgent);
        drop(state);
        drop(spent);
        if unfit {
            (self.tell)(News::Unfit(MediaType::Audio));
        }
        if let Some(ingest) = asked {
            ingest.request_keyframe();
        }
    }

    /// The source of video, if it is to be asked for a keyframe.
    fn keyframe_wanted(&self, state: &mut State, now: ClockTime, urgent: bool) -> Option<Arc<Ingest>> {
        let records = matches!(
            state.phase,
            Phase::Waiting { .. } | Phase::Writing | Phase::Resuming { .. }
        );
        let track = &mut state.tracks[index(MediaType::Video)];
        let has_begun = !track.pending.is_empty();
        let ask = records && track.expected && track.keyframes.ask(now, urgent && !has_begun);
        track.ingest.clone().filter(|_| ask)
    }

    /// Now and then, whether the file is still where it was: writing to one that was removed, or whose directory was unmounted,
    /// gives no error.
    fn look(self: &Arc<Self>, state: &State) {
        if !state.ticks.is_multiple_of(LOOK) {
            return;
        }
        let Some(file) = &state.file else { return };
        let (id, this) = (file.id, Arc::downgrade(self));
        file.later(move |path| {
            let Some(path) = path else { return };
            if std::fs::symlink_metadata(&path).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
                && let Some(this) = this.upgrade()
                && lock(&this.state).file.as_ref().is_some_and(|f| f.id == id)
            {
                let message = format!(
                    "The file '{}' is gone: it was removed, or its directory was unmounted",
                    path.display()
                );
                this.failed(MediaError::new(message), false);
            }
        });
    }

    pub(super) fn finish(self: &Arc<Self>) {
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
        self.write_held(&mut state, now, true);
        state.phase = Phase::Ending { since: now };
        state.ending.iter_mut().for_each(File::end);
        if let Some(file) = &mut state.file {
            file.end();
        }
        let open = state.file.is_some() || !state.ending.is_empty();
        drop(state);
        if let Err(error) = begun {
            self.failed(error, false);
        } else if !open {
            self.finished();
        }
    }

    /// The end of a file is written.
    fn file_closed(&self, id: u64) {
        let mut state = lock(&self.state);
        let file = match state.ending.iter().position(|f| f.id == id) {
            Some(at) => Some(state.ending.remove(at)),
            None => state.file.take_if(|f| f.id == id),
        };
        let ends = matches!(state.phase, Phase::Ending { .. } | Phase::Ended);
        let last = ends && state.file.is_none() && state.ending.is_empty();
        drop(state);
        if let Some(file) = file
            && !self.closed.load(Ordering::Acquire)
        {
            (self.tell)(News::Closed(file.closed(), Box::new(file)));
        }
        if last {
            self.finished();
        }
    }

    fn finished(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            (self.tell)(News::Finished);
        }
    }

    /// A file can't be written any more.
    fn file_failed(&self, id: u64, element: &str, error: &gst::glib::Error, detail: &str) {
        let path = {
            let state = lock(&self.state);
            let mut files = state.ending.iter().chain(&state.file);
            files.find(|f| f.id == id).and_then(|f| f.path().cloned())
        };
        let path = path.unwrap_or_else(|| self.plan.naming.example(&self.plan.name));
        let no_space = error.matches(gst::ResourceError::NoSpaceLeft);
        let why = match (no_space, element) {
            (true, _) => ": the disk is full".to_owned(),
            // Said by the operating system.
            (false, "file") => format!(": {}", error.message()),
            _ => String::new(),
        };
        let error = MediaError {
            message: format!("The file '{}' can't be written{why}", path.display()),
            detail: format!("{element}: {error} ({detail})"),
        };
        if !self.closed.swap(true, Ordering::AcqRel) {
            (self.tell)(News::Failed { error, no_space });
            (self.tell)(News::Finished);
        }
    }

    /// A source or what is made of it failed, or the file can't be begun.
    pub(super) fn failed(self: &Arc<Self>, error: MediaError, no_space: bool) {
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
