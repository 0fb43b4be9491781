//! Data channels of a peer: opened from either side, and messages forwarded between peers.

use std::collections::HashMap;

use str0m::Rtc;
use str0m::channel::{ChannelConfig, ChannelData, ChannelId, Reliability};

use crate::webrtc::api::{ChannelState, DataChannelOptions, DataChannelStats};

/// Data channels a peer can have, from both sides together.
const MOST_CHANNELS: usize = 256;
/// Bytes that may wait in a channel for a slow remote. When there are more, newer messages are dropped and counted.
const MOST_BUFFERED: usize = 1 << 20;
/// Closed channels whose counters are kept.
const MOST_CLOSED: usize = 64;

/// Why a data channel can't be opened or closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DataChannelError {
    /// No data channels were negotiated with the remote.
    #[error(
        "Data channels were not negotiated: make the endpoint with useDataChannels and negotiate an application m-line"
    )]
    NotNegotiated,
    /// There is no channel of this id.
    #[error("There is no data channel {0}")]
    Unknown(u16),
    /// There are too many.
    #[error("There are {MOST_CHANNELS} data channels already")]
    TooMany,
}

struct Channel {
    /// SCTP stream id, once known.
    stream: Option<u16>,
    stats: DataChannelStats,
}

/// A message on its way to other peers.
pub(super) struct Message {
    pub(super) label: String,
    pub(super) binary: bool,
    pub(super) data: Vec<u8>,
}

/// A peer's data channels.
#[derive(Default)]
pub(super) struct Channels {
    open: HashMap<ChannelId, Channel>,
    closed: Vec<DataChannelStats>,
    opened_count: u64,
    closed_count: u64,
    pub(super) dropped: u64,
}

impl Channels {
    /// Opens a channel. `None`: its stream id is known when it has opened.
    pub(super) fn create(
        &mut self,
        rtc: &mut Rtc,
        options: DataChannelOptions,
        negotiated: bool,
    ) -> Result<Option<u16>, DataChannelError> {
        if !negotiated {
            return Err(DataChannelError::NotNegotiated);
        }
        if self.open.len() >= MOST_CHANNELS {
            return Err(DataChannelError::TooMany);
        }
        let reliability = match (options.max_packet_life_time, options.max_retransmits) {
            (Some(lifetime), _) => Reliability::MaxPacketLifetime { lifetime },
            (None, Some(retransmits)) => Reliability::MaxRetransmits { retransmits },
            (None, None) => Reliability::Reliable,
        };
        let (label, protocol) = (options.label, options.protocol);
        let stats = DataChannelStats {
            label: label.clone(),
            protocol: protocol.clone(),
            ..DataChannelStats::default()
        };
        let config = ChannelConfig {
            label,
            protocol,
            ordered: options.ordered,
            reliability,
            negotiated: None,
        };
        let mut changes = rtc.sdp_api();
        let id = changes.add_channel_with_config(config);
        // The association exists, so the channel is added without negotiation.
        changes.apply();
        let stream = rtc.direct_api().sctp_stream_id_by_channel_id(id);
        self.open.insert(id, Channel { stream, stats });
        Ok(stream)
    }

    /// Closes a channel.
    pub(super) fn close(&mut self, rtc: &mut Rtc, stream: u16) -> Result<(), DataChannelError> {
        let found = self
            .open
            .iter()
            .find(|(_, c)| c.stream == Some(stream))
            .map(|(id, _)| *id);
        let id = found.ok_or(DataChannelError::Unknown(stream))?;
        rtc.direct_api().close_data_channel(id);
        Ok(())
    }

    /// A channel has opened; answers its stream id.
    pub(super) fn opened(&mut self, rtc: &mut Rtc, id: ChannelId, label: String) -> u16 {
        let stream = rtc
            .direct_api()
            .sctp_stream_id_by_channel_id(id)
            .unwrap_or_default();
        if self.open.len() >= MOST_CHANNELS && !self.open.contains_key(&id) {
            rtc.direct_api().close_data_channel(id);
            return stream;
        }
        let protocol = rtc
            .channel(id)
            .and_then(|c| c.config().map(|c| c.protocol.clone()))
            .unwrap_or_default();
        let channel = self.open.entry(id).or_insert_with(|| Channel {
            stream: None,
            stats: DataChannelStats::default(),
        });
        channel.stream = Some(stream);
        channel.stats = DataChannelStats {
            id: stream,
            label,
            protocol,
            state: ChannelState::Open,
            ..channel.stats.clone()
        };
        self.opened_count += 1;
        stream
    }

    /// A channel has closed; answers its stream id.
    pub(super) fn closed(&mut self, id: ChannelId) -> Option<u16> {
        let channel = self.open.remove(&id)?;
        self.closed_count += 1;
        if self.closed.len() >= MOST_CLOSED {
            self.closed.remove(0);
        }
        self.closed.push(DataChannelStats {
            state: ChannelState::Closed,
            ..channel.stats
        });
        channel.stream
    }

    /// Takes in a message of the remote.
    pub(super) fn received(&mut self, data: ChannelData) -> Option<Message> {
        let channel = self.open.get_mut(&data.id)?;
        channel.stats.messages_received += 1;
        channel.stats.bytes_received += data.data.len() as u64;
        Some(Message {
            label: channel.stats.label.clone(),
            binary: data.binary,
            data: data.data,
        })
    }

    /// Sends a message on the channel of its label, else on the first that is open, else on a new one.
    pub(super) fn send(&mut self, rtc: &mut Rtc, message: &Message, negotiated: bool) {
        let is_open = |(_, c): &(&ChannelId, &Channel)| c.stats.state == ChannelState::Open;
        let by_label = self.open.iter().find(|(_, c)| c.stats.label == message.label);
        let first_open = || self.open.iter().filter(is_open).min_by_key(|(_, c)| c.stream);
        let Some(id) = by_label.or_else(first_open).map(|(id, _)| *id) else {
            let options = DataChannelOptions {
                label: message.label.clone(),
                ordered: true,
                ..Default::default()
            };
            if self.create(rtc, options, negotiated).is_ok() {
                // Written messages wait until the channel has opened.
                self.send(rtc, message, negotiated);
            }
            return;
        };
        let Some(mut writer) = rtc.channel(id) else {
            self.dropped += 1;
            return;
        };
        let fits = writer.buffered_amount() + message.data.len() <= MOST_BUFFERED;
        match fits.then(|| writer.write(message.binary, &message.data)) {
            Some(Ok(true)) => {
                if let Some(channel) = self.open.get_mut(&id) {
                    channel.stats.messages_sent += 1;
                    channel.stats.bytes_sent += message.data.len() as u64;
                }
            }
            _ => self.dropped += 1,
        }
    }

    /// Counters of all channels, and how many have opened and closed.
    pub(super) fn stats(&self) -> (Vec<DataChannelStats>, u64, u64) {
        let open = self.open.values().map(|c| c.stats.clone());
        (
            open.chain(self.closed.iter().cloned()).collect(),
            self.opened_count,
            self.closed_count,
        )
    }
}
