//! `PlayerEndpoint`: plays files, HTTP and cameras.

mod class;
mod endpoint;
mod reconnect;
mod session;
mod uri;

pub(crate) use class::class;
pub use endpoint::PlayerEndpoint;
