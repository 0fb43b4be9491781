//! Endpoints and hubs.

pub mod webrtc;
