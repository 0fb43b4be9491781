//! Which pixels are of the key's colour, and what takes their place.

use std::sync::Mutex;

use ::image::imageops::{self, FilterType};
use gst_video::VideoFrameExt;
use kms_core::object::lock;

use crate::image::Image;
use crate::painter::{Paint, Picture, plane};

/// Pictures that the colour is learnt from.
const LEARNT_FROM: u32 = 10;
/// Closer to the key than this is replaced, of 256 in the plane of colours; what is further than [`FAR`] stays; between them it is mixed.
/// More if the colours of the window differ.
const NEAR: f32 = 16.0;
const FAR: f32 = 2.0 * NEAR;
/// Standard deviations of the window's colours that are of the key too.
const SPREAD: f32 = 3.0;

/// Where the key's colour is: pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A colour that is replaced.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    cb: f32,
    cr: f32,
    near: f32,
    far: f32,
}

impl Key {
    /// How much of the picture stays, 0 to 256.
    fn stays(self, cb: u8, cr: u8) -> u32 {
        let (b, r) = (f32::from(cb) - self.cb, f32::from(cr) - self.cr);
        let far = (b * b + r * r).sqrt();
        (((far - self.near) / (self.far - self.near)).clamp(0.0, 1.0) * 256.0) as u32
    }
}

/// Sums of what was seen in the window.
#[derive(Default)]
struct Learning {
    pictures: u32,
    count: f64,
    sums: [f64; 2],
    squares: [f64; 2],
}

impl Learning {
    fn add(&mut self, cb: u8, cr: u8) {
        self.count += 1.0;
        for (n, colour) in [cb, cr].into_iter().enumerate() {
            self.sums[n] += f64::from(colour);
            self.squares[n] += f64::from(colour) * f64::from(colour);
        }
    }

    fn key(&self) -> Option<Key> {
        if self.count == 0.0 {
            return None;
        }
        let means = self.sums.map(|sum| sum / self.count);
        let variance: f64 = (0..2)
            .map(|n| self.squares[n] / self.count - means[n] * means[n])
            .sum();
        let near = NEAR.max(SPREAD * variance.max(0.0).sqrt() as f32);
        Some(Key {
            cb: means[0] as f32,
            cr: means[1] as f32,
            near,
            far: near + (FAR - NEAR),
        })
    }
}

/// Planes of a background, of the picture's size.
struct Background {
    size: (usize, usize),
    planes: [Vec<u8>; 3],
}

impl Background {
    /// An image that fills a picture of this size, or black.
    fn new(image: Option<&Image>, (width, height): (usize, usize)) -> Background {
        let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
        let mut planes = [
            vec![16; width * height],
            vec![128; half_width * half_height],
            vec![128; half_width * half_height],
        ];
        if let (Some(image), Ok(wide), Ok(high)) = (image, u32::try_from(width), u32::try_from(height)) {
            let scaled = imageops::resize(&image.pixels, wide, high, FilterType::Triangle);
            for (x, y, pixel) in scaled.enumerate_pixels() {
                let (x, y) = (x as usize, y as usize);
                // What is transparent is black.
                let opacity = f32::from(pixel.0[3]) / 255.0;
                let [r, g, b] = [0, 1, 2].map(|n| f32::from(pixel.0[n]) * opacity / 255.0);
                // ITU-R BT.601, video range.
                planes[0][y * width + x] = (16.0 + 65.5 * r + 128.6 * g + 25.0 * b) as u8;
                if x % 2 == 0 && y % 2 == 0 {
                    let at = y / 2 * half_width + x / 2;
                    planes[1][at] = (128.0 - 37.8 * r - 74.2 * g + 112.0 * b) as u8;
                    planes[2][at] = (128.0 + 112.0 * r - 93.8 * g - 18.2 * b) as u8;
                }
            }
        }
        Background {
            size: (width, height),
            planes,
        }
    }
}

/// Replaces what is of the colour that is in the window at the beginning.
pub(super) struct Chroma {
    window: Window,
    /// Changed by clients, used with each picture.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    image: Option<Image>,
    background: Option<Background>,
    learning: Learning,
    key: Option<Key>,
}

impl Chroma {
    pub(super) fn new(window: Window) -> Chroma {
        Chroma {
            window,
            state: Mutex::default(),
        }
    }

    /// What takes the place of the colour from now on; `None`: black.
    pub(super) fn set_background(&self, image: Option<Image>) {
        let mut state = lock(&self.state);
        state.image = image;
        state.background = None;
    }

    /// Looks at the window. Answers the key, once it is known.
    fn learn(&self, state: &mut State, picture: &mut Picture<'_>) -> Option<Key> {
        if state.key.is_some() {
            return state.key;
        }
        let (left, top) = ((self.window.x / 2) as usize, (self.window.y / 2) as usize);
        let (width, height) = (
            (self.window.width / 2).max(1) as usize,
            (self.window.height / 2).max(1) as usize,
        );
        let mut colours = [Vec::new(), Vec::new()];
        for (number, colours) in (1..).zip(&mut colours) {
            let (bytes, stride) = plane(picture, number)?;
            for row in bytes.chunks(stride).skip(top).take(height) {
                let part = row.get(left..row.len().min(left + width)).unwrap_or_default();
                colours.extend_from_slice(part);
            }
        }
        let [cbs, crs] = colours;
        cbs.into_iter()
            .zip(crs)
            .for_each(|(cb, cr)| state.learning.add(cb, cr));
        state.learning.pictures += 1;
        if state.learning.pictures >= LEARNT_FROM {
            state.key = state.learning.key();
        }
        state.key
    }
}

impl Paint for Chroma {
    fn paint(&self, picture: &mut Picture<'_>) {
        let mut state = lock(&self.state);
        let Some(key) = self.learn(&mut state, picture) else {
            return;
        };
        let size = (picture.width() as usize, picture.height() as usize);
        if state
            .background
            .as_ref()
            .is_none_or(|background| background.size != size)
        {
            state.background = Some(Background::new(state.image.as_ref(), size));
        }
        let Some(background) = &state.background else {
            return;
        };
        replace(picture, key, background);
    }
}

fn replace(picture: &mut Picture<'_>, key: Key, background: &Background) -> Option<()> {
    let (width, height) = background.size;
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    // How much stays, of each pixel of colour.
    let mut stays = vec![0_u32; half_width * half_height];
    {
        let (cb, cb_stride) = plane(picture, 1)?;
        let cb: Vec<u8> = cb
            .chunks(cb_stride)
            .take(half_height)
            .flat_map(|row| row.iter().take(half_width))
            .copied()
            .collect();
        let (cr, cr_stride) = plane(picture, 2)?;
        let cr = cr
            .chunks(cr_stride)
            .take(half_height)
            .flat_map(|row| row.iter().take(half_width));
        for (stays, (cb, cr)) in stays.iter_mut().zip(cb.iter().zip(cr)) {
            *stays = key.stays(*cb, *cr);
        }
    }
    let mix = |pixel: &mut u8, other: u8, stays: u32| {
        *pixel = ((u32::from(*pixel) * stays + u32::from(other) * (256 - stays)) / 256) as u8;
    };
    for number in 0..3_u32 {
        let (step, plane_width, plane_height) = match number {
            0 => (2, width, height),
            _ => (1, half_width, half_height),
        };
        let behind = background.planes.get(number as usize)?;
        let (bytes, stride) = plane(picture, number)?;
        for (y, row) in bytes.chunks_mut(stride).take(plane_height).enumerate() {
            let others = behind.get(y * plane_width..)?;
            let stays = stays.get(y / step * half_width..)?;
            for (x, (pixel, other)) in row.iter_mut().zip(others).take(plane_width).enumerate() {
                let stays = stays.get(x / step).copied().unwrap_or(256);
                if stays < 256 {
                    mix(pixel, *other, stays);
                }
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_colour_of_the_window_goes_and_others_stay() {
        let mut learning = Learning::default();
        assert_eq!(learning.key(), None, "the window is outside of the picture");
        // Green, a little noisy.
        for n in 0..1_000_u32 {
            learning.add(54 + (n % 5) as u8, 34 + (n % 3) as u8);
        }
        let key = learning.key().expect("a colour");
        assert_eq!((key.cb.round(), key.cr.round()), (56.0, 35.0));
        assert_eq!(key.stays(55, 36), 0);
        assert_eq!(key.stays(128, 128), 256, "grey");
        assert_eq!(key.stays(110, 160), 256, "skin");
        let between = key.stays(56 + 24, 35);
        assert!((1..256).contains(&between), "{between}");
    }
}
