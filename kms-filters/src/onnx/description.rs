//! What a model takes and gives, as a JSON file says.

use serde::Deserialize;

/// The file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Description {
    pub(super) input: Input,
    pub(super) output: Output,
    /// Names of the classes, by their numbers.
    #[serde(default)]
    pub(super) labels: Vec<String>,
    /// What is less sure is left out, 0 to 1.
    #[serde(default = "half")]
    pub(super) threshold: f32,
    /// Every so-maniest picture is looked at.
    #[serde(default = "one")]
    pub(super) every_nth: u32,
}

/// How a picture is made the model's input.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Input {
    pub(super) width: usize,
    pub(super) height: usize,
    #[serde(default)]
    pub(super) layout: Layout,
    #[serde(default)]
    pub(super) colors: Colors,
    /// Taken off each colour, which is 0 to 255; then it is multiplied by `scale`.
    #[serde(default)]
    pub(super) mean: [f32; 3],
    #[serde(default = "to_one")]
    pub(super) scale: [f32; 3],
    #[serde(default)]
    pub(super) fit: Fit,
}

/// The order of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) enum Layout {
    /// One colour after the other.
    #[default]
    #[serde(rename = "NCHW")]
    Planes,
    /// All colours of a pixel together.
    #[serde(rename = "NHWC")]
    Pixels,
}

/// The colours of a pixel, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Colors {
    #[default]
    Rgb,
    Bgr,
    Grey,
}

impl Colors {
    pub(super) fn count(self) -> usize {
        if self == Colors::Grey { 1 } else { 3 }
    }
}

/// What is done with a picture of another shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Fit {
    /// It is stretched.
    #[default]
    Stretch,
    /// It keeps its shape, in the middle of grey.
    Letterbox,
}

/// What the model gives.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "UPPERCASE", deny_unknown_fields)]
pub(super) enum Output {
    /// One tensor with a row for each box: center x, center y, width, height, perhaps whether there is something, and a score for each
    /// class.
    Yolo(Yolo),
    /// A tensor of boxes and one of scores; perhaps one of classes.
    Ssd(Ssd),
    /// One tensor with a score for each class of the whole picture.
    Classes(Classes),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Yolo {
    #[serde(default)]
    pub(super) tensor: usize,
    /// The fifth number of a row says whether there is something (YOLO 5 and 7); scores are multiplied by it.
    #[serde(default)]
    pub(super) objectness: bool,
    /// Boxes are columns, not rows (YOLO 8).
    #[serde(default)]
    pub(super) transposed: bool,
    /// Boxes are parts of the input, 0 to 1, not its pixels.
    #[serde(default)]
    pub(super) normalized: bool,
    /// Of boxes of one class that overlap by more (intersection over union), the surest counts.
    #[serde(default = "overlap")]
    pub(super) overlap: f32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Ssd {
    #[serde(default)]
    pub(super) boxes: usize,
    #[serde(default = "first")]
    pub(super) scores: usize,
    /// The tensor with the number of each box's class; without one, scores have a number for each class.
    pub(super) classes: Option<usize>,
    #[serde(default)]
    pub(super) order: Order,
    /// Boxes are parts of the input, 0 to 1, not its pixels.
    #[serde(default = "yes")]
    pub(super) normalized: bool,
    /// The first class says that there is nothing.
    #[serde(default)]
    pub(super) background: bool,
    #[serde(default = "overlap")]
    pub(super) overlap: f32,
}

/// The corners of a box: upper left, lower right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Order {
    /// Top, left, low end, right end.
    #[default]
    Yxyx,
    /// Left, top, right end, low end.
    Xyxy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Classes {
    #[serde(default)]
    pub(super) tensor: usize,
    /// Scores are made to add up to 1, by their powers of e.
    #[serde(default)]
    pub(super) softmax: bool,
    /// At most so many are told.
    #[serde(default = "five")]
    pub(super) top: usize,
}

fn half() -> f32 {
    0.5
}
fn one() -> u32 {
    1
}
fn to_one() -> [f32; 3] {
    [1.0 / 255.0; 3]
}
fn overlap() -> f32 {
    0.45
}
fn first() -> usize {
    1
}
fn yes() -> bool {
    true
}
fn five() -> usize {
    5
}

/// Pixels each way that an input may have.
const LARGEST: usize = 2_048;
/// Names of classes, and bytes of each.
const MOST_LABELS: usize = 10_000;
const LONGEST_LABEL: usize = 256;

impl Description {
    /// Reads it. The error says what is wrong, and where.
    pub(super) fn parse(text: &str) -> Result<Description, String> {
        let this: Description = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let mut numbers = this.input.mean.iter().chain(&this.input.scale);
        let are_finite = numbers.all(|n| n.is_finite());
        let checks = [
            (
                (1..=LARGEST).contains(&this.input.width) && (1..=LARGEST).contains(&this.input.height),
                "input: width and height should be 1 to 2048 pixels",
            ),
            (are_finite, "mean and scale should be finite"),
            (
                (0.0..=1.0).contains(&this.threshold),
                "threshold should be 0 to 1",
            ),
            (
                (1..=1_000).contains(&this.every_nth),
                "everyNth should be 1 to 1000",
            ),
            (
                this.labels.len() <= MOST_LABELS && this.labels.iter().all(|l| l.len() <= LONGEST_LABEL),
                "labels: 10000 at most, of 256 bytes each",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(what.into()),
            None => Ok(this),
        }
    }

    /// The name of a class; its number, if it has none.
    pub(super) fn label(&self, class: usize) -> String {
        self.labels
            .get(class)
            .cloned()
            .unwrap_or_else(|| class.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("", "EOF"),
            ("{}", "missing field `input`"),
            (
                r#"{"input": {"width": 64, "height": 48}}"#,
                "missing field `output`",
            ),
            (
                r#"{"input": {"width": 64, "height": 48}, "output": {"kind": "CUBES"}}"#,
                "unknown variant `CUBES`",
            ),
            (
                r#"{"input": {"width": 64, "height": 48, "depth": 1}, "output": {"kind": "YOLO"}}"#,
                "unknown field `depth`",
            ),
            (
                r#"{"input": {"width": 0, "height": 48}, "output": {"kind": "YOLO"}}"#,
                "1 to 2048",
            ),
            (
                r#"{"input": {"width": 64, "height": 48}, "output": {"kind": "YOLO"}, "threshold": 1.5}"#,
                "threshold should be 0 to 1",
            ),
            (
                r#"{"input": {"width": 64, "height": 48}, "output": {"kind": "YOLO"}, "everyNth": 0}"#,
                "everyNth",
            ),
        ] {
            let error = Description::parse(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
        let short =
            r#"{"input": {"width": 64, "height": 48}, "output": {"kind": "YOLO"}, "labels": ["cat"]}"#;
        let description = Description::parse(short).expect("all that is needed");
        assert_eq!(
            (description.label(0), description.label(1)),
            ("cat".into(), "1".into())
        );
        assert_eq!(description.input.scale, [1.0 / 255.0; 3]);
    }
}
