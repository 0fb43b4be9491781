//! The remote class `OnnxFilter`. Not in Kurento.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::object::lock;
use kms_core::objects::{MediaPipeline, names};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object, Reach};
use protocol::error::clip;
use protocol::{Code, Error, Ref, event, params, record};

use super::description::Description;
use super::looker::Looker;
use super::model::{Detection, Model};
use crate::filter::{Filter, filter, filter_object};
use crate::named::{Kit, Options};
use crate::painter::{Paint, Painting};

/// Bytes of a description.
const LONGEST_DESCRIPTION: u64 = 4 * 1024 * 1024;

record! { "filters"
    /// Something that a model found.
    pub struct Detected {
        /// What it is: the class's label of the description; the class's number, if it has none.
        label "label": String,
        /// The class's number.
        class_number "classNumber": i32,
        /// How sure the model is, 0 to 1.
        score "score": f32,
        /// Left edge, pixels of the picture. Of a classification, all of the picture.
        x "x": i32,
        /// Upper edge, pixels.
        y "y": i32,
        /// Width, pixels.
        width "width": i32,
        /// Height, pixels.
        height "height": i32,
    }
}

impl Detected {
    pub(super) fn new(found: &Detection, label: String) -> Detected {
        let area = found.area;
        Detected {
            label,
            class_number: i32::try_from(found.class).unwrap_or(i32::MAX),
            score: found.score,
            x: area.x.round() as i32,
            y: area.y.round() as i32,
            width: area.width.round() as i32,
            height: area.height.round() as i32,
        }
    }
}

event! { "filters"
    /// A model has looked at a picture and found something; or nothing any more, which is told once.
    pub struct ObjectsDetected: Media {
        /// What it found, the surest first; 100 at most.
        detections "detections": Vec<Detected>,
        /// When the picture passed the filter: milliseconds since 1970 (UTC).
        frame_time "frameTime": i64,
    }
}

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// The model, ONNX: an absolute path on the server, or `file://`; up to 512 MiB.
        model_path "modelPath": String,
        /// The description of its input and output, JSON; empty: beside the model, with its name and the ending `.json`.
        description_path "descriptionPath": String = "",
        /// Whether what it finds is drawn into the picture.
        draw "draw": bool = false,
    }
}

fn refused(what: impl Into<String>) -> Error {
    Error::new(Code::IllegalParam, what)
}

impl Create {
    fn load(&self, reach: &Reach) -> Result<Model, Error> {
        let model = reach.file(&local(&self.model_path, "modelPath")?)?;
        match self.description_path.as_str() {
            "" => load(&model, &reach.file(&model.with_extension("json"))?),
            path => load(&model, &reach.file(&local(path, "descriptionPath")?)?),
        }
    }
}

/// Reads a model and its description.
fn load(model: &Path, description: &Path) -> Result<Model, Error> {
    let described = read(description).and_then(|text| Description::parse(&text));
    let described = described.map_err(|why| {
        refused(format!(
            "The description {} can't be used: {}",
            description.display(),
            clip(&why)
        ))
    })?;
    Model::load(model, described).map_err(|why| {
        refused(format!(
            "The model {} can't be used: {}",
            model.display(),
            clip(&why)
        ))
    })
}

fn local(path: &str, name: &str) -> Result<PathBuf, Error> {
    if path.starts_with('/') {
        return Ok(path.into());
    }
    let url = url::Url::parse(path).ok().filter(|url| url.scheme() == "file");
    url.and_then(|url| url.to_file_path().ok()).ok_or_else(|| {
        refused(format!(
            "{name} should be an absolute path or a file:// URI, not '{}'",
            clip(path)
        ))
    })
}

fn read(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let wrong = || "it should be a file of at most 4 MiB".to_owned();
    // Asked before it is opened: others than files may wait for somebody then.
    if !std::fs::metadata(path).map_err(|e| e.to_string())?.is_file() {
        return Err(wrong());
    }
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    // Some files have more in them than they say.
    let read = file.take(LONGEST_DESCRIPTION + 1).read_to_string(&mut text);
    read.map_err(|e| e.to_string())?;
    match text.len() as u64 <= LONGEST_DESCRIPTION {
        true => Ok(text),
        false => Err(wrong()),
    }
}

/// A filter that finds what a model finds.
pub(crate) struct OnnxFilter {
    filter: Arc<Filter>,
    looker: Arc<Looker>,
}

filter_object!(OnnxFilter);

/// Loading takes seconds: others of this thread's clients are served elsewhere meanwhile.
fn aside<T>(run: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(run),
        _ => run(),
    }
}

/// The class.
pub(crate) fn class(timeline: &Timeline) -> Class<OnnxFilter> {
    let timeline = timeline.clone();
    Class::<OnnxFilter>::new(
        "OnnxFilter",
        "filters",
        "Finds what a model of a neural network finds: things in boxes, or what the picture is of. The model looks at the newest picture, beside \
         the stream, which waits for nothing. Not in Kurento.",
    )
    .extends(filter())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let model = Arc::new(aside(|| p.load(&call.reach()))?);
        let element = ElementCore::new(&pipeline, pipeline.core(), "kms.OnnxFilter")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let looker = Arc::new(Looker::new(&timeline, model, p.draw));
        let work = Arc::new(Painting(looker.clone()));
        let filter = Filter::new(element, &timeline, "onnx", MediaType::Video, work);
        let _ = looker.filter.set(Arc::downgrade(&filter));
        let this = Arc::new(OnnxFilter { filter, looker });
        pipeline.join(this.clone());
        Ok(this)
    })
    .settable(
        "draw",
        "Whether what is found is drawn into the picture, with its label.",
        |this| lock(&this.looker.settings).draw,
        |this, draw: bool| {
            lock(&this.looker.settings).draw = draw;
            Ok(())
        },
    )
    .settable(
        "everyNth",
        "Every so-maniest picture is looked at, 1 to 1000; as the description says unless set. Of those that come while it looks, the newest.",
        |this| i32::try_from(lock(&this.looker.settings).every_nth).unwrap_or(i32::MAX),
        |this, every_nth: i32| match u32::try_from(every_nth) {
            Ok(every_nth @ 1..=1_000) => {
                lock(&this.looker.settings).every_nth = every_nth;
                Ok(())
            }
            _ => Err(refused("everyNth should be 1 to 1000")),
        },
    )
    .constant("labels", "The names of classes, by their numbers.", |this| this.looker.model.description.labels.clone())
    .event::<ObjectsDetected>()
}

/// What the element `kmsonnx` does.
pub(crate) fn element(kit: &Kit, options: &Options<'_>) -> Result<Arc<dyn Paint>, String> {
    let model: PathBuf = options.get("model", PathBuf::new())?;
    let description = options.get("description", model.with_extension("json"))?;
    let model = load(&model, &description).map_err(|error| error.message)?;
    Ok(Arc::new(Looker::new(
        &kit.timeline,
        Arc::new(model),
        options.get("draw", false)?,
    )))
}
