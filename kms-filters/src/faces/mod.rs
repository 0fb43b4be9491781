//! Faces in video: found beside the stream by OpenCV, followed in it from picture to picture.

mod area;
mod detector;
mod embedding;
mod flow;
mod follower;
mod grey;
mod models;
mod overlay;
mod tracks;
mod yunet;

pub(crate) use area::Area;
pub(crate) use detector::{Detector, Found, SURE, told};
pub(crate) use embedding::{Alike, Embedding};
pub(crate) use follower::{Follower, detector};
pub(crate) use grey::{Grey, face_square};
pub use models::{ModelPaths, Models};
pub(crate) use overlay::{class as overlay, element as overlay_element};
pub(crate) use tracks::{MOST as MOST_FACES, Track};
#[cfg(test)]
pub(crate) use {detector::Sight, follower::Looking};
