//! Making parts of a picture unreadable.

use gst_video::VideoFrameExt;

use super::class::MosaicStyle;
use crate::faces::Area;
use crate::painter::{Picture, plane};

/// How a part is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cover {
    pub(super) style: MosaicStyle,
    /// Blocks across the shorter side of a part; with blur, as much detail is left.
    pub(super) blocks: usize,
}

/// Black, in the range of video.
const BLACK: [u8; 3] = [16, 128, 128];

/// Hides a part of a picture in I420.
pub(super) fn hide(picture: &mut Picture<'_>, area: Area, cover: Cover) {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let [left, top, right, low] = area.pixels(width, height);
    // Whole pixels of colour, which are two by two of brightness.
    let (left, top) = (left / 2, top / 2);
    let (right, low) = (right.div_ceil(2), low.div_ceil(2));
    if right <= left || low <= top {
        return;
    }
    // Of the part as it is, also if it reaches beyond the picture; never finer than asked.
    let side = area.width.min(area.height).max(1.0) / 2.0;
    let block = ((side / cover.blocks as f32).ceil() as usize).clamp(1, width.max(height));
    for (number, black) in (0..3).zip(BLACK) {
        // Of the brightness there is twice as much.
        let times = if number == 0 { 2 } else { 1 };
        let (plane_width, plane_height) = match number {
            0 => (width, height),
            _ => (width.div_ceil(2), height.div_ceil(2)),
        };
        let Some((pixels, stride)) = plane(picture, number) else {
            continue;
        };
        let part = Part {
            left: left * times,
            top: top * times,
            right: (right * times).min(plane_width),
            low: (low * times).min(plane_height),
            stride,
        };
        match cover.style {
            MosaicStyle::Solid => part.fill(pixels, black),
            MosaicStyle::Blocks => part.mosaic(pixels, block * times),
            MosaicStyle::Blur => part.blur(pixels, block * times),
        }
    }
}

/// A part of a plane.
#[derive(Clone, Copy)]
struct Part {
    left: usize,
    top: usize,
    right: usize,
    low: usize,
    stride: usize,
}

impl Part {
    fn row<'a>(&self, pixels: &'a mut [u8], y: usize, left: usize, right: usize) -> &'a mut [u8] {
        let at = y * self.stride;
        pixels.get_mut(at + left..at + right).unwrap_or_default()
    }

    fn fill(&self, pixels: &mut [u8], with: u8) {
        for y in self.top..self.low {
            self.row(pixels, y, self.left, self.right).fill(with);
        }
    }

    /// Where blocks of this size begin: columns and rows.
    fn blocks(&self, size: usize) -> (usize, usize) {
        (
            (self.right - self.left).div_ceil(size),
            (self.low - self.top).div_ceil(size),
        )
    }

    /// The mean of each block, row by row.
    fn means(&self, pixels: &mut [u8], size: usize) -> Vec<u8> {
        let (columns, rows) = self.blocks(size);
        let mut means = Vec::with_capacity(columns * rows);
        let mut sums = vec![0_u64; columns];
        for row in 0..rows {
            let (from, to) = (self.top + row * size, (self.top + (row + 1) * size).min(self.low));
            sums.fill(0);
            for y in from..to {
                let line = self.row(pixels, y, self.left, self.right);
                for (sum, block) in sums.iter_mut().zip(line.chunks(size)) {
                    *sum += block.iter().map(|p| u64::from(*p)).sum::<u64>();
                }
            }
            let wide = |column: usize| size.min(self.right - self.left - column * size);
            let mean = |(column, sum): (usize, &u64)| *sum as usize / (wide(column) * (to - from)).max(1);
            means.extend(sums.iter().enumerate().map(mean).map(|mean| mean as u8));
        }
        means
    }

    fn mosaic(&self, pixels: &mut [u8], size: usize) {
        let means = self.means(pixels, size);
        let (columns, _) = self.blocks(size);
        for y in self.top..self.low {
            let row = (y - self.top) / size * columns;
            let line = self.row(pixels, y, self.left, self.right);
            for (block, mean) in line.chunks_mut(size).zip(&means[row..row + columns]) {
                block.fill(*mean);
            }
        }
    }

    /// From the middle of one block to that of the next, little by little: no more is left than the blocks' means.
    fn blur(&self, pixels: &mut [u8], size: usize) {
        let means = self.means(pixels, size);
        let (columns, rows) = self.blocks(size);
        // In 256ths of a block, from the middle of the first.
        let place = |n: usize, count: usize| {
            let at = (n * 256 + 128).saturating_sub(size * 128) / size;
            let block = (at / 256).min(count - 1);
            let part = if block + 1 == count { 0 } else { at % 256 };
            (block, part)
        };
        let across: Vec<(usize, usize)> = (0..self.right - self.left).map(|x| place(x, columns)).collect();
        let mut mixed = vec![0_usize; columns + 1];
        for y in self.top..self.low {
            let (row, part) = place(y - self.top, rows);
            let next = (row + 1).min(rows - 1);
            for (column, mixed) in mixed.iter_mut().enumerate() {
                let column = column.min(columns - 1);
                let (above, below) = (means[row * columns + column], means[next * columns + column]);
                *mixed = usize::from(above) * (256 - part) + usize::from(below) * part;
            }
            let line = self.row(pixels, y, self.left, self.right);
            for (pixel, (block, part)) in line.iter_mut().zip(&across) {
                *pixel = ((mixed[*block] * (256 - part) + mixed[block + 1] * part) >> 16) as u8;
            }
        }
    }
}
