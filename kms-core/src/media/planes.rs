//! Pictures in I420 that stand still: what is behind others.

use std::future::Future;
use std::pin::Pin;

use protocol::Error;

use crate::reach::Reach;

/// A colour as it is in video: Y, Cb and Cr by ITU-R BT.601, of video range. Red, green and blue are 0 to 1.
pub fn ycbcr([r, g, b]: [f32; 3]) -> [u8; 3] {
    let y = 16.0 + 65.481 * r + 128.553 * g + 24.966 * b;
    let cb = 128.0 - 37.797 * r - 74.203 * g + 112.0 * b;
    let cr = 128.0 + 112.0 * r - 93.786 * g - 18.214 * b;
    [y, cb, cr].map(|v| v.round().clamp(0.0, 255.0) as u8)
}

/// A picture in I420, without padding between its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planes {
    /// Width and height, pixels.
    pub size: (usize, usize),
    /// Brightness, and two planes of colours of half the width and height.
    pub planes: [Vec<u8>; 3],
}

impl Planes {
    /// A picture of one colour, Y, Cb and Cr.
    pub fn plain((width, height): (usize, usize), [y, cb, cr]: [u8; 3]) -> Planes {
        let half = width.div_ceil(2) * height.div_ceil(2);
        Planes {
            size: (width, height),
            planes: [vec![y; width * height], vec![cb; half], vec![cr; half]],
        }
    }

    /// A picture of pixels with red, green, blue and opacity, row by row. What is transparent is black.
    pub fn of_rgba((width, height): (usize, usize), rgba: &[u8]) -> Planes {
        let mut picture = Planes::plain((width, height), [16, 128, 128]);
        let half_width = width.div_ceil(2);
        for (n, pixel) in rgba.chunks_exact(4).take(width * height).enumerate() {
            let (x, y) = (n % width, n / width);
            let opacity = f32::from(pixel[3]) / 255.0;
            let [luma, cb, cr] = ycbcr([0, 1, 2].map(|n| f32::from(pixel[n]) * opacity / 255.0));
            picture.planes[0][n] = luma;
            if x % 2 == 0 && y % 2 == 0 {
                let at = y / 2 * half_width + x / 2;
                picture.planes[1][at] = cb;
                picture.planes[2][at] = cr;
            }
        }
        picture
    }
}

/// A picture that is being fetched.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Planes, Error>> + Send>>;

/// Fetches images by URI.
pub trait Images: Send + Sync {
    /// The image at a URI, as large as fills this size, what is beyond cut off at both sides. Error 40107 with the reason if it can't be had.
    fn fill(&self, uri: String, reach: Reach, size: (u32, u32)) -> Fetching;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_become_planes() {
        let (red, clear) = ([255, 0, 0, 255], [255, 255, 255, 0]);
        let rgba: Vec<u8> = [red, clear, clear, red, red, red].concat();
        let picture = Planes::of_rgba((3, 2), &rgba);
        assert_eq!(
            picture.planes,
            [vec![81, 16, 16, 81, 81, 81], vec![90, 128], vec![240, 128]]
        );
        assert_eq!(ycbcr([1.0; 3]), [235, 128, 128]);
    }
}
