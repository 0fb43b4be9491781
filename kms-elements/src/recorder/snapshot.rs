//! A picture of what a source shows now.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use kms_core::Reach;
use kms_core::media::{
    Branch, Format, Input, MediaError, Quality, Report, Segment, Source, Timeline, Wanted,
};
use kms_core::object::lock;
use protocol::{Code, Error, remote_enum};
use tokio::sync::oneshot;

use super::ingest::request_keyframe;
use super::naming::make_directory_of;
use super::pattern::Values;
use super::upload::{Place, Uploads};
use super::uri::{self, Target};

remote_enum! { "elements"
    /// How a picture is encoded.
    pub enum SnapshotFormat {
        /// JPEG, quality 85 of 100.
        Jpeg = "JPEG",
        /// PNG.
        Png = "PNG",
    }
}

/// An answer must fit into the client's queue (`server.event_queue_bytes`), as text.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;

/// How long a picture is waited for: with a source that can't be asked for a keyframe, until the next.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A picture that is being taken. It ends when it is dropped.
pub(super) struct Snapshot {
    _segment: Segment,
    _input: Input,
}

/// What is told of it, once.
type Teller = Arc<Mutex<Option<oneshot::Sender<Result<Vec<u8>, Error>>>>>;

fn tell(teller: &Teller, what: Result<Vec<u8>, Error>) {
    if let Some(teller) = lock(teller).take() {
        let _ = teller.send(what); // nobody may wait any more
    }
}

impl Snapshot {
    /// Begins to take one; `done` gets it.
    pub(super) fn take(
        timeline: &Timeline,
        source: &Arc<Source>,
        format: SnapshotFormat,
        done: oneshot::Sender<Result<Vec<u8>, Error>>,
    ) -> Option<Snapshot> {
        let teller: Teller = Arc::new(Mutex::new(Some(done)));
        let raw = Wanted {
            format: Format::Raw,
            quality: Quality::ANY,
            in_order: false,
        };
        let begun = match source.obtain(|_| Some(raw)) {
            Ok(Some(branch)) => Snapshot::begin(timeline, branch, format, &teller),
            Ok(None) => {
                let message = "No picture: the source has given no video yet";
                tell(&teller, Err(Error::new(Code::OperationNotSupported, message)));
                return None;
            }
            Err(error) => Err(error),
        };
        begun.map_err(|error| tell(&teller, Err(failed(&error)))).ok()
    }

    fn begin(
        timeline: &Timeline,
        branch: Arc<Branch>,
        format: SnapshotFormat,
        teller: &Teller,
    ) -> Result<Snapshot, MediaError> {
        let told = teller.clone();
        let segment = Segment::new(timeline, "recorder-snapshot", move |report| {
            if let Report::Failed { element, error, .. } = report {
                let detail = format!("{element}: {error}");
                let message = "The picture can't be encoded".into();
                tell(&told, Err(failed(&MediaError { message, detail })));
            }
        });
        let input = Input::new(&segment, gst::ClockTime::from_mseconds(500))?;
        let encoder = segment.add(match format {
            SnapshotFormat::Jpeg => "videoconvert ! jpegenc quality=85",
            SnapshotFormat::Png => "videoconvert ! pngenc",
        })?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        let told = teller.clone();
        let pull = move |sink: &AppSink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(map) = sample.buffer().and_then(|b| b.map_readable().ok()) {
                tell(&told, Ok(map.to_vec()));
            }
            // One is enough.
            Err(gst::FlowError::Eos)
        };
        sink.set_callbacks(AppSinkCallbacks::builder().new_sample(pull).build());
        let linked = segment.pipeline().add(&sink).is_ok()
            && gst::Element::link_many([
                input.appsrc().upcast_ref(),
                encoder.upcast_ref::<gst::Element>(),
                sink.upcast_ref(),
            ])
            .is_ok();
        if !linked {
            return Err(MediaError::new("Media can't be set up"));
        }
        segment.play()?;
        input.connect(Some(branch));
        if let Some(pad) = sink.static_pad("sink") {
            request_keyframe(&pad);
        }
        Ok(Snapshot {
            _segment: segment,
            _input: input,
        })
    }
}

/// Writes a picture where it is wanted, or gives it as text.
pub(super) async fn deliver(
    picture: Vec<u8>,
    target: Option<(Target, Reach)>,
    name: String,
    uploads: Uploads,
) -> Result<String, Error> {
    let Some((target, reach)) = target else {
        if picture.len() > LARGEST_ANSWER {
            let message = format!(
                "The picture is {} bytes, too large for an answer: give a uri, or take a JPEG",
                picture.len()
            );
            return Err(Error::new(Code::NotEnoughResources, message));
        }
        return Ok(gst::glib::base64_encode(&picture).to_string());
    };
    let written = tokio::task::spawn_blocking(move || write(&picture, &target, &reach, &name, &uploads));
    let written = written
        .await
        .map_err(|error| Error::new(Code::Unexpected, error.to_string()))?;
    written.map_err(|error| {
        let message = format!("The picture can't be written: {error}");
        Error::new(Code::UriPathFileNotFound, message)
    })
}

/// Answers where it is, or will be.
fn write(
    picture: &[u8],
    target: &Target,
    reach: &Reach,
    name: &str,
    uploads: &Uploads,
) -> io::Result<String> {
    let (at, number) = (SystemTime::now(), 1);
    let path = target.pattern.path(Values { name, at, number });
    let Some(server) = &target.server else {
        reach.file(&path).map_err(io::Error::other)?;
        make_directory_of(&path)?;
        return std::fs::write(&path, picture).map(|()| uri::file(&path));
    };
    let place = Place::parse(&format!("{server}{}", path.display()));
    let place = place.ok_or_else(|| io::Error::other("its URI has become none"))?;
    let place = place.of(reach.is_a_tenants());
    let (spooled, _growing) = uploads.begin(place.clone(), Arc::new(|_, _| {}))?;
    std::fs::write(spooled, picture).map(|()| place.to_string())
}

fn failed(error: &MediaError) -> Error {
    tracing::warn!(detail = %error.detail, "{error}");
    Error::new(Code::Unexpected, error.message.clone())
}
