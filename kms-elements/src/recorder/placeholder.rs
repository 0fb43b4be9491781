//! The beginning of a track whose media is not there yet.

use std::sync::Arc;

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::media::{
    Branch, Codec, Format, MediaError, Quality, Report, Segment, Source, Timeline, Wanted,
};
use kms_core::types::MediaType;

use super::ingest::{Ingest, Told};

/// Makes black pictures, or silence. Containers take no track after their header, and the header needs what only an encoder
/// knows: so a kind that is connected but silent begins with this, in case it comes later.
pub(super) struct Placeholder {
    _ingest: Ingest,
    _source: Arc<Source>,
    _segment: Segment,
}

impl Placeholder {
    /// Media of a kind in this codec, parsed.
    pub(super) fn new(
        timeline: &Timeline,
        kind: MediaType,
        (codec, parser): (Codec, &str),
        tell: impl Fn(Told) + Send + Sync + 'static,
    ) -> Result<Placeholder, MediaError> {
        let description = match kind {
            MediaType::Audio => {
                "audiotestsrc wave=silence is-live=true samplesperbuffer=960 ! capsfilter \
                 caps=audio/x-raw,format=S16LE,layout=interleaved,rate=48000,channels=2"
            }
            _ => {
                "videotestsrc pattern=black is-live=true ! capsfilter \
                 caps=video/x-raw,format=I420,width=640,height=480,framerate=10/1"
            }
        };
        let segment = Segment::new(timeline, "recorder-placeholder", |report| {
            if let Report::Failed { element, error, .. } = report {
                tracing::warn!(element, %error, "a placeholder can't be made");
            }
        });
        let made = segment.add(description)?;
        let sink = AppSink::builder().build();
        if segment.pipeline().add(&sink).is_err() || made.link(&sink).is_err() {
            return Err(MediaError::new("Media can't be set up"));
        }
        let source = Source::new(timeline, "placeholder", kind);
        source.set_native(Some(Branch::native(Format::Raw, &sink)));
        let ingest = Ingest::new(timeline, (codec, parser, None), gst::ClockTime::SECOND, tell)?;
        let wanted = Wanted {
            format: Format::Encoded(codec),
            quality: Quality::of(100_000),
            in_order: false,
        };
        ingest.connect(source.obtain(|_| Some(wanted))?);
        segment.play()?;
        Ok(Placeholder {
            _ingest: ingest,
            _source: source,
            _segment: segment,
        })
    }
}
