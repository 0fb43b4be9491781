//! Which pixels are of the key's colour, and what takes their place.

use std::sync::Mutex;

use ::image::imageops::{self, FilterType};
use gst_video::VideoFrameExt;
use kms_core::media::Planes;
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
    fn stays(self, cb: u8, cr: u8) -> u16 {
        let (b, r) = (f32::from(cb) - self.cb, f32::from(cr) - self.cr);
        let far = (b * b + r * r).sqrt();
        (((far - self.near) / (self.far - self.near)).clamp(0.0, 1.0) * f32::from(ALL)) as u16
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

/// An image that fills a picture of this size, or black.
fn background(image: Option<&Image>, (width, height): (usize, usize)) -> Planes {
    match (image, u32::try_from(width), u32::try_from(height)) {
        (Some(image), Ok(wide), Ok(high)) => {
            let scaled = imageops::resize(&image.pixels, wide, high, FilterType::Triangle);
            Planes::of_rgba((width, height), &scaled)
        }
        _ => Planes::plain((width, height), [16, 128, 128]),
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
    background: Option<Planes>,
    learning: Learning,
    table: Option<Table>,
    stays: Vec<u16>,
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

    /// Looks at the window, until the key is known.
    fn learn(&self, state: &mut State, picture: &mut Picture<'_>) -> Option<()> {
        if state.table.is_some() {
            return Some(());
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
            state.table = state.learning.key().map(Table::new);
        }
        state.table.as_ref().map(|_| ())
    }
}

impl Paint for Chroma {
    fn paint(&self, picture: &mut Picture<'_>) {
        let mut state = lock(&self.state);
        if self.learn(&mut state, picture).is_none() {
            return;
        }
        let size = (picture.width() as usize, picture.height() as usize);
        if state
            .background
            .as_ref()
            .is_none_or(|background| background.size != size)
        {
            state.background = Some(background(state.image.as_ref(), size));
        }
        let State {
            table,
            background,
            stays,
            ..
        } = &mut *state;
        if let (Some(table), Some(background)) = (table, background) {
            replace(picture, table, background, stays);
        }
    }
}

/// How much of the picture stays, 0 to 256, for each pair of colours: looked up, for there are many pixels.
struct Table(Vec<u16>);

impl Table {
    fn new(key: Key) -> Table {
        let colours = (0..=255_u8).flat_map(|cb| (0..=255_u8).map(move |cr| (cb, cr)));
        Table(colours.map(|(cb, cr)| key.stays(cb, cr)).collect())
    }

    fn stays(&self, cb: u8, cr: u8) -> u16 {
        let at = usize::from(cb) << 8 | usize::from(cr);
        self.0.get(at).copied().unwrap_or(ALL)
    }
}

/// All of a pixel stays.
const ALL: u16 = 256;

/// `stays` is memory that is kept from picture to picture.
fn replace(
    picture: &mut Picture<'_>,
    table: &Table,
    background: &Planes,
    stays: &mut Vec<u16>,
) -> Option<()> {
    let (width, height) = background.size;
    let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
    // How much stays, of each pixel of colour: the one colour first, then with the other.
    stays.clear();
    let (cb, cb_stride) = plane(picture, 1)?;
    for row in cb.chunks(cb_stride).take(half_height) {
        stays.extend(row.iter().take(half_width).map(|cb| u16::from(*cb)));
    }
    let (cr, cr_stride) = plane(picture, 2)?;
    for (row, cr) in stays.chunks_mut(half_width).zip(cr.chunks(cr_stride)) {
        for (stays, cr) in row.iter_mut().zip(cr) {
            *stays = table.stays(*stays as u8, *cr);
        }
    }
    let mut wide = vec![ALL; half_width * 2];
    for number in 0..3_u32 {
        let (step, plane_width, plane_height) = match number {
            0 => (2, width, height),
            _ => (1, half_width, half_height),
        };
        let behind = background.planes.get(number as usize)?;
        let (bytes, stride) = plane(picture, number)?;
        let rows = bytes.chunks_mut(stride).zip(behind.chunks(plane_width));
        for (y, (row, others)) in rows.take(plane_height).enumerate() {
            let stays = stays.chunks(half_width).nth(y / step)?;
            // Most rows of most pictures: nothing is replaced.
            if stays.iter().all(|stays| *stays == ALL) {
                continue;
            }
            let stays = if step == 1 {
                stays
            } else {
                for (two, stays) in wide.chunks_exact_mut(2).zip(stays) {
                    two.fill(*stays);
                }
                wide.as_slice()
            };
            for ((pixel, other), stays) in row.iter_mut().zip(others).zip(stays) {
                *pixel = ((u16::from(*pixel) * stays + u16::from(*other) * (ALL - stays)) >> 8) as u8;
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
