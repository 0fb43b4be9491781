//! Does a packet begin a frame that can be decoded on its own? Looked up in the RTP payload, without decoding.

use str0m::format::Codec;
use str0m::rtp::Vp8Descriptor;

/// Whether a packet begins a keyframe. Codecs this server does not know are never held back: any packet will do.
pub(super) fn starts_keyframe(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => Vp8Descriptor::parse(payload).is_ok_and(|d| d.starts_keyframe(payload)),
        Codec::Vp9 => vp9(payload),
        Codec::H264 => h264(payload),
        Codec::Av1 => av1(payload),
        _ => true,
    }
}

/// VP9 payload descriptor (RFC 9628, section 4.2): not inter-picture predicted, beginning of a frame, and of the lowest
/// spatial layer where layers are told.
fn vp9(payload: &[u8]) -> bool {
    let Some(&first) = payload.first() else {
        return false;
    };
    let (has_picture_id, inter_predicted, has_layers, begins) = (
        first & 0x80 != 0,
        first & 0x40 != 0,
        first & 0x20 != 0,
        first & 0x08 != 0,
    );
    if inter_predicted || !begins {
        return false;
    }
    if !has_layers {
        return true;
    }
    let mut at = 1;
    if has_picture_id {
        at += if payload.get(1).is_some_and(|b| b & 0x80 != 0) {
            2
        } else {
            1
        };
    }
    payload.get(at).is_some_and(|layers| (layers >> 1) & 0x07 == 0)
}

/// H.264 (RFC 6184): a sequence parameter set or an IDR slice, alone, in a STAP-A, or as the first part of an FU-A.
fn h264(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let starts = |byte: &u8| matches!(byte & 0x1f, IDR | SPS);
    let Some(&first) = payload.first() else {
        return false;
    };
    match first & 0x1f {
        STAP_A => {
            let mut rest = &payload[1..];
            while let [high, low, unit @ ..] = rest {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                if unit.first().is_some_and(starts) {
                    return true;
                }
                rest = unit.get(length..).unwrap_or_default();
            }
            false
        }
        FU_A => payload
            .get(1)
            .is_some_and(|header| header & 0x80 != 0 && starts(header)),
        _ => starts(&first),
    }
}

/// AV1 aggregation header ("RTP Payload Format For AV1", section 4.4): N, a new coded video sequence begins.
fn av1(payload: &[u8]) -> bool {
    payload.first().is_some_and(|header| header & 0x08 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyframes_are_told_from_other_packets() {
        // VP8: start of partition 0, then the frame tag with the keyframe bit clear or set.
        assert!(starts_keyframe(Codec::Vp8, &[0x10, 0x00, 0, 0]));
        assert!(!starts_keyframe(Codec::Vp8, &[0x10, 0x01, 0, 0]));
        assert!(
            !starts_keyframe(Codec::Vp8, &[0x00, 0x00, 0, 0]),
            "not the start of the frame"
        );
        assert!(starts_keyframe(Codec::Vp9, &[0x08]));
        assert!(!starts_keyframe(Codec::Vp9, &[0x48]), "inter-predicted");
        assert!(
            starts_keyframe(Codec::Vp9, &[0xa8, 0x81, 0x01, 0x00]),
            "15-bit picture id, layer 0"
        );
        assert!(
            !starts_keyframe(Codec::Vp9, &[0xa8, 0x01, 0x02]),
            "spatial layer 1"
        );
        assert!(starts_keyframe(Codec::H264, &[0x65]) && starts_keyframe(Codec::H264, &[0x67]));
        assert!(!starts_keyframe(Codec::H264, &[0x41]));
        assert!(starts_keyframe(Codec::H264, &[0x78, 0, 1, 0x67, 0, 1, 0x68]));
        assert!(!starts_keyframe(Codec::H264, &[0x78, 0, 1, 0x41]));
        assert!(starts_keyframe(Codec::H264, &[0x7c, 0x85]) && !starts_keyframe(Codec::H264, &[0x7c, 0x05]));
        assert!(starts_keyframe(Codec::Av1, &[0x18]) && !starts_keyframe(Codec::Av1, &[0x10]));
        assert!(starts_keyframe(Codec::Opus, &[]));
    }

    #[test]
    fn cut_off_payloads_are_no_keyframes() {
        for codec in [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
            assert!(!starts_keyframe(codec, &[]), "{codec:?}");
        }
        assert!(!starts_keyframe(Codec::Vp9, &[0xa8]));
        assert!(!starts_keyframe(Codec::H264, &[0x78, 0xff]));
    }
}
