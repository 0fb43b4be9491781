//! The remote class `MosaicFilter`. Not in Kurento.

use std::sync::{Arc, Mutex, OnceLock};

use kms_core::media::Timeline;
use kms_core::object::lock;
use kms_core::objects::{MediaPipeline, names};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object};
use protocol::{Code, Error, NoParams, Ref, event, params, record, remote_enum};

use super::cover::Cover;
use super::gallery::{Gallery, Refusal};
use super::guard::{Guard, Settings, Watch};
use crate::faces::{Area, Follower, Models, detector};
use crate::filter::{Filter, filter, filter_object};
use crate::image::Image;
use crate::named::{Kit, Options};
use crate::painter::{Paint, Painting};

/// Bytes of a name.
const LONGEST_NAME: usize = 256;
/// Parts that may be given.
const MOST_REGIONS: usize = 64;
/// From one look for faces to the next.
const INTERVAL: gst::ClockTime = gst::ClockTime::from_mseconds(60);
const BLOCKS: std::ops::RangeInclusive<i32> = 1..=32;

remote_enum! { "filters"
    /// What a `MosaicFilter` hides.
    pub enum MosaicMode {
        /// All faces.
        Faces = "FACES",
        /// All faces but those that are recognised as somebody who is enrolled.
        FacesExceptEnrolled = "FACES_EXCEPT_ENROLLED",
        /// The parts that `setRegions` names.
        Regions = "REGIONS",
        /// All of the picture.
        Frame = "FRAME",
    }
}

remote_enum! { "filters"
    /// How a `MosaicFilter` hides.
    pub enum MosaicStyle {
        /// Squares of one colour.
        Blocks = "BLOCKS",
        /// Without an edge: as much is left as with blocks.
        Blur = "BLUR",
        /// Black.
        Solid = "SOLID",
    }
}

remote_enum! { "filters"
    /// What a `MosaicFilter` hides when looking for faces is more than half a second behind.
    pub enum MosaicWhenLate {
        /// Where faces are as far as is known, followed from picture to picture; a new one is seen until it is found.
        Regions = "REGIONS",
        /// All of the picture.
        Frame = "FRAME",
    }
}

record! { "filters"
    /// A part of the picture.
    pub struct MosaicRegion {
        /// Left edge, percent of the width: 0 to 100.
        x "x": f32,
        /// Upper edge, percent of the height: 0 to 100.
        y "y": f32,
        /// Percent of the width: above 0, to 100.
        width "width": f32,
        /// Percent of the height: above 0, to 100.
        height "height": f32,
    }
}

record! { "filters"
    /// Where a face is, pixels of the picture. It may reach beyond.
    pub struct Region {
        /// Left edge.
        x "x": i32,
        /// Upper edge.
        y "y": i32,
        /// Width.
        width "width": i32,
        /// Height.
        height "height": i32,
    }
}

impl Region {
    pub(super) fn of(area: Area) -> Region {
        Region {
            x: area.x.round() as i32,
            y: area.y.round() as i32,
            width: area.width.round() as i32,
            height: area.height.round() as i32,
        }
    }
}

event! { "filters"
    /// A face has come into view: when it is clear whether it is somebody's who is enrolled, within five looks at it. One that was nobody's is
    /// told once more when it is recognised, as when somebody is enrolled meanwhile.
    pub struct FaceEntered: Media {
        /// The face's number in this filter, from 1.
        face "face": i32,
        /// Who it is, of those enrolled; empty: nobody of them.
        name "name": String,
        /// Where it is.
        region "region": Region,
        /// How sure it is a face, 0 to 1.
        confidence "confidence": f32,
    }
}

event! { "filters"
    /// A face that had entered has left the picture, or was not found for three seconds.
    pub struct FaceLeft: Media {
        /// The face's number in this filter.
        face "face": i32,
        /// Who it was, of those enrolled; empty: nobody of them.
        name "name": String,
        /// Where it was last.
        region "region": Region,
        /// How sure it was a face when it was found last, 0 to 1.
        confidence "confidence": f32,
    }
}

params! {
    /// Parameters of the constructor.
    pub struct Create {
        /// The pipeline it belongs to.
        media_pipeline "mediaPipeline": Ref<names::MediaPipeline>,
        /// What is hidden.
        mode "mode": MosaicMode = MosaicMode::Faces,
    }

    /// Parameters of `setRegions`.
    pub struct SetRegions {
        /// The parts, 64 at most; none: nothing is hidden.
        regions "regions": Vec<MosaicRegion>,
    }

    /// Parameters of `enroll`.
    pub struct Enroll {
        /// A name, up to 256 bytes. Up to ten images may be enrolled under one name, and 100 in all: each makes it known better.
        name "name": String,
        /// An image with the face, which is the largest one in it, best from the front: `file://`, `http(s)://` or `data:`; PNG, JPEG,
        /// WebP or SVG, up to 16 MiB.
        image_uri "imageUri": String,
    }

    /// Parameters of `unenroll`.
    pub struct Unenroll {
        /// The name.
        name "name": String,
    }
}

fn refused(what: impl Into<String>) -> Error {
    Error::new(Code::IllegalParam, what)
}

impl SetRegions {
    /// As parts of 1.
    fn areas(&self) -> Result<Vec<Area>, Error> {
        if self.regions.len() > MOST_REGIONS {
            return Err(refused("regions: 64 at most"));
        }
        let area = |region: &MosaicRegion| {
            let offsets = [region.x, region.y].iter().all(|n| (0.0..=100.0).contains(n));
            let sizes = [region.width, region.height]
                .iter()
                .all(|n| *n > 0.0 && *n <= 100.0);
            let area = Area::new(region.x, region.y, region.width, region.height).times(0.01);
            (offsets && sizes).then_some(area).ok_or_else(|| {
                refused("regions: x and y should be 0 to 100, width and height above 0, to 100: percent of the picture's")
            })
        };
        self.regions.iter().map(area).collect()
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoFace => refused(
                "No face was found in the image: it should be seen from the front, and be a twentieth of the image wide or more",
            ),
            Refusal::TooMany(what) => {
                Error::new(Code::NotEnoughResources, format!("A filter has {what} at most"))
            }
            Refusal::Failed(why) => Error::new(Code::NotEnoughResources, why),
        }
    }
}

/// A filter that hides.
pub(crate) struct MosaicFilter {
    filter: Arc<Filter>,
    guard: Arc<Guard>,
}

filter_object!(MosaicFilter);

impl MosaicFilter {
    fn set(&self, set: impl FnOnce(&mut Settings)) {
        set(&mut lock(&self.guard.settings));
    }

    fn get<T>(&self, get: impl FnOnce(&Settings) -> T) -> T {
        get(&lock(&self.guard.settings))
    }
}

fn guard(timeline: &Timeline, models: &Models, mode: MosaicMode) -> Guard {
    let gallery = Arc::new(Gallery::new(models));
    let (known, models) = (gallery.clone(), models.clone());
    let follower = Follower::new(1.0, INTERVAL, move || {
        let known = known.clone();
        detector(&models, move |grey, face| known.look_at(grey, face))
    });
    Guard {
        timeline: timeline.clone(),
        filter: OnceLock::new(),
        gallery,
        settings: Mutex::new(Settings {
            mode,
            regions: Vec::new(),
            cover: Cover {
                style: MosaicStyle::Blocks,
                blocks: 6,
            },
            when_late: MosaicWhenLate::Regions,
        }),
        watch: Mutex::new(Watch::new(follower)),
    }
}

/// What the element `kmsmosaic` does.
pub(crate) fn element(kit: &Kit, options: &Options<'_>) -> Result<Arc<dyn Paint>, String> {
    let modes = [("FACES", MosaicMode::Faces), ("FRAME", MosaicMode::Frame)];
    let guard = guard(&kit.timeline, &kit.models, options.one_of("mode", &modes)?);
    let styles =
        [MosaicStyle::Blocks, MosaicStyle::Blur, MosaicStyle::Solid].map(|style| (style.as_str(), style));
    let blocks = options.get("blocks", 6)?;
    if !BLOCKS.contains(&blocks) {
        return Err("'blocks' should be 1 to 32".into());
    }
    lock(&guard.settings).cover = Cover {
        style: options.one_of("style", &styles)?,
        blocks: blocks as usize,
    };
    Ok(Arc::new(guard))
}

/// The class.
pub(crate) fn class(timeline: &Timeline, models: &Models) -> Class<MosaicFilter> {
    let (timeline, models) = (timeline.clone(), models.clone());
    Class::<MosaicFilter>::new(
        "MosaicFilter",
        "filters",
        "Hides faces, parts of the picture, or all of it. It fails closed: all is hidden until the first picture was looked at, and whenever \
         faces can't be looked for; a face that was seen stays hidden for three seconds while it is not found, and for five at the edge it \
         left by; one that is enrolled is shown once three of the last five looks knew it, and as long as they do. Not in Kurento.",
    )
    .extends(filter())
    .constructor(move |call, p: Create| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "kms.MosaicFilter")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let guard = Arc::new(guard(&timeline, &models, p.mode));
        let work = Arc::new(Painting(guard.clone()));
        let filter = Filter::new(element, &timeline, "mosaic", MediaType::Video, work);
        let _ = guard.filter.set(Arc::downgrade(&filter));
        let this = Arc::new(MosaicFilter { filter, guard });
        pipeline.join(this.clone());
        Ok(this)
    })
    .settable(
        "mode",
        "What is hidden.",
        |this| this.get(|s| s.mode),
        |this, mode: MosaicMode| {
            this.set(|s| s.mode = mode);
            Ok(())
        },
    )
    .settable(
        "style",
        "How it is hidden; `BLOCKS` unless set.",
        |this| this.get(|s| s.cover.style),
        |this, style: MosaicStyle| {
            this.set(|s| s.cover.style = style);
            Ok(())
        },
    )
    .settable(
        "blocks",
        "How much detail is left: blocks across the shorter side of what is hidden, 1 to 32; 6 unless set.",
        |this| this.get(|s| i32::try_from(s.cover.blocks).unwrap_or(i32::MAX)),
        |this, blocks: i32| {
            if !BLOCKS.contains(&blocks) {
                return Err(refused("blocks should be 1 to 32"));
            }
            this.set(|s| s.cover.blocks = blocks as usize);
            Ok(())
        },
    )
    .settable(
        "whenLate",
        "What is hidden when looking for faces is more than half a second behind; `REGIONS` unless set.",
        |this| this.get(|s| s.when_late),
        |this, when_late: MosaicWhenLate| {
            this.set(|s| s.when_late = when_late);
            Ok(())
        },
    )
    .method("setRegions", "The parts that are hidden in the mode `REGIONS`, in place of those before.", |this, _, p: SetRegions| {
        let regions = p.areas()?;
        this.set(|s| s.regions = regions);
        Ok(())
    })
    .async_method(
        "enroll",
        "Makes a face known by a name, from an image. Answers once it is known. Error 40107 with the reason if the image can't be had or no \
         face is found in it; 40009 if there are 100 images, or ten of this name.",
        |this, call, p: Enroll| async move {
            if p.name.is_empty() || p.name.len() > LONGEST_NAME {
                return Err(refused("name should have 1 to 256 bytes"));
            }
            let gallery = this.guard.gallery.clone();
            let Enroll { name, image_uri } = p;
            Image::load_for(&image_uri, &call.reach(), move |image| gallery.enroll(&name, &image)).await??;
            Ok(())
        },
    )
    .async_method(
        "unenroll",
        "Forgets a name, with all its images: the face is hidden from the next picture on. Error 40107 if nobody has this name.",
        |this, _, p: Unenroll| async move {
            let gallery = this.guard.gallery.clone();
            let name = p.name.clone();
            let there = tokio::task::spawn_blocking(move || gallery.unenroll(&name)).await;
            match there.unwrap_or_else(|_| Err(Refusal::Failed("Forgetting failed".into())))? {
                true => Ok(()),
                false => Err(refused(format!("Nobody is enrolled as '{}'", protocol::error::clip(&p.name)))),
            }
        },
    )
    .method("getEnrolled", "The names of those who are enrolled, in order.", |this, _, _: NoParams| Ok(this.guard.gallery.names()))
    .event::<FaceEntered>()
    .event::<FaceLeft>()
}
