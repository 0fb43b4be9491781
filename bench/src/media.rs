//! The media that peers send: VP8 and Opus packets of the usual size and rate, with the time they were sent inside.
//!
//! Nothing decodes them, so they hold no picture; but headers are right, for servers look into them: payload descriptor
//! (RFC 7741), frame tag and keyframe header (RFC 6386, section 9.1).

use std::time::Duration;

/// Frames of video a second.
const FRAMES_PER_SECOND: u32 = 30;
/// Packets of a frame; 120 packets a second.
pub(crate) const PACKETS_PER_FRAME: usize = 4;
/// Time between frames.
pub(crate) const VIDEO_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FRAMES_PER_SECOND as u64);
/// Time between the packets of a frame when they are paced: libwebrtc's pacer sends at 2.5 times the bitrate.
const PACING: Duration =
    Duration::from_nanos(VIDEO_INTERVAL.as_nanos() as u64 * 10 / 25 / PACKETS_PER_FRAME as u64);
/// RTP time between frames, at 90 kHz.
pub(crate) const VIDEO_TICKS: u32 = 90_000 / FRAMES_PER_SECOND;
/// Time between Opus packets; 50 a second.
pub(crate) const AUDIO_INTERVAL: Duration = Duration::from_millis(20);
/// RTP time between Opus packets, at 48 kHz.
pub(crate) const AUDIO_TICKS: u32 = 960;

/// Bytes of a video payload; with 120 a second some 1 Mbit/s, as a browser sends 640 by 480.
pub(crate) const VIDEO_BYTES: usize = 1_100;
/// Bytes of an audio payload; 64 kbit/s.
pub(crate) const AUDIO_BYTES: usize = 160;

/// Marks payloads of this bench, so that nothing else is taken for one.
const MAGIC: [u8; 4] = *b"kmsb";
const STAMP_BYTES: usize = MAGIC.len() + 8;
const DESCRIPTOR_BYTES: usize = 4;
/// Size of the picture that keyframes claim.
const WIDTH: u16 = 640;
const HEIGHT: u16 = 480;

/// How the packets of a frame follow each other. It matters: a server that is woken once for four packets has less to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pacing {
    /// One by one, as a pacer or a home's uplink spreads them.
    Spread,
    /// All at once, as Chrome hands them to a network that is fast enough.
    Bursts,
}

impl Pacing {
    /// Time from a packet of a frame to the next one, which may be the first of the next frame.
    pub(crate) fn until_next(self, packet: usize) -> Duration {
        let gap = match self {
            Pacing::Spread => PACING,
            Pacing::Bursts => Duration::ZERO,
        };
        match packet + 1 < PACKETS_PER_FRAME {
            true => gap,
            false => VIDEO_INTERVAL - gap * (PACKETS_PER_FRAME as u32 - 1),
        }
    }
}

/// Place of a packet in its VP8 stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vp8Place {
    /// Number of the picture; 15 bits of it are sent.
    pub(crate) picture: u16,
    /// Number of the packet in its frame.
    pub(crate) packet: usize,
    /// The frame is a keyframe.
    pub(crate) keyframe: bool,
}

/// Writes a VP8 payload that says when it was sent, in nanoseconds of a clock of the caller.
pub(crate) fn write_vp8(payload: &mut [u8; VIDEO_BYTES], place: Vp8Place, sent_at: u64) {
    let first = place.packet == 0;
    let picture = (place.picture | 0x8000).to_be_bytes();
    // X; S where a partition begins. I. Picture number with M, which says that it has 15 bits.
    let descriptor = [0x80 | if first { 0x10 } else { 0 }, 0x80, picture[0], picture[1]];
    payload[..DESCRIPTOR_BYTES].copy_from_slice(&descriptor);
    if first {
        write_frame_header(&mut payload[DESCRIPTOR_BYTES..], place.keyframe);
    }
    stamp(payload, sent_at);
}

/// Frame tag: bit 0 is clear in keyframes, bit 4 says that the frame is shown, 19 bits are the size of the first partition.
fn write_frame_header(frame: &mut [u8], keyframe: bool) {
    let partition = (VIDEO_BYTES / 2) as u32;
    let tag = (u32::from(!keyframe) | 1 << 4 | partition << 5).to_le_bytes();
    frame[..3].copy_from_slice(&tag[..3]);
    if keyframe {
        frame[3..6].copy_from_slice(&[0x9d, 0x01, 0x2a]);
        frame[6..8].copy_from_slice(&WIDTH.to_le_bytes());
        frame[8..10].copy_from_slice(&HEIGHT.to_le_bytes());
    }
}

/// Writes an audio payload that says when it was sent.
pub(crate) fn write_audio(payload: &mut [u8; AUDIO_BYTES], sent_at: u64) {
    // Configuration 15 (hybrid, full band, 20 ms), mono, one frame (RFC 6716, section 3.1).
    payload[0] = 15 << 3;
    stamp(payload, sent_at);
}

// At the end, where no server rewrites anything; VP8 descriptors may be patched on the way.
fn stamp(payload: &mut [u8], sent_at: u64) {
    let at = payload.len() - STAMP_BYTES;
    payload[at..at + MAGIC.len()].copy_from_slice(&MAGIC);
    payload[at + MAGIC.len()..].copy_from_slice(&sent_at.to_be_bytes());
}

/// When a payload of this bench was sent; `None` for any other.
pub(crate) fn sent_at(payload: &[u8]) -> Option<u64> {
    let stamp = payload.last_chunk::<STAMP_BYTES>()?;
    let (magic, time) = stamp.split_at(MAGIC.len());
    if magic != MAGIC {
        return None;
    }
    time.try_into().ok().map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use str0m::rtp::Vp8Descriptor;

    use super::*;

    fn vp8(picture: u16, packet: usize, keyframe: bool) -> [u8; VIDEO_BYTES] {
        let mut payload = [0xaa; VIDEO_BYTES];
        let place = Vp8Place {
            picture,
            packet,
            keyframe,
        };
        write_vp8(&mut payload, place, 77);
        payload
    }

    #[test]
    fn a_parser_of_descriptors_reads_the_picture_number() {
        for picture in [0, 1, 127, 128, 0x7fff] {
            let payload = vp8(picture, 1, false);
            let descriptor = Vp8Descriptor::parse(&payload).expect("it is valid");
            assert_eq!(descriptor.picture_id(), Some(picture));
        }
    }

    #[test]
    fn a_keyframe_begins_with_tag_start_code_and_size() {
        let payload = vp8(5, 0, true);
        assert_eq!(payload[0], 0x90, "a partition begins");
        let frame = &payload[DESCRIPTOR_BYTES..];
        assert_eq!(frame[0] & 1, 0, "it is a keyframe");
        assert_eq!(frame[0] & 0x10, 0x10, "it is shown");
        assert_eq!(frame[3..10], [0x9d, 0x01, 0x2a, 0x80, 0x02, 0xe0, 0x01]);
    }

    #[test]
    fn later_packets_and_other_frames_are_no_keyframes() {
        assert_eq!(
            vp8(5, 1, true)[0],
            0x80,
            "no partition begins in the second packet"
        );
        assert_eq!(vp8(5, 0, false)[DESCRIPTOR_BYTES] & 1, 1);
    }

    #[test]
    fn the_time_comes_out_as_it_went_in() {
        assert_eq!(sent_at(&vp8(5, 0, true)), Some(77));
        let mut audio = [0; AUDIO_BYTES];
        write_audio(&mut audio, u64::MAX);
        assert_eq!(sent_at(&audio), Some(u64::MAX));
    }

    #[test]
    fn payloads_of_others_have_no_time() {
        assert_eq!(sent_at(&[]), None);
        assert_eq!(sent_at(&[0; 8]), None);
        assert_eq!(sent_at(&[0; 100]), None);
    }

    #[test]
    fn a_frame_takes_as_long_whatever_its_pacing() {
        for pacing in [Pacing::Spread, Pacing::Bursts] {
            let frame: Duration = (0..PACKETS_PER_FRAME).map(|p| pacing.until_next(p)).sum();
            assert_eq!(frame, VIDEO_INTERVAL);
        }
        assert!(Pacing::Spread.until_next(0) > Duration::from_millis(3));
    }

    #[test]
    fn the_rates_are_120_and_50_packets_a_second() {
        assert_eq!(FRAMES_PER_SECOND as usize * PACKETS_PER_FRAME, 120);
        assert_eq!(Duration::from_secs(1).as_nanos() / AUDIO_INTERVAL.as_nanos(), 50);
    }
}
