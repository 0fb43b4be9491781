//! Endpoints and hubs.

pub mod webrtc;

use kms_core::Registry;

/// Registers module `elements`. Fails if a configured certificate can't be used.
pub fn register(
    registry: &mut Registry,
    engine: &webrtc::engine::Engine,
    defaults: webrtc::Defaults,
) -> Result<(), webrtc::CertificateError> {
    registry.module("elements", "Endpoints, where media enters and leaves, and hubs.");
    registry.class(webrtc::class(engine.clone(), defaults)?);
    webrtc::describe_types(registry);
    Ok(())
}
