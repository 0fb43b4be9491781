//! rtpbin's counters in the shapes of the Kurento API.

use gst::glib;
use gst::prelude::*;
use kms_core::element::StatsMap;
use kms_core::object::unix_millis;
use kms_core::types::{MediaType, StatsType};
use protocol::Wire;

use super::media::Media;
use crate::webrtc::types::{RTCInboundRTPStreamStats, RTCOutboundRTPStreamStats};

/// What a session counts for, beside its counters.
pub(super) struct Session {
    pub(super) kind: MediaType,
    /// Names of the codecs in use; empty for none yet.
    pub(super) received: String,
    pub(super) sent: String,
    /// Pictures that came and that were sent.
    pub(super) frames: (u64, u64),
    /// Ticks a second of its times.
    pub(super) clock_rate: i32,
}

impl Session {
    /// Of sound nobody counts them.
    fn frames(&self, count: u64) -> Option<i64> {
        (self.kind == MediaType::Video).then(|| i64::try_from(count).unwrap_or(i64::MAX))
    }
}

/// The counters by id, of one kind of media or of all.
pub(super) fn stats_map(media: &Media, sessions: &[Session], wanted: Option<MediaType>) -> StatsMap {
    let mut map = StatsMap::new();
    for (number, kind) in media
        .sessions()
        .filter(|(_, kind)| wanted.is_none_or(|w| w == *kind))
    {
        let Some(session) = sessions.iter().find(|s| s.kind == kind) else {
            continue;
        };
        let element = media
            .rtpbin
            .emit_by_name::<Option<gst::Element>>("get-session", &[&number]);
        let Some(stats) = element.map(|e| e.property::<gst::Structure>("stats")) else {
            continue;
        };
        let sources = stats.get::<glib::ValueArray>("source-stats");
        let sources = sources.map(|s| s.to_vec()).unwrap_or_default();
        let sources: Vec<gst::Structure> = sources.iter().filter_map(|s| s.get().ok()).collect();
        // What the remote says of what we send stands with those of its sources that report.
        let report = sources
            .iter()
            .find(|s| field::<bool>(s, "have-rb") && !field::<bool>(s, "internal"));
        for source in sources.iter().filter(|s| field::<bool>(s, "is-sender")) {
            let (id, value) = if field::<bool>(source, "internal") {
                let stats = outbound(source, report, session);
                (stats.id.clone(), stats.encode())
            } else {
                let stats = inbound(source, session);
                (stats.id.clone(), stats.encode())
            };
            map.insert(id, value.unwrap_or_default());
        }
    }
    map
}

/// A field of a structure, or nothing's value.
fn field<T: Default + for<'a> glib::value::FromValue<'a>>(structure: &gst::StructureRef, name: &str) -> T {
    structure
        .value(name)
        .ok()
        .and_then(|v| v.get::<T>().ok())
        .unwrap_or_default()
}

fn inbound(source: &gst::StructureRef, session: &Session) -> RTCInboundRTPStreamStats {
    let ssrc = field::<u32>(source, "ssrc");
    let ticks = f64::from(session.clock_rate.max(1));
    RTCInboundRTPStreamStats {
        id: format!("inbound_rtp_{ssrc}"),
        stats_type: StatsType::InboundRtp,
        timestamp_millis: unix_millis() as i64,
        ssrc: ssrc.to_string(),
        associate_stats_id: String::new(),
        is_remote: false,
        media_track_id: String::new(),
        transport_id: String::new(),
        codec_id: session.received.clone(),
        // Of what is received, those that were sent count.
        fir_count: field::<u32>(source, "sent-fir-count").into(),
        pli_count: field::<u32>(source, "sent-pli-count").into(),
        nack_count: field::<u32>(source, "sent-nack-count").into(),
        sli_count: 0,
        remb: 0,
        packets_lost: field::<i32>(source, "packets-lost").into(),
        fraction_lost: f64::from(field::<u32>(source, "sent-rb-fractionlost")) / 256.0,
        packets_received: field::<u64>(source, "packets-received") as i64,
        bytes_received: field::<u64>(source, "octets-received") as i64,
        jitter: f64::from(field::<u32>(source, "jitter")) / ticks,
        frames_received: session.frames(session.frames.0),
    }
}

fn outbound(
    source: &gst::StructureRef,
    report: Option<&gst::Structure>,
    session: &Session,
) -> RTCOutboundRTPStreamStats {
    let ssrc = field::<u32>(source, "ssrc");
    let told = |name: &str| report.map(|r| field::<u32>(r, name)).unwrap_or_default();
    RTCOutboundRTPStreamStats {
        id: format!("outbound_rtp_{ssrc}"),
        stats_type: StatsType::OutboundRtp,
        timestamp_millis: unix_millis() as i64,
        ssrc: ssrc.to_string(),
        associate_stats_id: String::new(),
        is_remote: false,
        media_track_id: String::new(),
        transport_id: String::new(),
        codec_id: session.sent.clone(),
        fir_count: field::<u32>(source, "recv-fir-count").into(),
        pli_count: field::<u32>(source, "recv-pli-count").into(),
        nack_count: field::<u32>(source, "recv-nack-count").into(),
        sli_count: 0,
        remb: 0,
        packets_lost: report
            .map(|r| field::<i32>(r, "rb-packetslost"))
            .unwrap_or_default()
            .into(),
        fraction_lost: f64::from(told("rb-fractionlost")) / 256.0,
        packets_sent: field::<u64>(source, "packets-sent") as i64,
        bytes_sent: field::<u64>(source, "octets-sent") as i64,
        target_bitrate: 0.0,
        // In units of 1/65536 s (RFC 3550, section 6.4.1).
        round_trip_time: f64::from(told("rb-round-trip")) / 65_536.0,
        frames_sent: session.frames(session.frames.1),
    }
}
