//! Filters as elements of GStreamer with names, for pipelines that are written down: `videotestsrc ! kmsmosaic settings="mode=FRAME" ! ...`. They are
//! there within this process alone, and not for `GStreamerFilter`, whose commands come from anybody.
//!
//! | name | settings |
//! |---|---|
//! | `kmschroma` | `x`, `y`, `width`, `height` of the window, pixels; `background`, a file |
//! | `kmsfaceoverlay` | `image`, a file; `x`, `y`, `width`, `height` in widths and heights of the face |
//! | `kmsimageoverlay` | `image`, a file; `x`, `y`, `width`, `height` as parts of the picture's |
//! | `kmsmosaic` | `mode` (`FACES`, `FRAME`), `style` (`BLOCKS`, `BLUR`, `SOLID`), `blocks` |
//! | `kmsonnx` | `model`, `description`, files; `draw` |

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use gst::glib;
use gst::prelude::*;
use kms_core::media::Timeline;

use crate::faces::Models;
use crate::image::Image;
use crate::painter::{self, Paint};
use crate::{chroma, faces, mosaic, onnx, overlay};

/// What filters are made with.
pub(crate) struct Kit {
    pub(crate) timeline: Timeline,
    pub(crate) models: Models,
}

type Make = fn(&Kit, &Options<'_>) -> Result<Arc<dyn Paint>, String>;

/// Name, its type, the settings it knows, and what makes what it does.
type Element = (&'static str, fn() -> glib::Type, &'static [&'static str], Make);

const ELEMENTS: [Element; 5] = [
    (
        "kmschroma",
        painter::Chroma::static_type,
        &["x", "y", "width", "height", "background"],
        chroma::element,
    ),
    (
        "kmsfaceoverlay",
        painter::FaceOverlay::static_type,
        &["image", "x", "y", "width", "height"],
        faces::overlay_element,
    ),
    (
        "kmsimageoverlay",
        painter::ImageOverlay::static_type,
        &["image", "x", "y", "width", "height"],
        overlay::element,
    ),
    (
        "kmsmosaic",
        painter::Mosaic::static_type,
        &["mode", "style", "blocks"],
        mosaic::element,
    ),
    (
        "kmsonnx",
        painter::Onnx::static_type,
        &["model", "description", "draw"],
        onnx::element,
    ),
];

static KIT: OnceLock<Kit> = OnceLock::new();

/// Makes the elements known to GStreamer in this process. Only the first time does anything.
pub(crate) fn register(timeline: &Timeline, models: &Models) {
    let kit = Kit {
        timeline: timeline.clone(),
        models: models.clone(),
    };
    if KIT.set(kit).is_err() {
        return;
    }
    for (name, type_of, ..) in ELEMENTS {
        if let Err(error) = gst::Element::register(None, name, gst::Rank::NONE, type_of()) {
            tracing::warn!(%error, name, "an element has no name");
        }
    }
}

/// What the element of this name does.
pub(crate) fn make(name: &str, settings: &str) -> Result<Arc<dyn Paint>, String> {
    let element = ELEMENTS.iter().find(|(known, ..)| *known == name);
    let ((_, _, known, make), kit) = element.zip(KIT.get()).ok_or("there is no such filter")?;
    make(kit, &Options::parse(settings, known)?)
}

/// Settings: `name=value`, with semicolons between them.
pub(crate) struct Options<'a>(HashMap<&'a str, &'a str>);

impl<'a> Options<'a> {
    fn parse(text: &'a str, known: &[&str]) -> Result<Options<'a>, String> {
        let mut options = HashMap::new();
        for option in text.split(';').map(str::trim).filter(|option| !option.is_empty()) {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| format!("'{option}' should be name=value"))?;
            if !known.contains(&name) {
                return Err(format!("'{name}' is no setting; {} are", known.join(", ")));
            }
            options.insert(name, value);
        }
        Ok(Options(options))
    }

    /// A value, or what it is unless set.
    pub(crate) fn get<T: FromStr>(&self, name: &str, default: T) -> Result<T, String> {
        let value = self.0.get(name).map(|value| value.parse());
        value
            .unwrap_or(Ok(default))
            .map_err(|_| format!("'{name}' has a value that it can't have"))
    }

    /// One of several, the first unless set.
    pub(crate) fn one_of<T: Copy>(&self, name: &str, all: &[(&str, T)]) -> Result<T, String> {
        let wanted = self.0.get(name);
        let found = all
            .iter()
            .find(|(value, _)| wanted.is_none_or(|wanted| wanted == value));
        found.map(|(_, one)| *one).ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|(value, _)| *value).collect();
            format!("'{name}' should be one of {}", names.join(", "))
        })
    }

    /// An image in a file.
    pub(crate) fn image(&self, name: &str) -> Result<Option<Image>, String> {
        let open = |path: &&str| Image::open(path).map_err(|why| format!("{path}: {why}"));
        self.0.get(name).map(open).transpose()
    }
}

#[cfg(test)]
mod tests {
    use gst_app::AppSink;

    use super::*;

    /// What comes of twenty pictures of 320x240 and then twenty of 400x300; or the error.
    fn pictures(filter: &str) -> Result<Vec<(i32, u8)>, String> {
        let timeline = Timeline::start().expect("GStreamer");
        register(&timeline, &Models::default());
        let pipeline = gst::parse::launch(&format!(
            "concat name=c ! {filter} ! appsink name=sink sync=false \
             videotestsrc num-buffers=20 pattern=white ! video/x-raw,format=I420,width=320,height=240 ! c. \
             videotestsrc num-buffers=20 pattern=white ! video/x-raw,format=I420,width=400,height=300 ! c."
        ));
        let pipeline = pipeline
            .map_err(|e| e.to_string())?
            .downcast::<gst::Pipeline>()
            .expect("a pipeline");
        let sink = pipeline
            .by_name("sink")
            .and_downcast::<AppSink>()
            .expect("a sink");
        let played = pipeline.set_state(gst::State::Playing);
        let mut seen = Vec::new();
        let bus = pipeline.bus().expect("a bus");
        let told = loop {
            if let Some(told) = bus.pop_filtered(&[gst::MessageType::Error, gst::MessageType::Eos]) {
                break told;
            }
            let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(50)) else {
                continue;
            };
            let width = sample
                .caps()
                .and_then(|caps| caps.structure(0)?.get("width").ok());
            let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok());
            seen.push((width.unwrap_or_default(), map.map_or(0, |map| map[0])));
        };
        let _ = pipeline.set_state(gst::State::Null);
        match told.view() {
            gst::MessageView::Error(error) => Err(error.error().to_string()),
            _ => played.map(|_| seen).map_err(|e| e.to_string()),
        }
    }

    #[test]
    fn they_are_there_by_name_and_go_on_when_the_size_changes() {
        let models = format!("{}/../tests/media/models", env!("CARGO_MANIFEST_DIR"));
        let face = format!(
            "{}/../tests/media/faces/astronaut.jpg",
            env!("CARGO_MANIFEST_DIR")
        );
        for (filter, first) in [
            ("kmsmosaic settings=\"mode=FRAME;style=SOLID\"".to_owned(), 16),
            ("kmsmosaic".to_owned(), 235),
            (format!("kmsfaceoverlay settings=\"image={face}\""), 235),
            (
                format!("kmschroma settings=\"width=8;height=8;background={face}\""),
                235,
            ),
            (
                format!("kmsonnx settings=\"model={models}/yolo.onnx;draw=true\""),
                235,
            ),
        ] {
            let seen = pictures(&filter).expect("pictures");
            assert_eq!(seen.len(), 40, "{filter}: {seen:?}");
            assert_eq!(seen[39].0, 400, "{filter}");
            // The first is as it was, but where all is hidden; the mosaic hides all before it has looked, in blocks, which are as white.
            assert_eq!(seen[0].1, first, "{filter}");
        }
        let image = format!("kmsimageoverlay settings=\"image={face};width=0.5;height=0.5\"");
        let seen = pictures(&image).expect("pictures");
        assert!(
            seen.len() == 40 && seen.iter().all(|(_, first)| *first < 200),
            "{seen:?}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_an_error_that_says_why() {
        for (filter, why) in [
            (
                "kmsmosaic settings=\"mode=BLOCKS\"",
                "'mode' should be one of FACES, FRAME",
            ),
            (
                "kmsmosaic settings=\"colour=red\"",
                "'colour' is no setting; mode, style, blocks are",
            ),
            ("kmsmosaic settings=FRAME", "'FRAME' should be name=value"),
            (
                "kmsimageoverlay settings=\"image=/nowhere.png\"",
                "/nowhere.png: No such file",
            ),
            ("kmsonnx", "No such file"),
        ] {
            let error = pictures(filter).expect_err(filter);
            assert!(error.contains(why), "{filter}: {error}");
        }
    }
}
