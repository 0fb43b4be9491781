//! `FaceOverlayFilter`: an image on each face.

use std::sync::{Arc, Mutex, OnceLock, Weak};

use ::image::imageops::FilterType;
use gst_video::{VideoFrameExt, VideoOverlayComposition, VideoOverlayRectangle};
use kms_core::media::Timeline;
use kms_core::object::lock;
use kms_core::objects::{InPipeline, MediaPipeline};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object};
use protocol::{Code, Error, NoParams, params};

use super::area::Area;
use super::follower::{Follower, detector};
use super::models::Models;
use crate::filter::{Filter, filter, filter_object};
use crate::image::Image;
use crate::named::{Kit, Options};
use crate::overlay::{Place, at, pixels};
use crate::painter::{Paint, Painting, Picture};

/// A face that is not found for so long is still followed: it turns away for a moment.
const HOLD: gst::ClockTime = gst::ClockTime::from_mseconds(700);
/// It has to be found so often before it gets an image: what is no face is seldom found twice.
const HITS: u32 = 2;
/// How much of a difference is set right when a face is found again: a mean, so that images don't tremble.
const PART: f32 = 0.4;
/// From one look to the next.
const INTERVAL: gst::ClockTime = gst::ClockTime::from_mseconds(80);
/// Images are kept no larger, pixels each way; and in so many sizes, which are this factor apart.
const LARGEST: u32 = 640;
const SIZES: usize = 16;
/// They are drawn no larger, pixels each way, and all sizes of one have no more bytes.
const LARGEST_DRAWN: f32 = 2_048.0;
const MOST_BYTES: usize = 64 * 1024 * 1024;
const STEP: f32 = 1.03;
/// Offsets and sizes, of the face's.
const FARTHEST: f32 = 20.0;

params! {
    /// Parameters of `setOverlayedImage`.
    pub struct SetOverlayedImage {
        /// Where the image is: `file://`, `http(s)://` or `data:`; PNG, JPEG, WebP or SVG, up to 16 MiB.
        uri "uri": String,
        /// From the face's left edge to the image's, in widths of the face: -20 to 20. Negative is to the left.
        offset_x_percent "offsetXPercent": f32,
        /// From the face's upper edge to the image's, in heights of the face: -20 to 20. Negative is up.
        offset_y_percent "offsetYPercent": f32,
        /// Width, in widths of the face: above 0, to 20.
        width_percent "widthPercent": f32,
        /// Height, in heights of the face: above 0, to 20.
        height_percent "heightPercent": f32,
    }
}

impl SetOverlayedImage {
    fn check(&self) -> Result<(), Error> {
        let refused = |what: &str| Err(Error::new(Code::IllegalParam, what));
        let offsets = [self.offset_x_percent, self.offset_y_percent];
        if !offsets.iter().all(|n| (-FARTHEST..=FARTHEST).contains(n)) {
            return refused(
                "offsetXPercent and offsetYPercent should be -20 to 20, in widths and heights of the face",
            );
        }
        let sizes = [self.width_percent, self.height_percent];
        if !sizes.iter().all(|n| *n > 0.0 && *n <= FARTHEST) {
            return refused(
                "widthPercent and heightPercent should be above 0, up to 20, in widths and heights of the face",
            );
        }
        Ok(())
    }
}

/// An image and where it is on a face.
struct Costume {
    image: Image,
    offset: (f32, f32),
    size: (f32, f32),
    /// As it was drawn, by size.
    drawn: Vec<((u32, u32), gst::Buffer)>,
}

impl Costume {
    fn new(image: Image, p: &SetOverlayedImage) -> Costume {
        let (width, height) = image.pixels.dimensions();
        let longest = width.max(height);
        let image = if longest > LARGEST {
            let side = |length: u32| (length * LARGEST / longest).max(1);
            let (width, height) = (side(width), side(height));
            Image {
                pixels: ::image::imageops::resize(&image.pixels, width, height, FilterType::Triangle),
            }
        } else {
            image
        };
        Costume {
            image,
            offset: (p.offset_x_percent, p.offset_y_percent),
            size: (p.width_percent, p.height_percent),
            drawn: Vec::new(),
        }
    }

    /// The image over a face.
    fn over(&mut self, face: Area) -> Option<VideoOverlayRectangle> {
        let stepped = |length: f32| {
            STEP.powf((length.max(1.0).ln() / STEP.ln()).round())
                .round()
                .min(LARGEST_DRAWN) as u32
        };
        let size = (
            stepped(face.width * self.size.0),
            stepped(face.height * self.size.1),
        );
        let place = Place {
            x: (face.x + face.width * self.offset.0).round() as i32,
            y: (face.y + face.height * self.offset.1).round() as i32,
            width: size.0,
            height: size.1,
        };
        if let Some((_, drawn)) = self.drawn.iter().find(|(known, _)| *known == size) {
            return Some(at(drawn, place));
        }
        let bytes = |drawn: &[((u32, u32), gst::Buffer)]| drawn.iter().map(|(_, b)| b.size()).sum::<usize>();
        while self.drawn.len() >= SIZES || (bytes(&self.drawn) > MOST_BYTES && !self.drawn.is_empty()) {
            self.drawn.remove(0);
        }
        let drawn = pixels(&self.image, size.0, size.1)?;
        self.drawn.push((size, drawn.clone()));
        Some(at(&drawn, place))
    }
}

/// Faces, and what is laid over them.
struct Faces {
    timeline: Timeline,
    filter: OnceLock<Weak<Filter>>,
    /// Used by the stream, which there is one of at a time.
    follower: Mutex<Follower>,
    /// Changed by clients, read with each picture.
    costume: Mutex<Option<Costume>>,
}

impl Faces {
    fn new(timeline: &Timeline, models: Models) -> Faces {
        Faces {
            timeline: timeline.clone(),
            filter: OnceLock::new(),
            follower: Mutex::new(Follower::new(PART, INTERVAL, move || {
                detector(&models, |_, _| Ok(()))
            })),
            costume: Mutex::default(),
        }
    }
}

/// What the element `kmsfaceoverlay` does.
pub(crate) fn element(kit: &Kit, options: &Options<'_>) -> Result<Arc<dyn Paint>, String> {
    let faces = Faces::new(&kit.timeline, kit.models.clone());
    let place = SetOverlayedImage {
        uri: String::new(),
        offset_x_percent: options.get("x", 0.0)?,
        offset_y_percent: options.get("y", 0.0)?,
        width_percent: options.get("width", 1.0)?,
        height_percent: options.get("height", 1.0)?,
    };
    place.check().map_err(|error| error.message)?;
    if let Some(image) = options.image("image")? {
        *lock(&faces.costume) = Some(Costume::new(image, &place));
    }
    Ok(Arc::new(faces))
}

impl Paint for Faces {
    fn paint(&self, picture: &mut Picture<'_>) {
        if lock(&self.costume).is_none() {
            return;
        }
        let at = picture.buffer().pts().unwrap_or_else(|| self.timeline.now());
        let mut follower = lock(&self.follower);
        let news = follower.next(picture, at);
        let tracks = follower.tracks();
        tracks.keep(|track| at < track.seen + HOLD);
        let shown: Vec<Area> = tracks
            .all()
            .iter()
            .filter(|t| t.hits >= HITS && t.is_face)
            .map(|t| t.area)
            .collect();
        drop(follower);
        let mut costume = lock(&self.costume);
        let over = costume.as_mut().map(|costume| {
            let images: Vec<_> = shown.into_iter().filter_map(|face| costume.over(face)).collect();
            images
        });
        drop(costume);
        if let Some(images) = over.filter(|images| !images.is_empty())
            && let Ok(composition) = VideoOverlayComposition::new(images.iter())
        {
            let _ = composition.blend(picture);
        }
        if let (Some(failure), Some(filter)) = (news.failure, self.filter.get().and_then(Weak::upgrade)) {
            filter.raise(Error::new(Code::NotEnoughResources, failure));
        }
    }
}

/// A filter that lays an image over faces.
pub(crate) struct FaceOverlayFilter {
    filter: Arc<Filter>,
    faces: Arc<Faces>,
}

filter_object!(FaceOverlayFilter);

/// The class.
pub(crate) fn class(timeline: &Timeline, models: &Models) -> Class<FaceOverlayFilter> {
    let (timeline, models) = (timeline.clone(), models.clone());
    Class::<FaceOverlayFilter>::new(
        "FaceOverlayFilter",
        "filters",
        "Lays an image over each face. Faces are looked for beside the stream, which waits for nothing, and followed in it; without an image \
         they are not looked for.",
    )
    .extends(filter())
    .constructor(move |call, p: InPipeline| {
        let models = models.clone();
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.FaceOverlayFilter")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let faces = Arc::new(Faces::new(&timeline, models));
        let work = Arc::new(Painting(faces.clone()));
        let filter = Filter::new(element, &timeline, "face-overlay", MediaType::Video, work);
        let _ = faces.filter.set(Arc::downgrade(&filter));
        let this = Arc::new(FaceOverlayFilter { filter, faces });
        pipeline.join(this.clone());
        Ok(this)
    })
    .async_method(
        "setOverlayedImage",
        "Lays an image over each face, in the place of the one before; also while video flows. Answers once the image is there. Error 40107 \
         with the reason if it can't be had.",
        |this, call, p: SetOverlayedImage| async move {
            p.check()?;
            // A large image takes a while to be made smaller.
            let costume = Image::load_for(&p.uri.clone(), &call.reach(), move |image| Costume::new(image, &p)).await?;
            *lock(&this.faces.costume) = Some(costume);
            Ok(())
        },
    )
    .method("unsetOverlayedImage", "Leaves faces as they are.", |this, _, _: NoParams| {
        *lock(&this.faces.costume) = None;
        Ok(())
    })
}
