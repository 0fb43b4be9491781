//! Rectangles in a picture.

/// A part of a picture: pixels, which may lie outside of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
}

impl Area {
    pub(crate) fn new(x: f32, y: f32, width: f32, height: f32) -> Area {
        Area { x, y, width, height }
    }

    /// Around this point.
    pub(crate) fn around((x, y): (f32, f32), width: f32, height: f32) -> Area {
        Area::new(x - width / 2.0, y - height / 2.0, width, height)
    }

    pub(crate) fn middle(self) -> (f32, f32) {
        (self.x + self.width / 2.0, self.y + self.height / 2.0)
    }

    /// All of it times a factor: of another size of the same picture.
    pub(crate) fn times(self, factor: f32) -> Area {
        self.stretched((factor, factor))
    }

    /// The same with a factor for each direction.
    pub(crate) fn stretched(self, (x, y): (f32, f32)) -> Area {
        Area::new(self.x * x, self.y * y, self.width * x, self.height * y)
    }

    /// Larger by a factor, around the same middle.
    pub(crate) fn grown(self, factor: f32) -> Area {
        Area::around(self.middle(), self.width * factor, self.height * factor)
    }

    pub(crate) fn moved(self, (x, y): (f32, f32)) -> Area {
        Area::new(self.x + x, self.y + y, self.width, self.height)
    }

    pub(crate) fn surface(self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// What is of both.
    pub(crate) fn shared(self, other: Area) -> Area {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let right = (self.x + self.width).min(other.x + other.width);
        let low = (self.y + self.height).min(other.y + other.height);
        Area::new(x, y, (right - x).max(0.0), (low - y).max(0.0))
    }

    /// Intersection over union, 0 to 1.
    pub(crate) fn overlap(self, other: Area) -> f32 {
        let shared = self.shared(other).surface();
        let all = self.surface() + other.surface() - shared;
        if all > 0.0 { shared / all } else { 0.0 }
    }

    /// Whole pixels within a picture of this size: left, top, right and low end.
    pub(crate) fn pixels(self, width: usize, height: usize) -> [usize; 4] {
        let inside = |value: f32, most: usize| value.clamp(0.0, most as f32) as usize;
        [
            inside(self.x.floor(), width),
            inside(self.y.floor(), height),
            inside((self.x + self.width).ceil(), width),
            inside((self.y + self.height).ceil(), height),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_overlap_as_much_as_they_do() {
        let area = Area::new(0.0, 0.0, 10.0, 10.0);
        assert!((area.overlap(Area::new(5.0, 0.0, 10.0, 10.0)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(area.overlap(Area::new(10.0, 0.0, 10.0, 10.0)), 0.0);
        assert_eq!(area.grown(2.0), Area::new(-5.0, -5.0, 20.0, 20.0));
        assert_eq!(area.grown(2.0).pixels(12, 8), [0, 0, 12, 8]);
    }
}
