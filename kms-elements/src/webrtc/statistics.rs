//! A peer's counters in the shapes of the Kurento API.

use kms_core::element::StatsMap;
use kms_core::object::unix_millis;
use kms_core::types::{MediaType, StatsType};
use protocol::Wire;

use super::api::{ChannelState, DataChannelStats, Kind, PeerStats, StreamStats};
use super::types::{
    RTCDataChannelState, RTCDataChannelStats, RTCInboundRTPStreamStats, RTCOutboundRTPStreamStats,
    RTCPeerConnectionStats,
};

/// The counters by id, of one kind of media or of all.
pub(super) fn stats_map(stats: &PeerStats, media: Option<MediaType>) -> StatsMap {
    let mut map = StatsMap::new();
    let mut add = |id: String, value: Option<serde_json::Value>| {
        map.insert(id, value.unwrap_or_default());
    };
    let of_kind = |s: &&StreamStats| match media {
        None => true,
        Some(MediaType::Audio) => s.kind == Some(Kind::Audio),
        Some(MediaType::Video) => s.kind == Some(Kind::Video),
        Some(MediaType::Data) => false,
    };
    for stream in stats.inbound.iter().filter(of_kind) {
        let inbound = inbound(stream);
        add(inbound.id.clone(), inbound.encode());
    }
    for stream in stats.outbound.iter().filter(of_kind) {
        let outbound = outbound(stream);
        add(outbound.id.clone(), outbound.encode());
    }
    if matches!(media, None | Some(MediaType::Data)) {
        for channel in &stats.data_channels {
            let channel = data_channel(channel);
            add(channel.id.clone(), channel.encode());
        }
    }
    if media.is_none() {
        let session = RTCPeerConnectionStats {
            id: "session".into(),
            stats_type: StatsType::Session,
            timestamp_millis: unix_millis() as i64,
            data_channels_opened: stats.data_channels_opened as i64,
            data_channels_closed: stats.data_channels_closed as i64,
        };
        add(session.id.clone(), session.encode());
    }
    map
}

/// An id that stays the same for a stream, so that a client can follow it.
fn stream_id(direction: &str, stream: &StreamStats) -> String {
    match &stream.rid {
        Some(rid) => format!("{direction}_{}_{rid}", stream.ssrc),
        None => format!("{direction}_{}", stream.ssrc),
    }
}

fn frames(s: &StreamStats) -> Option<i64> {
    (s.kind == Some(Kind::Video)).then_some(s.frames as i64)
}

fn inbound(s: &StreamStats) -> RTCInboundRTPStreamStats {
    RTCInboundRTPStreamStats {
        id: stream_id("inbound_rtp", s),
        stats_type: StatsType::InboundRtp,
        timestamp_millis: unix_millis() as i64,
        ssrc: s.ssrc.to_string(),
        associate_stats_id: String::new(),
        is_remote: false,
        media_track_id: String::new(),
        transport_id: String::new(),
        codec_id: s.codec.clone().unwrap_or_default(),
        fir_count: s.fir_count as i64,
        pli_count: s.pli_count as i64,
        nack_count: s.nack_count as i64,
        sli_count: 0,
        remb: s.remb as i64,
        packets_lost: s.packets_lost,
        fraction_lost: s.fraction_lost,
        packets_received: s.packets as i64,
        bytes_received: s.bytes as i64,
        jitter: s.jitter,
        frames_received: frames(s),
    }
}

fn outbound(s: &StreamStats) -> RTCOutboundRTPStreamStats {
    RTCOutboundRTPStreamStats {
        id: stream_id("outbound_rtp", s),
        stats_type: StatsType::OutboundRtp,
        timestamp_millis: unix_millis() as i64,
        ssrc: s.ssrc.to_string(),
        associate_stats_id: String::new(),
        is_remote: false,
        media_track_id: String::new(),
        transport_id: String::new(),
        codec_id: s.codec.clone().unwrap_or_default(),
        fir_count: s.fir_count as i64,
        pli_count: s.pli_count as i64,
        nack_count: s.nack_count as i64,
        sli_count: 0,
        remb: s.remb as i64,
        packets_lost: s.packets_lost,
        fraction_lost: s.fraction_lost,
        packets_sent: s.packets as i64,
        bytes_sent: s.bytes as i64,
        target_bitrate: s.target_bitrate,
        round_trip_time: s.round_trip_time,
        frames_sent: frames(s),
    }
}

fn data_channel(c: &DataChannelStats) -> RTCDataChannelStats {
    RTCDataChannelStats {
        id: format!("data_channel_{}", c.id),
        stats_type: StatsType::DataChannel,
        timestamp_millis: unix_millis() as i64,
        label: c.label.clone(),
        protocol: c.protocol.clone(),
        datachannelid: i64::from(c.id),
        state: match c.state {
            ChannelState::Connecting => RTCDataChannelState::Connecting,
            ChannelState::Open => RTCDataChannelState::Open,
            ChannelState::Closed => RTCDataChannelState::Closed,
        },
        messages_sent: c.messages_sent as i64,
        bytes_sent: c.bytes_sent as i64,
        messages_received: c.messages_received as i64,
        bytes_received: c.bytes_received as i64,
    }
}
