//! Encoders and how they are set: for media that is watched while it is made.

use std::thread::available_parallelism;

use super::format::Codec;
use super::source::Quality;

/// Keyframes come on request; this often in any case, for those who can't ask, such as files (seconds).
const KEYFRAME_INTERVAL: u32 = 4;
/// The same in frames, of which there are 30 a second.
pub(super) const KEYFRAME_FRAMES: u32 = KEYFRAME_INTERVAL * 30;
/// Bitrate of Opus, bits a second: full-band stereo speech and music without audible loss (RFC 7587, section 3.1.1).
/// Its range is 6,000 to 510,000 there.
const OPUS_BITRATE: u32 = 64_000;
const AAC_BITRATE: u32 = 96_000;

/// The elements, written as for `gst-launch`, that turn raw media into a codec; several if one may be missing. In software: hardware is
/// [`Hardware`](super::hardware::Hardware)'s.
pub(super) fn encoders(codec: Codec, quality: Quality, audio_bits: Option<u32>) -> Vec<String> {
    let bits = quality.bits_per_second;
    let opus_bits = audio_bits.unwrap_or(OPUS_BITRATE).clamp(6_000, 510_000);
    let aac_bits = audio_bits.unwrap_or(AAC_BITRATE).clamp(16_000, 320_000);
    let kilobits = (bits / 1_000).max(1);
    let threads = available_parallelism().map_or(1, usize::from).min(8);
    let frames = KEYFRAME_FRAMES;
    let vpx = format!(
        "target-bitrate={bits} deadline=1 cpu-used=8 threads={threads} end-usage=cbr keyframe-max-dist={frames} \
         buffer-initial-size=300 buffer-optimal-size=500 buffer-size=800 min-quantizer=2 max-quantizer=56 \
         lag-in-frames=0 error-resilient=default static-threshold=1"
    );
    match codec {
        Codec::Vp8 => vec![format!("vp8enc {vpx}")],
        Codec::Vp9 => vec![format!("vp9enc {vpx} row-mt=true")],
        // No B-frames: WebRTC has no place for them, and they delay.
        Codec::H264 => vec![
            format!(
                "x264enc tune=zerolatency speed-preset=veryfast bitrate={kilobits} key-int-max={frames} threads={threads} \
                 bframes=0 byte-stream=true ! video/x-h264,profile=constrained-baseline"
            ),
            format!(
                "openh264enc rate-control=bitrate bitrate={bits} gop-size={frames} multi-thread={threads}"
            ),
        ],
        Codec::H265 => vec![format!(
            "x265enc tune=zerolatency speed-preset=ultrafast bitrate={kilobits} key-int-max={frames}"
        )],
        // With its own default quantizers, 0 and 0, libaom ends the process.
        Codec::Av1 => vec![format!(
            "av1enc usage-profile=realtime cpu-used=10 target-bitrate={kilobits} end-usage=cbr threads={threads} \
             keyframe-max-dist={frames} lag-in-frames=0 min-quantizer=10 max-quantizer=56"
        )],
        Codec::Jpeg => vec!["jpegenc quality=85".into()],
        Codec::Opus => vec![format!(
            "opusenc bitrate={opus_bits} frame-size=20 perfect-timestamp=false"
        )],
        Codec::Pcmu => vec!["mulawenc".into()],
        Codec::Pcma => vec!["alawenc".into()],
        Codec::Aac => vec![
            format!("avenc_aac bitrate={aac_bits}"),
            format!("voaacenc bitrate={aac_bits}"),
        ],
    }
}
