//! Endpoints and hubs.

mod endpoint;
mod packets;
pub mod player;
pub mod recorder;
pub mod rtp;
mod rtp_session;
mod sdp;
pub mod webrtc;

use kms_core::Registry;
use kms_core::media::Timeline;

/// What elements share, and the server stops when it ends.
#[derive(Clone)]
pub struct Engines {
    /// Carries WebRTC media.
    pub webrtc: webrtc::engine::Engine,
    /// The time of all media in GStreamer.
    pub timeline: Timeline,
    /// Files that are being written.
    pub recordings: recorder::Recordings,
}

/// Registers module `elements`. Fails if a configured certificate can't be used.
pub fn register(
    registry: &mut Registry,
    engines: &Engines,
    defaults: webrtc::Defaults,
    rtp: rtp::Defaults,
) -> Result<(), webrtc::CertificateError> {
    registry.module("elements", "Endpoints, where media enters and leaves, and hubs.");
    registry.class(rtp::class(&engines.timeline, rtp));
    registry.class(webrtc::class(
        engines.webrtc.clone(),
        &engines.timeline,
        defaults,
    )?);
    webrtc::describe_types(registry);
    registry.class(player::class(&engines.timeline));
    registry.class(recorder::class(&engines.timeline, &engines.recordings));
    Ok(())
}
