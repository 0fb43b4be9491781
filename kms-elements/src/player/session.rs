//! One playing of a URI or an upload: a segment that reads it and hands its media to the endpoint's sources.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::media::{Branch, Codec, Format, MediaError, Report, Segment, Timeline};
use kms_core::object::lock;
use kms_core::types::MediaType;

/// What a session tells the endpoint it plays for. Called on GStreamer's threads, with no lock of the session held.
pub(crate) trait Listener: Send + Sync {
    /// Media of a kind was found, in this form.
    fn found(&self, session: u64, kind: MediaType, branch: Arc<Branch>);
    /// The first media of a kind was read.
    fn began(&self, session: u64, kind: MediaType);
    /// The segment reports.
    fn reported(&self, session: u64, report: Report);
}

/// Where a session's media comes from.
pub(crate) struct Origin {
    /// What GStreamer opens; `appsrc://` for media that the server is given.
    pub(crate) uri: String,
    /// Media that comes at its time by itself, and is not held back.
    pub(crate) live: bool,
    /// Sets up GStreamer's source of such a URI, before it is opened.
    pub(crate) set_up: Box<dyn Fn(&gst::Element) + Send + Sync>,
}

/// A playing.
pub(crate) struct Session {
    segment: Segment,
    position: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
}

/// What the pads of a session need to know.
struct Context {
    id: u64,
    timeline: Timeline,
    listener: Weak<dyn Listener>,
    paced: bool,
    /// Kinds that were found: of each the first is played, as in Kurento.
    found: Mutex<Vec<MediaType>>,
    /// Position in the media of what left last, nanoseconds. GStreamer's own answer would be the time since it began to play, for
    /// what leaves bears no other.
    position: Arc<AtomicU64>,
    /// When media was read last, nanoseconds of the shared time.
    last: Arc<AtomicU64>,
}

impl Session {
    /// Sets up a session; [`Session::go`] begins it.
    pub(crate) fn new(
        id: u64,
        origin: Origin,
        timeline: &Timeline,
        listener: Weak<dyn Listener>,
    ) -> Result<Session, MediaError> {
        let reports = listener.clone();
        let played = Arc::new(OnceLock::new());
        let plays = played.clone();
        let report = move |report| {
            if let Report::State(gst::State::Playing) = report {
                follow(&plays);
            }
            if let Some(listener) = reports.upgrade() {
                listener.reported(id, report);
            }
        };
        let segment = Segment::with_own_time(timeline, &format!("player-{id}"), report);
        let _ = played.set(segment.pipeline().downgrade());
        let reader = gst::ElementFactory::make("uridecodebin")
            .property("uri", &origin.uri)
            .property("caps", playable_caps())
            .build()
            .map_err(|e| MediaError {
                message: "GStreamer's base plugins are not installed".into(),
                detail: e.to_string(),
            })?;
        let Origin { live, set_up, .. } = origin;
        reader.connect("source-setup", false, move |values| {
            if let Some(Ok(source)) = values.get(1).map(|v| v.get::<gst::Element>()) {
                set_up(&source);
            }
            None
        });
        let position = Arc::new(AtomicU64::new(0));
        let last = Arc::new(AtomicU64::new(timeline.now().nseconds()));
        let context = Arc::new(Context {
            id,
            timeline: timeline.clone(),
            listener,
            paced: !live,
            found: Mutex::default(),
            position: position.clone(),
            last: last.clone(),
        });
        let pipeline = segment.pipeline().downgrade();
        reader.connect_pad_added(move |_, pad| {
            if let Some(pipeline) = pipeline.upgrade() {
                context.pad_added(&pipeline, pad);
            }
        });
        segment.pipeline().add(&reader).map_err(|e| MediaError {
            message: "Media can't be set up".into(),
            detail: e.to_string(),
        })?;
        Ok(Session {
            segment,
            position,
            last,
        })
    }

    /// Plays or pauses, without waiting for it.
    pub(crate) fn go(&self, state: gst::State) {
        self.segment.go(state);
    }

    /// How far it has played.
    pub(crate) fn position(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.position.load(Ordering::Relaxed))
    }

    /// When media was read last, in the shared time; when it was begun, if there was none yet.
    pub(crate) fn last_media(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.last.load(Ordering::Relaxed))
    }

    /// Jumps to the last keyframe before a position, without waiting for it.
    pub(crate) fn seek(&self, position: gst::ClockTime, plays: bool) {
        self.segment.later(move |pipeline| {
            // The time of a pipeline that plays would go on counting from where it was.
            let _ = pipeline.set_state(gst::State::Paused);
            let _ = pipeline.state(gst::ClockTime::from_seconds(2));
            let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::KEY_UNIT | gst::SeekFlags::SNAP_BEFORE;
            if let Err(error) = pipeline.seek_simple(flags, position) {
                tracing::warn!(pipeline = %pipeline.name(), %position, %error, "a position can't be jumped to");
            }
            if plays {
                let _ = pipeline.set_state(gst::State::Playing);
            }
        });
    }

    /// The pipeline, for queries and drawings.
    pub(crate) fn pipeline(&self) -> &gst::Pipeline {
        self.segment.pipeline()
    }
}

/// What was added while the pipeline went to playing, and was left out of that, plays too.
fn follow(pipeline: &OnceLock<gst::glib::WeakRef<gst::Pipeline>>) {
    let pipeline = pipeline.get().and_then(gst::glib::WeakRef::upgrade);
    if let Some(Err(error)) = pipeline.map(|p| p.sync_children_states()) {
        tracing::warn!(%error, "a part of a player does not play");
    }
}

/// What is handed on as it is: the codecs we know, and raw media. All else is decoded.
fn playable_caps() -> gst::Caps {
    let mut caps = gst::Caps::new_empty();
    let codecs = [MediaType::Video, MediaType::Audio]
        .into_iter()
        .flat_map(Codec::all);
    for name in codecs
        .map(Codec::media_type)
        .chain(["video/x-raw", "audio/x-raw"])
    {
        let structure = match name {
            // MP3 has the same name.
            "audio/mpeg" => gst::Structure::builder(name)
                .field("mpegversion", gst::List::new([2, 4]))
                .build(),
            name => gst::Structure::new_empty(name),
        };
        caps.make_mut().append_structure(structure);
    }
    caps
}

impl Context {
    /// Something was found in the URI: what is known is brought into the form in which it is handed on.
    fn pad_added(self: &Arc<Self>, pipeline: &gst::Pipeline, pad: &gst::Pad) {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(structure) = caps.structure(0) else {
            return;
        };
        let (kind, format) = match Codec::from_caps(structure) {
            Some(codec) => (codec.kind(), Format::Encoded(codec)),
            None if structure.name() == "video/x-raw" => (MediaType::Video, Format::Raw),
            None if structure.name() == "audio/x-raw" => (MediaType::Audio, Format::Raw),
            None => return,
        };
        {
            let mut found = lock(&self.found);
            if found.contains(&kind) {
                return;
            }
            found.push(kind);
        }
        match self.hand_on(pipeline, pad, kind, format) {
            Ok(branch) => {
                if let Some(listener) = self.listener.upgrade() {
                    listener.found(self.id, kind, branch);
                }
            }
            Err(error) => tracing::error!(%format, %error, "media that was found can't be handed on"),
        }
    }

    fn hand_on(
        self: &Arc<Self>,
        pipeline: &gst::Pipeline,
        pad: &gst::Pad,
        kind: MediaType,
        format: Format,
    ) -> Result<Arc<Branch>, gst::glib::BoolError> {
        let normal = kms_core::media::normalise(kind, format);
        // Files are read as fast as they can be; their media leaves at its time.
        let pace = if self.paced { " ! identity sync=true" } else { "" };
        let bin = gst::parse::bin_from_description(&format!("{normal}{pace}"), true)
            .map_err(|e| gst::glib::bool_error!("{e}"))?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        if self.paced {
            // Not further: a pipeline on its way to playing has no base time yet, and what plays before it has does so at once.
            bin.set_state(gst::State::Paused)
                .map_err(|e| gst::glib::bool_error!("{e}"))?;
        }
        pipeline.add_many([bin.upcast_ref::<gst::Element>(), sink.upcast_ref()])?;
        bin.link(&sink)?;
        self.retime(pipeline, &sink, kind);
        let branch = Branch::native(format, &sink);
        sink.sync_state_with_parent()?;
        // While it waits for all that is in the file, the pipeline takes what was added to playing by itself, or by `follow`.
        if !self.paced || pipeline.current_state() == gst::State::Playing {
            bin.sync_state_with_parent()?;
        }
        let entry = bin
            .static_pad("sink")
            .ok_or_else(|| gst::glib::bool_error!("no way in"))?;
        pad.link(&entry).map_err(|e| gst::glib::bool_error!("{e}"))?;
        Ok(branch)
    }

    /// The segment keeps time by itself, from zero, with pauses and jumps. What leaves it bears the time that all segments
    /// share instead: when it is due on the clock.
    fn retime(self: &Arc<Self>, pipeline: &gst::Pipeline, sink: &AppSink, kind: MediaType) {
        let Some(pad) = sink.static_pad("sink") else {
            return;
        };
        let (context, pipeline) = (self.clone(), pipeline.downgrade());
        let began = AtomicBool::new(false);
        let own = Mutex::new(gst::FormattedSegment::<gst::ClockTime>::new());
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                let base = pipeline.upgrade().and_then(|p| p.base_time()).unwrap_or_default();
                let at = |time: Option<gst::ClockTime>| {
                    let running = lock(&own).to_running_time(time?)?;
                    Some(context.timeline.running_time(base + running))
                };
                let now = context.timeline.now().nseconds();
                context.last.store(now, Ordering::Relaxed);
                let (pts, dts) = (at(buffer.pts()), at(buffer.dts()));
                if buffer.pts().is_some() && pts.is_none() {
                    // Outside of what is to be played: an encoder's priming, or what comes before a position that was jumped to.
                    info.data = None;
                    return gst::PadProbeReturn::Handled;
                }
                if let Some(position) = buffer.pts().and_then(|t| lock(&own).to_stream_time(t)) {
                    context.position.store(position.nseconds(), Ordering::Relaxed);
                }
                let buffer = buffer.make_mut();
                buffer.set_pts(pts);
                buffer.set_dts(dts);
                if !began.swap(true, Ordering::Relaxed)
                    && let Some(listener) = context.listener.upgrade()
                {
                    listener.began(context.id, kind);
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
