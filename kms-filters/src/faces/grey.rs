//! The brightness of a picture, as what faces are looked for in.

use std::sync::Arc;

use opencv::core::{Mat, Point2f, Rect, Scalar, Size, Vector};
use opencv::imgproc;
use opencv::prelude::*;

use super::area::Area;
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
    /// Width and height of the picture.
    pub(crate) extent: (f32, f32),
    /// As it came, if it is to be looked at.
    pub(crate) full: Option<Mat>,
    /// Small enough to be looked at quickly.
    pub(crate) small: Small,
    /// Pixels of the full picture for one of the small one.
    pub(crate) scale: f32,
}

impl Grey {
    /// The brightness of a picture. `spare` is memory for the small one: pictures come often, and the kernel takes longer to give new memory
    /// than it takes to fill it.
    pub(crate) fn of(
        picture: &mut Picture<'_>,
        number: u64,
        with_full: bool,
        spare: Mat,
    ) -> opencv::Result<Grey> {
        use gst_video::VideoFrameExt;
        let (width, height) = (picture.width() as i32, picture.height() as i32);
        let Some((rows, stride)) = plane(picture, 0) else {
            return Err(opencv::Error::new(0, "no brightness"));
        };
        let stride = i32::try_from(stride).unwrap_or(i32::MAX);
        // The last row may end with its last pixel.
        let whole = i32::try_from(rows.len()).unwrap_or(i32::MAX) / stride;
        let tight: Vec<u8>;
        let (rows, columns) = if whole >= height {
            (&rows[..(height * stride) as usize], stride)
        } else {
            tight = rows
                .chunks(stride as usize)
                .flat_map(|row| &row[..(width as usize).min(row.len())])
                .copied()
                .collect();
            (tight.as_slice(), width)
        };
        let all = Mat::new_rows_cols_with_data(height, columns, rows)?;
        let full = Mat::roi(&all, Rect::new(0, 0, width, height))?;
        let mut grey = Grey::small(&full, number, spare)?;
        if with_full {
            grey.full = Some(full.try_clone()?);
        }
        Ok(grey)
    }

    /// Of a picture that is grey.
    pub(crate) fn of_mat(full: Mat, number: u64) -> opencv::Result<Grey> {
        let mut grey = Grey::small(&full, number, Mat::default())?;
        grey.full = Some(full);
        Ok(grey)
    }

    fn small(
        full: &(impl MatTraitConst + opencv::core::ToInputArray),
        number: u64,
        spare: Mat,
    ) -> opencv::Result<Grey> {
        let (width, height) = (full.cols(), full.rows());
        let scale = (width.max(height) as f32 / LONGEST as f32).max(1.0);
        let side = |length: i32| ((length as f32 / scale).round() as i32).max(1);
        let mut small = spare;
        let size = Size::new(side(width), side(height));
        // Means of areas cost much more, and are the same while no pixel is left out.
        let how = match scale < 2.0 {
            true => imgproc::INTER_LINEAR,
            false => imgproc::INTER_AREA,
        };
        imgproc::resize(full, &mut small, size, 0.0, 0.0, how)?;
        Ok(Grey {
            number,
            extent: (width as f32, height as f32),
            full: None,
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

/// The same of a face, which may be large: then it is taken out of a smaller picture of its surroundings, for points that are taken out one by
/// one miss what is between them.
pub(crate) fn face_square(
    picture: &Mat,
    (x, y): (f32, f32),
    turned: f64,
    scale: f64,
    side: i32,
) -> opencv::Result<Mat> {
    if scale > 0.5 {
        return square(picture, (x, y), turned, scale, side);
    }
    // Turned by any angle it is within this.
    let reach = f64::from(side) / scale * 1.5;
    let around = Area::around((x, y), reach as f32, reach as f32);
    let (columns, rows) = (picture.cols().max(0) as usize, picture.rows().max(0) as usize);
    let [left, top, right, low] = around.pixels(columns, rows).map(|n| n as i32);
    if right <= left || low <= top {
        return square(picture, (x, y), turned, scale, side);
    }
    let around = Mat::roi(picture, Rect::new(left, top, right - left, low - top))?;
    let size = |length: i32| ((f64::from(length) * scale).round() as i32).max(1);
    let mut smaller = Mat::default();
    let small = Size::new(size(right - left), size(low - top));
    imgproc::resize(&around, &mut smaller, small, 0.0, 0.0, imgproc::INTER_AREA)?;
    let by = scale as f32;
    let at = ((x - left as f32) * by, (y - top as f32) * by);
    square(&smaller, at, turned, 1.0, side)
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
    /// Its memory, if nobody else has it.
    pub(super) fn into_spare(self) -> Option<Mat> {
        Arc::try_unwrap(self.0).ok()
    }

    /// `spare` is memory of one that is not needed any more.
    pub(super) fn pyramid(&self, spare: Vector<Mat>) -> opencv::Result<Pyramid> {
        let mut levels = spare;
        let window = Size::new(WINDOW, WINDOW);
        opencv::video::build_optical_flow_pyramid_def(&*self.0, &mut levels, window, LEVELS)?;
        Ok(Arc::new(levels))
    }
}
