//! Where pictures are in the mixed one. All places are even, for colours come for two pixels together.

/// A part of a picture, pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::hubs) struct Rect {
    pub(in crate::hubs) x: u32,
    pub(in crate::hubs) y: u32,
    pub(in crate::hubs) width: u32,
    pub(in crate::hubs) height: u32,
}

impl Rect {
    /// All of a picture.
    pub(in crate::hubs) fn of((width, height): (u32, u32)) -> Rect {
        Rect {
            x: 0,
            y: 0,
            width,
            height,
        }
    }

    /// The part of this one from one share to another, of 0 to 1.
    fn part(self, x: (f64, f64), y: (f64, f64)) -> Rect {
        let at = |share: f64, length: u32| even(share.clamp(0.0, 1.0) * f64::from(length));
        let (left, top) = (at(x.0, self.width), at(y.0, self.height));
        Rect {
            x: self.x + left,
            y: self.y + top,
            width: at(x.1, self.width).saturating_sub(left),
            height: at(y.1, self.height).saturating_sub(top),
        }
    }

    /// A picture of this size in the middle of it, as large as can be.
    pub(in crate::hubs) fn fit(self, (width, height): (u32, u32)) -> Rect {
        if width == 0 || height == 0 {
            return self;
        }
        let scale = f64::min(
            f64::from(self.width) / f64::from(width),
            f64::from(self.height) / f64::from(height),
        );
        let (fit_width, fit_height) = (even(f64::from(width) * scale), even(f64::from(height) * scale));
        Rect {
            x: self.x + even(f64::from(self.width - fit_width.min(self.width)) / 2.0),
            y: self.y + even(f64::from(self.height - fit_height.min(self.height)) / 2.0),
            width: fit_width.min(self.width),
            height: fit_height.min(self.height),
        }
    }

    /// Whether there is anything in it.
    pub(in crate::hubs) fn is_empty(self) -> bool {
        self.width < 2 || self.height < 2
    }
}

fn even(length: f64) -> u32 {
    (length / 2.0).round() as u32 * 2
}

/// As many places as wanted, all of one size: as square an arrangement as can be, the last row in the middle.
pub(in crate::hubs) fn grid(count: usize, canvas: Rect) -> Vec<Rect> {
    let columns = (1..).find(|c| c * c >= count).unwrap_or(1);
    let rows = count.div_ceil(columns.max(1)).max(1);
    let share = |n: usize, of: usize| n as f64 / of as f64;
    (0..count)
        .map(|n| {
            let (row, column) = (n / columns, n % columns);
            let in_row = columns.min(count - row * columns);
            let left = share(columns - in_row, 2 * columns) + share(column, columns);
            let (width, height) = (share(1, columns), share(1, rows));
            let top = share(row, rows);
            canvas.part((left, left + width), (top, top + height))
        })
        .collect()
}

/// One large place, that of number `speaker`, and the others in a column beside it.
pub(in crate::hubs) fn speaker(count: usize, speaker: usize, canvas: Rect) -> Vec<Rect> {
    if count < 2 {
        return grid(count, canvas);
    }
    /// The width of the column. More than four pictures make it no wider but lower.
    const COLUMN: f64 = 0.25;
    let others = count - 1;
    let height = f64::min(COLUMN, 1.0 / others as f64);
    let mut nth = 0..others;
    (0..count)
        .map(|n| {
            if n == speaker.min(others) {
                return canvas.part((0.0, 1.0 - COLUMN), (0.0, 1.0));
            }
            let top = nth.next().unwrap_or_default() as f64 * height;
            canvas.part((1.0 - COLUMN, 1.0), (top, top + height))
        })
        .collect()
}

/// A place of one's own, percent of the canvas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::hubs) struct Place {
    pub(in crate::hubs) x: f64,
    pub(in crate::hubs) y: f64,
    pub(in crate::hubs) width: f64,
    pub(in crate::hubs) height: f64,
    /// What is higher hides what is lower.
    pub(in crate::hubs) z: i32,
}

impl Place {
    /// Where that is.
    pub(in crate::hubs) fn on(self, canvas: Rect) -> Rect {
        let (x, y) = (self.x / 100.0, self.y / 100.0);
        canvas.part((x, x + self.width / 100.0), (y, y + self.height / 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANVAS: Rect = Rect {
        x: 0,
        y: 0,
        width: 1280,
        height: 720,
    };

    fn overlap(a: Rect, b: Rect) -> bool {
        a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height
    }

    fn are_apart_and_inside(places: &[Rect]) {
        for (n, place) in places.iter().enumerate() {
            assert!(
                !place.is_empty() && place.x % 2 == 0 && place.width % 2 == 0,
                "{places:?}"
            );
            assert!(
                place.x + place.width <= 1280 && place.y + place.height <= 720,
                "{places:?}"
            );
            assert!(
                !places[..n].iter().any(|other| overlap(*other, *place)),
                "{places:?}"
            );
        }
    }

    #[test]
    fn places_are_apart_inside_and_even() {
        for count in 1..40 {
            let places = grid(count, CANVAS);
            assert_eq!(places.len(), count);
            are_apart_and_inside(&places);
            for who in [0, count / 2, count - 1] {
                are_apart_and_inside(&speaker(count, who, CANVAS));
            }
        }
        assert_eq!(grid(1, CANVAS), [CANVAS]);
        assert_eq!(
            grid(4, CANVAS)[3],
            Rect {
                x: 640,
                y: 360,
                width: 640,
                height: 360
            }
        );
        assert_eq!(grid(3, CANVAS)[2].x, 320, "the last row is in the middle");
        assert!(grid(0, CANVAS).is_empty());
    }

    #[test]
    fn a_picture_keeps_its_shape() {
        let upright = CANVAS.fit((360, 640));
        assert_eq!((upright.width, upright.height), (406, 720));
        assert_eq!(upright.x, 438);
        assert_eq!(CANVAS.fit((640, 360)), CANVAS);
        assert_eq!(CANVAS.fit((0, 0)), CANVAS, "of no size yet");
    }

    #[test]
    fn a_place_is_in_percent_and_stays_on_the_canvas() {
        let place = Place {
            x: 50.0,
            y: 25.0,
            width: 100.0,
            height: 50.0,
            z: 0,
        };
        assert_eq!(
            place.on(CANVAS),
            Rect {
                x: 640,
                y: 180,
                width: 640,
                height: 360
            }
        );
    }
}
