//! A peer's counters, as str0m reports them once a second.

use std::sync::atomic::{AtomicU64, Ordering};

use str0m::stats::{MediaEgressStats, MediaIngressStats};

use super::Peer;
use crate::webrtc::api::{Kind, PeerStats, StreamStats};
use crate::webrtc::engine::rtc::codec_name;

impl Peer {
    pub(in crate::webrtc::engine) fn inbound_stats(&mut self, stats: &MediaIngressStats) {
        let rid = stats.rid.map(|r| r.to_string());
        let Some(stream) = self.inbound.stream(stats.mid, stats.rid) else {
            return;
        };
        let params = stream.params;
        let clock = params.map_or(90_000.0, |p| f64::from(p.spec().clock_rate.get()));
        let fraction = f64::from(stats.loss.unwrap_or_default());
        let entry = entry(&mut self.stats.inbound, stream.kind, rid);
        let counters = &self.counters;
        more_lost(&counters.lost_in, stream.lost as i64, entry.packets_lost);
        more(
            &counters.keyframes_asked,
            stats.firs + stats.plis,
            entry.fir_count + entry.pli_count,
        );
        more(&counters.nacks, stats.nacks, entry.nack_count);
        *entry = StreamStats {
            ssrc: *stream.ssrc,
            codec: params.map(|p| codec_name(p.spec().codec).to_owned()),
            packets: stats.packets,
            bytes: stats.bytes,
            frames: stream.frames,
            packets_lost: stream.lost as i64,
            fraction_lost: fraction,
            jitter: f64::from(stats.jitter) / clock,
            round_trip_time: stats.rtt.map_or(0.0, |r| r.as_secs_f64()),
            fir_count: stats.firs,
            pli_count: stats.plis,
            nack_count: stats.nacks,
            remb: self.limits.max_video_recv,
            ..entry.clone()
        };
    }

    pub(in crate::webrtc::engine) fn outbound_stats(&mut self, stats: &MediaEgressStats) {
        let Some(track) = self.outbound.iter().find(|t| t.mid() == stats.mid) else {
            return;
        };
        let (kind, Some((ssrc, codec, frames))) = (track.kind(), track.sending()) else {
            return;
        };
        let (remb, target) = (self.remb, self.available.unwrap_or_default() as f64);
        let entry = entry(&mut self.stats.outbound, kind, None);
        let counters = &self.counters;
        let remote = stats.remote.as_ref();
        // A signed number in reports (RFC 3550, section 6.4.1): what comes twice is lost less than never.
        let lost = remote.map_or(0, |r| i64::from(r.packets_lost as i32));
        more_lost(&counters.lost_out, lost, entry.packets_lost);
        more(
            &counters.keyframes_wanted,
            stats.firs + stats.plis,
            entry.fir_count + entry.pli_count,
        );
        more(&counters.nacks, stats.nacks, entry.nack_count);
        *entry = StreamStats {
            ssrc: *ssrc,
            codec: codec.map(str::to_owned),
            packets: stats.packets,
            bytes: stats.bytes,
            frames,
            packets_lost: lost,
            fraction_lost: f64::from(stats.loss.unwrap_or_default()),
            round_trip_time: stats.rtt.map_or(0.0, |r| r.as_secs_f64()),
            fir_count: stats.firs,
            pli_count: stats.plis,
            nack_count: stats.nacks,
            remb,
            target_bitrate: if kind == Kind::Video { target } else { 0.0 },
            ..entry.clone()
        };
    }

    /// Counters; `None` before the first negotiation.
    pub(in crate::webrtc::engine) fn stats(&self) -> Option<PeerStats> {
        self.rtc.as_ref()?;
        let (data_channels, data_channels_opened, data_channels_closed) = self.channels.stats();
        Some(PeerStats {
            data_channels,
            data_channels_opened,
            data_channels_closed,
            ..self.stats.clone()
        })
    }
}

/// Counts what has come since the last time. Counts of a stream begin anew with another one.
fn more(counter: &AtomicU64, now: u64, before: u64) {
    let since = now.checked_sub(before).unwrap_or(now);
    counter.fetch_add(since, Ordering::Relaxed);
}

/// The same of packets that are lost: a packet that comes late was not, and what was counted stays counted.
fn more_lost(counter: &AtomicU64, now: i64, before: i64) {
    let since = u64::try_from(now.saturating_sub(before)).unwrap_or_default();
    counter.fetch_add(since, Ordering::Relaxed);
}

fn entry(list: &mut Vec<StreamStats>, kind: Kind, rid: Option<String>) -> &mut StreamStats {
    let found = list.iter().position(|s| s.kind == Some(kind) && s.rid == rid);
    let index = found.unwrap_or_else(|| {
        list.push(StreamStats {
            kind: Some(kind),
            rid,
            ..StreamStats::default()
        });
        list.len() - 1
    });
    &mut list[index]
}
