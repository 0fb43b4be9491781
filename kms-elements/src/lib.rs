//! Endpoints and hubs.

mod endpoint;
pub mod http_post;
mod hubs;
mod packets;
pub mod player;
pub mod recorder;
pub mod rtp;
mod rtp_session;
mod sdp;
mod sources;
pub mod webrtc;

use std::sync::Arc;

use kms_core::Registry;
use kms_core::media::{Images, Timeline};

/// What elements share, and the server stops when it ends.
#[derive(Clone)]
pub struct Engines {
    /// Carries WebRTC media.
    pub webrtc: webrtc::engine::Engine,
    /// What RTP endpoints have carried.
    pub rtp: Arc<rtp::Counters>,
    /// The time of all media in GStreamer.
    pub timeline: Timeline,
    /// Files that are being written.
    pub recordings: recorder::Recordings,
    /// Endpoints that files are uploaded to.
    pub uploads: http_post::Uploads,
    /// What fetches images.
    pub images: Arc<dyn Images>,
}

/// What new elements start with.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// `WebRtcEndpoint`s.
    pub webrtc: webrtc::Defaults,
    /// `RtpEndpoint`s.
    pub rtp: rtp::Defaults,
    /// `PlayerEndpoint`s.
    pub player: player::Defaults,
}

/// Registers module `elements`. Fails if a configured certificate can't be used.
pub fn register(
    registry: &mut Registry,
    engines: &Engines,
    defaults: Defaults,
) -> Result<(), webrtc::CertificateError> {
    registry.module("elements", "Endpoints, where media enters and leaves, and hubs.");
    let workshop = packets::Workshop::new(&engines.timeline);
    registry.class(rtp::class(&workshop, &engines.rtp, defaults.rtp));
    registry.class(webrtc::class(engines.webrtc.clone(), &workshop, defaults.webrtc)?);
    webrtc::describe_types(registry);
    registry.class(player::class(&engines.timeline, defaults.player));
    registry.class(http_post::class(&engines.timeline, &engines.uploads));
    registry.class(recorder::class(&engines.timeline, &engines.recordings));
    hubs::register(registry, &engines.timeline, &engines.images);
    Ok(())
}
