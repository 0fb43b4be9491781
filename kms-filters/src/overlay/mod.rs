//! Images over video.

mod class;
mod drawing;
mod layers;

pub(crate) use class::class;
pub(crate) use drawing::{Place, at, pixels};
