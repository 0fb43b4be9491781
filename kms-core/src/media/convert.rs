//! Conversions between formats, as elements of GStreamer.

use super::encoders::{KEYFRAME_FRAMES, encoders};
use super::format::{Codec, Format};
use super::hardware::Hardware;
use super::segment::{MediaError, Segment};
use super::source::Quality;
use crate::types::MediaType;

/// Raw media that leaves a decoder or enters an encoder.
const RAW_VIDEO: &str = "video/x-raw,format=I420";
const RAW_AUDIO: &str = "audio/x-raw,format=S16LE,layout=interleaved";

/// Elements, as for `gst-launch`, that bring what a demuxer, depayloader or decoder gives into the form in which segments hand
/// it on.
pub fn normalise(kind: MediaType, format: Format) -> String {
    match format {
        Format::Encoded(codec) => format!("{} ! capsfilter caps=\"{}\"", codec.parser(), codec.caps()),
        Format::Raw => raw(kind),
    }
}

fn raw(kind: MediaType) -> String {
    if kind == MediaType::Video {
        format!("videoconvert ! capsfilter caps=\"{RAW_VIDEO}\"")
    } else {
        format!("audioconvert ! audioresample ! capsfilter caps=\"{RAW_AUDIO}\"")
    }
}

/// One step on the way from one format to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Decode(Codec),
    Encode(Codec),
}

impl Step {
    /// The next step from one format towards another, and the format it leads to. There is one way: by raw media.
    pub(super) fn towards(from: Format, to: Format) -> Option<(Step, Format)> {
        match (from, to) {
            (from, to) if from == to => None,
            (Format::Raw, Format::Encoded(codec)) => Some((Step::Encode(codec), to)),
            (Format::Encoded(codec), _) => Some((Step::Decode(codec), Format::Raw)),
            (Format::Raw, Format::Raw) => None,
        }
    }

    /// Adds its elements to a segment. Whether they encode in hardware.
    pub(super) fn build(
        self,
        segment: &Segment,
        kind: MediaType,
        quality: Quality,
        hardware: &Hardware,
    ) -> Result<(gst::Bin, bool), MediaError> {
        if let Some(description) = self.in_hardware(quality, hardware)
            && let Ok(bin) = segment.add(&description)
        {
            return Ok((bin, true));
        }
        let descriptions = self.descriptions(kind, quality);
        let mut missing = None;
        for description in &descriptions {
            match segment.add(description) {
                Ok(bin) => return Ok((bin, false)),
                Err(error) => missing = Some(error),
            }
        }
        let what = match self {
            Step::Decode(codec) => format!("{codec} can't be decoded here: no decoder is installed"),
            Step::Encode(codec) => format!("{codec} can't be encoded here: no encoder is installed"),
        };
        Err(MediaError {
            message: what,
            detail: missing.map(|e| e.detail).unwrap_or_default(),
        })
    }

    fn in_hardware(self, quality: Quality, hardware: &Hardware) -> Option<String> {
        let Step::Encode(codec) = self else { return None };
        let encoder = hardware.encoder(codec, quality.bits_per_second, KEYFRAME_FRAMES)?;
        Some(encode(codec, &encoder))
    }

    fn descriptions(self, kind: MediaType, quality: Quality) -> Vec<String> {
        match self {
            Step::Decode(codec) => {
                let convert = raw(kind);
                let chain = |decoder: &&str| format!("{} ! {decoder} ! {convert}", codec.parser());
                codec.decoders().iter().map(chain).collect()
            }
            Step::Encode(codec) => {
                let encoders = encoders(codec, quality);
                encoders.iter().map(|encoder| encode(codec, encoder)).collect()
            }
        }
    }
}

/// An encoder between what brings raw media into the form it takes, and what brings its own into that in which it is handed on.
fn encode(codec: Codec, encoder: &str) -> String {
    let convert = match codec {
        Codec::Opus => "audioconvert ! audioresample ! audio/x-raw,rate=48000",
        Codec::Pcmu | Codec::Pcma => "audioconvert ! audioresample ! audio/x-raw,rate=8000,channels=1",
        codec if codec.kind() == MediaType::Audio => "audioconvert ! audioresample",
        _ => "videoconvert",
    };
    let (parser, caps) = (codec.parser(), codec.caps());
    format!("{convert} ! {encoder} ! {parser} ! capsfilter caps=\"{caps}\"")
}
