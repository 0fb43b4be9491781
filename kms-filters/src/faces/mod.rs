//! Faces in video: found beside the stream by OpenCV, followed in it from picture to picture.

mod area;
mod detector;
mod flow;
mod follower;
mod grey;
mod overlay;
mod tracks;

pub(crate) use area::Area;
pub(crate) use detector::{Detector, Found, SURE};
pub(crate) use follower::{Follower, cascades};
pub(crate) use grey::{Grey, square};
pub(crate) use overlay::class as overlay;
pub(crate) use tracks::{MOST as MOST_FACES, Track};
#[cfg(test)]
pub(crate) use {detector::Sight, follower::Looking};
