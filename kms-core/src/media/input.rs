//! Where media enters a segment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSrc;
use gst_utils::streamproducer::{ConsumerSettings, ConsumptionLink};

use super::branch::Branch;
use super::counters::{Counters, Drops};
use super::{MediaError, Segment, guarded, probe};
use crate::object::lock;

/// Where media of a branch enters a segment: an appsrc, whose branch can be changed while media flows.
pub struct Input {
    link: Arc<Mutex<Link>>,
    appsrc: AppSrc,
    counters: Arc<Counters>,
}

/// What feeds an input, and of which branch it is.
type Link = (ConsumptionLink, Option<Arc<Branch>>);

impl Drops for Mutex<Link> {
    fn dropped(&self) -> u64 {
        lock(self).0.dropped()
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.counters.left(&*self.link);
    }
}

impl Input {
    /// Adds an appsrc to a segment that nothing feeds yet. It holds back at most so much media while the segment is busy; then
    /// the oldest is dropped, and encoded video goes on with the next keyframe.
    pub fn new(segment: &Segment, longest: gst::ClockTime) -> Result<Input, MediaError> {
        let mut appsrc = AppSrc::builder();
        // Its thread is called so. A segment with two inputs has one that has the name.
        let name = segment.pipeline().name();
        if segment.pipeline().by_name(&name).is_none() {
            appsrc = appsrc.name(name.as_str());
        }
        let appsrc = appsrc.build();
        segment.pipeline().add(&appsrc).map_err(|e| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        })?;
        let settings = ConsumerSettings {
            max_time: longest,
            ..ConsumerSettings::default()
        };
        let link = ConsumptionLink::disconnected_with(appsrc.clone(), settings);
        own_buffers(&appsrc);
        let counters = segment.counters().clone();
        let link = Arc::new(Mutex::new((link, None)));
        counters.joined(&link);
        Ok(Input {
            link,
            appsrc,
            counters,
        })
    }

    /// The appsrc.
    pub fn appsrc(&self) -> &AppSrc {
        &self.appsrc
    }

    /// Feeds it from a branch instead of the one before, or from none.
    pub fn connect(&self, branch: Option<Arc<Branch>>) {
        let mut link = lock(&self.link);
        let same = match (&link.1, &branch) {
            (Some(before), Some(branch)) => Arc::ptr_eq(before, branch),
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        match &branch {
            // It can only fail for a consumer that is connected already, and this one has one link.
            Some(branch) => drop(link.0.change_producer(&branch.producer, true)),
            None => link.0.disconnect(),
        }
        let before = std::mem::replace(&mut link.1, branch);
        drop(link);
        // Its conversion may end with it, which takes other locks.
        drop(before);
    }

    /// The branch it is fed from.
    pub fn branch(&self) -> Option<Arc<Branch>> {
        lock(&self.link).1.clone()
    }

    /// Buffers that were dropped because the segment was too slow.
    pub fn dropped(&self) -> u64 {
        self.link.dropped()
    }
}

/// What all consumers of a branch get is the same buffer, and not every element of GStreamer looks whether it may write into one:
/// opusparse of 1.22 counts times from zero in it for a moment, which another consumer then reads. So each segment gets its own,
/// which is the buffer's head without the media.
fn own(buffer: &mut gst::Buffer) {
    buffer.make_mut();
}

/// The same for all that leaves an appsrc.
fn own_buffers(appsrc: &AppSrc) {
    let Some(pad) = appsrc.static_pad("src") else {
        return;
    };
    probe(&pad, gst::PadProbeType::BUFFER, |_, info| {
        if let Some(buffer) = info.buffer_mut() {
            own(buffer);
        }
        gst::PadProbeReturn::Ok
    });
}

/// Where media of a branch enters a segment on the thread that makes it: for what is done quickly and waits for nothing, such as parsing,
/// of which there is much. A thread of its own, as an [`Input`] has, costs more than that.
pub struct DirectInput {
    entry: Arc<Entry>,
    tap: Mutex<Option<Tap>>,
}

impl DirectInput {
    /// Adds an entry to a segment, which gives to this element.
    pub fn new(segment: &Segment, to: &impl IsA<gst::Element>) -> Result<DirectInput, MediaError> {
        let failed = |e: &dyn std::fmt::Display| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        };
        let entry = Arc::new_cyclic(|this: &Weak<Entry>| {
            let this = this.clone();
            let pad = gst::Pad::builder(gst::PadDirection::Src)
                .event_function(move |_, _, event| {
                    guarded(None, || this.upgrade().is_some_and(|entry| entry.ask(event))).unwrap_or(false)
                })
                .build();
            Entry {
                pad,
                branch: AtomicU64::new(0),
                waits: AtomicBool::new(false),
                source: Mutex::default(),
                given: Mutex::default(),
                pipeline: segment.pipeline().clone(),
            }
        });
        let sink = to.static_pad("sink").ok_or_else(|| failed(&"no way in"))?;
        entry
            .pad
            .link_full(&sink, gst::PadLinkCheck::empty())
            .map_err(|e| failed(&e))?;
        entry.pad.set_active(true).map_err(|e| failed(&e))?;
        entry
            .pad
            .push_event(gst::event::StreamStart::new(&entry.pad.name()));
        Ok(DirectInput {
            entry,
            tap: Mutex::default(),
        })
    }

    /// Feeds it from a branch instead of the one before, or from none. What is encoded begins with a keyframe.
    pub fn connect(&self, branch: Option<Arc<Branch>>) {
        let mut tap = lock(&self.tap);
        let before = tap.as_ref().map(|tap| Arc::as_ptr(&tap.branch));
        if before == branch.as_ref().map(Arc::as_ptr) {
            return;
        }
        let number = self.entry.branch.fetch_add(1, Ordering::AcqRel) + 1;
        self.entry.waits.store(false, Ordering::Release);
        let next = branch.and_then(|branch| Tap::new(branch, number, &self.entry));
        *lock(&self.entry.source) = next.as_ref().map(|tap| tap.from.downgrade());
        let before = std::mem::replace(&mut *tap, next);
        drop(tap);
        // Its conversion may end with it, which takes other locks.
        drop(before);
    }

    /// Whether media comes of which nothing is given, because no keyframe was among it yet.
    pub fn waits_for_keyframe(&self) -> bool {
        self.entry.waits.load(Ordering::Acquire)
    }
}

impl Drop for DirectInput {
    fn drop(&mut self) {
        self.connect(None);
    }
}

/// Where media leaves a segment, on the thread that makes it: a pad of our own, which costs less than an appsink with its queue, and
/// its signals for who may wait at it. To be dropped before its segment.
pub struct Handover {
    pad: gst::Pad,
}

impl Handover {
    /// What leaves this element is given to `take`, with the pad that it came to.
    pub fn new(
        from: &impl IsA<gst::Element>,
        take: impl Fn(&gst::Pad, gst::Buffer) + Send + Sync + 'static,
    ) -> Result<Handover, MediaError> {
        // Without a template the pad would take no other caps than its first.
        let template = gst::PadTemplate::new(
            "sink",
            gst::PadDirection::Sink,
            gst::PadPresence::Always,
            &gst::Caps::new_any(),
        );
        let any = template.map_err(|e| MediaError::new(e.to_string()))?;
        let blamed = from.upcast_ref::<gst::Element>().downgrade();
        let pad = gst::Pad::builder_from_template(&any)
            .chain_function(move |pad, _, buffer| {
                let taken = guarded(blamed.upgrade().as_ref(), || take(pad, buffer));
                taken.map(|()| gst::FlowSuccess::Ok).ok_or(gst::FlowError::Error)
            })
            .event_function(|_, _, _| true)
            .build();
        let linked = from.static_pad("src").is_some_and(|out| {
            let linked = out.link_full(&pad, gst::PadLinkCheck::empty());
            linked.is_ok() && pad.set_active(true).is_ok()
        });
        match linked {
            true => Ok(Handover { pad }),
            false => Err(MediaError::new("Media can't be set up")),
        }
    }

    /// The pad.
    pub fn pad(&self) -> &gst::Pad {
        &self.pad
    }
}

/// A branch that is listened to.
struct Tap {
    branch: Arc<Branch>,
    from: gst::Pad,
    probe: Option<gst::PadProbeId>,
}

impl Tap {
    fn new(branch: Arc<Branch>, number: u64, entry: &Arc<Entry>) -> Option<Tap> {
        let from = branch.producer.appsink().static_pad("sink")?;
        let entry = entry.clone();
        let probe = probe(&from, gst::PadProbeType::BUFFER, move |pad, info| {
            if let Some(buffer) = info.buffer() {
                // What fails is the segment that takes it, not that which gives it to others too.
                guarded(Some(entry.pipeline.upcast_ref()), || {
                    entry.give(number, pad, buffer)
                });
            }
            gst::PadProbeReturn::Ok
        });
        Some(Tap { branch, from, probe })
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if let Some(probe) = self.probe.take() {
            self.from.remove_probe(probe);
        }
    }
}

/// A pad of our own that gives to the segment.
struct Entry {
    pad: gst::Pad,
    /// Counts branches: what one gives when it was changed for another is too late.
    branch: AtomicU64,
    /// The same as what was given last says, to be read without its lock, which is held for long.
    waits: AtomicBool,
    /// Where requests for keyframes go.
    source: Mutex<Option<gst::glib::WeakRef<gst::Pad>>>,
    /// Held while something is given, so that two branches don't at once. Nothing else takes it.
    given: Mutex<Given>,
    /// Dropped after the pad, which tells its peer when it goes.
    pipeline: gst::Pipeline,
}

/// What was given last.
#[derive(Default)]
struct Given {
    branch: u64,
    waits_for_keyframe: bool,
    caps: Option<gst::Caps>,
    segment: Option<gst::Segment>,
}

impl Entry {
    fn give(&self, branch: u64, from: &gst::Pad, buffer: &gst::Buffer) {
        let mut given = lock(&self.given);
        if self.branch.load(Ordering::Acquire) != branch {
            return;
        }
        let changed = std::mem::replace(&mut given.branch, branch) != branch;
        let flags = buffer.flags();
        let depends = flags.contains(gst::BufferFlags::DELTA_UNIT);
        given.waits_for_keyframe |= changed || flags.contains(gst::BufferFlags::DISCONT);
        given.waits_for_keyframe &= depends;
        self.waits.store(given.waits_for_keyframe, Ordering::Release);
        if given.waits_for_keyframe {
            drop(given);
            let request = gst_video::UpstreamForceKeyUnitEvent::builder().all_headers(true);
            from.push_event(request.build());
            return;
        }
        let caps = from.current_caps();
        if given.caps != caps
            && let Some(caps) = &caps
        {
            self.pad.push_event(gst::event::Caps::new(caps));
        }
        given.caps = caps;
        let segment = from.sticky_event::<gst::event::Segment<_>>(0);
        let segment = segment.map(|event| event.segment().clone());
        if given.segment != segment
            && let Some(segment) = &segment
        {
            self.pad.push_event(gst::event::Segment::new(segment));
        }
        given.segment = segment;
        let mut buffer = buffer.clone();
        own(&mut buffer);
        if changed {
            buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
        }
        // Refused only by a segment that has stopped or failed, which says so itself.
        let _ = self.pad.push(buffer);
    }

    /// Passes a request on to the branch.
    fn ask(&self, event: gst::Event) -> bool {
        let source = lock(&self.source).as_ref().and_then(gst::glib::WeakRef::upgrade);
        gst_video::ForceKeyUnitEvent::is(&event) && source.is_some_and(|pad| pad.push_event(event))
    }
}
