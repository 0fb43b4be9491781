//! Where faces are in a picture.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use opencv::core::{Mat, Rect, Size, Vector};
use opencv::imgproc;
use opencv::objdetect::CascadeClassifier;
use opencv::prelude::*;

use super::area::Area;
use super::grey::{Grey, square};
use super::models::Models;
use super::yunet::Yunet;

/// Debian's package opencv-data has them.
const CASCADES: &str = "/usr/share/opencv4/haarcascades";
const FRONTAL: &str = "haarcascade_frontalface_alt2.xml";
const PROFILE: &str = "haarcascade_profileface.xml";

/// From one size that is looked for to the next.
const STEP: f64 = 1.15;
/// So many windows that overlap have to agree.
const AGREE: i32 = 2;
/// The smallest face, of the longer side of the picture.
const SMALLEST: i32 = 20;
/// Degrees that a face which was there is turned by, when it is not found upright.
const TURNED: [f64; 4] = [-25.0, 25.0, -50.0, 50.0];
/// How much of its surroundings is looked at around a face that was there.
const AROUND: f32 = 1.8;

/// Hardly anything that only looks like a face is as sure as this: five windows. Photographs of faces give 6 to 20, the others 2 to 4.
pub(crate) const SURE: f32 = 0.6;

/// A face in a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Found {
    /// Pixels of the full picture.
    pub(crate) area: Area,
    /// 0 to 1: of `n` windows of the cascades that agreed, n / (n + 3); of a model, its score.
    pub(crate) confidence: f32,
    /// The person's right eye and the left one, where the detector tells: pixels of the full picture.
    pub(crate) eyes: Option<[(f32, f32); 2]>,
    /// Who it is, if somebody was asked and knew.
    pub(crate) person: Option<u32>,
}

impl Found {
    /// A face of which no more is known.
    pub(crate) fn new(area: Area, confidence: f32) -> Found {
        Found {
            area,
            confidence,
            eyes: None,
            person: None,
        }
    }
}

/// What finds faces. It takes as long as it takes: not on the thread of a stream.
pub(crate) enum Detector {
    Cascades(Box<Cascades>),
    Model(Arc<Yunet>),
}

impl Detector {
    /// The configured model, or OpenCV's cascades.
    pub(crate) fn new(models: &Models) -> Result<Detector, String> {
        match &models.detector {
            Some(model) => Ok(Detector::Model(model.clone())),
            None => Cascades::from_folder(Path::new(CASCADES)).map(|c| Detector::Cascades(Box::new(c))),
        }
    }

    /// The faces of a picture. `known` are where faces were just now: there cascades look twice, for those that are turned.
    pub(crate) fn find(&mut self, grey: &Grey, known: &[Area]) -> Result<Vec<Found>, String> {
        match self {
            Detector::Cascades(cascades) => cascades.find(grey, known).map_err(told),
            Detector::Model(model) => model.find(grey),
        }
    }
}

/// What OpenCV says.
pub(crate) fn told(error: opencv::Error) -> String {
    format!("OpenCV: {error}")
}

/// OpenCV's cascades: faces from the front, and from the side.
pub(crate) struct Cascades {
    frontal: CascadeClassifier,
    profile: CascadeClassifier,
}

impl Cascades {
    fn from_folder(folder: &Path) -> Result<Cascades, String> {
        let load = |name: &str| {
            let path: PathBuf = folder.join(name);
            let lacks = |why: String| {
                format!(
                    "Faces can't be found: {} {why}. Install Debian's package opencv-data",
                    path.display()
                )
            };
            if !path.exists() {
                return Err(lacks("is missing".into()));
            }
            CascadeClassifier::new(&path).map_err(|e| lacks(format!("can't be used ({e})")))
        };
        Ok(Cascades {
            frontal: load(FRONTAL)?,
            profile: load(PROFILE)?,
        })
    }

    fn find(&mut self, grey: &Grey, known: &[Area]) -> opencv::Result<Vec<Found>> {
        let mut even = Mat::default();
        imgproc::equalize_hist(&*grey.small, &mut even)?;
        let smallest = even.cols().max(even.rows()) / SMALLEST;
        let mut found = search(&mut self.frontal, &even, smallest)?;
        for area in known {
            let area = area.times(1.0 / grey.scale);
            if found.iter().any(|f| f.area.overlap(area) > 0.1)
                || area
                    .shared(Area::new(0.0, 0.0, even.cols() as f32, even.rows() as f32))
                    .surface()
                    <= 0.0
            {
                continue;
            }
            found.extend(self.look_again(&even, area)?);
        }
        for face in &mut found {
            face.area = face.area.times(grey.scale);
        }
        Ok(found)
    }

    /// Looks for a face that was here, turned this way and that, and from the side.
    fn look_again(&mut self, even: &Mat, area: Area) -> opencv::Result<Option<Found>> {
        let side = area.width.max(area.height);
        let middle = area.middle();
        let smallest = (side * 0.6) as i32;
        let cut = |turned| square(even, middle, turned, 1.0, (side * AROUND).round().max(1.0) as i32);
        // Around the middle it is turned about, a face stays where it is.
        let back = |found: Found, size: i32, turned: f64| {
            let (x, y) = found.area.middle();
            let (x, y) = (x - size as f32 / 2.0, y - size as f32 / 2.0);
            let (sin, cos) = (turned.to_radians() as f32).sin_cos();
            let at = (middle.0 + x * cos - y * sin, middle.1 + x * sin + y * cos);
            Found {
                area: Area::around(at, found.area.width, found.area.height),
                ..found
            }
        };
        let best = |found: Vec<Found>| {
            found
                .into_iter()
                .max_by(|a, b| a.confidence.total_cmp(&b.confidence))
        };
        for turned in TURNED {
            let picture = cut(turned)?;
            if let Some(face) = best(search(&mut self.frontal, &picture, smallest)?) {
                return Ok(Some(back(face, picture.cols(), turned)));
            }
        }
        let picture = cut(0.0)?;
        if let Some(face) = best(search(&mut self.profile, &picture, smallest)?) {
            return Ok(Some(back(face, picture.cols(), 0.0)));
        }
        let mut mirrored = Mat::default();
        opencv::core::flip(&picture, &mut mirrored, 1)?;
        let face = best(search(&mut self.profile, &mirrored, smallest)?);
        Ok(face.map(|mut face| {
            face.area.x = mirrored.cols() as f32 - face.area.x - face.area.width;
            back(face, mirrored.cols(), 0.0)
        }))
    }
}

fn search(cascade: &mut CascadeClassifier, picture: &Mat, smallest: i32) -> opencv::Result<Vec<Found>> {
    let (mut faces, mut windows) = (Vector::<Rect>::new(), Vector::<i32>::new());
    let smallest = Size::new(smallest, smallest);
    let largest = Size::new(0, 0);
    cascade.detect_multi_scale2(
        picture,
        &mut faces,
        &mut windows,
        STEP,
        AGREE,
        0,
        smallest,
        largest,
    )?;
    let found = faces.iter().zip(windows.iter()).map(|(face, windows)| {
        let windows = windows.max(0) as f32;
        let area = Area::new(
            face.x as f32,
            face.y as f32,
            face.width as f32,
            face.height as f32,
        );
        Found::new(area, windows / (windows + 3.0))
    });
    Ok(found.collect())
}

/// What one look at a picture gave.
pub(crate) struct Sight {
    pub(crate) grey: Arc<Grey>,
    pub(crate) faces: Vec<Found>,
}
