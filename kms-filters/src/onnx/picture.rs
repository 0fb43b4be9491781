//! A picture as the input of a model.

use gst_video::VideoFrameExt;
use opencv::core::{Mat, Rect, Scalar, Size};
use opencv::imgproc;
use opencv::prelude::*;

use super::description::{Colors, Fit, Input, Layout};
use crate::faces::Area;
use crate::painter::{Picture, plane};

/// A copy of a picture, its planes one after the other.
pub(super) struct Planes {
    pixels: Vec<u8>,
    /// Even.
    width: usize,
    height: usize,
    /// When it passed the filter: milliseconds since 1970.
    pub(super) time: i64,
}

/// How places in the input are places in the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Placing {
    /// Pixels of the picture for one of the input.
    scale: (f32, f32),
    /// Where the picture begins in the input.
    begin: (f32, f32),
}

impl Placing {
    /// A part of the input, pixels, as one of the picture.
    pub(super) fn in_picture(self, area: Area) -> Area {
        Area::new(
            (area.x - self.begin.0) * self.scale.0,
            (area.y - self.begin.1) * self.scale.1,
            area.width * self.scale.0,
            area.height * self.scale.1,
        )
    }
}

impl Planes {
    /// Of a picture in I420.
    pub(super) fn of(picture: &mut Picture<'_>, time: i64) -> Option<Planes> {
        let width = picture.width() as usize / 2 * 2;
        let height = picture.height() as usize / 2 * 2;
        let mut pixels = Vec::with_capacity(width * height * 3 / 2);
        for (number, part) in [(0, 1), (1, 2), (2, 2)] {
            let (rows, stride) = plane(picture, number)?;
            for row in rows.chunks(stride).take(height / part) {
                pixels.extend_from_slice(row.get(..width / part)?);
            }
        }
        (width > 0 && pixels.len() == width * height * 3 / 2).then_some(Planes {
            pixels,
            width,
            height,
            time,
        })
    }

    #[cfg(test)]
    pub(super) fn test(pixels: Vec<u8>, width: usize, height: usize) -> Planes {
        Planes {
            pixels,
            width,
            height,
            time: 0,
        }
    }

    /// The size of the picture.
    pub(super) fn size(&self) -> Area {
        Area::new(0.0, 0.0, self.width as f32, self.height as f32)
    }

    /// The numbers of the input, and where the picture is in it.
    pub(super) fn input(&self, input: &Input) -> opencv::Result<(Vec<f32>, Placing)> {
        let (width, height) = (self.width as i32, self.height as i32);
        let all = Mat::new_rows_cols_with_data(height * 3 / 2, width, &self.pixels)?;
        let mut colours = Mat::default();
        match input.colors {
            Colors::Rgb => imgproc::cvt_color_def(&all, &mut colours, imgproc::COLOR_YUV2RGB_I420)?,
            Colors::Bgr => imgproc::cvt_color_def(&all, &mut colours, imgproc::COLOR_YUV2BGR_I420)?,
            Colors::Grey => colours = Mat::roi(&all, Rect::new(0, 0, width, height))?.try_clone()?,
        }
        let (to_width, to_height) = (input.width as f32, input.height as f32);
        let stretched = (to_width / width as f32, to_height / height as f32);
        let scale = match input.fit {
            Fit::Stretch => stretched,
            Fit::Letterbox => (stretched.0.min(stretched.1), stretched.0.min(stretched.1)),
        };
        let side = |length: i32, scale: f32| ((length as f32 * scale).round() as i32).max(1);
        let size = Size::new(side(width, scale.0), side(height, scale.1));
        let how = if scale.0 < 1.0 {
            imgproc::INTER_AREA
        } else {
            imgproc::INTER_LINEAR
        };
        let mut sized = Mat::default();
        imgproc::resize(&colours, &mut sized, size, 0.0, 0.0, how)?;
        let (left, top) = (
            (input.width as i32 - sized.cols()) / 2,
            (input.height as i32 - sized.rows()) / 2,
        );
        let mut filled = Mat::default();
        opencv::core::copy_make_border(
            &sized,
            &mut filled,
            top,
            input.height as i32 - sized.rows() - top,
            left,
            input.width as i32 - sized.cols() - left,
            opencv::core::BORDER_CONSTANT,
            Scalar::all(GREY),
        )?;
        let placing = Placing {
            scale: (
                width as f32 / sized.cols() as f32,
                height as f32 / sized.rows() as f32,
            ),
            begin: (left as f32, top as f32),
        };
        Ok((numbers(filled.data_bytes()?, input), placing))
    }
}

/// Around a picture that keeps its shape, as YOLO's authors do it.
const GREY: f64 = 114.0;

fn numbers(pixels: &[u8], input: &Input) -> Vec<f32> {
    let count = input.colors.count();
    let value = |pixel: u8, colour: usize| (f32::from(pixel) - input.mean[colour]) * input.scale[colour];
    match input.layout {
        Layout::Pixels => pixels
            .chunks_exact(count)
            .flat_map(|pixel| pixel.iter().enumerate().map(|(colour, p)| value(*p, colour)))
            .collect(),
        Layout::Planes => (0..count)
            .flat_map(|colour| {
                let plane = pixels.iter().skip(colour).step_by(count);
                plane.map(move |p| value(*p, colour))
            })
            .collect(),
    }
}
