//! `PlayerEndpoint`: plays files, HTTP and cameras.

pub(crate) mod camera;
mod class;
mod endpoint;
mod reconnect;
mod rtsp;
mod sender_clock;
pub(crate) mod session;
mod streams;
mod threads;
mod uri;

pub(crate) use class::{EndOfStream, class};
pub use endpoint::PlayerEndpoint;

/// What new endpoints start with.
#[derive(Debug, Clone, Copy)]
pub struct Defaults {
    /// Whether certificates of cameras and servers have to be signed by an authority that this machine knows.
    pub verify_certificates: bool,
}
