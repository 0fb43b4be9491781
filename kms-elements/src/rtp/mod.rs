//! RTP without WebRTC: the endpoint, its descriptions, its sockets, and the pipeline between.
//!
//! Packets come in by the thread of a [`transport`], pass the [`gate`] (and before it decryption), and go through GStreamer's rtpbin,
//! which puts them in order and in sync, to a depacketiser that gives the endpoint's source. Those of a packetiser go the other way
//! ([`media`]).

mod class;
mod counters;
mod crypto;
mod endpoint;
mod gate;
mod local;
mod media;
mod negotiation;
mod ports;
mod remote;
mod statistics;
mod transport;

use crate::webrtc::api::GatherSettings;

pub(crate) use class::class;
pub use counters::{Carried, Counters};
pub use crypto::{CryptoSuite, SDES};
pub use endpoint::RtpEndpoint;
pub use ports::PortRange;

/// What new endpoints start with.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Ports that may be used.
    pub ports: PortRange,
    /// Which addresses are told: external ones before those of interfaces.
    pub gather: GatherSettings,
    /// Largest UDP payload, bytes.
    pub mtu: usize,
}

#[cfg(test)]
mod tests;
