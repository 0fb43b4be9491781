//! Images as GStreamer draws them over a picture.

use gst_video::{VideoFormat, VideoFrameFlags, VideoMeta, VideoOverlayFormatFlags, VideoOverlayRectangle};
use opencv::core::{Mat, Size};
use opencv::imgproc;
use opencv::prelude::*;

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
    Some(at(&pixels(image, place.width, place.height)?, place))
}

/// An image that has been scaled, at a place of that size.
pub(crate) fn at(pixels: &gst::Buffer, place: Place) -> VideoOverlayRectangle {
    let Place { x, y, width, height } = place;
    VideoOverlayRectangle::new_raw(pixels, x, y, width, height, VideoOverlayFormatFlags::empty())
}

/// An image in this size; `None`: it has none.
pub(crate) fn pixels(image: &Image, width: u32, height: u32) -> Option<gst::Buffer> {
    if width == 0 || height == 0 {
        return None;
    }
    let mut buffer = gst::Buffer::from_mut_slice(scaled(image, width, height).ok()?);
    let (flags, format) = (VideoFrameFlags::empty(), VideoFormat::Bgra);
    VideoMeta::add(buffer.get_mut()?, flags, format, width, height).ok()?;
    Some(buffer)
}

/// The pixels of an image in another size: blue, green, red and opacity, GStreamer's order on a machine that has the lowest byte first.
fn scaled(image: &Image, width: u32, height: u32) -> opencv::Result<Vec<u8>> {
    let side = |length: u32| i32::try_from(length).unwrap_or(i32::MAX);
    let (from_width, from_height) = image.pixels.dimensions();
    let rows = Mat::new_rows_cols_with_data(side(from_height), side(from_width) * 4, image.pixels.as_raw())?;
    let pixels = rows.reshape(4, side(from_height))?;
    let how = match width < from_width || height < from_height {
        true => imgproc::INTER_AREA,
        false => imgproc::INTER_LINEAR,
    };
    let (mut sized, mut turned) = (Mat::default(), Mat::default());
    imgproc::resize(
        &pixels,
        &mut sized,
        Size::new(side(width), side(height)),
        0.0,
        0.0,
        how,
    )?;
    imgproc::cvt_color_def(&sized, &mut turned, imgproc::COLOR_RGBA2BGRA)?;
    Ok(turned.data_bytes()?.to_vec())
}
