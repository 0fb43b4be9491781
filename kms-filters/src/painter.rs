//! An element of GStreamer that changes pictures in place, by a function in Rust: what filters are made of that look at pixels.

use std::sync::{Arc, OnceLock};

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

mod imp {
    use std::sync::LazyLock;

    use gst::subclass::prelude::*;
    use gst_base::subclass::BaseTransformMode;
    use gst_video::subclass::prelude::*;
    use gst_video::{VideoCapsBuilder, VideoFormat};

    use super::*;

    #[derive(Default)]
    pub struct Painter {
        pub(super) paint: OnceLock<Arc<dyn Paint>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Painter {
        const NAME: &'static str = "KmsPainter";
        type Type = super::Painter;
        type ParentType = gst_video::VideoFilter;
    }

    impl ObjectImpl for Painter {}
    impl GstObjectImpl for Painter {}

    impl ElementImpl for Painter {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
                gst::subclass::ElementMetadata::new(
                    "Painter",
                    "Filter/Effect/Video",
                    "Changes pictures in place",
                    "kms",
                )
            });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
                let caps = VideoCapsBuilder::new().format(VideoFormat::I420).build();
                let template =
                    |name, direction| gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps);
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

    impl BaseTransformImpl for Painter {
        const MODE: BaseTransformMode = BaseTransformMode::AlwaysInPlace;
        const PASSTHROUGH_ON_SAME_CAPS: bool = false;
        const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;
    }

    impl VideoFilterImpl for Painter {
        fn transform_frame_ip(&self, frame: &mut Picture<'_>) -> Result<gst::FlowSuccess, gst::FlowError> {
            if let Some(paint) = self.paint.get() {
                paint.paint(frame);
            }
            Ok(gst::FlowSuccess::Ok)
        }
    }
}

glib::wrapper! {
    /// The element.
    pub struct Painter(ObjectSubclass<imp::Painter>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

impl Painter {
    fn set(&self, paint: Arc<dyn Paint>) {
        use gst::subclass::prelude::ObjectSubclassIsExt;
        // Refused the second time, which there is not.
        let _ = self.imp().paint.set(paint);
    }
}
