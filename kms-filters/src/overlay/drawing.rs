//! Images as GStreamer draws them over a picture.

use ::image::imageops::{self, FilterType};
use gst_video::{VideoFormat, VideoFrameFlags, VideoMeta, VideoOverlayFormatFlags, VideoOverlayRectangle};

use crate::image::Image;

/// A part of a picture, pixels; it may reach beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// An image at a place, scaled once: nothing is left to do with each picture but to draw it.
pub(crate) fn rectangle(image: &Image, place: Place) -> Option<VideoOverlayRectangle> {
    let Place { x, y, width, height } = place;
    if width == 0 || height == 0 {
        return None;
    }
    let mut scaled = imageops::resize(&image.pixels, width, height, FilterType::Triangle);
    // GStreamer's order on this machine, which has the lowest byte first.
    scaled.pixels_mut().for_each(|pixel| pixel.0.swap(0, 2));
    let mut buffer = gst::Buffer::from_mut_slice(scaled.into_raw());
    let writable = buffer.get_mut()?;
    VideoMeta::add(
        writable,
        VideoFrameFlags::empty(),
        VideoFormat::Bgra,
        width,
        height,
    )
    .ok()?;
    Some(VideoOverlayRectangle::new_raw(
        &buffer,
        x,
        y,
        width,
        height,
        VideoOverlayFormatFlags::empty(),
    ))
}
