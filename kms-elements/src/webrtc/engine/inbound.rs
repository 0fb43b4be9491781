//! What a peer receives: streams, their simulcast layers, and packets made ready to be forwarded.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustc_hash::FxHashMap;
use str0m::Rtc;
use str0m::format::PayloadParams;
use str0m::media::{KeyframeRequestKind, Mid, Rid, Rids};
use str0m::rtp::{Extension, ExtensionValues, RtpPacket, Ssrc};

use super::keyframe::starts_keyframe;
use super::rtc::kind;
use super::throttle::Throttle;
use crate::webrtc::api::Kind;

/// Media is said to have stopped after this long without a packet.
pub(super) const SILENCE: Duration = Duration::from_secs(2);
/// A time that a sender's clock gives is believed if it is no further from now.
const MOST_APART: Duration = Duration::from_secs(10);
/// Streams a remote can have: a few tracks, their layers, and what restarts of them leave behind.
const MOST_STREAMS: usize = 32;

/// A packet on its way from a source to its sinks.
pub(super) struct Packet {
    pub(super) kind: Kind,
    pub(super) layer: u8,
    /// Codec and parameters, by which each sink finds its own payload type.
    pub(super) params: PayloadParams,
    pub(super) sequence: u64,
    pub(super) time: u32,
    pub(super) marker: bool,
    pub(super) keyframe: bool,
    /// When it was captured, as far as the sender's reports tell, on our clock.
    pub(super) captured: Instant,
    pub(super) extensions: ExtensionValues,
    pub(super) payload: Arc<[u8]>,
}

struct Stream {
    kind: Kind,
    mid: Mid,
    rid: Option<Rid>,
    layer: u8,
    params: Option<PayloadParams>,
    received: Received,
    /// Packets that end a picture (the marker bit).
    frames: u64,
    arrivals: Arrivals,
}

/// Where a stream stands in our time while its sender has not reported: the packet that came with the least delay so far, by its
/// timestamp (seconds) and when it came. Packets that come together were not captured together.
#[derive(Default)]
struct Arrivals(Option<(f64, Instant)>);

impl Arrivals {
    /// When a packet was captured that comes now.
    fn captured_at(&mut self, timestamp: f64, now: Instant) -> Instant {
        let believed = self.at(timestamp, now).filter(|at| *at <= now);
        believed.unwrap_or_else(|| {
            self.0 = Some((timestamp, now));
            now
        })
    }

    /// When a timestamp was, seen from now; `None`: nobody knows.
    fn at(&self, timestamp: f64, now: Instant) -> Option<Instant> {
        let (from, at) = self.0?;
        shifted(at, timestamp - from).filter(|at| are_near(*at, now))
    }
}

fn are_near(a: Instant, b: Instant) -> bool {
    a.max(b).duration_since(a.min(b)) < MOST_APART
}

/// So many seconds later, or earlier.
fn shifted(at: Instant, seconds: f64) -> Option<Instant> {
    let by = Duration::try_from_secs_f64(seconds.abs()).ok()?;
    if seconds < 0.0 {
        at.checked_sub(by)
    } else {
        at.checked_add(by)
    }
}

/// Which packets of a stream have come, counted from the first one that did: those sent before the keys were agreed were
/// never ours to receive.
#[derive(Default)]
struct Received {
    /// Extended sequence numbers of the first packet and of the latest.
    range: Option<(u64, u64)>,
    packets: u64,
}

impl Received {
    fn packet(&mut self, sequence: u64) {
        let (first, latest) = self.range.unwrap_or((sequence, sequence));
        if sequence < first {
            return;
        }
        self.range = Some((first, latest.max(sequence)));
        self.packets += 1;
    }

    /// Packets that have neither come nor been repaired by a retransmission (RFC 3550, appendix A.3).
    fn lost(&self) -> u64 {
        self.range.map_or(0, |(first, latest)| {
            (latest - first + 1).saturating_sub(self.packets)
        })
    }
}

/// What the statistics tell of a stream.
pub(super) struct StreamSummary {
    pub(super) ssrc: Ssrc,
    pub(super) kind: Kind,
    pub(super) params: Option<PayloadParams>,
    pub(super) lost: u64,
    pub(super) frames: u64,
}

/// Bitrate of one layer, measured over a window.
#[derive(Default)]
struct LayerRate {
    bytes: u64,
    bits_per_second: u64,
    last_packet: Option<Instant>,
}

/// A track that is received.
#[derive(Default)]
struct Track {
    mid: Option<Mid>,
    /// Layers, lowest first; one without a name where there is no simulcast.
    rids: Vec<Option<Rid>>,
    rates: Vec<LayerRate>,
    keyframes: Vec<Throttle>,
    last_packet: Option<Instant>,
    receiving: bool,
}

/// All that a peer receives.
#[derive(Default)]
pub(super) struct Inbound {
    streams: FxHashMap<Ssrc, Stream>,
    audio: Track,
    video: Track,
    measured: Option<Instant>,
    /// Difference between the sender's wall clock and ours, fixed with the first sender report, so that audio and video
    /// keep the distance the sender gave them.
    clock: Option<(SystemTime, Instant)>,
}

impl Inbound {
    fn track(&mut self, kind: Kind) -> &mut Track {
        if kind == Kind::Audio {
            &mut self.audio
        } else {
            &mut self.video
        }
    }

    /// Notes a received m-line and its layers, lowest first.
    pub(super) fn media(&mut self, kind: Kind, mid: Mid, rids: &[Rid]) {
        let track = self.track(kind);
        track.mid = Some(mid);
        let rids: Vec<Option<Rid>> = match rids {
            [] => vec![None],
            rids => rids.iter().copied().map(Some).collect(),
        };
        if track.rids != rids {
            track.rates = rids.iter().map(|_| LayerRate::default()).collect();
            track.keyframes = rids.iter().map(|_| Throttle::default()).collect();
            track.rids = rids;
            self.streams.retain(|_, s| s.kind != kind);
        }
    }

    /// Whether video comes in several layers.
    pub(super) fn is_simulcast(&self) -> bool {
        self.video.rids.len() > 1
    }

    /// Bitrates of the video layers, lowest first.
    pub(super) fn layer_bitrates(&self) -> Vec<u64> {
        self.video.rates.iter().map(|r| r.bits_per_second).collect()
    }

    /// Makes a received packet ready to be forwarded.
    pub(super) fn packet(&mut self, rtc: &mut Rtc, packet: RtpPacket, now: Instant) -> Option<Packet> {
        let ssrc = packet.header.ssrc;
        if !self.streams.contains_key(&ssrc) {
            self.discover(rtc, ssrc)?;
        }
        let stream = self.streams.get_mut(&ssrc)?;
        stream.received.packet(*packet.seq_no);
        stream.frames += u64::from(packet.header.marker);
        let pt = packet.header.payload_type;
        if stream.params.is_none_or(|p| p.pt() != pt) {
            stream.params = rtc.codec_config().params().iter().find(|p| p.pt() == pt).copied();
        }
        let (kind, layer, params) = (stream.kind, stream.layer, stream.params?);
        let captured = self.captured_at(&packet, now);
        let keyframe = kind == Kind::Video && starts_keyframe(params.spec().codec, &packet.payload);
        let track = self.track(kind);
        track.last_packet = Some(now);
        if let Some(rate) = track.rates.get_mut(usize::from(layer)) {
            rate.bytes += packet.payload.len() as u64;
            rate.last_packet = Some(now);
        }
        if keyframe && let Some(throttle) = track.keyframes.get_mut(usize::from(layer)) {
            throttle.satisfied();
        }
        Some(Packet {
            kind,
            layer,
            params,
            sequence: *packet.seq_no,
            time: packet.header.timestamp,
            marker: packet.header.marker,
            keyframe,
            captured,
            extensions: forwarded(&packet.header.ext_vals),
            payload: packet.payload,
        })
    }

    fn discover(&mut self, rtc: &mut Rtc, ssrc: Ssrc) -> Option<()> {
        let (mid, rid) = rtc.direct_api().stream_rx(&ssrc).map(|rx| (rx.mid(), rx.rid()))?;
        let kind = kind(rtc.media(mid)?.kind());
        let rids = &self.track(kind).rids;
        let layer = rids.iter().position(|r| *r == rid).unwrap_or(0) as u8;
        // A sender that began anew, with another SSRC, has left its former stream.
        self.streams.retain(|_, s| s.mid != mid || s.rid != rid);
        if self.streams.len() >= MOST_STREAMS {
            self.streams.clear();
        }
        self.streams.insert(
            ssrc,
            Stream {
                kind,
                mid,
                rid,
                layer,
                params: None,
                received: Received::default(),
                frames: 0,
                arrivals: Arrivals::default(),
            },
        );
        Some(())
    }

    /// When a packet was captured: by the sender's clock once it has sent a report (RFC 3550, section 6.4.1); before, as its
    /// arrival and its distance from others tell.
    fn captured_at(&mut self, packet: &RtpPacket, now: Instant) -> Instant {
        let timestamp = packet.time.as_seconds();
        let stream = self.streams.get_mut(&packet.header.ssrc);
        let arrivals = stream.map(|s| &mut s.arrivals);
        let Some(report) = packet.last_sender_info.as_ref() else {
            return arrivals.map_or(now, |a| a.captured_at(timestamp, now));
        };
        let reported = report.rtp_time.as_seconds();
        let (base_sender, base_ours) = *self.clock.get_or_insert_with(|| {
            // The stream that reports first goes on in the time it has had.
            let at = arrivals.and_then(|a| a.at(reported, now)).unwrap_or(now);
            (report.ntp_time, at)
        });
        let report_at = match report.ntp_time.duration_since(base_sender) {
            Ok(later) => base_ours + later,
            Err(earlier) => base_ours.checked_sub(earlier.duration()).unwrap_or(base_ours),
        };
        // A clock that was set, or a report that lies, must not send a stream years away.
        shifted(report_at, timestamp - reported)
            .filter(|at| are_near(*at, now))
            .unwrap_or(now)
    }

    /// Asks the remote for a keyframe of a layer, unless one was asked for just now: then later.
    pub(super) fn request_keyframe(&mut self, rtc: &mut Rtc, layer: u8, now: Instant) {
        let Some(throttle) = self.video.keyframes.get_mut(usize::from(layer)) else {
            return;
        };
        if throttle.request(now) {
            self.send_keyframe_request(rtc, layer);
        }
    }

    fn send_keyframe_request(&mut self, rtc: &mut Rtc, layer: u8) {
        let (Some(mid), Some(rid)) = (self.video.mid, self.video.rids.get(usize::from(layer)).copied())
        else {
            return;
        };
        if let Some(rx) = rtc.direct_api().stream_rx_by_mid(mid, rid) {
            rx.request_keyframe(KeyframeRequestKind::Pli);
        }
    }

    /// Tells the remote the most it may send of video (REMB), where it understands that.
    pub(super) fn limit(&mut self, rtc: &mut Rtc, bits_per_second: u64) {
        let Some(mid) = self.video.mid else { return };
        for rid in self.video.rids.clone() {
            if let Some(rx) = rtc.direct_api().stream_rx_by_mid(mid, rid) {
                rx.request_remb(str0m::bwe::Bitrate::bps(bits_per_second));
            }
        }
    }

    /// Makes str0m expect a stream it could not tell the m-line of: one that was not announced by `a=ssrc` and carries no
    /// MID. Old clients send such; the payload type tells the m-line then (RFC 8843, section 9.2).
    pub(super) fn expect_stream(&mut self, rtc: &mut Rtc, mids: &[Mid], bytes: &[u8]) {
        let Some((ssrc, pt)) = rtp_stream(bytes) else {
            return;
        };
        if self.streams.contains_key(&ssrc) || rtc.direct_api().stream_rx(&ssrc).is_some() {
            return;
        }
        let carries = |mid: &Mid| {
            let Some(media) = rtc.media(*mid) else {
                return false;
            };
            let has_mid = media.remote_extmap().id_of(Extension::RtpMid).is_some();
            !has_mid
                && media.remote_pts().iter().any(|p| **p == pt)
                && matches!(media.rids_rx(), Rids::None | Rids::Any)
        };
        if let Some(mid) = mids.iter().copied().find(carries) {
            rtc.direct_api().expect_stream_rx(ssrc, None, mid, None);
        }
    }

    /// When a request that was held back is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.video.keyframes.iter().filter_map(Throttle::due).min()
    }

    /// Sends requests that are due.
    pub(super) fn send_due(&mut self, rtc: &mut Rtc, now: Instant) {
        for layer in 0..self.video.keyframes.len() {
            if self.video.keyframes[layer].due().is_some_and(|due| due <= now) {
                self.request_keyframe(rtc, layer as u8, now);
            }
        }
    }

    /// Called a few times a second: says which kinds began or stopped to arrive, and measures layers.
    pub(super) fn tick(&mut self, now: Instant) -> Vec<(Kind, bool)> {
        let mut changes = Vec::new();
        for kind in [Kind::Audio, Kind::Video] {
            let track = self.track(kind);
            let receiving = track.last_packet.is_some_and(|last| now < last + SILENCE);
            if receiving != track.receiving {
                track.receiving = receiving;
                changes.push((kind, receiving));
            }
        }
        let since = now.saturating_duration_since(*self.measured.get_or_insert(now));
        if since >= Duration::from_secs(1) {
            self.measured = Some(now);
            for rate in &mut self.video.rates {
                let alive = rate.last_packet.is_some_and(|last| now < last + SILENCE);
                let measured = (rate.bytes as f64 * 8.0 / since.as_secs_f64()) as u64;
                rate.bits_per_second = match (alive, rate.bits_per_second) {
                    (false, _) => 0,
                    (true, 0) => measured,
                    (true, before) => (before * 3 + measured) / 4,
                };
                rate.bytes = 0;
            }
        }
        changes
    }

    /// The kinds that have begun to arrive since the last packet, told at once rather than at the next tick.
    pub(super) fn began(&mut self, kind: Kind) -> bool {
        let track = self.track(kind);
        !std::mem::replace(&mut track.receiving, true)
    }

    /// The stream that a layer of an m-line arrives in now.
    pub(super) fn stream(&self, mid: Mid, rid: Option<Rid>) -> Option<StreamSummary> {
        let (ssrc, stream) = self.streams.iter().find(|(_, s)| s.mid == mid && s.rid == rid)?;
        Some(StreamSummary {
            ssrc: *ssrc,
            kind: stream.kind,
            params: stream.params,
            lost: stream.received.lost(),
            frames: stream.frames,
        })
    }
}

/// Header extensions that mean the same on the next hop. Ids of streams and congestion control belong to each hop.
fn forwarded(from: &ExtensionValues) -> ExtensionValues {
    ExtensionValues {
        audio_level: from.audio_level,
        voice_activity: from.voice_activity,
        video_orientation: from.video_orientation,
        ..ExtensionValues::default()
    }
}

/// SSRC and payload type of an RTP packet; `None` for RTCP and all else (RFC 5761, section 4; RFC 7983).
fn rtp_stream(bytes: &[u8]) -> Option<(Ssrc, u8)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    if !(128..192).contains(&first) || (192..224).contains(&second) {
        return None;
    }
    let ssrc = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
    Some((Ssrc::from(ssrc), second & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_that_come_together_were_not_captured_together() {
        let begin = Instant::now();
        let ms = |ms| begin + Duration::from_millis(ms);
        let mut arrivals = Arrivals::default();
        // The first came late by 30 ms, which the second shows; the third and fourth came with the fifth.
        assert_eq!(arrivals.captured_at(7.00, ms(30)), ms(30));
        assert_eq!(arrivals.captured_at(7.02, ms(20)), ms(20));
        for (timestamp, captured) in [(7.04, 40), (7.06, 60), (7.08, 80)] {
            let at = arrivals.captured_at(timestamp, ms(80));
            assert!(
                at <= ms(80) && ms(captured) - at < Duration::from_millis(1),
                "{timestamp}"
            );
        }
        // One that was sent again, and a timestamp from nowhere.
        let again = arrivals.captured_at(7.01, ms(90));
        assert!(ms(10) - again < Duration::from_millis(1));
        assert_eq!(arrivals.captured_at(9_000.0, ms(100)), ms(100));
    }

    #[test]
    fn lost_is_what_neither_came_nor_was_repaired() {
        let mut received = Received::default();
        assert_eq!(received.lost(), 0);
        for sequence in [10, 11, 14] {
            received.packet(sequence);
        }
        assert_eq!(received.lost(), 2);
        received.packet(12); // late, or repaired
        assert_eq!(received.lost(), 1);
        received.packet(9); // from before the first: not counted either way
        assert_eq!(received.lost(), 1);
    }
}
