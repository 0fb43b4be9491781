//! RTP packets of one codec, made into media.

use std::sync::Arc;

use gst::prelude::*;
use gst_app::{AppSink, AppSrc};
use kms_core::media::{Branch, Codec, Format, MediaError, Report, Segment, Timeline, normalise, probe};

use super::payloads::depayloader;

/// Media that may wait for the segment; then the oldest is dropped.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_seconds(1);

/// A segment that takes packets, in order, and gives a [`Branch`].
pub(crate) struct Depacketiser {
    appsrc: AppSrc,
    segment: Segment,
}

impl Depacketiser {
    /// One for packets of these caps. `keyframe`: called when somebody needs one. `report`: as for [`Segment::new`].
    pub(crate) fn new(
        timeline: &Timeline,
        codec: Codec,
        caps: &gst::Caps,
        keyframe: impl Fn() + Send + Sync + 'static,
        report: impl Fn(Report) + Send + Sync + 'static,
    ) -> Result<(Depacketiser, Arc<Branch>), MediaError> {
        let failed = |e: &dyn std::fmt::Display| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        };
        let depayloader = depayloader(codec)
            .ok_or_else(|| MediaError::new(format!("Packets of {codec} can't be made into media")))?;
        let segment = Segment::new(timeline, &format!("depacketiser-{codec}"), report);
        let appsrc = AppSrc::builder()
            .caps(caps)
            .format(gst::Format::Time)
            .is_live(true)
            .build();
        appsrc.set_max_time(LONGEST_QUEUE);
        appsrc.set_leaky_type(gst_app::AppLeakyType::Downstream);
        let bin = segment.add(&format!(
            "{depayloader} ! {}",
            normalise(codec.kind(), Format::Encoded(codec))
        ))?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        segment
            .pipeline()
            .add_many([appsrc.upcast_ref::<gst::Element>(), sink.upcast_ref()])
            .map_err(|e| failed(&e))?;
        gst::Element::link_many([
            appsrc.upcast_ref(),
            bin.upcast_ref::<gst::Element>(),
            sink.upcast_ref(),
        ])
        .map_err(|e| failed(&e))?;
        if let Some(pad) = appsrc.static_pad("src") {
            probe(&pad, gst::PadProbeType::EVENT_UPSTREAM, move |_, info| {
                if info.event().is_some_and(|e| gst_video::ForceKeyUnitEvent::is(e)) {
                    keyframe();
                }
                gst::PadProbeReturn::Ok
            });
        }
        let branch = Branch::native(Format::Encoded(codec), &sink);
        segment.play()?;
        let depacketiser = Depacketiser { appsrc, segment };
        Ok((depacketiser, branch))
    }

    /// Takes a packet, whose time is running time.
    pub(crate) fn push(&self, packet: gst::Buffer) {
        // An appsrc that takes no more is one that ends.
        let _ = self.appsrc.push_buffer(packet);
    }

    /// Its pipeline, for drawings.
    pub(crate) fn pipeline(&self) -> &gst::Pipeline {
        self.segment.pipeline()
    }
}
