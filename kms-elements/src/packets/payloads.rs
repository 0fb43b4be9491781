//! How each codec goes into RTP packets and out of them.

use kms_core::media::Codec;
use kms_core::types::MediaType;

/// The elements for a codec.
struct Payload {
    codec: Codec,
    pay: &'static str,
    depay: &'static str,
}

/// Audio is not gathered for longer than 20 ms: packets of 20 ms are what most of telephony expects (RFC 3551, section 4.2).
const PAYLOADS: &[Payload] = &[
    Payload {
        codec: Codec::Vp8,
        pay: "rtpvp8pay picture-id-mode=15-bit",
        depay: "rtpvp8depay wait-for-keyframe=true",
    },
    Payload {
        codec: Codec::Vp9,
        pay: "rtpvp9pay picture-id-mode=15-bit",
        depay: "rtpvp9depay wait-for-keyframe=true",
    },
    Payload {
        codec: Codec::H264,
        pay: "rtph264pay config-interval=-1 aggregate-mode=zero-latency",
        depay: "rtph264depay wait-for-keyframe=true",
    },
    Payload {
        codec: Codec::H265,
        pay: "rtph265pay config-interval=-1 aggregate-mode=zero-latency",
        depay: "rtph265depay",
    },
    Payload {
        codec: Codec::Opus,
        pay: "rtpopuspay",
        depay: "rtpopusdepay",
    },
    Payload {
        codec: Codec::Pcmu,
        pay: "rtppcmupay min-ptime=20000000 max-ptime=20000000",
        depay: "rtppcmudepay",
    },
    Payload {
        codec: Codec::Pcma,
        pay: "rtppcmapay min-ptime=20000000 max-ptime=20000000",
        depay: "rtppcmadepay",
    },
];

fn payload(codec: Codec) -> Option<&'static Payload> {
    PAYLOADS.iter().find(|p| p.codec == codec)
}

/// What makes packets of it, of at most so many bytes with their header; as for `gst-launch`. Their times are running time, so that
/// those of one payloader go on where those of another ended: who sends them adds an offset of its own.
pub(super) fn payloader(codec: Codec, mtu: u32) -> Option<String> {
    payload(codec).map(|p| format!("{} mtu={mtu} timestamp-offset=0", p.pay))
}

/// Whether packets can be made of it.
pub(super) fn can_packetise(codec: Codec) -> bool {
    payload(codec).is_some()
}

/// What takes its packets apart.
pub(crate) fn depayloader(codec: Codec) -> Option<&'static str> {
    payload(codec).map(|p| p.depay)
}

/// Ticks a second of its RTP times.
pub(crate) fn clock_rate(codec: Codec) -> i32 {
    match codec {
        Codec::Opus => 48_000,
        codec if codec.kind() == MediaType::Audio => 8_000,
        _ => 90_000,
    }
}

/// The caps of its packets.
pub(crate) fn rtp_caps(codec: Codec, payload_type: u8) -> gst::Caps {
    let caps = gst::Caps::builder("application/x-rtp")
        .field("media", codec.kind().lower())
        .field("clock-rate", clock_rate(codec))
        .field("payload", i32::from(payload_type))
        .field("encoding-name", codec.name());
    match codec {
        Codec::Opus => caps.field("encoding-params", "2").build(),
        _ => caps.build(),
    }
}
