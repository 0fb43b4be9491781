//! One playing of a URI or an upload: a segment that reads it and hands its media to the endpoint's sources.

use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use kms_core::media::{Branch, Codec, MediaError, Report, Segment, Timeline, guarded};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::camera::{Address, Camera, Reader};
use super::rtsp;
use super::streams::Streams;
use crate::sources::Sources;

/// What a session tells the endpoint it plays for. Called on GStreamer's threads, with no lock of the session held.
pub(crate) trait Listener: Send + Sync {
    /// Whether it is this session that is played: what an earlier one still tells is too late.
    fn is_current(&self, session: u64) -> bool;
    /// Where media is given.
    fn sources(&self) -> &Sources;
    /// The first media of a kind was read.
    fn began(&self, session: u64, kind: MediaType);
    /// The segment reports.
    fn reported(&self, session: u64, report: Report);

    /// Media of a kind was found, in this form.
    fn found(&self, session: u64, kind: MediaType, branch: Arc<Branch>) {
        if self.is_current(session) {
            self.sources().give(kind, branch);
        }
    }

    /// Pictures come in another order than that in which they are shown.
    fn reordered(&self, session: u64, kind: MediaType) {
        if self.is_current(session) {
            self.sources().changed(kind);
        }
    }
}

/// Where a session's media comes from.
pub(crate) struct Origin {
    /// What GStreamer opens; `appsrc://` for media that the server is given.
    pub(crate) uri: String,
    /// Media that comes at its time by itself, and is not held back.
    pub(crate) live: bool,
    /// A camera that is read without GStreamer's source, and where.
    pub(crate) camera: Option<Address>,
    /// Whether what is read may name other sources that are read then: playlists, session descriptions.
    pub(crate) leads_on: bool,
    /// Sets up GStreamer's source of such a URI, before it is opened.
    pub(crate) set_up: Box<dyn Fn(&gst::Element) + Send + Sync>,
}

/// A playing.
pub(crate) struct Session {
    camera: Option<ReadCamera>,
    segment: Segment,
    streams: Arc<Streams>,
}

/// A camera, which is read from the first [`Session::go`] on.
struct ReadCamera {
    address: Address,
    reader: Arc<CameraReader>,
    reading: Mutex<Option<Camera>>,
}

impl Session {
    /// Sets up a session; [`Session::go`] begins it.
    pub(crate) fn new(
        id: u64,
        origin: Origin,
        timeline: &Timeline,
        listener: Weak<dyn Listener>,
    ) -> Result<Session, MediaError> {
        let streams = Arc::new(Streams::new(id, timeline, listener, !origin.live));
        let reporting = streams.clone();
        let report = move |report| reporting.reported(report);
        let name = format!("player-{id}");
        // What a camera sends bears the shared time from the beginning.
        let segment = match origin.camera {
            Some(_) => Segment::new(timeline, &name, report),
            None => Segment::with_own_time(timeline, &name, report),
        };
        let pipeline = segment.pipeline().downgrade();
        let camera = match origin.camera {
            Some(address) => Some(ReadCamera {
                address,
                reader: Arc::new(CameraReader {
                    streams: streams.clone(),
                    pipeline,
                }),
                reading: Mutex::default(),
            }),
            None => {
                let failed = |e: &dyn std::fmt::Display| MediaError {
                    message: "Media can't be set up: are GStreamer's base plugins installed?".into(),
                    detail: e.to_string(),
                };
                let reader = reader(origin, &streams).map_err(|e| failed(&e))?;
                let found = streams.clone();
                reader.connect_pad_added(move |_, pad| {
                    if let Some(pipeline) = pipeline.upgrade() {
                        guarded(pad.parent_element().as_ref(), || found.pad_added(&pipeline, pad));
                    }
                });
                segment.pipeline().add(&reader).map_err(|e| failed(&e))?;
                None
            }
        };
        Ok(Session {
            camera,
            segment,
            streams,
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
        self.streams.position()
    }

    /// Since when something is missing, in the shared time: all media, or the video of a camera that said it had some.
    pub(crate) fn missing_since(&self) -> gst::ClockTime {
        self.streams.missing_since()
    }

    /// When media was read last, in the shared time; when it was begun, if there was none yet.
    pub(crate) fn last_media(&self) -> gst::ClockTime {
        self.streams.last_media()
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
        let reader: Weak<CameraReader> = Arc::downgrade(&self.reader);
        lock(&self.reading)
            .get_or_insert_with(|| Camera::read(self.address.clone(), self.reader.streams.timeline(), reader))
            .pause(pauses);
    }
}

/// For whom a camera is read.
struct CameraReader {
    streams: Arc<Streams>,
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
}

impl Reader for CameraReader {
    fn pipeline(&self) -> Option<gst::Pipeline> {
        self.pipeline.upgrade()
    }

    fn stream(&self, pipeline: &gst::Pipeline, pad: &gst::Pad) {
        self.streams.expect(pad.current_caps());
        self.streams.pad_added(pipeline, pad);
    }

    fn reported(&self, report: Report) {
        self.streams.reported(report);
    }
}

/// What reads the origin, and has a pad for each stream in it.
fn reader(origin: Origin, streams: &Arc<Streams>) -> Result<gst::Element, gst::glib::BoolError> {
    if rtsp::is_rtsp(&origin.uri) {
        let source = rtsp::reader(&origin.uri)?;
        (origin.set_up)(&source);
        let streams = streams.clone();
        source.connect("select-stream", false, move |values| {
            guarded(None, || streams.expect(values.get(2).and_then(|v| v.get().ok())));
            Some(true.to_value())
        });
        return Ok(source);
    }
    let reader = gst::ElementFactory::make("uridecodebin")
        .property("uri", &origin.uri)
        .property("caps", playable_caps())
        .build()?;
    if !origin.leads_on {
        reader.connect("autoplug-continue", false, |values| {
            let goes_on = guarded(None, || {
                let bin: gst::Element = values.first()?.get().ok()?;
                let caps: gst::Caps = values.get(2)?.get().ok()?;
                let name = caps.structure(0).map(|s| s.name().as_str()).unwrap_or_default();
                let leads_on = LEAD_ON.contains(&name);
                if leads_on {
                    gst::element_error!(
                        bin,
                        gst::ResourceError::NotAuthorized,
                        ("it is a playlist ({name}), which names other sources: those may not be reached here")
                    );
                }
                Some(!leads_on)
            });
            // What can't be told apart may lead anywhere.
            Some(goes_on.flatten().unwrap_or(false).to_value())
        });
    }
    reader.connect("source-setup", false, move |values| {
        if let Some(Ok(source)) = values.get(1).map(|v| v.get::<gst::Element>()) {
            guarded(Some(&source), || (origin.set_up)(&source));
        }
        None
    });
    Ok(reader)
}

/// Types of media that are no media, but say where it is.
const LEAD_ON: [&str; 8] = [
    "application/x-hls",
    "application/dash+xml",
    "application/vnd.ms-sstr+xml",
    "application/sdp",
    "application/x-rtsp-sdp",
    "application/smil",
    "application/x-gst-av-concat",
    "text/uri-list",
];

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
