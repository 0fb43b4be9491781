//! `MosaicFilter`: hides faces, parts of the picture, or all of it.

mod class;
mod cover;
mod gallery;
mod guard;

pub(crate) use class::{class, element};
