//! Encoders in hardware: used where there are some that work.

use std::collections::HashMap;
use std::sync::Mutex;

use gst::prelude::*;

use super::format::Codec;
use crate::object::lock;

/// What the bitrate is put in place of, in bits and in kilobits a second, and the most frames between keyframes.
const BITS: &str = "{bits}";
const KILOBITS: &str = "{kilobits}";
const FRAMES: &str = "{frames}";

/// How long an encoder may take to show that it works.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Encoders of GStreamer 1.22 for hardware, as for `gst-launch`, best first for each codec: NVENC, VA-API (the plugin `va`, then the older
/// `vaapi`), V4L2. All without B-frames, which WebRTC has no place for and which delay. Caps behind those of H.264 ask for a profile that
/// browsers take.
const KNOWN: &[(Codec, &str)] = &[
    (
        Codec::H264,
        "nvh264enc preset=low-latency-hq rc-mode=cbr-ld-hq zerolatency=true bframes=0 bitrate={kilobits} gop-size={frames} ! \
         video/x-h264,profile=baseline",
    ),
    (
        Codec::H264,
        "vah264enc rate-control=cbr b-frames=0 bitrate={kilobits} key-int-max={frames} ! video/x-h264,profile=constrained-baseline",
    ),
    (
        Codec::H264,
        "vaapih264enc rate-control=cbr max-bframes=0 bitrate={kilobits} keyframe-period={frames} ! \
         video/x-h264,profile=constrained-baseline",
    ),
    (
        Codec::H264,
        "v4l2h264enc extra-controls=\"controls,repeat_sequence_header=1,video_bitrate={bits},video_gop_size={frames}\" ! \
         video/x-h264,profile=constrained-baseline,level=(string)4",
    ),
    (
        Codec::H265,
        "nvh265enc preset=low-latency-hq rc-mode=cbr-ld-hq zerolatency=true bitrate={kilobits} gop-size={frames}",
    ),
    (
        Codec::H265,
        "vah265enc rate-control=cbr b-frames=0 bitrate={kilobits} key-int-max={frames}",
    ),
    (
        Codec::H265,
        "vaapih265enc rate-control=cbr max-bframes=0 bitrate={kilobits} keyframe-period={frames}",
    ),
    (
        Codec::Vp8,
        "vaapivp8enc rate-control=cbr bitrate={kilobits} keyframe-period={frames}",
    ),
    (
        Codec::Vp9,
        "vaapivp9enc rate-control=cbr bitrate={kilobits} keyframe-period={frames}",
    ),
];

/// The encoders of this machine's hardware.
#[derive(Debug)]
pub(super) struct Hardware {
    candidates: Vec<(Codec, String)>,
    /// The one that is used for a codec, once that was looked for; `None`: software. Held while one is tried, so that one is at a time.
    chosen: Mutex<HashMap<Codec, Option<String>>>,
}

impl Hardware {
    /// All that are known.
    pub(super) fn known() -> Hardware {
        Hardware::of(KNOWN.iter().map(|(codec, text)| (*codec, (*text).to_owned())))
    }

    /// None at all.
    pub(super) fn none() -> Hardware {
        Hardware::of([])
    }

    pub(super) fn of(candidates: impl IntoIterator<Item = (Codec, String)>) -> Hardware {
        Hardware {
            candidates: candidates.into_iter().collect(),
            chosen: Mutex::default(),
        }
    }

    /// The elements that encode a codec in hardware, if there are some that work. The first time they encode some pictures as a trial.
    pub(super) fn encoder(&self, codec: Codec, bits_per_second: u32, frames: u32) -> Option<String> {
        let filled = |text: &str| {
            text.replace(BITS, &bits_per_second.to_string())
                .replace(KILOBITS, &(bits_per_second / 1_000).max(1).to_string())
                .replace(FRAMES, &frames.to_string())
        };
        let mut chosen = lock(&self.chosen);
        let known = chosen.entry(codec).or_insert_with(|| {
            let mut candidates = self.candidates.iter().filter(|(of, _)| *of == codec);
            let found = candidates.find(|(_, text)| works(&filled(text)));
            let found = found.map(|(_, text)| text.clone());
            if let Some(text) = &found {
                let element = text.split_whitespace().next();
                tracing::info!(%codec, element, "encoded in hardware");
            }
            found
        });
        known.as_deref().map(filled)
    }

    /// One failed while it was in use: from now on software encodes that codec.
    pub(super) fn failed(&self, codec: Codec) {
        if let Some(text) = lock(&self.chosen).insert(codec, None).flatten() {
            let element = text.split_whitespace().next();
            tracing::warn!(%codec, element, "an encoder in hardware failed: software encodes from now on");
        }
    }
}

/// Whether an encoder is there and encodes.
fn works(encoder: &str) -> bool {
    let element = encoder.split_whitespace().next().unwrap_or_default();
    if gst::ElementFactory::find(element).is_none() {
        return false;
    }
    let trial = format!(
        "videotestsrc num-buffers=5 ! video/x-raw,format=I420,width=640,height=360,framerate=30/1 ! videoconvert ! {encoder} ! fakesink"
    );
    let tried = gst::parse::launch(&trial).map_err(|error| error.to_string());
    let ended = tried.and_then(|pipeline| {
        let bus = pipeline.bus().ok_or("no bus")?;
        let begun = pipeline.set_state(gst::State::Playing);
        let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
        let told = bus.timed_pop_filtered(PATIENCE, &kinds);
        let _ = pipeline.set_state(gst::State::Null);
        match told.as_ref().map(|told| told.view()) {
            Some(gst::MessageView::Eos(_)) => Ok(()),
            Some(gst::MessageView::Error(error)) => Err(error.error().to_string()),
            _ => Err(format!("it does not encode ({begun:?})")),
        }
    });
    if let Err(error) = &ended {
        tracing::warn!(
            element,
            error,
            "an encoder in hardware is there, but can't be used"
        );
    }
    ended.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_works_is_used_until_it_fails() {
        gst::init().expect("GStreamer");
        let candidates = [
            (Codec::H264, "no-such-encoder bitrate={bits}"),
            (Codec::H264, "x264enc no-such-property=1"),
            (Codec::H264, "identity error-after=2 ! x264enc"),
            (Codec::H264, "x264enc bitrate={kilobits} key-int-max={frames}"),
            (Codec::H264, "x264enc"),
        ];
        let hardware = Hardware::of(candidates.map(|(codec, text)| (codec, text.to_owned())));
        let used = "x264enc bitrate=300 key-int-max=60";
        assert_eq!(hardware.encoder(Codec::H264, 300_000, 60).as_deref(), Some(used));
        assert_eq!(hardware.encoder(Codec::Vp8, 300_000, 60), None);
        hardware.failed(Codec::H264);
        assert_eq!(hardware.encoder(Codec::H264, 300_000, 60), None);
    }

    #[test]
    fn what_is_known_is_for_elements_that_are_there_or_left_out() {
        gst::init().expect("GStreamer");
        let hardware = Hardware::known();
        for (codec, _) in KNOWN {
            // With such hardware it is a description that works.
            if let Some(encoder) = hardware.encoder(*codec, 1_000_000, 120) {
                assert!(works(&encoder), "{encoder}");
                assert!(!encoder.contains('{'), "{encoder}");
            }
        }
        assert_eq!(Hardware::none().encoder(Codec::H264, 1_000_000, 120), None);
    }
}
