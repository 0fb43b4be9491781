//! Where what was in one picture is in the next: points that are followed (Lucas and Kanade 1981, in pyramids, of OpenCV).

use opencv::core::{Mat, Point2f, Size, TermCriteria, TermCriteria_COUNT, TermCriteria_EPS, Vector};

use super::area::Area;
use super::grey::{LEVELS, WINDOW};

/// Points in a row, and rows, that an area is followed by.
const POINTS: usize = 6;
/// The part of an area that they are in: at its edges there is what is behind it.
const INNER: f32 = 0.7;
/// A point that was followed there and back may be this far from where it was, pixels of the small picture.
const STRAYED: f32 = 1.0;
/// So many of the points have to agree, or it is not known where the area is.
const ENOUGH: usize = POINTS * POINTS / 3;

/// Where an area of one picture is in another; `None`: it can't be told. Pixels of the small pictures.
pub(super) fn follow(from: &Vector<Mat>, to: &Vector<Mat>, area: Area) -> opencv::Result<Option<Area>> {
    let inner = area.grown(INNER);
    let step = |n: usize| (n as f32 + 0.5) / POINTS as f32;
    let points: Vector<Point2f> = (0..POINTS * POINTS)
        .map(|n| {
            let (column, row) = (step(n % POINTS), step(n / POINTS));
            Point2f::new(inner.x + inner.width * column, inner.y + inner.height * row)
        })
        .collect();
    let (there, found) = trace(from, to, &points)?;
    let (back, returned) = trace(to, from, &there)?;
    let mut pairs = Vec::with_capacity(points.len());
    for n in 0..points.len() {
        let (was, is, again) = (points.get(n)?, there.get(n)?, back.get(n)?);
        let strayed = (again.x - was.x).hypot(again.y - was.y);
        if found.get(n)? == 1 && returned.get(n)? == 1 && strayed <= STRAYED {
            pairs.push((was, is));
        }
    }
    if pairs.len() < ENOUGH {
        return Ok(None);
    }
    let moved = (
        median(pairs.iter().map(|(was, is)| is.x - was.x)),
        median(pairs.iter().map(|(was, is)| is.y - was.y)),
    );
    // How far points are from the middle, then and now: it comes closer or goes away.
    let (x, y) = area.middle();
    let far = |(was, is): &(Point2f, Point2f)| {
        let before = (was.x - x).hypot(was.y - y);
        let after = (is.x - x - moved.0).hypot(is.y - y - moved.1);
        (before > 2.0).then_some(after / before)
    };
    let grown = median(pairs.iter().filter_map(far)).clamp(0.9, 1.1);
    Ok(Some(area.moved(moved).grown(grown)))
}

fn trace(
    from: &Vector<Mat>,
    to: &Vector<Mat>,
    points: &Vector<Point2f>,
) -> opencv::Result<(Vector<Point2f>, Vector<u8>)> {
    let (mut there, mut found, mut errors) = (
        Vector::<Point2f>::new(),
        Vector::<u8>::new(),
        Vector::<f32>::new(),
    );
    let until = TermCriteria::new(TermCriteria_COUNT + TermCriteria_EPS, 20, 0.03)?;
    opencv::video::calc_optical_flow_pyr_lk(
        from,
        to,
        points,
        &mut there,
        &mut found,
        &mut errors,
        Size::new(WINDOW, WINDOW),
        LEVELS,
        until,
        0,
        1e-4,
    )?;
    Ok((there, found))
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.filter(|v| v.is_finite()).collect();
    if values.is_empty() {
        return 1.0;
    }
    values.sort_by(f32::total_cmp);
    values[values.len() / 2]
}
