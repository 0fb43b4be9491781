//! WebRTC: the endpoint class and the transport engine beneath it.

pub mod api;
mod certificate;
mod class;
mod endpoint;
pub mod engine;
pub mod ice;
mod outlet;
mod reorder;
pub mod sdp;
mod statistics;
mod tapped;
pub mod types;

use std::path::PathBuf;

pub use certificate::CertificateError;
pub(crate) use class::class;
pub use class::describe_types;
pub use endpoint::WebRtcEndpoint;

/// What new endpoints start with.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// What candidates to gather.
    pub gather: api::GatherSettings,
    /// Largest UDP payload, bytes.
    pub mtu: usize,
    /// File with certificate and RSA key, PEM. `None`: made at start.
    pub pem_rsa: Option<PathBuf>,
    /// File with certificate and ECDSA key, PEM. `None`: made at start.
    pub pem_ecdsa: Option<PathBuf>,
}
