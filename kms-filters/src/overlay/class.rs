//! The remote class `ImageOverlayFilter`.

use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::objects::{InPipeline, MediaPipeline};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object};
use protocol::{Code, Error, params};

use super::layers::{Layers, Position};
use crate::filter::{Filter, filter, filter_object};
use crate::image::Image;
use crate::named::{Kit, Options};
use crate::painter::{Paint, Painting};

/// Bytes of an id.
const LONGEST_ID: usize = 256;

params! {
    /// Parameters of `removeImage`.
    pub struct RemoveImage {
        /// The image's id.
        id "id": String,
    }

    /// Parameters of `addImage`.
    pub struct AddImage {
        /// A name for the image. One that has it already gives way.
        id "id": String,
        /// Where it is: `file://`, `http(s)://` or `data:`; PNG, JPEG, WebP or SVG, up to 16 MiB.
        uri "uri": String,
        /// Left edge, as a part of the video's width: 0 to 1.
        offset_x_percent "offsetXPercent": f32,
        /// Upper edge, as a part of the video's height: 0 to 1.
        offset_y_percent "offsetYPercent": f32,
        /// Width, as a part of the video's: above 0, to 1.
        width_percent "widthPercent": f32,
        /// Height, as a part of the video's: above 0, to 1.
        height_percent "heightPercent": f32,
        /// Whether the image keeps its shape: then it is as large as fits.
        keep_aspect_ratio "keepAspectRatio": bool,
        /// Whether it is in the middle of its place, should it be smaller; else at the upper left.
        center "center": bool,
    }
}

impl AddImage {
    fn position(&self) -> Result<Position, Error> {
        let refused = |what: &str| Err(Error::new(Code::IllegalParam, what));
        if self.id.len() > LONGEST_ID {
            return refused("id should not be longer than 256 bytes");
        }
        let (offsets, sizes) = (
            [self.offset_x_percent, self.offset_y_percent],
            [self.width_percent, self.height_percent],
        );
        if !offsets.iter().all(|n| (0.0..=1.0).contains(n)) {
            return refused(
                "offsetXPercent and offsetYPercent should be 0 to 1, as parts of the video's width and height",
            );
        }
        if !sizes.iter().all(|n| *n > 0.0 && *n <= 1.0) {
            return refused(
                "widthPercent and heightPercent should be above 0, up to 1, as parts of the video's width and height",
            );
        }
        Ok(Position {
            x: self.offset_x_percent.into(),
            y: self.offset_y_percent.into(),
            width: self.width_percent.into(),
            height: self.height_percent.into(),
            keeps_shape: self.keep_aspect_ratio,
            centered: self.center,
        })
    }
}

/// A filter that lays images over video.
pub(crate) struct ImageOverlayFilter {
    filter: Arc<Filter>,
    layers: Arc<Layers>,
}

/// The class.
pub(crate) fn class(timeline: &Timeline) -> Class<ImageOverlayFilter> {
    let timeline = timeline.clone();
    Class::<ImageOverlayFilter>::new("ImageOverlayFilter", "filters", "Lays images over video.")
        .extends(filter())
        .constructor(move |call, p: InPipeline| {
            let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
            let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.ImageOverlayFilter")
                .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
            let layers = Arc::<Layers>::default();
            let work = Arc::new(Painting(layers.clone()));
            let filter = Filter::new(element, &timeline, "image-overlay", MediaType::Video, work);
            let this = Arc::new(ImageOverlayFilter { filter, layers });
            pipeline.join(this.clone());
            Ok(this)
        })
        .async_method(
            "addImage",
            "Lays an image over the video, on top of those that are there; from the next picture on, also while video flows. Answers once \
             the image is there. Error 40107 with the reason if it can't be had; 40009 if there are 64 already, or if \
             they have more than 67 million pixels together.",
            |this, call, p: AddImage| async move {
                let position = p.position()?;
                let image = Image::load(&p.uri, &call.reach()).await?;
                let added = this.layers.add(p.id, image, position);
                added.map_err(|enough| Error::new(Code::NotEnoughResources, enough))
            },
        )
        .method("removeImage", "Takes an image away. Nothing happens if there is none of this id.", |this, _, p: RemoveImage| {
            this.layers.remove(&p.id);
            Ok(())
        })
}

filter_object!(ImageOverlayFilter);

/// What the element `kmsimageoverlay` does.
pub(crate) fn element(_: &Kit, options: &Options<'_>) -> Result<Arc<dyn Paint>, String> {
    let layers = Layers::default();
    if let Some(image) = options.image("image")? {
        let position = Position {
            x: options.get("x", 0.0)?,
            y: options.get("y", 0.0)?,
            width: options.get("width", 1.0_f64)?.clamp(0.0, 1.0),
            height: options.get("height", 1.0_f64)?.clamp(0.0, 1.0),
            keeps_shape: false,
            centered: false,
        };
        layers.add(String::new(), image, position)?;
    }
    Ok(Arc::new(layers))
}
