//! Endpoints and hubs.

mod endpoint;
pub mod player;
pub mod recorder;
pub mod webrtc;

use kms_core::Registry;
use kms_core::media::Timeline;

/// Registers module `elements`. Fails if a configured certificate can't be used.
pub fn register(
    registry: &mut Registry,
    engine: &webrtc::engine::Engine,
    timeline: &Timeline,
    defaults: webrtc::Defaults,
) -> Result<(), webrtc::CertificateError> {
    registry.module("elements", "Endpoints, where media enters and leaves, and hubs.");
    registry.class(webrtc::class(engine.clone(), timeline, defaults)?);
    webrtc::describe_types(registry);
    registry.class(player::class(timeline));
    let recordings = recorder::Recordings::start()
        .map_err(|e| webrtc::CertificateError::Read("(threads)".into(), e))?;
    registry.class(recorder::class(timeline, &recordings));
    Ok(())
}
