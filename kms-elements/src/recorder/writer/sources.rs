//! Where the media of a recording comes from.

use super::*;

impl Shared {
    /// This kind of media comes from there from now on.
    pub(super) fn feed(
        self: &Arc<Self>,
        kind: MediaType,
        source: Option<&Arc<Source>>,
        quality: Quality,
    ) -> Result<(), MediaError> {
        if !self.plan.profile.takes(kind) {
            return Ok(());
        }
        let (fixed, shape, ingest) = {
            let mut state = lock(&self.state);
            if matches!(state.phase, Phase::Ending { .. } | Phase::Ended) {
                return Ok(());
            }
            let missing = state.file.as_ref().is_some_and(|f| f.outs[index(kind)].is_none());
            let track = &mut state.tracks[index(kind)];
            track.expected = source.is_some();
            if missing && source.is_some() && self.plan.segments.is_none() {
                tracing::warn!(recorder = %self.plan.name, ?kind, "connected after the recording began: it is not in the file");
                return Ok(());
            }
            (track.codec, track.shape, track.ingest.clone())
        };
        let branch = match source {
            None => None,
            Some(source) => source.obtain(|format| {
                let codec = fixed.unwrap_or_else(|| self.container().codec_for(kind, format));
                let format = if shape.is_some() {
                    Format::Raw
                } else {
                    Format::Encoded(codec)
                };
                Some(Wanted {
                    format,
                    quality,
                    in_order: false,
                })
            })?,
        };
        let (Some(branch), Some(source)) = (branch, source) else {
            if let Some(ingest) = ingest {
                ingest.connect(None);
            }
            return Ok(());
        };
        let codec = match branch.format() {
            Format::Encoded(codec) => codec,
            Format::Raw => fixed.unwrap_or_else(|| self.container().usual(kind)),
        };
        let ingest = match ingest {
            Some(ingest) if ingest.codec() == codec && ingest.shape() == shape => ingest,
            _ => self.ingest(kind, codec, shape)?,
        };
        let converted = shape.is_some() || source.native() != Some(branch.format());
        ingest.connect(Some(branch));
        let before = {
            let mut state = lock(&self.state);
            let track = &mut state.tracks[index(kind)];
            track.codec = Some(codec);
            track.converted = converted;
            track.keyframes = Keyframes::default();
            track.ingest.replace(ingest)
        };
        drop(before);
        Ok(())
    }

    fn ingest(
        self: &Arc<Self>,
        kind: MediaType,
        codec: Codec,
        shape: Option<(i32, i32)>,
    ) -> Result<Arc<Ingest>, MediaError> {
        let parser = self.container().parser(codec);
        let this = Arc::downgrade(self);
        let ingest = Ingest::new(
            &self.timeline,
            (codec, parser, shape),
            LONGEST_QUEUE,
            move |told| match (this.upgrade(), told) {
                (Some(this), Told::Arrived(arrived)) => this.arrived(kind, arrived),
                (Some(this), Told::Failed(error)) => this.failed(error, false),
                (None, _) => {}
            },
        )?;
        Ok(Arc::new(ingest))
    }

    /// The beginning of a kind that is not there yet.
    pub(super) fn placeholder(
        self: &Arc<Self>,
        kind: MediaType,
        codec: Codec,
    ) -> Result<Placeholder, MediaError> {
        let this: Weak<Shared> = Arc::downgrade(self);
        let parser = self.container().parser(codec);
        Placeholder::new(&self.timeline, kind, (codec, parser), move |told| {
            let (Some(this), Told::Arrived(mut arrived)) = (this.upgrade(), told) else {
                return;
            };
            let mut state = lock(&this.state);
            let waits = matches!(state.phase, Phase::Waiting { .. });
            let track = &mut state.tracks[index(kind)];
            if track.pending.is_empty() && waits {
                // It goes to the very beginning, whenever it was made.
                (arrived.pts, arrived.dts) = (ClockTime::ZERO, ClockTime::ZERO);
                track.pending.push_back(arrived);
            }
        })
    }
}
