//! The remote class `ChromaFilter`.

use std::sync::Arc;

use kms_core::media::Timeline;
use kms_core::objects::{MediaPipeline, names};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object, Reach};
use protocol::{Code, Error, NoParams, Ref, params, record};

use super::key::{Chroma, Window};
use crate::filter::{Filter, filter, filter_object};
use crate::image::Image;
use crate::named::{Kit, Options};
use crate::painter::{Paint, Painting};

record! { "chroma"
    /// A part of the picture, pixels.
    pub struct WindowParam {
        /// Left edge. (It is called so.)
        top_right_corner_x "topRightCornerX": i32,
        /// Upper edge.
        top_right_corner_y "topRightCornerY": i32,
        /// Width, 1 or more.
        width "width": i32,
        /// Height, 1 or more.
        height "height": i32,
    }
}

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// Where the colour is that is to be replaced, in the first ten pictures.
        window "window": WindowParam,
        /// URI of the image that takes its place; empty: black.
        background_image "backgroundImage": String = "",
    }

    /// Parameters of `setBackground`.
    pub struct SetBackground {
        /// `file://`, `http(s)://` or `data:`; PNG, JPEG, WebP or SVG, up to 16 MiB.
        uri "uri": String,
    }
}

/// A filter that replaces a colour.
pub(crate) struct ChromaFilter {
    filter: Arc<Filter>,
    chroma: Arc<Chroma>,
}

filter_object!(ChromaFilter);

impl WindowParam {
    fn window(&self) -> Result<Window, Error> {
        let number = |name: &str, value: i32, least: u32| {
            let refused = || {
                Error::new(
                    Code::IllegalParam,
                    format!("window: {name} should be {least} or more"),
                )
            };
            u32::try_from(value)
                .ok()
                .filter(|value| *value >= least)
                .ok_or_else(refused)
        };
        Ok(Window {
            x: number("topRightCornerX", self.top_right_corner_x, 0)?,
            y: number("topRightCornerY", self.top_right_corner_y, 0)?,
            width: number("width", self.width, 1)?,
            height: number("height", self.height, 1)?,
        })
    }
}

/// The class.
pub(crate) fn class(timeline: &Timeline) -> Class<ChromaFilter> {
    let timeline = timeline.clone();
    Class::<ChromaFilter>::new(
        "ChromaFilter",
        "chroma",
        "Replaces what has the colour of a part of the picture, such as a green wall, by an image. The colour is learnt from the first ten \
         pictures.",
    )
    .extends(filter())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let window = p.window.window()?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "chroma.ChromaFilter")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let chroma = Arc::new(Chroma::new(window));
        let work = Arc::new(Painting(chroma.clone()));
        let filter = Filter::new(element, &timeline, "chroma", MediaType::Video, work);
        let this = Arc::new(ChromaFilter { filter, chroma });
        pipeline.join(this.clone());
        if !p.background_image.is_empty() {
            this.load(p.background_image, call.reach());
        }
        Ok(this)
    })
    .async_method(
        "setBackground",
        "The image that takes the colour's place, stretched to the picture's size; also while video flows. Answers once it is there. Error \
         40107 with the reason if it can't be had.",
        |this, call, p: SetBackground| async move {
            this.chroma.set_background(Some(Image::load(&p.uri, &call.reach()).await?));
            Ok(())
        },
    )
    .method("unsetBackground", "Black takes the colour's place.", |this, _, _: NoParams| {
        this.chroma.set_background(None);
        Ok(())
    })
}

impl ChromaFilter {
    /// Fetches the first background, beside the call that makes the filter; if it can't be had, an Error event says why.
    fn load(self: &Arc<Self>, uri: String, reach: Reach) {
        let this = Arc::downgrade(self);
        tokio::spawn(async move {
            let image = Image::load(&uri, &reach).await;
            let Some(this) = this.upgrade() else { return };
            match image {
                Ok(image) => this.chroma.set_background(Some(image)),
                Err(error) => this.filter.raise(error),
            }
        });
    }
}

/// What the element `kmschroma` does.
pub(crate) fn element(_: &Kit, options: &Options<'_>) -> Result<Arc<dyn Paint>, String> {
    let chroma = Chroma::new(Window {
        x: options.get("x", 0)?,
        y: options.get("y", 0)?,
        width: options.get("width", 0)?,
        height: options.get("height", 0)?,
    });
    chroma.set_background(options.image("background")?);
    Ok(Arc::new(chroma))
}
