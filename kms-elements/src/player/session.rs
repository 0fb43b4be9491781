//! One playing of a URI or an upload: a segment that reads it and hands its media to the endpoint's sources.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::AppSink;
use kms_core::media::{Branch, Codec, Format, MediaError, Report, Segment, Timeline};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::camera::{Address, Camera, Reader};
use super::rtsp;

/// What a session tells the endpoint it plays for. Called on GStreamer's threads, with no lock of the session held.
pub(crate) trait Listener: Send + Sync {
    /// Media of a kind was found, in this form.
    fn found(&self, session: u64, kind: MediaType, branch: Arc<Branch>);
    /// Pictures come in another order than that in which they are shown.
    fn reordered(&self, session: u64, kind: MediaType);
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
    /// A camera that is read without GStreamer's source, and where.
    pub(crate) camera: Option<Address>,
    /// Sets up GStreamer's source of such a URI, before it is opened.
    pub(crate) set_up: Box<dyn Fn(&gst::Element) + Send + Sync>,
}

/// A playing.
pub(crate) struct Session {
    camera: Option<ReadCamera>,
    segment: Segment,
    position: Arc<AtomicU64>,
    heard: Arc<Heard>,
}

/// A camera, which is read from the first [`Session::go`] on.
struct ReadCamera {
    address: Address,
    context: Arc<CameraContext>,
    reading: Mutex<Option<Camera>>,
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

    /// Notes what a source for RTSP says that it will get.
    fn expect(self: &Arc<Self>, source: &gst::Element) {
        let heard = self.clone();
        source.connect("select-stream", false, move |values| {
            let caps = values.get(2).and_then(|v| v.get::<gst::Caps>().ok());
            let media = caps.and_then(|c| c.structure(0)?.get::<String>("media").ok());
            if media.as_deref() == Some("video") {
                heard.expects_video.store(true, Ordering::Relaxed);
            }
            Some(true.to_value())
        });
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
        if let Some(probe) = pad.add_probe(kinds, |_, _| gst::PadProbeReturn::Ok) {
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

/// What the pads of a session need to know.
struct Context {
    id: u64,
    timeline: Timeline,
    listener: Weak<dyn Listener>,
    paced: bool,
    gate: Arc<Gate>,
    /// Kinds that were found: of each the first is played, as in Kurento.
    found: Mutex<Vec<MediaType>>,
    /// Position in the media of what left last, nanoseconds. GStreamer's own answer would be the time since it began to play, for
    /// what leaves bears no other.
    position: Arc<AtomicU64>,
    heard: Arc<Heard>,
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
        let gate = Arc::new(Gate::default());
        let opens = gate.clone();
        let report = move |report| {
            if matches!(report, Report::State(gst::State::Playing)) {
                opens.open();
            }
            if let Some(listener) = reports.upgrade() {
                listener.reported(id, report);
            }
        };
        let name = format!("player-{id}");
        // What a camera sends bears the shared time from the beginning.
        let segment = match origin.camera {
            Some(_) => Segment::new(timeline, &name, report),
            None => Segment::with_own_time(timeline, &name, report),
        };
        let heard = Arc::new(Heard::new(timeline.now()));
        let position = Arc::new(AtomicU64::new(0));
        let context = Arc::new(Context {
            id,
            timeline: timeline.clone(),
            listener,
            paced: !origin.live,
            gate,
            found: Mutex::default(),
            position: position.clone(),
            heard: heard.clone(),
        });
        let pipeline = segment.pipeline().downgrade();
        let camera = match origin.camera {
            Some(address) => Some(ReadCamera {
                address,
                context: Arc::new(CameraContext { context, pipeline }),
                reading: Mutex::default(),
            }),
            None => {
                let failed = |e: &dyn std::fmt::Display| MediaError {
                    message: "Media can't be set up: are GStreamer's base plugins installed?".into(),
                    detail: e.to_string(),
                };
                let reader = reader(origin, &heard).map_err(|e| failed(&e))?;
                reader.connect_pad_added(move |_, pad| {
                    if let Some(pipeline) = pipeline.upgrade() {
                        context.pad_added(&pipeline, pad);
                    }
                });
                segment.pipeline().add(&reader).map_err(|e| failed(&e))?;
                None
            }
        };
        Ok(Session {
            camera,
            segment,
            position,
            heard,
        })
    }

    /// Plays or pauses, without waiting for it.
    pub(crate) fn go(&self, state: gst::State) {
        self.segment.go(state);
        if let Some(camera) = &self.camera {
            camera.go(state == gst::State::Paused);
        }
    }

    /// How far it has played.
    pub(crate) fn position(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.position.load(Ordering::Relaxed))
    }

    /// Since when something is missing, in the shared time: all media, or the video of a camera that said it had some.
    pub(crate) fn missing_since(&self) -> gst::ClockTime {
        self.heard.missing_since()
    }

    /// When media was read last, in the shared time; when it was begun, if there was none yet.
    pub(crate) fn last_media(&self) -> gst::ClockTime {
        gst::ClockTime::from_nseconds(self.heard.any.load(Ordering::Relaxed))
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

impl ReadCamera {
    fn go(&self, pauses: bool) {
        let reader: Weak<CameraContext> = Arc::downgrade(&self.context);
        let timeline = &self.context.context.timeline;
        lock(&self.reading)
            .get_or_insert_with(|| Camera::read(self.address.clone(), timeline, reader))
            .pause(pauses);
    }
}

/// For whom a camera is read.
struct CameraContext {
    context: Arc<Context>,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
}

impl Reader for CameraContext {
    fn pipeline(&self) -> Option<gst::Pipeline> {
        self.pipeline.upgrade()
    }

    fn stream(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) {
        let caps = pad.current_caps();
        let media = caps.and_then(|c| c.structure(0)?.get::<String>("media").ok());
        if media.as_deref() == Some("video") {
            self.context.heard.expects_video.store(true, Ordering::Relaxed);
        }
        self.context.pad_added(pipeline, pad);
    }

    fn reported(&self, report: Report) {
        if let Some(listener) = self.context.listener.upgrade() {
            listener.reported(self.context.id, report);
        }
    }
}

/// What reads the origin, and has a pad for each stream in it.
fn reader(origin: Origin, heard: &Arc<Heard>) -> Result<gst::Element, gst::glib::BoolError> {
    if rtsp::is_rtsp(&origin.uri) {
        let source = rtsp::reader(&origin.uri)?;
        (origin.set_up)(&source);
        heard.expect(&source);
        return Ok(source);
    }
    let reader = gst::ElementFactory::make("uridecodebin")
        .property("uri", &origin.uri)
        .property("caps", playable_caps())
        .build()?;
    reader.connect("source-setup", false, move |values| {
        if let Some(Ok(source)) = values.get(1).map(|v| v.get::<gst::Element>()) {
            (origin.set_up)(&source);
        }
        None
    });
    Ok(reader)
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
        let (context, weak) = (self.clone(), pipeline.downgrade());
        let begun = gst::ElementFactory::make("decodebin")
            .build()
            .and_then(|decoder| {
                decoder.connect_pad_added(move |_, pad| {
                    if let Some(pipeline) = weak.upgrade() {
                        context.pad_added(&pipeline, pad);
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
        let (context, pipeline) = (self.clone(), pipeline.downgrade());
        let began = AtomicBool::new(false);
        let branch = Arc::downgrade(branch);
        let order = Mutex::new(Order::default());
        let own = Mutex::new(gst::FormattedSegment::<gst::ClockTime>::new());
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |_, info| {
            if let Some(buffer) = info.buffer_mut() {
                let base = pipeline.upgrade().and_then(|p| p.base_time()).unwrap_or_default();
                let at = |time: Option<gst::ClockTime>| {
                    let running = lock(&own).to_running_time(time?)?;
                    Some(context.timeline.running_time(base + running))
                };
                context.heard.set(kind, context.timeline.now());
                if lock(&order).is_broken_by(buffer)
                    && branch.upgrade().is_some_and(|b| b.set_reorders())
                    && let Some(listener) = context.listener.upgrade()
                {
                    listener.reordered(context.id, kind);
                }
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
