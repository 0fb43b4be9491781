//! WebRTC: the endpoint class and the transport engine beneath it.

pub mod api;
