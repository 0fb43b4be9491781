//! `OnnxFilter`: finds what a model of the user's finds.

mod class;
mod description;
mod drawing;
mod looker;
mod model;
mod picture;

pub(crate) use class::{class, element};
