//! Media of a source, in the form that muxers take.

use std::sync::Arc;

use gst::prelude::*;
use kms_core::media::{Branch, Codec, DirectInput, Handover, Input, MediaError, Report, Segment, Timeline};

/// One buffer that may be written.
pub(super) struct Arrived {
    /// The buffer.
    pub(super) buffer: gst::Buffer,
    /// What it is.
    pub(super) caps: gst::Caps,
    /// When it is shown, running time.
    pub(super) pts: gst::ClockTime,
    /// When it is decoded, running time.
    pub(super) dts: gst::ClockTime,
}

impl Arrived {
    /// What comes to a pad; `None`: it has no time.
    fn at(pad: &gst::Pad, mut buffer: gst::Buffer) -> Option<Arrived> {
        let segment = pad.sticky_event::<gst::event::Segment<_>>(0)?;
        let segment = segment.segment().downcast_ref::<gst::ClockTime>()?;
        let caps = pad.current_caps()?;
        if is_h265(&caps) && !begins_decoding(&buffer) {
            buffer.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        let time = |t: Option<gst::ClockTime>| t.and_then(|t| segment.to_running_time(t));
        let pts = time(buffer.pts()).or_else(|| time(buffer.dts()))?;
        let dts = time(buffer.dts()).map_or(pts, |dts| dts.min(pts));
        Some(Arrived {
            buffer,
            caps,
            pts,
            dts,
        })
    }

    /// Whether a decoder can begin with it.
    pub(super) fn is_keyframe(&self) -> bool {
        !self.buffer.flags().contains(gst::BufferFlags::DELTA_UNIT)
    }

    /// How long it lasts, if that is known.
    pub(super) fn duration(&self) -> gst::ClockTime {
        self.buffer.duration().unwrap_or_default()
    }
}

fn is_h265(caps: &gst::CapsRef) -> bool {
    caps.structure(0).is_some_and(|s| s.name() == "video/x-h265")
}

/// Whether decoding can begin with these units of H.265, each behind four bytes of its length: one is of an IRAP picture (ITU-T
/// H.265, 7.4.2.2). h265parse of GStreamer 1.22 takes any picture for a keyframe that refers to no other, though the next may refer
/// to what was before it.
fn begins_decoding(buffer: &gst::Buffer) -> bool {
    let Ok(map) = buffer.map_readable() else {
        return false;
    };
    let mut rest = map.as_slice();
    while let Some((length, unit)) = rest.split_first_chunk::<4>() {
        let kind = unit.first().map(|header| header >> 1 & 0x3f);
        if kind.is_some_and(|kind| (16..=23).contains(&kind)) {
            return true;
        }
        let length = u32::from_be_bytes(*length) as usize;
        rest = unit.get(length..).unwrap_or_default();
    }
    false
}

/// A segment that an input feeds and that hands over what arrives, parsed.
pub(super) struct Ingest {
    codec: Codec,
    shape: Option<(i32, i32)>,
    entry: Entry,
    out: Handover,
    /// Stopped when it is dropped.
    _segment: Segment,
}

/// Where media enters.
enum Entry {
    /// For what is parsed.
    Direct(DirectInput),
    /// For what is encoded, which takes its time.
    Queued(Input),
}

/// What an ingest is called with.
pub(super) enum Told {
    /// A buffer.
    Arrived(Arrived),
    /// It failed.
    Failed(MediaError),
}

impl Ingest {
    /// One for a codec. With a shape, rate and channels, it takes raw sound and gives AAC of that shape. `longest`: how much it
    /// may hold back.
    pub(super) fn new(
        timeline: &Timeline,
        (codec, parser, shape): (Codec, &str, Option<(i32, i32)>),
        longest: gst::ClockTime,
        tell: impl Fn(Told) + Send + Sync + 'static,
    ) -> Result<Ingest, MediaError> {
        let tell = Arc::new(tell);
        let failed = tell.clone();
        let segment = Segment::new(timeline, &format!("recorder-{codec}"), move |report| {
            if let Report::Failed {
                element,
                error,
                detail,
            } = report
            {
                failed(Told::Failed(MediaError {
                    message: format!("{codec} can't be recorded: it is not what it should be"),
                    detail: format!("{element}: {error} ({detail})"),
                }));
            }
        });
        let parser = match shape {
            None => segment.add(parser)?,
            Some((rate, channels)) => segment.add(&format!(
                "audioconvert ! audioresample ! capsfilter caps=audio/x-raw,rate={rate},channels={channels} ! \
                 avenc_aac bitrate=96000 ! {parser}"
            ))?,
        };
        let out = Handover::new(&parser, move |pad, buffer| {
            if let Some(arrived) = Arrived::at(pad, buffer) {
                tell(Told::Arrived(arrived));
            }
        })?;
        let entry = match shape {
            None => Entry::Direct(DirectInput::new(&segment, &parser)?),
            Some(_) => {
                let input = Input::new(&segment, longest)?;
                let failed = |_| MediaError::new("Media can't be set up");
                input.appsrc().link(&parser).map_err(failed)?;
                Entry::Queued(input)
            }
        };
        segment.play()?;
        Ok(Ingest {
            codec,
            shape,
            entry,
            out,
            _segment: segment,
        })
    }

    /// Its codec.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Rate and channels that sound is converted to; `None`: it is not converted here.
    pub(super) fn shape(&self) -> Option<(i32, i32)> {
        self.shape
    }

    /// Feeds it from a branch, or from none.
    pub(super) fn connect(&self, branch: Option<Arc<Branch>>) {
        match &self.entry {
            Entry::Direct(input) => input.connect(branch),
            Entry::Queued(input) => input.connect(branch),
        }
    }

    /// Whether media comes, but is of no use before a keyframe.
    pub(super) fn waits_for_keyframe(&self) -> bool {
        match &self.entry {
            Entry::Direct(input) => input.waits_for_keyframe(),
            Entry::Queued(_) => false, // sound
        }
    }

    /// Asks whoever encodes it for a keyframe.
    pub(super) fn request_keyframe(&self) {
        request_keyframe(self.out.pad());
    }
}

/// Asks whoever encodes what arrives there for a keyframe.
pub(super) fn request_keyframe(sink: &gst::Pad) {
    let request = gst::Structure::builder("GstForceKeyUnit")
        .field("running-time", u64::MAX)
        .field("all-headers", true)
        .field("count", 0u32)
        .build();
    sink.push_event(gst::event::CustomUpstream::new(request));
}
