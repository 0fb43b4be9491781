//! Conversions between formats, as elements of GStreamer.

use std::sync::Mutex;

use gst::prelude::*;

use super::encoders::{KEYFRAME_FRAMES, encoders};
use super::format::{Codec, Format};
use super::guard::probe;
use super::hardware::Hardware;
use super::segment::{MediaError, Segment};
use super::source::{Leaving, Quality};
use crate::object::lock;
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
        leaving: Option<Leaving>,
        hardware: &Hardware,
    ) -> Result<(gst::Bin, bool), MediaError> {
        let built = self.add(segment, kind, quality, leaving, hardware)?;
        if let (Step::Encode(_), Some(frames), Some(pad)) = (
            self,
            leaving.and_then(|leaving| leaving.most_frames),
            built.0.static_pad("sink"),
        ) {
            thin(&pad, frames);
        }
        Ok(built)
    }

    fn add(
        self,
        segment: &Segment,
        kind: MediaType,
        quality: Quality,
        leaving: Option<Leaving>,
        hardware: &Hardware,
    ) -> Result<(gst::Bin, bool), MediaError> {
        if let Some(description) = self.in_hardware(quality, hardware)
            && let Ok(bin) = segment.add(&description)
        {
            return Ok((bin, true));
        }
        let descriptions = self.descriptions(kind, quality, leaving);
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

    fn descriptions(self, kind: MediaType, quality: Quality, leaving: Option<Leaving>) -> Vec<String> {
        match self {
            Step::Decode(codec) => {
                let convert = raw(kind);
                let chain = |decoder: &&str| format!("{} ! {decoder} ! {convert}", codec.parser());
                codec.decoders().iter().map(chain).collect()
            }
            Step::Encode(codec) => {
                let audio_bits = leaving.and_then(|leaving| leaving.audio_bits);
                let encoders = encoders(codec, quality, audio_bits);
                encoders.iter().map(|encoder| encode(codec, encoder)).collect()
            }
        }
    }
}

/// Lets at most so many frames through in so many seconds, by their times: `videorate` does nothing to streams that name no frame rate, as those
/// of browsers don't.
fn thin(pad: &gst::Pad, (frames, seconds): (u32, u32)) {
    let interval = gst::ClockTime::SECOND * u64::from(seconds) / u64::from(frames.max(1));
    let next = Mutex::new(gst::ClockTime::ZERO);
    probe(pad, gst::PadProbeType::BUFFER, move |_, info| {
        let Some(at) = info.buffer().and_then(|buffer| buffer.pts()) else {
            return gst::PadProbeReturn::Ok;
        };
        let mut next = lock(&next);
        // Else time has leapt, or this is the first.
        let follows = at < *next + interval && *next < at + 2 * interval;
        // What is nearly due is taken: cameras are not that regular.
        if follows && at + interval / 8 < *next {
            info.data = None;
            return gst::PadProbeReturn::Handled;
        }
        *next = if follows { *next } else { at } + interval;
        gst::PadProbeReturn::Ok
    });
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
