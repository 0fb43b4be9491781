//! Streams that a session found, on their way to the endpoint's sources.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::media::{Branch, Codec, Format, Report, Timeline, guarded, probe};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::rtsp;
use super::session::Listener;

/// Holds media back until the pipeline plays. What is added to a pipeline on its way to playing plays before it does, and has no
/// time to go by yet: the beginning of a file, or all of a short one, would leave at once.
#[derive(Default)]
struct Gate(Mutex<GateState>);

#[derive(Default)]
struct GateState {
    is_open: bool,
    held: Vec<(gst::Pad, gst::PadProbeId)>,
}

impl Gate {
    fn hold(&self, pad: &gst::Pad) {
        let mut state = lock(&self.0);
        if state.is_open {
            return;
        }
        let kinds = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
        if let Some(probe) = probe(pad, kinds, |_, _| gst::PadProbeReturn::Ok) {
            state.held.push((pad.clone(), probe));
        }
    }

    fn open(&self) {
        let held = {
            let mut state = lock(&self.0);
            state.is_open = true;
            std::mem::take(&mut state.held)
        };
        held.into_iter().for_each(|(pad, probe)| pad.remove_probe(probe));
    }
}

/// When media was read last, nanoseconds of the shared time: from when the session was made on.
struct Heard {
    any: AtomicU64,
    video: AtomicU64,
    /// A camera said that it would send video.
    expects_video: AtomicBool,
}

impl Heard {
    fn new(now: gst::ClockTime) -> Heard {
        Heard {
            any: AtomicU64::new(now.nseconds()),
            video: AtomicU64::new(now.nseconds()),
            expects_video: AtomicBool::new(false),
        }
    }

    fn set(&self, kind: MediaType, now: gst::ClockTime) {
        self.any.store(now.nseconds(), Ordering::Relaxed);
        if kind == MediaType::Video {
            self.video.store(now.nseconds(), Ordering::Relaxed);
        }
    }

    /// Since when something is missing: all media, or the video that was promised. Sound alone may be missing: microphones
    /// are muted.
    fn missing_since(&self) -> gst::ClockTime {
        let last = if self.expects_video.load(Ordering::Relaxed) {
            &self.video
        } else {
            &self.any
        };
        gst::ClockTime::from_nseconds(last.load(Ordering::Relaxed))
    }
}

/// The streams of a session.
pub(super) struct Streams {
    id: u64,
    timeline: Timeline,
    listener: Weak<dyn Listener>,
    /// They are held back until their time.
    paced: bool,
    gate: Gate,
    /// Kinds that were found: of each the first is played, as in Kurento.
    found: Mutex<Vec<MediaType>>,
    /// Position in the media of what left last, nanoseconds. GStreamer's own answer would be the time since it began to play, for
    /// what leaves bears no other.
    position: AtomicU64,
    heard: Heard,
}

impl Streams {
    /// None yet.
    pub(super) fn new(id: u64, timeline: &Timeline, listener: Weak<dyn Listener>, paced: bool) -> Streams {
        Streams {
            id,
            timeline: timeline.clone(),
            listener,
            paced,
            gate: Gate::default(),
            found: Mutex::default(),
            position: AtomicU64::new(0),
            heard: Heard::new(timeline.now()),
        }
    }

    /// The shared time.
    pub(super) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// How far it has played.
    pub(super) fn position(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.position.load(Ordering::Relaxed))
    }

    /// See [`Session::missing_since`](super::session::Session::missing_since).
    pub(super) fn missing_since(&self) -> gst::ClockTime {
        self.heard.missing_since()
    }

    /// See [`Session::last_media`](super::session::Session::last_media).
    pub(super) fn last_media(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.heard.any.load(Ordering::Relaxed))
    }

    /// A camera says that it will send packets of these caps.
    pub(super) fn expect(&self, caps: Option<gst::Caps>) {
        let media = caps.and_then(|c| c.structure(0)?.get::<String>("media").ok());
        if media.as_deref() == Some("video") {
            self.heard.expects_video.store(true, Ordering::Relaxed);
        }
    }

    /// The segment or what reads the camera reports.
    pub(super) fn reported(&self, report: Report) {
        if matches!(report, Report::State(gst::State::Playing)) {
            self.gate.open();
        }
        if let Some(listener) = self.listener.upgrade() {
            listener.reported(self.id, report);
        }
    }

    /// Something was found in the URI: what is known is brought into the form in which it is handed on.
    pub(super) fn pad_added(self: &Arc<Self>, pipeline: &gst::Pipeline, pad: &gst::Pad) {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(structure) = caps.structure(0) else {
            return;
        };
        let (kind, format, depayloader) = match Codec::from_caps(structure) {
            Some(codec) => (codec.kind(), Format::Encoded(codec), None),
            None if structure.name() == "video/x-raw" => (MediaType::Video, Format::Raw, None),
            None if structure.name() == "audio/x-raw" => (MediaType::Audio, Format::Raw, None),
            None if structure.name() == "application/x-rtp" => match rtsp::codec_of(structure) {
                Some((codec, element)) => (codec.kind(), Format::Encoded(codec), Some(element)),
                None if rtsp::may_be_known(&caps) => return self.search(pipeline, pad),
                None => {
                    tracing::info!(%caps, "a stream of a camera is left out: it can't be decoded here");
                    return;
                }
            },
            None => return,
        };
        {
            let mut found = lock(&self.found);
            if found.contains(&kind) {
                return;
            }
            found.push(kind);
        }
        match self.hand_on(pipeline, pad, (kind, format), depayloader) {
            Ok(branch) => {
                if let Some(listener) = self.listener.upgrade() {
                    listener.found(self.id, kind, branch);
                }
            }
            Err(error) => tracing::error!(%format, %error, "media that was found can't be handed on"),
        }
    }

    /// A stream of a camera in a codec that isn't handed on as it is: GStreamer decodes it, if it can.
    fn search(self: &Arc<Self>, pipeline: &gst::Pipeline, pad: &gst::Pad) {
        let (streams, weak) = (self.clone(), pipeline.downgrade());
        let begun = gst::ElementFactory::make("decodebin")
            .build()
            .and_then(|decoder| {
                decoder.connect_pad_added(move |_, pad| {
                    if let Some(pipeline) = weak.upgrade() {
                        guarded(pad.parent_element().as_ref(), || {
                            streams.pad_added(&pipeline, pad)
                        });
                    }
                });
                pipeline.add(&decoder)?;
                decoder.sync_state_with_parent()?;
                let entry = decoder.static_pad("sink");
                let entry = entry.ok_or_else(|| gst::glib::bool_error!("no way in"))?;
                pad.link(&entry).map_err(|e| gst::glib::bool_error!("{e}"))
            });
        if let Err(error) = begun {
            tracing::error!(%error, "a stream of a camera can't be decoded");
        }
    }

    fn hand_on(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        (kind, format): (MediaType, Format),
        depayloader: Option<&str>,
    ) -> Result<Arc<Branch>, gst::glib::BoolError> {
        let normal = kms_core::media::normalise(kind, format);
        let depay = depayloader.map_or(String::new(), |element| format!("{element} ! "));
        // Files are read as fast as they can be; their media leaves at its time.
        let pace = if self.paced { " ! identity sync=true" } else { "" };
        let bin = gst::parse::bin_from_description(&format!("{depay}{normal}{pace}"), true)
            .map_err(|e| gst::glib::bool_error!("{e}"))?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        pipeline.add_many([bin.upcast_ref::<gst::Element>(), sink.upcast_ref()])?;
        bin.link(&sink)?;
        let branch = Branch::native(format, &sink);
        self.retime(pipeline, &sink, kind, &branch);
        sink.sync_state_with_parent()?;
        bin.sync_state_with_parent()?;
        let entry = bin
            .static_pad("sink")
            .ok_or_else(|| gst::glib::bool_error!("no way in"))?;
        if self.paced {
            self.gate.hold(&entry);
        }
        pad.link(&entry).map_err(|e| gst::glib::bool_error!("{e}"))?;
        Ok(branch)
    }

    /// The segment keeps time by itself, from zero, with pauses and jumps. What leaves it bears the time that all segments
    /// share instead: when it is due on the clock.
    fn retime(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        sink: &AppSink,
        kind: MediaType,
        branch: &Arc<Branch>,
    ) {
        let Some(pad) = sink.static_pad("sink") else {
            return;
        };
        let (streams, pipeline) = (self.clone(), pipeline.downgrade());
        let began = AtomicBool::new(false);
        let branch = Arc::downgrade(branch);
        let order = Mutex::new(Order::default());
        let own = Mutex::new(gst::FormattedSegment::<gst::ClockTime>::new());
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        probe(&pad, kinds, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                let base = pipeline.upgrade().and_then(|p| p.base_time()).unwrap_or_default();
                let at = |time: Option<gst::ClockTime>| {
                    let running = lock(&own).to_running_time(time?)?;
                    Some(streams.timeline.running_time(base + running))
                };
                streams.heard.set(kind, streams.timeline.now());
                if lock(&order).is_broken_by(buffer)
                    && branch.upgrade().is_some_and(|b| b.set_reorders())
                    && let Some(listener) = streams.listener.upgrade()
                {
                    listener.reordered(streams.id, kind);
                }
                let (pts, dts) = (at(buffer.pts()), at(buffer.dts()));
                if buffer.pts().is_some() && pts.is_none() {
                    // Outside of what is to be played: an encoder's priming, or what comes before a position that was jumped to.
                    info.data = None;
                    return gst::PadProbeReturn::Handled;
                }
                if let Some(position) = buffer.pts().and_then(|t| lock(&own).to_stream_time(t)) {
                    streams.position.store(position.nseconds(), Ordering::Relaxed);
                }
                let buffer = buffer.make_mut();
                buffer.set_pts(pts);
                buffer.set_dts(dts);
                if !began.swap(true, Ordering::Relaxed)
                    && let Some(listener) = streams.listener.upgrade()
                {
                    listener.began(streams.id, kind);
                }
            } else if let Some(event) = info.event()
                && let gst::EventView::Segment(segment) = event.view()
                && let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>()
            {
                *lock(&own) = segment.clone();
                let shared = gst::FormattedSegment::<gst::ClockTime>::new();
                let event = gst::event::Segment::builder(&shared)
                    .seqnum(event.seqnum())
                    .build();
                info.data = Some(gst::PadProbeData::Event(event));
            }
            gst::PadProbeReturn::Ok
        });
    }
}

/// Whether buffers come in the order in which they are shown.
#[derive(Default)]
struct Order {
    last: Option<gst::ClockTime>,
}

impl Order {
    /// Whether this one shows that they don't: it is shown before the last, or decoded before it is shown.
    fn is_broken_by(&mut self, buffer: &gst::BufferRef) -> bool {
        let Some(pts) = buffer.pts() else { return false };
        let jumped = buffer.flags().contains(gst::BufferFlags::DISCONT);
        let back = !jumped && self.last.is_some_and(|last| pts < last);
        self.last = Some(pts);
        back || buffer.dts().is_some_and(|dts| dts < pts)
    }
}
