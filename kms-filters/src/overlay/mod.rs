//! Images over video.

mod class;
mod drawing;
mod layers;

pub(crate) use class::{class, element};
pub(crate) use drawing::{Place, at, pixels};
