//! `ChromaFilter`: replaces what is of one colour, such as a green wall.

mod class;
mod key;

pub(crate) use class::{class, element};
