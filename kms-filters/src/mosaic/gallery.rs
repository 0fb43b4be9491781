//! Faces with names: compared by local binary patterns (Ahonen, Hadid and Pietikäinen 2006) as OpenCV has them, without a model file; or by
//! the vectors of a model.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use kms_core::object::lock;
use opencv::core::{Mat, Ptr, Vector};
use opencv::face::LBPHFaceRecognizer;
use opencv::imgproc;
use opencv::prelude::*;

use crate::faces::{Alike, Area, Detector, Embedding, Found, Grey, Models, SURE, face_square, told};
use crate::image::Image;

/// Pictures that may be enrolled, and those of one person: each is half a megabyte, and a face is compared with all.
pub(super) const MOST_IN_ALL: usize = 100;
pub(super) const MOST_PICTURES: usize = 10;
/// Faces are compared in this size, pixels each way, of what the detector takes for a face.
const SIDE: i32 = 112;
/// How different faces of one person may be: a chi-square distance of histograms. Pictures of one face by one camera differ by up to 60
/// (half the size, darker, more contrast), those of strangers by 95 and more; a face of other years and other light is a stranger's.
const ALIKE: f64 = 70.0;
/// Each picture is learnt turned by so many degrees and scaled by so much, for faces are never found quite at the same place.
const TURNED: [f64; 3] = [0.0, -7.0, 7.0];
const SCALED: [f64; 3] = [1.0, 0.93, 1.07];

/// What is kept of a picture of somebody.
#[derive(Clone)]
enum Portrait {
    /// For patterns: the face, turned and scaled a little.
    Views(Vec<Arc<Mat>>),
    /// For a model.
    Vector(Alike),
}

/// Somebody who is enrolled.
struct Person {
    name: String,
    pictures: Vec<Portrait>,
}

#[derive(Default)]
struct Known {
    people: HashMap<u32, Person>,
    ids: u32,
}

/// What compares a face with all.
enum Compares {
    Patterns(Ptr<LBPHFaceRecognizer>),
    Vectors(Arc<Embedding>, Vec<(u32, Alike)>),
}

/// Who is enrolled.
#[derive(Default)]
pub(super) struct Gallery {
    models: Models,
    /// Held for moments: the stream asks for names.
    known: Mutex<Known>,
    /// What compares; made anew when somebody comes or goes. Held while a face is compared, beside the stream.
    compares: Mutex<Option<Compares>>,
    /// One comes or goes after the other.
    learning: Mutex<()>,
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
        Refusal::Failed(told(error))
    }
}

impl Gallery {
    /// Nobody is enrolled yet.
    pub(super) fn new(models: &Models) -> Gallery {
        Gallery {
            models: models.clone(),
            ..Gallery::default()
        }
    }

    /// Enrols the largest face of an image. Takes long: it looks for it.
    pub(super) fn enroll(&self, name: &str, image: &Image) -> Result<(), Refusal> {
        let grey = image_grey(image)?;
        let mut detector = Detector::new(&self.models).map_err(Refusal::Failed)?;
        let faces = detector.find(&grey, &[]).map_err(Refusal::Failed)?;
        // The largest of those that are surely faces.
        let weight = |face: &Found| (face.confidence >= SURE, face.area.surface());
        let largest = faces.iter().max_by(|a, b| {
            let ((a_sure, a), (b_sure, b)) = (weight(a), weight(b));
            a_sure.cmp(&b_sure).then(a.total_cmp(&b))
        });
        let face = largest.ok_or(Refusal::NoFace)?;
        let full = grey.full.as_ref().ok_or(Refusal::NoFace)?;
        let portrait = match &self.models.recognizer {
            Some(model) => Portrait::Vector(model.of(full, face).map_err(Refusal::Failed)?),
            None => {
                let views = TURNED
                    .iter()
                    .flat_map(|turned| SCALED.map(|scaled| cut(full, face.area, *turned, scaled)));
                Portrait::Views(views.map(|view| view.map(Arc::new)).collect::<Result<_, _>>()?)
            }
        };
        let _learning = lock(&self.learning);
        lock(&self.known).add(name, portrait)?;
        let learnt = self.learn();
        if learnt.is_err() {
            lock(&self.known).forget_newest(name);
        }
        Ok(learnt?)
    }

    /// Forgets somebody. False: nobody has this name.
    pub(super) fn unenroll(&self, name: &str) -> Result<bool, Refusal> {
        let _learning = lock(&self.learning);
        let there = {
            let people = &mut lock(&self.known).people;
            let before = people.len();
            people.retain(|_, person| person.name != name);
            people.len() < before
        };
        if there {
            self.learn()?;
        }
        Ok(there)
    }

    /// Makes anew what compares. Takes a tenth of a second for some people; those who are known already stay known meanwhile.
    fn learn(&self) -> opencv::Result<()> {
        let portraits: Vec<(u32, Portrait)> = {
            let known = lock(&self.known);
            let of = |(id, person): (&u32, &Person)| {
                let id = *id;
                let pictures = person.pictures.iter().cloned();
                pictures.map(move |portrait| (id, portrait)).collect::<Vec<_>>()
            };
            known.people.iter().flat_map(of).collect()
        };
        let (mut faces, mut labels) = (Vector::<Mat>::new(), Vector::<i32>::new());
        let mut vectors = Vec::new();
        for (id, portrait) in portraits {
            match portrait {
                Portrait::Vector(vector) => vectors.push((id, vector)),
                Portrait::Views(views) => {
                    for view in views {
                        faces.push(view.try_clone()?);
                        labels.push(id as i32);
                    }
                }
            }
        }
        let compares = match &self.models.recognizer {
            Some(model) => Some(Compares::Vectors(model.clone(), vectors)),
            None if faces.is_empty() => None,
            None => {
                let mut learns = LBPHFaceRecognizer::create(1, 8, 8, 8, f64::MAX)?;
                learns.train(&faces, &labels)?;
                Some(Compares::Patterns(learns))
            }
        };
        *lock(&self.compares) = compares;
        Ok(())
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
    pub(super) fn look_at(&self, grey: &Grey, face: &mut Found) -> Result<(), String> {
        let Some(full) = &grey.full else { return Ok(()) };
        face.person = match &*lock(&self.compares) {
            Some(Compares::Patterns(recognizer)) => {
                let (mut person, mut distance) = (-1, f64::MAX);
                let cut = cut(full, face.area, 0.0, 1.0).map_err(told)?;
                recognizer
                    .predict(&cut, &mut person, &mut distance)
                    .map_err(told)?;
                tracing::trace!(person, distance, "a face was compared");
                u32::try_from(person).ok().filter(|_| distance < ALIKE)
            }
            Some(Compares::Vectors(model, known)) if !known.is_empty() => {
                model.who(&model.of(full, face)?, known)
            }
            _ => None,
        };
        Ok(())
    }
}

impl Known {
    /// One picture more of somebody, or of somebody new.
    fn add(&mut self, name: &str, portrait: Portrait) -> Result<(), Refusal> {
        let in_all: usize = self.people.values().map(|person| person.pictures.len()).sum();
        if in_all >= MOST_IN_ALL {
            return Err(Refusal::TooMany("100 pictures"));
        }
        match self.people.values_mut().find(|person| person.name == name) {
            Some(person) if person.pictures.len() >= MOST_PICTURES => {
                return Err(Refusal::TooMany("10 pictures of one name"));
            }
            Some(person) => person.pictures.push(portrait),
            None => {
                self.ids += 1;
                let person = Person {
                    name: name.to_owned(),
                    pictures: vec![portrait],
                };
                self.people.insert(self.ids, person);
            }
        }
        Ok(())
    }
}

impl Known {
    /// The picture that came last of somebody is not to be known.
    fn forget_newest(&mut self, name: &str) {
        if let Some(person) = self.people.values_mut().find(|person| person.name == name) {
            person.pictures.pop();
        }
        self.people.retain(|_, person| !person.pictures.is_empty());
    }
}

/// A face by itself: upright as far as is known, of the size that is compared, with even brightness.
fn cut(full: &Mat, area: Area, turned: f64, scaled: f64) -> opencv::Result<Mat> {
    let scale = f64::from(SIDE) / f64::from(area.width.max(1.0)) * scaled;
    let face = face_square(full, area.middle(), turned, scale, SIDE)?;
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
    Grey::of_mat(rows.try_clone()?, 0)
}

#[cfg(test)]
mod tests {
    use ::image::imageops;

    use super::*;
    use crate::faces::ModelPaths;

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
        let found = Detector::new(&Models::default())
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
        is_known_again(&Gallery::default());
    }

    #[test]
    fn a_model_knows_them_too() {
        let path = format!("{}/../tests/media/models/alike.onnx", env!("CARGO_MANIFEST_DIR"));
        let models = Models::load(&ModelPaths {
            detector: None,
            recognizer: Some(path.into()),
        });
        is_known_again(&Gallery::new(&models.expect("a model")));
    }

    fn is_known_again(gallery: &Gallery) {
        assert_eq!(seen(gallery, &picture("astronaut")), None, "nobody is enrolled");
        gallery.enroll("Ann", &picture("astronaut")).expect("a face");
        gallery.enroll("Bob", &picture("president")).expect("a face");
        assert_eq!(gallery.names(), ["Ann", "Bob"]);
        for (name, file) in [("Ann", "astronaut"), ("Bob", "president")] {
            for (n, other) in others(file).iter().enumerate() {
                assert_eq!(seen(gallery, other).as_deref(), Some(name), "{file} {n}");
            }
        }
        assert_eq!(gallery.unenroll("Ann"), Ok(true));
        assert_eq!(gallery.unenroll("Ann"), Ok(false));
        for (n, stranger) in others("astronaut").iter().enumerate() {
            assert_eq!(seen(gallery, stranger), None, "{n}: she was unenrolled");
        }
        assert_eq!(seen(gallery, &picture("president")).as_deref(), Some("Bob"));
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
