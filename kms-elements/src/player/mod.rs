//! `PlayerEndpoint`: plays files, HTTP and cameras.

mod class;
mod endpoint;
mod reconnect;
mod rtsp;
pub(crate) mod session;
mod uri;

pub(crate) use class::{EndOfStream, class};
pub use endpoint::PlayerEndpoint;
