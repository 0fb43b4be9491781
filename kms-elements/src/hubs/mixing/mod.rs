//! Mixing: what enters the ports of a hub becomes one picture, and sound for each port.
//!
//! ```text
//! source that feeds a port -> Inlet (as it comes, on its thread) -> newest picture, last moments of sound
//!                                              thread of the mixer, at its rate -> Outlet -> whoever is connected to a port
//! ```
//!
//! A mixer works while somebody takes what it makes; only then is what enters decoded. It waits for nobody: it takes what is there at
//! its time. So an input that stalls, comes or goes disturbs no other.

pub(super) mod audio;
mod caption;
mod inlet;
pub(super) mod layout;
mod outlet;
pub(super) mod video;
mod worker;

pub(super) use caption::can_draw;
pub(super) use inlet::Inlet;
pub(super) use outlet::Outlet;
pub(super) use worker::{Mixer, Worker};
