//! What a peer sends: one track a kind, fed by whatever source is connected.

use std::time::Instant;

use rustc_hash::FxHashMap;
use str0m::Rtc;
use str0m::format::PayloadParams;
use str0m::media::{Mid, Pt};
use str0m::rtp::{RtpWrite, Ssrc, Vp8Descriptor};

use super::inbound::Packet;
use super::layers::LayerSelector;
use super::out_track::{Feed, OutTrack};
use super::rtc::codec_name;
use crate::webrtc::api::Kind;

/// A track that is sent.
pub(super) struct Outbound {
    kind: Kind,
    mid: Mid,
    ssrc: Option<Ssrc>,
    track: OutTrack,
    /// The peer that feeds it.
    source: Option<u64>,
    /// The layer to switch to at its next keyframe.
    target_layer: u8,
    selector: LayerSelector,
    /// Payload types of ours for those of the source.
    payload_types: FxHashMap<(u64, Pt), Option<PayloadParams>>,
    codec: Option<&'static str>,
    /// Packets sent that end a picture (the marker bit).
    frames: u64,
    unsupported: Option<&'static str>,
    picture: PictureIds,
}

/// What came of writing a packet.
pub(super) enum Written {
    /// It is on its way.
    Sent,
    /// It was held back or belongs to another layer.
    Skipped,
    /// The remote can't take the codec; told once a codec.
    Unsupported(&'static str),
}

impl Outbound {
    /// A track on this m-line.
    pub(super) fn new(kind: Kind, mid: Mid, first_sequence: u16) -> Outbound {
        Outbound {
            kind,
            mid,
            ssrc: None,
            track: OutTrack::new(90_000, first_sequence & 0x7fff),
            source: None,
            target_layer: 0,
            selector: LayerSelector::default(),
            payload_types: FxHashMap::default(),
            codec: None,
            frames: 0,
            unsupported: None,
            picture: PictureIds::default(),
        }
    }

    /// The m-line.
    pub(super) fn mid(&self) -> Mid {
        self.mid
    }

    /// The kind.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// SSRC, codec and number of frames, once something was sent.
    pub(super) fn sending(&self) -> Option<(Ssrc, Option<&'static str>, u64)> {
        self.ssrc.map(|ssrc| (ssrc, self.codec, self.frames))
    }

    /// Feeds the track from another peer, or from none.
    pub(super) fn set_source(&mut self, source: Option<u64>) {
        if self.source != source {
            self.source = source;
            self.unsupported = None;
            self.payload_types.clear();
            self.track.interrupt();
        }
    }

    /// The remote's payload types may have changed.
    pub(super) fn renegotiated(&mut self) {
        self.payload_types.clear();
        self.unsupported = None;
    }

    /// The layer of the source that this track wants a keyframe of, or shows.
    pub(super) fn wanted_layer(&self) -> u8 {
        self.target_layer
    }

    /// Whether it waits for a keyframe: to begin at all, or to switch to the layer it aims for.
    pub(super) fn lacks_keyframe(&self) -> bool {
        let wanted = self.source.map(|peer| Feed {
            peer,
            layer: self.target_layer,
        });
        self.kind == Kind::Video && wanted.is_some() && self.track.feed() != wanted
    }

    /// Chooses the layer for what the remote can take. True: another one is wanted now, and a keyframe of it.
    pub(super) fn choose_layer(&mut self, bitrates: &[u64], available: Option<u64>, now: Instant) -> bool {
        let current = self.track.feed().map(|f| f.layer);
        let target = self.selector.choose(bitrates, available, current, now);
        let changed = target != self.target_layer;
        self.target_layer = target;
        changed || current.is_some_and(|c| c != target)
    }

    /// Writes a packet of the source.
    pub(super) fn write(&mut self, rtc: &mut Rtc, source: u64, packet: &Packet, now: Instant) -> Written {
        if self.source != Some(source) {
            return Written::Skipped;
        }
        let feed = Feed {
            peer: source,
            layer: packet.layer,
        };
        let continues = self.track.feed() == Some(feed);
        if !continues && (packet.layer != self.target_layer || (self.kind == Kind::Video && !packet.keyframe))
        {
            return Written::Skipped;
        }
        let Some(params) = self.payload_type(rtc, source, packet) else {
            let codec = codec_name(packet.params.spec().codec);
            return match self.unsupported.replace(codec) {
                Some(told) if told == codec => Written::Skipped,
                _ => Written::Unsupported(codec),
            };
        };
        if !continues {
            self.track.set_clock_rate(packet.params.spec().clock_rate.get());
        }
        let Some(position) = self.track.place(feed, packet.sequence, packet.time, now) else {
            return Written::Skipped;
        };
        let patch = self.picture.patch(!continues, packet);
        let mut api = rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(self.mid, None) else {
            return Written::Skipped;
        };
        self.ssrc = Some(stream.ssrc());
        self.codec = Some(codec_name(packet.params.spec().codec));
        let mut write = RtpWrite::new(
            params.pt(),
            position.sequence.into(),
            position.time,
            packet.captured,
            packet.payload.clone(),
        )
        .marker(packet.marker)
        .ext_vals(packet.extensions.clone())
        .nackable(self.kind == Kind::Video);
        if let Some(patch) = patch {
            write = write.vp8_patch(patch);
        }
        stream.write_rtp(write);
        self.frames += u64::from(packet.marker);
        Written::Sent
    }

    /// Our payload type for the source's: same codec, same parameters that matter.
    fn payload_type(&mut self, rtc: &Rtc, source: u64, packet: &Packet) -> Option<PayloadParams> {
        let mid = self.mid;
        *self
            .payload_types
            .entry((source, packet.params.pt()))
            .or_insert_with(|| {
                let ours = rtc.codec_config().match_params(packet.params)?;
                rtc.media(mid)?.remote_pts().contains(&ours.pt()).then_some(*ours)
            })
    }
}

/// Keeps VP8's picture numbers continuous over switches: a decoder takes a number that jumps back for an old frame.
#[derive(Default)]
struct PictureIds {
    offsets: Option<(u16, u8)>,
    last: Option<(u16, u8)>,
}

impl PictureIds {
    fn patch(&mut self, switched: bool, packet: &Packet) -> Option<str0m::rtp::Vp8Patch> {
        if packet.params.spec().codec != str0m::format::Codec::Vp8 {
            *self = PictureIds::default();
            return None;
        }
        let descriptor = Vp8Descriptor::parse(&packet.payload).ok()?;
        let picture = descriptor.picture_id()?;
        let base = descriptor.tl0_pic_idx();
        if switched && let Some((last_picture, last_base)) = self.last {
            let next = last_picture.wrapping_add(1) & 0x7fff;
            let base_offset = base.map_or(0, |b| last_base.wrapping_add(1).wrapping_sub(b));
            self.offsets = Some((next.wrapping_sub(picture) & 0x7fff, base_offset));
        }
        let (picture_offset, base_offset) = self.offsets.unwrap_or_default();
        let picture = picture.wrapping_add(picture_offset) & 0x7fff;
        let base = base.map(|b| b.wrapping_add(base_offset));
        self.last = Some((picture, base.unwrap_or_default()));
        if picture_offset == 0 && base_offset == 0 {
            return None;
        }
        let mut patch = descriptor.patch().picture_id(picture);
        if let Some(base) = base {
            patch = patch.tl0_pic_idx(base);
        }
        patch.build().ok()
    }
}
