//! Faces as vectors, by a model: the smaller the angle between two, the likelier they are one person's.

use std::path::Path;
use std::sync::Arc;

use opencv::core::Mat;
use opencv::prelude::*;
use serde::Deserialize;

use super::detector::{Found, told};
use super::grey::face_square;
use crate::net::{Input, Net};

/// Pixels each way of the input of a model that leaves it open.
const SIDE: usize = 112;
/// Where eyes are in the input, and how far apart, of its side: faces are put there, as such models are trained with (ArcFace, Deng et al. 2019).
const EYES: (f32, f32) = (0.5, 0.46);
const APART: f32 = 0.314;
/// How far apart eyes are in what cascades take for a face, and how high they are, of its side.
const FACE_APART: f32 = 0.4;
const FACE_EYES: f32 = 0.38;

/// How a model's input is made, and what it is worth: a JSON file beside it, which there need not be.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Description {
    /// Taken off each pixel, which is 0 to 255; then it is multiplied by `scale`.
    mean: f32,
    scale: f32,
    /// Cosine of the angle from which on two are one person.
    threshold: f32,
}

impl Default for Description {
    fn default() -> Description {
        Description {
            mean: 127.5,
            scale: 1.0 / 127.5,
            threshold: 0.4,
        }
    }
}

/// A model that gives vectors for faces.
#[derive(Debug)]
pub(crate) struct Embedding {
    net: Arc<Net>,
    description: Description,
}

/// A face's vector, of length 1.
#[derive(Debug, Clone)]
pub(crate) struct Alike(Vec<f32>);

impl Alike {
    /// The cosine of the angle between two.
    fn cosine(&self, other: &Alike) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}

impl Embedding {
    /// Reads a model and tries it once.
    pub(super) fn load(path: &Path) -> Result<Embedding, String> {
        let net = Net::load(path, Input::Picture { side: SIDE })?;
        let [_, colours, height, width] = net.shape;
        if height != width || !matches!(colours, 1 | 3) {
            return Err(format!(
                "its input should be a square of one colour or three, not {colours} of {width}x{height}"
            ));
        }
        let beside = path.with_extension("json");
        let description = match beside.exists() {
            true => std::fs::read_to_string(&beside)
                .map_err(|e| e.to_string())
                .and_then(|text| serde_json::from_str(&text).map_err(|e| e.to_string()))
                .map_err(|why| format!("its description {}: {why}", beside.display()))?,
            false => Description::default(),
        };
        let Description {
            mean,
            scale,
            threshold,
        } = description;
        if !(mean.is_finite() && scale.is_finite() && scale != 0.0 && threshold > 0.0 && threshold <= 1.0) {
            let wanted = "mean and scale should be numbers, scale not 0, and threshold above 0, up to 1";
            return Err(format!("its description {}: {wanted}", beside.display()));
        }
        let embedding = Embedding { net, description };
        // A model that can't tell a dark half from a bright one can't tell people apart, and would take all for one.
        let half = |bright: std::ops::Range<usize>| {
            let pixel = |n: usize| {
                if bright.contains(&(n % (height * width))) {
                    255.0
                } else {
                    0.0
                }
            };
            let pixels = (0..colours * height * width).map(|n| (pixel(n) - mean) * scale);
            embedding.run(pixels.collect())
        };
        let middle = height * width / 2;
        let (above, below) = (half(0..middle)?, half(middle..height * width)?);
        if above.cosine(&below) > 0.999 {
            return Err("it gives the same vector for different pictures".into());
        }
        Ok(embedding)
    }

    fn run(&self, input: Vec<f32>) -> Result<Alike, String> {
        let outputs = self.net.run(input)?;
        let output = outputs.into_iter().next().ok_or("it has no output")?;
        let long = output.shape.iter().filter(|n| **n > 1).count();
        if long != 1 {
            return Err(output.is_not("one vector"));
        }
        let length = output.values.iter().map(|n| n * n).sum::<f32>().sqrt();
        if !length.is_finite() {
            return Err("it gives numbers that are none".into());
        }
        let by = 1.0 / length.max(f32::MIN_POSITIVE);
        Ok(Alike(output.values.iter().map(|n| n * by).collect()))
    }

    /// The vector of a face of a picture, grey.
    pub(crate) fn of(&self, picture: &Mat, face: &Found) -> Result<Alike, String> {
        let [_, colours, side, _] = self.net.shape;
        let cut = cut(picture, face, side as i32).map_err(told)?;
        let Description { mean, scale, .. } = self.description;
        let pixels = cut.data_bytes().map_err(told)?;
        let plane: Vec<f32> = pixels
            .iter()
            .map(|pixel| (f32::from(*pixel) - mean) * scale)
            .collect();
        self.run(plane.repeat(colours))
    }

    /// Who of these it is: the most alike, if alike enough.
    pub(crate) fn who(&self, face: &Alike, known: &[(u32, Alike)]) -> Option<u32> {
        let best = known
            .iter()
            .map(|(person, known)| (*person, known.cosine(face)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        best.filter(|(_, cosine)| *cosine >= self.description.threshold)
            .map(|(person, _)| person)
    }
}

/// A face with its eyes where they should be: upright, if it is known where they are.
fn cut(picture: &Mat, face: &Found, side: i32) -> opencv::Result<Mat> {
    let area = face.area;
    let (eyes, apart, turned) = match face.eyes {
        Some([right, left]) => {
            let (x, y) = (left.0 - right.0, left.1 - right.1);
            let middle = ((left.0 + right.0) / 2.0, (left.1 + right.1) / 2.0);
            (middle, x.hypot(y), f64::from(y.atan2(x).to_degrees()))
        }
        None => {
            let eyes = (area.x + area.width / 2.0, area.y + area.height * FACE_EYES);
            (eyes, area.width * FACE_APART, 0.0)
        }
    };
    let wanted = APART * side as f32;
    let scale = wanted / apart.max(1.0);
    // From between the eyes to the middle of the input, turned with the face.
    let down = (EYES.0 - EYES.1) * side as f32 / scale;
    let (sin, cos) = (turned.to_radians() as f32).sin_cos();
    let middle = (eyes.0 - down * sin, eyes.1 + down * cos);
    face_square(picture, middle, turned, f64::from(scale), side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::Area;

    #[test]
    fn a_turned_face_is_cut_upright() {
        // Two bright eyes in a dark picture, turned by 30 degrees.
        let mut picture = Mat::zeros(300, 300, opencv::core::CV_8UC1)
            .and_then(|zeros| zeros.to_mat())
            .expect("a picture");
        let turned = 30_f32.to_radians();
        let eye = |by: f32| (150.0 + by * turned.cos(), 140.0 + by * turned.sin());
        let eyes = [eye(-30.0), eye(30.0)];
        for (x, y) in eyes {
            let at = opencv::core::Point::new(x.round() as i32, y.round() as i32);
            let white = opencv::core::Scalar::all(255.0);
            opencv::imgproc::circle(&mut picture, at, 5, white, opencv::imgproc::FILLED, 8, 0)
                .expect("an eye");
        }
        let face = Found {
            eyes: Some(eyes),
            ..Found::new(Area::new(80.0, 80.0, 140.0, 140.0), 1.0)
        };
        let cut = cut(&picture, &face, 112).expect("a face");
        for x in [0.343, 0.657] {
            let (x, y) = ((x * 112.0) as i32, (0.46 * 112.0) as i32);
            assert!(
                *cut.at_2d::<u8>(y, x).expect("a pixel") > 200,
                "an eye at {x}, {y}"
            );
        }
        assert!(
            *cut.at_2d::<u8>(51, 56).expect("a pixel") < 50,
            "nothing between them"
        );
    }
}
