//! The images of a filter, and where each is.

use std::sync::{Arc, Mutex};

use gst_video::{VideoFrameExt, VideoOverlayComposition, VideoOverlayRectangle};
use kms_core::object::lock;

use super::drawing::{Place, rectangle};
use crate::image::Image;
use crate::painter::{Paint, Picture};

/// Pixels each way that an image is scaled to at most, however large its place.
const WIDEST: f64 = 8_192.0;

/// Images of a filter, and pixels of all of them.
const MOST: usize = 64;
const MOST_PIXELS: u64 = 64 * 1024 * 1024;

/// Where an image is, as parts of the picture's width and height.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) keeps_shape: bool,
    pub(super) centered: bool,
}

impl Position {
    /// Where that is in a picture of this size, for an image of that size.
    fn in_picture(self, (width, height): (u32, u32), (image_width, image_height): (u32, u32)) -> Place {
        let (left, top) = (self.x * f64::from(width), self.y * f64::from(height));
        let (room_x, room_y) = (self.width * f64::from(width), self.height * f64::from(height));
        let (mut fit_x, mut fit_y) = (room_x, room_y);
        if self.keeps_shape {
            let scale = f64::min(room_x / f64::from(image_width), room_y / f64::from(image_height));
            (fit_x, fit_y) = (scale * f64::from(image_width), scale * f64::from(image_height));
        }
        let (mut x, mut y) = (left, top);
        if self.centered {
            x += (room_x - fit_x) / 2.0;
            y += (room_y - fit_y) / 2.0;
        }
        Place {
            x: x.round() as i32,
            y: y.round() as i32,
            width: fit_x.round().clamp(1.0, WIDEST) as u32,
            height: fit_y.round().clamp(1.0, WIDEST) as u32,
        }
    }
}

struct Layer {
    id: String,
    image: Arc<Image>,
    position: Position,
    /// As it was drawn last, for a picture of this size.
    drawn: Option<((u32, u32), Option<VideoOverlayRectangle>)>,
}

impl Layer {
    fn pixels(&self) -> u64 {
        let (width, height) = self.image.pixels.dimensions();
        u64::from(width) * u64::from(height)
    }
}

/// Images over pictures, the last one on top.
#[derive(Default)]
pub(super) struct Layers {
    /// Changed by clients, read with each picture.
    layers: Mutex<Vec<Layer>>,
}

impl Layers {
    /// Lays an image on top, or in the place of that of the same id. An error says what there is enough of.
    pub(super) fn add(&self, id: String, image: Image, position: Position) -> Result<(), &'static str> {
        let mut layers = lock(&self.layers);
        let layer = Layer {
            id,
            image: Arc::new(image),
            position,
            drawn: None,
        };
        let others = layers.iter().filter(|other| other.id != layer.id);
        let pixels: u64 = others.chain([&layer]).map(Layer::pixels).sum();
        let before = layers.iter().position(|before| before.id == layer.id);
        if before.is_none() && layers.len() >= MOST {
            return Err("A filter has 64 images at most");
        }
        if pixels > MOST_PIXELS {
            return Err("A filter's images have 67 million pixels at most: take smaller ones");
        }
        match before {
            Some(before) => layers[before] = layer,
            None => layers.push(layer),
        }
        Ok(())
    }

    /// Takes an image away, if it is there.
    pub(super) fn remove(&self, id: &str) {
        lock(&self.layers).retain(|layer| layer.id != id);
    }

    /// What is drawn over a picture of this size.
    fn over(&self, size: (u32, u32)) -> Option<VideoOverlayComposition> {
        let mut layers = lock(&self.layers);
        let rectangles = layers.iter_mut().filter_map(|layer| {
            if layer.drawn.as_ref().is_none_or(|(known, _)| *known != size) {
                let place = layer.position.in_picture(size, layer.image.pixels.dimensions());
                layer.drawn = Some((size, rectangle(&layer.image, place)));
            }
            layer.drawn.as_ref()?.1.clone()
        });
        let rectangles: Vec<VideoOverlayRectangle> = rectangles.collect();
        VideoOverlayComposition::new(rectangles.iter())
            .ok()
            .filter(|_| !rectangles.is_empty())
    }
}

impl Paint for Layers {
    fn paint(&self, picture: &mut Picture<'_>) {
        if let Some(over) = self.over((picture.width(), picture.height())) {
            let _ = over.blend(picture);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_shape_if_it_is_to_and_stays_in_the_middle_if_it_is_to() {
        let position = |keeps_shape, centered| Position {
            x: 0.25,
            y: 0.5,
            width: 0.5,
            height: 0.25,
            keeps_shape,
            centered,
        };
        let place = |x, y, width, height| Place { x, y, width, height };
        let at = |position: Position| position.in_picture((640, 480), (100, 100));
        assert_eq!(at(position(false, false)), place(160, 240, 320, 120));
        assert_eq!(at(position(true, false)), place(160, 240, 120, 120));
        assert_eq!(at(position(true, true)), place(260, 240, 120, 120));
    }
}
