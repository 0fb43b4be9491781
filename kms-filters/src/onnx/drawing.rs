//! Boxes and their names, drawn into a picture.

use gst_video::VideoFrameExt;
use opencv::core::{Mat, Point, Rect, Scalar};
use opencv::imgproc;

use crate::faces::Area;
use crate::painter::{Picture, plane};

/// Blue and red differences of the colours of classes: green, orange, cyan, magenta, yellow, blue.
const COLOURS: [[u8; 2]; 6] = [[54, 34], [40, 180], [166, 16], [202, 222], [16, 146], [240, 110]];
/// Brightness of boxes and of names.
const BOX: f64 = 160.0;
const NAME: f64 = 235.0;
const BEHIND_NAME: f64 = 40.0;

/// Draws a box, with its name above or in it.
pub(super) fn draw(picture: &mut Picture<'_>, area: Area, class: usize, name: &str) -> opencv::Result<()> {
    let (width, height) = (picture.width() as i32, picture.height() as i32);
    let [left, top, right, low] = area
        .pixels(picture.width() as usize, picture.height() as usize)
        .map(|n| n as i32);
    let (left, top, right, low) = (left / 2 * 2, top / 2 * 2, right / 2 * 2, low / 2 * 2);
    if right <= left || low <= top {
        return Ok(());
    }
    let line = (height / 240).max(1) * 2;
    let colour = COLOURS[class % COLOURS.len()];
    let whole = Rect::new(left, top, right - left, low - top);
    let sides = [
        Rect::new(left, top, whole.width, line),
        Rect::new(left, low - line, whole.width, line),
        Rect::new(left, top, line, whole.height),
        Rect::new(right - line, top, line, whole.height),
    ];
    // What OpenCV's letters lack is shown as a question mark.
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii() && !c.is_control() { c } else { '?' })
        .take(40)
        .collect();
    let scale = f64::from(height) / 900.0;
    let mut below = 0;
    let text = imgproc::get_text_size(&name, imgproc::FONT_HERSHEY_SIMPLEX, scale, 1, &mut below)?;
    let beneath = Rect::new(
        left,
        if top >= text.height + below + 2 {
            top - text.height - below - 2
        } else {
            top
        },
        (text.width + 4) / 2 * 2,
        text.height + below + 2,
    );
    for number in 0..3 {
        let part = if number == 0 { 1 } else { 2 };
        let Some((pixels, stride)) = plane(picture, number) else {
            return Ok(());
        };
        let stride = stride as i32;
        let rows = pixels.len() as i32 / stride;
        let mut canvas =
            Mat::new_rows_cols_with_data_mut(rows, stride, &mut pixels[..(rows * stride) as usize])?;
        let fill = |canvas: &mut opencv::boxed_ref::BoxedRefMut<'_, Mat>, area: Rect, value: f64| {
            // Beyond the picture there may be more of the row.
            let (most_x, most_y) = (width / part, height / part);
            let (x, y) = ((area.x / part).min(most_x), (area.y / part).min(most_y));
            let (wide, high) = (
                (area.width / part).min(most_x - x),
                (area.height / part).min(most_y - y),
            );
            if wide <= 0 || high <= 0 {
                return Ok(());
            }
            let inside = Rect::new(x, y, wide, high);
            imgproc::rectangle(
                canvas,
                inside,
                Scalar::all(value),
                imgproc::FILLED,
                imgproc::LINE_8,
                0,
            )
        };
        let value = match number {
            0 => BOX,
            _ => f64::from(colour[number as usize - 1]),
        };
        for side in sides {
            fill(&mut canvas, side, value)?;
        }
        if name.is_empty() {
            continue;
        }
        fill(
            &mut canvas,
            beneath,
            if number == 0 { BEHIND_NAME } else { value },
        )?;
        if number == 0 {
            imgproc::put_text(
                &mut canvas,
                &name,
                Point::new(beneath.x + 2, beneath.y + text.height + 1),
                imgproc::FONT_HERSHEY_SIMPLEX,
                scale,
                Scalar::all(NAME),
                1,
                imgproc::LINE_AA,
                false,
            )?;
        }
    }
    Ok(())
}
