//! A model, run by tract.

use std::path::Path;
use std::sync::Arc;

use super::description::{Classes, Description, Layout, Order, Output, Ssd, Yolo};
use super::picture::Planes;
use crate::faces::Area;
use crate::net::{Input, Net, Numbers};

/// Boxes that are told of one picture; the surest ones.
const MOST: usize = 100;

/// Something in a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Detection {
    pub(super) class: usize,
    /// 0 to 1.
    pub(super) score: f32,
    /// Pixels of the picture.
    pub(super) area: Area,
}

/// A model that is ready.
pub(super) struct Model {
    net: Arc<Net>,
    pub(super) description: Description,
}

impl Model {
    /// Reads a model and tries it once: what is wrong is said with the tensor's name. Takes long.
    pub(super) fn load(path: &Path, description: Description) -> Result<Model, String> {
        let input = &description.input;
        let colours = input.colors.count();
        let shape = match input.layout {
            Layout::Planes => [1, colours, input.height, input.width],
            Layout::Pixels => [1, input.height, input.width, colours],
        };
        let net = Net::load(path, Input::Is(shape))?;
        let model = Model { net, description };
        let outputs = model.net.run(vec![0.0; shape.iter().product()])?;
        // Of nothing, too, it can be told whether the tensors are what the description says.
        model.interpret(&outputs)?;
        Ok(model)
    }

    /// What is in a picture, the surest first. Takes as long as it takes.
    pub(super) fn look(&self, picture: &Planes) -> Result<Vec<Detection>, String> {
        let (input, placing) = picture
            .input(&self.description.input)
            .map_err(|e| format!("OpenCV: {e}"))?;
        let outputs = self.net.run(input)?;
        let whole = picture.size();
        let in_picture = |found: Detection| Detection {
            area: match self.description.output {
                Output::Classes(_) => whole,
                _ => placing.in_picture(found.area),
            },
            ..found
        };
        Ok(self.interpret(&outputs)?.into_iter().map(in_picture).collect())
    }

    /// Boxes in pixels of the input.
    fn interpret(&self, outputs: &[Numbers]) -> Result<Vec<Detection>, String> {
        let threshold = self.description.threshold;
        let input = (
            self.description.input.width as f32,
            self.description.input.height as f32,
        );
        match &self.description.output {
            Output::Yolo(yolo) => yolo.boxes(tensor(outputs, yolo.tensor)?, input, threshold),
            Output::Ssd(ssd) => ssd.boxes(outputs, input, threshold),
            Output::Classes(classes) => classes.scores(tensor(outputs, classes.tensor)?, threshold),
        }
    }
}

fn tensor(outputs: &[Numbers], number: usize) -> Result<&Numbers, String> {
    outputs.get(number).ok_or_else(|| {
        let names: Vec<&str> = outputs.iter().map(|o| o.name.as_str()).collect();
        format!(
            "it has no output {number}: there are {} ({})",
            names.len(),
            names.join(", ")
        )
    })
}

/// The surest class of scores. NaN is never sure.
fn surest(scores: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    scores
        .enumerate()
        .filter(|(_, score)| !score.is_nan())
        .max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Of detections of one class that overlap, the surest (non-maximum suppression).
fn surest_of_all(mut found: Vec<Detection>, overlap: f32) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Detection> = Vec::new();
    for detection in found {
        let hides = |k: &Detection| k.class == detection.class && k.area.overlap(detection.area) > overlap;
        if kept.len() < MOST && !kept.iter().any(hides) {
            kept.push(detection);
        }
    }
    kept
}

impl Yolo {
    fn boxes(&self, tensor: &Numbers, input: (f32, f32), threshold: f32) -> Result<Vec<Detection>, String> {
        let (mut rows, mut columns) = tensor.rows()?;
        if self.transposed {
            std::mem::swap(&mut rows, &mut columns);
        }
        let before = if self.objectness { 5 } else { 4 };
        if columns <= before {
            return Err(tensor.is_not(&format!("boxes of more than {before} numbers")));
        }
        let at = |row: usize, column: usize| {
            let at = if self.transposed {
                column * rows + row
            } else {
                row * columns + column
            };
            tensor.values.get(at).copied().unwrap_or_default()
        };
        let size = if self.normalized { input } else { (1.0, 1.0) };
        let found = (0..rows).filter_map(|row| {
            let (class, score) = surest((before..columns).map(|column| at(row, column)))?;
            let score = if self.objectness {
                score * at(row, 4)
            } else {
                score
            };
            let middle = (at(row, 0) * size.0, at(row, 1) * size.1);
            (score >= threshold).then(|| Detection {
                class,
                score,
                area: Area::around(middle, at(row, 2) * size.0, at(row, 3) * size.1),
            })
        });
        Ok(surest_of_all(found.collect(), self.overlap))
    }
}

impl Ssd {
    fn boxes(
        &self,
        outputs: &[Numbers],
        input: (f32, f32),
        threshold: f32,
    ) -> Result<Vec<Detection>, String> {
        let boxes = tensor(outputs, self.boxes)?;
        let (rows, 4) = boxes.rows()? else {
            return Err(boxes.is_not("boxes of 4 numbers"));
        };
        let scores = tensor(outputs, self.scores)?;
        let classes = self.classes.map(|classes| tensor(outputs, classes)).transpose()?;
        let wanted = |numbers: &Numbers, what: &str| match numbers.values.len() {
            n if rows > 0 && n % rows == 0 && (classes.is_none() || n == rows) => Ok(n / rows),
            0 if rows == 0 => Ok(0),
            _ => Err(numbers.is_not(&format!("{what} for {rows} boxes"))),
        };
        let each = wanted(scores, "scores")?;
        if let Some(classes) = classes {
            wanted(classes, "classes")?;
        }
        let size = if self.normalized { input } else { (1.0, 1.0) };
        let nothing = usize::from(self.background);
        let found = (0..rows).filter_map(|row| {
            let (class, score) = match classes {
                Some(classes) => (classes.values[row].max(0.0) as usize, scores.values[row]),
                None => {
                    let of_row = scores.values[row * each..(row + 1) * each].iter();
                    let (class, score) = surest(of_row.skip(nothing).copied())?;
                    (class + nothing, score)
                }
            };
            let numbers = &boxes.values[row * 4..row * 4 + 4];
            let [x, y, right, low] = match self.order {
                Order::Yxyx => [numbers[1], numbers[0], numbers[3], numbers[2]],
                Order::Xyxy => [numbers[0], numbers[1], numbers[2], numbers[3]],
            };
            (score >= threshold).then(|| Detection {
                class,
                score,
                area: Area::new(x * size.0, y * size.1, (right - x) * size.0, (low - y) * size.1),
            })
        });
        Ok(surest_of_all(found.collect(), self.overlap))
    }
}

impl Classes {
    fn scores(&self, tensor: &Numbers, threshold: f32) -> Result<Vec<Detection>, String> {
        let count = tensor.shape.iter().max().copied().unwrap_or(1);
        if tensor.values.len() != count {
            return Err(tensor.is_not("one row of scores"));
        }
        let mut scores = tensor.values.clone();
        if self.softmax {
            let most = scores.iter().copied().fold(f32::MIN, f32::max);
            scores.iter_mut().for_each(|score| *score = (*score - most).exp());
            let sum: f32 = scores.iter().sum();
            scores.iter_mut().for_each(|score| *score /= sum);
        }
        let mut found: Vec<Detection> = scores
            .iter()
            .enumerate()
            .filter(|(_, score)| **score >= threshold)
            .map(|(class, score)| Detection {
                class,
                score: *score,
                area: Area::new(0.0, 0.0, 0.0, 0.0),
            })
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(self.top.min(MOST));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        format!("{}/../tests/media/models/{name}", env!("CARGO_MANIFEST_DIR")).into()
    }

    fn load(model: &str, output: &str) -> Result<Model, String> {
        load_with(model, r#"{"width": 64, "height": 48}"#, output)
    }

    fn load_with(model: &str, input: &str, output: &str) -> Result<Model, String> {
        let description = format!(r#"{{"input": {input}, "output": {output}, "threshold": 0.8}}"#);
        Model::load(&path(model), Description::parse(&description)?)
    }

    /// A dark picture with a bright square of 80 pixels, at 240, 160 of 640x480.
    fn picture() -> Planes {
        let mut pixels = vec![128; 640 * 480 * 3 / 2];
        pixels[..640 * 480].fill(16);
        for y in 160..240 {
            pixels[y * 640 + 240..y * 640 + 320].fill(235);
        }
        Planes::test(pixels, 640, 480)
    }

    const BRIGHT: usize = 1;

    #[test]
    fn boxes_are_found_in_the_ways_that_models_give_them() {
        for (model, output) in [
            ("yolo.onnx", r#"{"kind": "YOLO", "objectness": true}"#),
            ("yolo8.onnx", r#"{"kind": "YOLO", "transposed": true}"#),
            ("ssd.onnx", r#"{"kind": "SSD"}"#),
            ("ssd.onnx", r#"{"kind": "SSD", "background": true}"#),
        ] {
            let model = load(model, output).expect(output);
            let found = model.look(&picture()).expect("a look");
            let bright: Vec<Area> = found
                .iter()
                .filter(|f| f.class == BRIGHT)
                .map(|f| f.area)
                .collect();
            let square = Area::new(240.0, 160.0, 80.0, 80.0);
            assert!(
                bright.len() == 1 && bright[0].overlap(square) > 0.999,
                "{output}: {bright:?}"
            );
            let dark = found.len() - bright.len();
            let wanted = if output.contains("background") { 0 } else { 47 };
            assert_eq!(dark, wanted, "{output}");
            assert!(found.iter().all(|f| (0.8..=1.01).contains(&f.score)));
        }
    }

    #[test]
    fn a_picture_of_another_shape_may_keep_it() {
        let yolo = r#"{"kind": "YOLO", "objectness": true}"#;
        let input = r#"{"width": 64, "height": 48, "fit": "LETTERBOX"}"#;
        let model = load_with("yolo.onnx", input, yolo).expect("a model");
        // 640x240 becomes 64x24, with 12 above.
        let mut pixels = vec![128; 640 * 240 * 3 / 2];
        pixels[..640 * 240].fill(16);
        for y in 40..120 {
            pixels[y * 640 + 240..y * 640 + 320].fill(235);
        }
        let found = model.look(&Planes::test(pixels, 640, 240)).expect("a look");
        let bright: Vec<&Detection> = found.iter().filter(|f| f.class == BRIGHT).collect();
        assert_eq!(bright.len(), 1, "{found:?}");
        assert_eq!(bright[0].area, Area::new(240.0, 40.0, 80.0, 80.0));
    }

    #[test]
    fn the_colours_of_a_picture_are_told() {
        let output = r#"{"kind": "CLASSES", "top": 1}"#;
        let model = load("colours.onnx", output).expect("a model");
        // Blue, BT.601.
        let mut pixels = vec![110; 64 * 48 * 3 / 2];
        pixels[..64 * 48].fill(41);
        pixels[64 * 48..64 * 48 * 5 / 4].fill(240);
        let found = model.look(&Planes::test(pixels.clone(), 64, 48)).expect("a look");
        assert_eq!(found.iter().map(|f| f.class).collect::<Vec<_>>(), [2]);
        assert_eq!(found[0].area, Area::new(0.0, 0.0, 64.0, 48.0));
        // In the other order of colours it is the first.
        let turned = r#"{"width": 64, "height": 48, "colors": "BGR"}"#;
        let model = load_with("colours.onnx", turned, output).expect("a model");
        let found = model.look(&Planes::test(pixels, 64, 48)).expect("a look");
        assert_eq!(found.iter().map(|f| f.class).collect::<Vec<_>>(), [0]);
    }

    #[test]
    fn what_does_not_fit_is_refused_by_the_name_of_the_tensor() {
        let small = r#"{"width": 32, "height": 48}"#;
        let grey = r#"{"width": 64, "height": 48, "colors": "GREY"}"#;
        let pixels = r#"{"width": 64, "height": 48, "layout": "NHWC"}"#;
        let right = r#"{"width": 64, "height": 48}"#;
        for (model, input, output, why) in [
            ("nothing.onnx", right, r#"{"kind": "YOLO"}"#, "No such file"),
            ("make.py", right, r#"{"kind": "YOLO"}"#, ""),
            (
                "yolo.onnx",
                small,
                r#"{"kind": "YOLO"}"#,
                "input 'images' is 1x3x48x64, and the description makes it 1x3x48x32",
            ),
            ("yolo.onnx", grey, r#"{"kind": "YOLO"}"#, "makes it 1x1x48x64"),
            ("yolo.onnx", pixels, r#"{"kind": "YOLO"}"#, "makes it 1x48x64x3"),
            (
                "yolo.onnx",
                right,
                r#"{"kind": "YOLO", "tensor": 1}"#,
                "no output 1: there are 1 (output)",
            ),
            (
                "yolo.onnx",
                right,
                r#"{"kind": "SSD", "boxes": 0}"#,
                "'output' is 1x48x7, which is not boxes of 4 numbers",
            ),
            (
                "yolo.onnx",
                right,
                r#"{"kind": "CLASSES"}"#,
                "'output' is 1x48x7, which is not one row of scores",
            ),
            (
                "colours.onnx",
                right,
                r#"{"kind": "YOLO"}"#,
                "'output' is 1x3, which is not boxes of more than 4 numbers",
            ),
            (
                "ssd.onnx",
                right,
                r#"{"kind": "SSD", "classes": 1}"#,
                "is not scores for 48 boxes",
            ),
        ] {
            let error = load_with(model, input, output).err().expect(model);
            assert!(error.contains(why), "{model} {output}: {error}");
        }
    }
}
