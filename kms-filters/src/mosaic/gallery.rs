//! Faces with names: local binary patterns (Ahonen, Hadid and Pietikäinen 2006) as OpenCV has them, without a model file.

use std::collections::HashMap;
use std::sync::Mutex;

use kms_core::object::lock;
use opencv::core::{Mat, Point2f, Ptr, Rect, Scalar, Size, Vector};
use opencv::face::LBPHFaceRecognizer;
use opencv::imgproc;
use opencv::prelude::*;

use crate::faces::{Area, Detector, Found, Grey};
use crate::image::Image;

/// People that may be enrolled, and pictures of each.
pub(super) const MOST_PEOPLE: usize = 100;
pub(super) const MOST_PICTURES: usize = 10;
/// Faces are compared in this size, pixels each way, of what the detector takes for a face.
const SIDE: i32 = 112;
/// How different faces of one person may be: a chi-square distance of histograms. Pictures of one face by one camera differ by up to 60
/// (half the size, darker, more contrast), those of strangers by 95 and more; a face of other years and other light is a stranger's.
const ALIKE: f64 = 70.0;
/// Each picture is learnt turned by so many degrees and scaled by so much, for faces are never found quite at the same place.
const TURNED: [f64; 3] = [0.0, -7.0, 7.0];
const SCALED: [f64; 3] = [1.0, 0.93, 1.07];

/// Somebody who is enrolled.
struct Person {
    name: String,
    pictures: Vec<Vec<Mat>>,
}

#[derive(Default)]
struct Known {
    people: HashMap<u32, Person>,
    ids: u32,
    /// What compares; made anew when somebody comes or goes.
    recognizer: Option<Ptr<LBPHFaceRecognizer>>,
}

/// Who is enrolled.
#[derive(Default)]
pub(super) struct Gallery {
    /// Held while a face is compared, beside the stream; and for moments.
    known: Mutex<Known>,
}

/// Why somebody can't be enrolled.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    NoFace,
    TooMany(&'static str),
    Failed(String),
}

impl From<opencv::Error> for Refusal {
    fn from(error: opencv::Error) -> Self {
        Refusal::Failed(format!("OpenCV: {error}"))
    }
}

impl Gallery {
    /// Enrols the largest face of an image. Takes long: it looks for it.
    pub(super) fn enroll(&self, name: &str, image: &Image) -> Result<(), Refusal> {
        let grey = image_grey(image)?;
        let mut detector = Detector::new().map_err(Refusal::Failed)?;
        let faces = detector.find(&grey, &[])?;
        let largest = faces
            .iter()
            .max_by(|a, b| a.area.surface().total_cmp(&b.area.surface()));
        let area = largest.ok_or(Refusal::NoFace)?.area;
        let mut views = Vec::new();
        for turned in TURNED {
            for scaled in SCALED {
                views.push(cut(&grey.full, area, turned, scaled)?);
            }
        }
        let mut known = lock(&self.known);
        let known = &mut *known;
        let is_full = known.people.len() >= MOST_PEOPLE;
        let place = known.people.iter_mut().find(|(_, person)| person.name == name);
        match place {
            Some((_, person)) if person.pictures.len() >= MOST_PICTURES => {
                return Err(Refusal::TooMany("10 pictures of one name"));
            }
            Some((_, person)) => person.pictures.push(views),
            None if is_full => return Err(Refusal::TooMany("100 people")),
            None => {
                known.ids += 1;
                let person = Person {
                    name: name.to_owned(),
                    pictures: vec![views],
                };
                known.people.insert(known.ids, person);
            }
        }
        known.learn()?;
        Ok(())
    }

    /// Forgets somebody. False: nobody has this name.
    pub(super) fn unenroll(&self, name: &str) -> Result<bool, Refusal> {
        let mut known = lock(&self.known);
        let before = known.people.len();
        known.people.retain(|_, person| person.name != name);
        let there = known.people.len() < before;
        known.learn()?;
        Ok(there)
    }

    /// The names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = lock(&self.known)
            .people
            .values()
            .map(|p| p.name.clone())
            .collect();
        names.sort();
        names
    }

    /// The name of somebody who is still enrolled.
    pub(super) fn name(&self, person: u32) -> Option<String> {
        lock(&self.known).people.get(&person).map(|p| p.name.clone())
    }

    /// Says who it is, if that is known.
    pub(super) fn look_at(&self, grey: &Grey, face: &mut Found) -> opencv::Result<()> {
        let known = lock(&self.known);
        if let Some(recognizer) = &known.recognizer {
            let (mut person, mut distance) = (-1, f64::MAX);
            recognizer.predict(&cut(&grey.full, face.area, 0.0, 1.0)?, &mut person, &mut distance)?;
            face.person = u32::try_from(person).ok().filter(|_| distance < ALIKE);
            tracing::trace!(person, distance, "a face was compared");
        }
        Ok(())
    }
}

impl Known {
    fn learn(&mut self) -> opencv::Result<()> {
        // Until it has learnt, nobody is known.
        self.recognizer = None;
        let (mut faces, mut labels) = (Vector::<Mat>::new(), Vector::<i32>::new());
        for (id, person) in &self.people {
            for view in person.pictures.iter().flatten() {
                faces.push(view.try_clone()?);
                labels.push(*id as i32);
            }
        }
        if !faces.is_empty() {
            let mut recognizer = LBPHFaceRecognizer::create(1, 8, 8, 8, f64::MAX)?;
            recognizer.train(&faces, &labels)?;
            self.recognizer = Some(recognizer);
        }
        Ok(())
    }
}

/// A face by itself: upright as far as is known, of the size that is compared, with even brightness.
fn cut(full: &Mat, area: Area, turned: f64, scaled: f64) -> opencv::Result<Mat> {
    let (x, y) = area.middle();
    let scale = f64::from(SIDE) / f64::from(area.width.max(1.0)) * scaled;
    let mut turn = imgproc::get_rotation_matrix_2d(Point2f::new(x, y), turned, scale)?;
    for (row, at) in [(0, x), (1, y)] {
        *turn.at_2d_mut::<f64>(row, 2)? += f64::from(SIDE) / 2.0 - f64::from(at);
    }
    let mut face = Mat::default();
    imgproc::warp_affine(
        full,
        &mut face,
        &turn,
        Size::new(SIDE, SIDE),
        imgproc::INTER_AREA,
        opencv::core::BORDER_REPLICATE,
        Scalar::default(),
    )?;
    let mut even = Mat::default();
    imgproc::equalize_hist(&face, &mut even)?;
    Ok(even)
}

/// The brightness of an image.
fn image_grey(image: &Image) -> opencv::Result<Grey> {
    let grey = ::image::imageops::grayscale(&image.pixels);
    let (width, height) = (grey.width() as i32, grey.height() as i32);
    let pixels = grey.into_raw();
    let rows = Mat::new_rows_cols_with_data(height, width, &pixels)?;
    Grey::of_mat(Mat::roi(&rows, Rect::new(0, 0, width, height))?.try_clone()?, 0)
}

#[cfg(test)]
mod tests {
    use ::image::imageops;

    use super::*;

    fn picture(name: &str) -> Image {
        let path = format!("{}/../tests/media/faces/{name}.jpg", env!("CARGO_MANIFEST_DIR"));
        Image {
            pixels: ::image::open(path).expect("the picture").into_rgba8(),
        }
    }

    /// The same face otherwise: smaller, darker, of more contrast, in another place.
    fn others(name: &str) -> Vec<Image> {
        let of = |pixels| Image { pixels };
        let pixels = picture(name).pixels;
        let (width, height) = pixels.dimensions();
        let smaller = |by: u32| {
            imageops::resize(
                &pixels,
                width * by / 100,
                height * by / 100,
                imageops::FilterType::Triangle,
            )
        };
        vec![
            of(pixels.clone()),
            of(smaller(70)),
            of(smaller(55)),
            of(imageops::brighten(&pixels, -40)),
            of(imageops::brighten(&pixels, 30)),
            of(imageops::contrast(&pixels, 25.0)),
            of(imageops::contrast(&pixels, -25.0)),
            of(imageops::crop_imm(&smaller(85), 7, 3, 220, 220).to_image()),
        ]
    }

    fn seen(gallery: &Gallery, image: &Image) -> Option<String> {
        let grey = image_grey(image).expect("a picture in grey");
        let found = Detector::new()
            .expect("cascades")
            .find(&grey, &[])
            .expect("a look");
        assert_eq!(found.len(), 1, "one face");
        let mut face = found[0];
        gallery.look_at(&grey, &mut face).expect("a comparison");
        gallery.name(face.person?)
    }

    #[test]
    fn who_is_enrolled_is_known_again_and_nobody_else() {
        let gallery = Gallery::default();
        assert_eq!(seen(&gallery, &picture("astronaut")), None, "nobody is enrolled");
        gallery.enroll("Ann", &picture("astronaut")).expect("a face");
        gallery.enroll("Bob", &picture("president")).expect("a face");
        assert_eq!(gallery.names(), ["Ann", "Bob"]);
        for (name, file) in [("Ann", "astronaut"), ("Bob", "president")] {
            for (n, other) in others(file).iter().enumerate() {
                assert_eq!(seen(&gallery, other).as_deref(), Some(name), "{file} {n}");
            }
        }
        assert_eq!(gallery.unenroll("Ann"), Ok(true));
        assert_eq!(gallery.unenroll("Ann"), Ok(false));
        for (n, stranger) in others("astronaut").iter().enumerate() {
            assert_eq!(seen(&gallery, stranger), None, "{n}: she was unenrolled");
        }
        assert_eq!(seen(&gallery, &picture("president")).as_deref(), Some("Bob"));
    }

    #[test]
    fn what_has_no_face_is_refused() {
        let wall = Image {
            pixels: ::image::RgbaImage::from_pixel(200, 200, ::image::Rgba([90, 90, 90, 255])),
        };
        assert_eq!(Gallery::default().enroll("Wall", &wall), Err(Refusal::NoFace));
    }

    #[test]
    fn there_is_a_bound_to_pictures() {
        let gallery = Gallery::default();
        for _ in 0..MOST_PICTURES {
            gallery.enroll("Ann", &picture("astronaut")).expect("a face");
        }
        let refused = gallery.enroll("Ann", &picture("astronaut"));
        assert!(matches!(refused, Err(Refusal::TooMany(_))));
    }
}
