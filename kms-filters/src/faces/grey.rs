//! The brightness of a picture, as what faces are looked for in.

use std::sync::Arc;

use opencv::core::{Mat, Point2f, Rect, Scalar, Size, Vector};
use opencv::imgproc;
use opencv::prelude::*;

use crate::painter::{Picture, plane};

/// The longer side that faces are looked for at, pixels: they are found from a twentieth of it on, some 24 pixels.
const LONGEST: i32 = 480;
/// Of the windows that points are followed in, and how often their picture is halved.
pub(super) const WINDOW: i32 = 15;
pub(super) const LEVELS: i32 = 3;

/// A picture in grey.
pub(crate) struct Grey {
    /// Its place in the row of all.
    pub(crate) number: u64,
    /// As it came.
    pub(crate) full: Mat,
    /// Small enough to be looked at quickly.
    pub(crate) small: Small,
    /// Pixels of the full picture for one of the small one.
    pub(crate) scale: f32,
}

impl Grey {
    /// The brightness of a picture.
    pub(crate) fn of(picture: &mut Picture<'_>, number: u64) -> opencv::Result<Grey> {
        use gst_video::VideoFrameExt;
        let (width, height) = (picture.width() as i32, picture.height() as i32);
        let Some((rows, stride)) = plane(picture, 0) else {
            return Err(opencv::Error::new(0, "no brightness"));
        };
        let stride = i32::try_from(stride).unwrap_or(i32::MAX);
        // The last row may end with its last pixel.
        let whole = i32::try_from(rows.len()).unwrap_or(i32::MAX) / stride;
        let full = if whole >= height {
            let rows = Mat::new_rows_cols_with_data(height, stride, &rows[..(height * stride) as usize])?;
            Mat::roi(&rows, Rect::new(0, 0, width, height))?.try_clone()?
        } else {
            let tight: Vec<u8> = rows
                .chunks(stride as usize)
                .flat_map(|row| &row[..(width as usize).min(row.len())])
                .copied()
                .collect();
            Mat::new_rows_cols_with_data(height, width, &tight)?.try_clone()?
        };
        Grey::of_mat(full, number)
    }

    /// Of a picture that is grey.
    pub(crate) fn of_mat(full: Mat, number: u64) -> opencv::Result<Grey> {
        let (width, height) = (full.cols(), full.rows());
        let scale = (width.max(height) as f32 / LONGEST as f32).max(1.0);
        let side = |length: i32| ((length as f32 / scale).round() as i32).max(1);
        let mut small = Mat::default();
        let size = Size::new(side(width), side(height));
        imgproc::resize(&full, &mut small, size, 0.0, 0.0, imgproc::INTER_AREA)?;
        Ok(Grey {
            number,
            full,
            small: Small(Arc::new(small)),
            scale,
        })
    }
}

/// A square of a picture around a point, turned by so many degrees and scaled: the point is in its middle. Beyond the picture its edge goes on.
pub(crate) fn square(
    picture: &Mat,
    (x, y): (f32, f32),
    turned: f64,
    scale: f64,
    side: i32,
) -> opencv::Result<Mat> {
    let mut turn = imgproc::get_rotation_matrix_2d(Point2f::new(x, y), turned, scale)?;
    for (row, at) in [(0, x), (1, y)] {
        *turn.at_2d_mut::<f64>(row, 2)? += f64::from(side) / 2.0 - f64::from(at);
    }
    let mut square = Mat::default();
    imgproc::warp_affine(
        picture,
        &mut square,
        &turn,
        Size::new(side, side),
        imgproc::INTER_LINEAR,
        opencv::core::BORDER_REPLICATE,
        Scalar::default(),
    )?;
    Ok(square)
}

/// A small picture, shared.
#[derive(Clone)]
pub(crate) struct Small(Arc<Mat>);

impl std::ops::Deref for Small {
    type Target = Mat;

    fn deref(&self) -> &Mat {
        &self.0
    }
}

/// What points are followed in: a picture, smaller and smaller.
pub(super) type Pyramid = Arc<Vector<Mat>>;

impl Small {
    pub(super) fn pyramid(&self) -> opencv::Result<Pyramid> {
        let mut levels = Vector::new();
        let window = Size::new(WINDOW, WINDOW);
        opencv::video::build_optical_flow_pyramid_def(&*self.0, &mut levels, window, LEVELS)?;
        Ok(Arc::new(levels))
    }
}
