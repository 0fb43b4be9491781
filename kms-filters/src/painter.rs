//! An element of GStreamer that changes pictures in place, by a function in Rust: what filters are made of that look at pixels.

use std::sync::Arc;

use gst::glib;
use gst::prelude::*;
use gst_video::{VideoFrameExt, VideoFrameRef};
use kms_core::media::{MediaError, Segment};

use crate::filter::Work;

/// A picture in I420: brightness, and two colours of half its width and height.
pub(crate) type Picture<'a> = VideoFrameRef<&'a mut gst::BufferRef>;

/// What is done with pictures.
pub(crate) trait Paint: Send + Sync {
    /// Changes a picture. Called on the thread that pictures come on, which it holds up.
    fn paint(&self, picture: &mut Picture<'_>);
}

/// Something that paints, as what a filter does.
pub(crate) struct Painting(pub(crate) Arc<dyn Paint>);

impl Work for Painting {
    fn add(&self, segment: &Segment) -> Result<(gst::Element, gst::Element), MediaError> {
        let painter = element(self.0.clone());
        segment.pipeline().add(&painter).map_err(|e| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        })?;
        Ok((painter.clone(), painter))
    }
}

/// An element that paints.
pub(crate) fn element(paint: Arc<dyn Paint>) -> gst::Element {
    let painter: Painter = glib::Object::new();
    painter.set(paint);
    painter.upcast()
}

/// The bytes of a plane and how many a row has; `None`: there is no such plane.
pub(crate) fn plane<'a>(picture: &'a mut Picture<'_>, number: u32) -> Option<(&'a mut [u8], usize)> {
    let stride = *picture.plane_stride().get(number as usize)?;
    let stride = usize::try_from(stride).ok().filter(|stride| *stride > 0)?;
    Some((picture.plane_data_mut(number).ok()?, stride))
}

/// Declares a type of element that paints: each name that GStreamer knows needs a type of its own.
macro_rules! painters {
    ($($(#[doc = $doc:literal])* $painter:ident in $imp:ident is $name:literal;)*) => {$(
        mod $imp {
            use std::sync::{Arc, LazyLock, Mutex, OnceLock};

            use gst::glib;
            use gst::prelude::*;
            use gst::subclass::prelude::*;
            use gst_base::subclass::BaseTransformMode;
            use gst_video::subclass::prelude::*;
            use gst_video::{VideoCapsBuilder, VideoFormat};
            use kms_core::object::lock;

            use crate::named;
            use crate::painter::{Paint, Picture};

            #[derive(Default)]
            pub struct Imp {
                pub(in crate::painter) paint: OnceLock<Arc<dyn Paint>>,
                /// Of one that was made by name.
                settings: Mutex<String>,
            }

            #[glib::object_subclass]
            impl ObjectSubclass for Imp {
                const NAME: &'static str = $name;
                type Type = super::$painter;
                type ParentType = gst_video::VideoFilter;
            }

            impl ObjectImpl for Imp {
                fn properties() -> &'static [glib::ParamSpec] {
                    static PROPERTIES: LazyLock<[glib::ParamSpec; 1]> = LazyLock::new(|| {
                        [glib::ParamSpecString::builder("settings")
                            .nick("Settings")
                            .blurb("name=value, with semicolons between them; read when it starts")
                            .build()]
                    });
                    &*PROPERTIES
                }

                fn set_property(&self, _id: usize, value: &glib::Value, _spec: &glib::ParamSpec) {
                    if let Ok(Some(settings)) = value.get() {
                        *lock(&self.settings) = settings;
                    }
                }

                fn property(&self, _id: usize, _spec: &glib::ParamSpec) -> glib::Value {
                    lock(&self.settings).to_value()
                }
            }

            impl GstObjectImpl for Imp {}

            impl ElementImpl for Imp {
                fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
                    static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                        let what = "Changes pictures in place";
                        gst::subclass::ElementMetadata::new($name, "Filter/Effect/Video", what, "kms")
                    });
                    Some(&METADATA)
                }

                fn pad_templates() -> &'static [gst::PadTemplate] {
                    static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                        let caps = VideoCapsBuilder::new().format(VideoFormat::I420).build();
                        let template = |name, direction| {
                            gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                        };
                        [
                            template("sink", gst::PadDirection::Sink),
                            template("src", gst::PadDirection::Src),
                        ]
                        .into_iter()
                        .flatten()
                        .collect()
                    });
                    &TEMPLATES
                }
            }

            impl BaseTransformImpl for Imp {
                const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
                const PASSTHROUGH_ON_SAME_CAPS: bool = false;
                const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

                /// One of a filter has been told what to do; one that was made by name finds it out.
                fn start(&self) -> Result<(), gst::ErrorMessage> {
                    if self.paint.get().is_none() {
                        let paint = named::make($name, &lock(&self.settings)).map_err(|why| {
                            gst::error_msg!(gst::ResourceError::Settings, ("{}: {why}", $name))
                        })?;
                        let _ = self.paint.set(paint);
                    }
                    self.parent_start()
                }
            }

            impl VideoFilterImpl for Imp {
                fn transform_frame_ip(
                    &self,
                    frame: &mut Picture<'_>,
                ) -> Result<gst::FlowSuccess, gst::FlowError> {
                    if let Some(paint) = self.paint.get() {
                        paint.paint(frame);
                    }
                    Ok(gst::FlowSuccess::Ok)
                }
            }
        }

        glib::wrapper! {
            $(#[doc = $doc])*
            pub struct $painter(ObjectSubclass<$imp::Imp>)
                @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
        }
    )*};
}

painters! {
    /// What filters of pipelines are made of.
    Painter in painter is "kmspainter";
    /// By name.
    Chroma in chroma is "kmschroma";
    /// By name.
    FaceOverlay in face_overlay is "kmsfaceoverlay";
    /// By name.
    ImageOverlay in image_overlay is "kmsimageoverlay";
    /// By name.
    Mosaic in mosaic is "kmsmosaic";
    /// By name.
    Onnx in onnx is "kmsonnx";
}

impl Painter {
    fn set(&self, paint: Arc<dyn Paint>) {
        use gst::subclass::prelude::ObjectSubclassIsExt;
        // Refused the second time, which there is not.
        let _ = self.imp().paint.set(paint);
    }
}
