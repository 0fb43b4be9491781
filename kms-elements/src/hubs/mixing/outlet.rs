//! Where mixed media leaves: a source whose media is made while somebody takes it.

use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::media::{Branch, Format, MediaError, Origin, Segment, Source, Timeline};
use kms_core::object::lock;

/// What a mixer gives.
pub(in crate::hubs) struct Outlet {
    timeline: Timeline,
    source: Arc<Source>,
    /// Told when somebody takes it: a mixer is to work.
    wanted: Box<dyn Fn() + Send + Sync>,
    /// Changed by who takes media, read by the mixer's thread.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    branch: Weak<Branch>,
    exit: Weak<Exit>,
}

/// A pad of our own that gives to all who take the media. Dropped before its pipeline, which it tells that it goes.
struct Exit {
    pad: gst::Pad,
    /// What was announced last.
    caps: Mutex<Option<gst::Caps>>,
    _segment: Segment,
}

impl Outlet {
    /// One that gives by way of this source. `wanted` is called with locks of whoever takes media: it must be quick.
    pub(in crate::hubs) fn new(
        timeline: &Timeline,
        source: Arc<Source>,
        wanted: impl Fn() + Send + Sync + 'static,
    ) -> Arc<Outlet> {
        let outlet = Arc::new(Outlet {
            timeline: timeline.clone(),
            source,
            wanted: Box::new(wanted),
            state: Mutex::default(),
        });
        let origin: Weak<dyn Origin> = Arc::downgrade(&outlet) as Weak<dyn Origin>;
        outlet.source.set_origin(origin);
        outlet
    }

    /// The source.
    pub(in crate::hubs) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Whether somebody takes it.
    pub(in crate::hubs) fn is_wanted(&self) -> bool {
        lock(&self.state).branch.strong_count() > 0
    }

    /// Gives this, if somebody takes it.
    pub(in crate::hubs) fn push(&self, caps: &gst::Caps, buffer: gst::Buffer) {
        let Some(exit) = lock(&self.state).exit.upgrade() else {
            return;
        };
        let mut announced = lock(&exit.caps);
        if announced.as_ref() != Some(caps) {
            exit.pad.push_event(gst::event::Caps::new(caps));
            if announced.is_none() {
                let segment = gst::FormattedSegment::<gst::ClockTime>::new();
                exit.pad.push_event(gst::event::Segment::new(&segment));
            }
            *announced = Some(caps.clone());
        }
        drop(announced);
        // Refused only by a segment that ends.
        let _ = exit.pad.push(buffer);
    }

    fn make(&self) -> Result<(Arc<Branch>, Weak<Exit>), MediaError> {
        let failed = |e: &dyn std::fmt::Display| MediaError {
            message: "Mixed media can't be set up".into(),
            detail: e.to_string(),
        };
        let segment = Segment::new(&self.timeline, "mixer-outlet", |_| {});
        let sink = AppSink::builder().build();
        segment.pipeline().add(&sink).map_err(|e| failed(&e))?;
        let entry = sink.static_pad("sink").ok_or_else(|| failed(&"no pad"))?;
        let pad = gst::Pad::builder(gst::PadDirection::Src).name("mixed").build();
        pad.link_full(&entry, gst::PadLinkCheck::empty())
            .map_err(|e| failed(&e))?;
        pad.set_active(true).map_err(|e| failed(&e))?;
        let branch = Branch::of(Format::Raw, &sink);
        segment.play()?;
        pad.push_event(gst::event::StreamStart::new("mixed"));
        let exit = Arc::new(Exit {
            pad,
            caps: Mutex::default(),
            _segment: segment,
        });
        let weak = Arc::downgrade(&exit);
        Ok((branch.made_by(exit), weak))
    }
}

impl Origin for Outlet {
    fn give(&self) -> Result<Option<Arc<Branch>>, MediaError> {
        let branch = {
            let mut state = lock(&self.state);
            match state.branch.upgrade() {
                Some(branch) => return Ok(Some(branch)),
                None => {
                    let (branch, exit) = self.make()?;
                    *state = State {
                        branch: Arc::downgrade(&branch),
                        exit,
                    };
                    branch
                }
            }
        };
        (self.wanted)();
        Ok(Some(branch))
    }
}
