//! Faces found by a YuNet model (Wu, Peng and Yu 2023), as OpenCV's model zoo has it since March 2023.

use std::path::Path;
use std::sync::Arc;

use opencv::core::{Mat, Scalar, Size};
use opencv::imgproc;
use opencv::prelude::*;

use super::area::Area;
use super::detector::{Found, told};
use super::grey::Grey;
use crate::net::{Input, Net, Numbers};

/// Pixels each way of the input of a model that leaves it open.
const SIDE: usize = 320;
/// It looks for faces in squares of so many pixels each way.
const STRIDES: [usize; 3] = [8, 16, 32];
/// What is less sure is no face.
const THRESHOLD: f32 = 0.6;
/// Of faces that overlap by more (intersection over union), the surest counts.
const OVERLAP: f32 = 0.3;

/// A model that finds faces.
#[derive(Debug)]
pub(crate) struct Yunet {
    net: Arc<Net>,
}

impl Yunet {
    /// Reads a model and tries it once.
    pub(super) fn load(path: &Path) -> Result<Yunet, String> {
        let net = Net::load(path, Input::Picture { side: SIDE })?;
        let [_, colours, height, width] = net.shape;
        if colours != 3 || height % 32 != 0 || width % 32 != 0 {
            return Err(format!(
                "its input should be three colours of a multiple of 32 pixels each way, not {colours} of {width}x{height}"
            ));
        }
        let yunet = Yunet { net };
        yunet.interpret(&yunet.net.run(vec![0.0; colours * height * width])?)?;
        Ok(yunet)
    }

    /// The faces of a picture. Grey is taken for a colour: the model doesn't mind.
    pub(super) fn find(&self, grey: &Grey) -> Result<Vec<Found>, String> {
        // The small picture, unless the model can see more.
        let picture = match &grey.full {
            Some(full) if self.net.shape[3] as i32 > grey.small.cols() => full,
            _ => &*grey.small,
        };
        let (input, scale) = self.input(picture).map_err(told)?;
        let back = grey.extent.0 / picture.cols() as f32 / scale;
        let mut found = self.interpret(&self.net.run(input)?)?;
        for face in &mut found {
            face.area = face.area.times(back);
            face.eyes = face.eyes.map(|eyes| eyes.map(|(x, y)| (x * back, y * back)));
        }
        Ok(found)
    }

    /// The picture in the upper left corner of the input, as large as it fits; and how much larger than it was.
    fn input(&self, picture: &Mat) -> opencv::Result<(Vec<f32>, f32)> {
        let [_, colours, height, width] = self.net.shape;
        let scale = (width as f32 / picture.cols() as f32).min(height as f32 / picture.rows() as f32);
        let side = |length: i32, most: usize| ((length as f32 * scale).round() as i32).clamp(1, most as i32);
        let size = Size::new(side(picture.cols(), width), side(picture.rows(), height));
        let mut sized = Mat::default();
        imgproc::resize(picture, &mut sized, size, 0.0, 0.0, imgproc::INTER_AREA)?;
        let mut filled = Mat::default();
        opencv::core::copy_make_border(
            &sized,
            &mut filled,
            0,
            height as i32 - size.height,
            0,
            width as i32 - size.width,
            opencv::core::BORDER_CONSTANT,
            Scalar::default(),
        )?;
        let plane = filled.data_bytes()?.iter().map(|pixel| f32::from(*pixel));
        let plane: Vec<f32> = plane.collect();
        Ok((plane.repeat(colours), scale))
    }

    /// Pixels of the input.
    fn interpret(&self, outputs: &[Numbers]) -> Result<Vec<Found>, String> {
        let mut found = Vec::new();
        for stride in STRIDES {
            let columns = self.net.shape[3] / stride;
            let cells = columns * (self.net.shape[2] / stride);
            let of = |what: &str, each: usize| output(outputs, &format!("{what}_{stride}"), cells, each);
            let (class, object, area, points) =
                (of("cls", 1)?, of("obj", 1)?, of("bbox", 4)?, of("kps", 10)?);
            let side = stride as f32;
            for cell in 0..cells {
                let score = (class[cell].clamp(0.0, 1.0) * object[cell].clamp(0.0, 1.0)).sqrt();
                // Not a number is no face.
                if score.is_nan() || score < THRESHOLD {
                    continue;
                }
                let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
                let at = |x: f32, y: f32| ((column + x) * side, (row + y) * side);
                let [x, y, width, height] = [0, 1, 2, 3].map(|n| area[cell * 4 + n]);
                let eye = |n: usize| at(points[cell * 10 + 2 * n], points[cell * 10 + 2 * n + 1]);
                let numbers = [x, y, width, height]
                    .into_iter()
                    .chain(points[cell * 10..][..4].iter().copied());
                if !numbers.into_iter().all(f32::is_finite) {
                    return Err("the model gives numbers that are none".into());
                }
                // A model may say anything: no face is larger than the picture.
                let length = |log: f32| log.exp().min(columns as f32) * side;
                found.push(Found {
                    eyes: Some([eye(0), eye(1)]),
                    ..Found::new(Area::around(at(x, y), length(width), length(height)), score)
                });
            }
        }
        found.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let mut kept: Vec<Found> = Vec::new();
        for face in found {
            if !kept.iter().any(|k| k.area.overlap(face.area) > OVERLAP) {
                kept.push(face);
            }
        }
        Ok(kept)
    }
}

/// The numbers of the output of this name: so many for each of so many cells.
fn output<'a>(outputs: &'a [Numbers], name: &str, cells: usize, each: usize) -> Result<&'a [f32], String> {
    let Some(output) = outputs.iter().find(|output| output.name == name) else {
        let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
        return Err(format!(
            "it has no output '{name}', as a YuNet model has: there are {}",
            names.join(", ")
        ));
    };
    if output.values.len() != cells * each {
        return Err(output.is_not(&format!("{each} numbers for each of {cells} squares")));
    }
    Ok(&output.values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        format!("{}/../tests/media/models/{name}", env!("CARGO_MANIFEST_DIR")).into()
    }

    #[test]
    fn faces_are_where_the_model_says() {
        // It takes bright squares of 32 pixels of its input for faces.
        let model = Yunet::load(&path("yunet.onnx")).expect("a model");
        assert_eq!(model.net.shape, [1, 3, 256, 320]);
        // The small picture is 480x360, and becomes 320x240.
        let mut full = Mat::zeros(720, 960, opencv::core::CV_8UC1)
            .and_then(|zeros| zeros.to_mat())
            .expect("a picture");
        let bright = opencv::core::Rect::new(288, 192, 96, 96);
        imgproc::rectangle(&mut full, bright, Scalar::all(250.0), imgproc::FILLED, 8, 0).expect("a square");
        let found = model
            .find(&Grey::of_mat(full, 0).expect("a picture"))
            .expect("a look");
        assert_eq!(found.len(), 1, "{found:?}");
        let wanted = Area::new(288.0, 192.0, 96.0, 96.0);
        assert!(found[0].area.overlap(wanted) > 0.95, "{found:?}");
        assert!(found[0].confidence > 0.9);
        let [right, left] = found[0].eyes.expect("eyes");
        assert!(
            (right.0 - 312.0).abs() < 2.0 && (left.0 - 360.0).abs() < 2.0,
            "{right:?} {left:?}"
        );
        assert!(
            (right.1 - 228.0).abs() < 2.0 && (left.1 - 228.0).abs() < 2.0,
            "{right:?} {left:?}"
        );
    }

    #[test]
    fn what_is_no_such_model_is_refused() {
        for (name, why) in [
            ("nothing.onnx", "No such file"),
            ("yolo.onnx", "not 3 of 64x48"),
            ("alike.onnx", "no output 'cls_8'"),
        ] {
            let error = Yunet::load(&path(name)).expect_err(name);
            assert!(error.contains(why), "{name}: {error}");
        }
    }
}
