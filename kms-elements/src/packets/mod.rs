//! Between media and RTP packets: what all endpoints of RTP share, whatever carries their packets.

mod depacketiser;
mod packetiser;
mod payloads;
mod shared;

pub(crate) use depacketiser::Depacketiser;
pub(crate) use packetiser::{Outlet, Packetiser, Workshop};
pub(crate) use payloads::{clock_rate, depayloader, rtp_caps};
pub(crate) use shared::Take;
