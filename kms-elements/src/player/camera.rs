//! A camera that is read over TCP: RTSP by retina, on the runtime's threads and none of its own.
//!
//! GStreamer's rtspsrc needs seven threads for a camera with sound, most for jitter buffers, which have nothing to do where TCP keeps the
//! order. It still reads what comes over UDP or TLS.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use gst::prelude::*;
use kms_core::media::{Report, Timeline};
use retina::client::{
    Credentials, InitialTimestampPolicy, PacketItem, PlayOptions, Playing, Session, SessionIdPolicy,
    SessionOptions, SetupOptions, TeardownPolicy,
};
use retina::rtp::ReceivedPacket;

use super::rtsp;
use super::sender_clock::SenderClock;

/// How long a camera may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// No camera's clock is slower, and times of one that is could grow beyond all bounds.
const SLOWEST_CLOCK: u32 = 1_000;
/// Times this far from the beginning, nanoseconds, are nonsense: some 36 years.
const FURTHEST: i64 = i64::MAX / 8;
/// Answers to what a camera is asked for (RFC 2326, section 7.1.1).
const MOVED: std::ops::Range<u16> = 300..400;
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
const UNSUPPORTED_TRANSPORT: u16 = 461;

/// Where a camera is, and who may see it.
#[derive(Clone)]
pub(crate) struct Address {
    /// Without user and password.
    pub(super) url: url::Url,
    pub(super) credentials: Option<(String, String)>,
}

/// Whom a camera is read for. Called on the runtime's threads.
pub(super) trait Reader: Send + Sync {
    /// The pipeline its media goes into; `None`: it is not wanted any more.
    fn pipeline(&self) -> Option<gst::Pipeline>;
    /// A stream is there, whose packets this pad will give. Takes its time.
    fn stream(&self, pipeline: &gst::Pipeline, pad: &gst::Pad);
    /// It ended or failed.
    fn reported(&self, report: Report);
}

/// A camera that is being read, until this is dropped.
pub(super) struct Camera {
    task: tokio::task::AbortHandle,
    paused: Arc<AtomicBool>,
}

impl Camera {
    /// Begins to read.
    pub(super) fn read(
        address: Address,
        timeline: &Timeline,
        runtime: &tokio::runtime::Handle,
        reader: Weak<dyn Reader>,
    ) -> Camera {
        let paused = Arc::new(AtomicBool::new(false));
        let reading = Reading {
            timeline: timeline.clone(),
            reader,
            paused: paused.clone(),
        };
        let task = runtime.spawn(async move {
            let report = match reading.all(address).await {
                Ok(()) => Report::EndOfStream,
                Err(Failure { error, detail }) => Report::Failed {
                    element: "source".into(),
                    error,
                    detail,
                },
            };
            if let Some(reader) = reading.reader.upgrade() {
                reader.reported(report);
            }
        });
        Camera {
            task: task.abort_handle(),
            paused,
        }
    }

    /// Lets go of what comes, or no more: a camera can't wait.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl Drop for Camera {
    fn drop(&mut self) {
        // Its session goes with it, and tells the camera (TEARDOWN).
        self.task.abort();
    }
}

/// Whether a camera that failed so may be had in another way: it gives nothing over TCP, or is elsewhere.
pub(super) fn may_be_had_otherwise(error: &gst::glib::Error) -> bool {
    error.matches(gst::ResourceError::Settings)
}

struct Failure {
    error: gst::glib::Error,
    detail: String,
}

impl Failure {
    fn new(kind: gst::ResourceError, message: &str) -> Failure {
        Failure {
            error: gst::glib::Error::new(kind, message),
            detail: String::new(),
        }
    }
}

impl From<retina::Error> for Failure {
    fn from(error: retina::Error) -> Failure {
        let text = error.to_string();
        // What it was about follows in further lines.
        let message = text.lines().next().unwrap_or_default();
        let kind = match error.status_code() {
            Some(UNAUTHORIZED | FORBIDDEN) => gst::ResourceError::NotAuthorized,
            Some(NOT_FOUND) => gst::ResourceError::NotFound,
            Some(UNSUPPORTED_TRANSPORT) => gst::ResourceError::Settings,
            Some(status) if MOVED.contains(&status) => gst::ResourceError::Settings,
            // Nothing but its words tells this error from others.
            None if message.starts_with("Unable to connect") => gst::ResourceError::OpenReadWrite,
            _ => gst::ResourceError::Read,
        };
        let message = match kind {
            gst::ResourceError::NotAuthorized => "the camera wants another user or password",
            gst::ResourceError::NotFound => "the camera has no such stream",
            _ => message,
        };
        Failure {
            error: gst::glib::Error::new(kind, message),
            detail: text,
        }
    }
}

/// A stream that is played.
struct Stream {
    pad: gst::Pad,
    clock_rate: i64,
}

struct Reading {
    timeline: Timeline,
    reader: Weak<dyn Reader>,
    paused: Arc<AtomicBool>,
}

impl Reading {
    /// From the first word to the last packet.
    async fn all(&self, address: Address) -> Result<(), Failure> {
        let begun = tokio::time::timeout(PATIENCE, self.begin(address)).await;
        let silent = |_| Failure::new(gst::ResourceError::OpenReadWrite, "the camera does not answer");
        let (session, caps) = begun.map_err(silent)??;
        let Some(pipeline) = self.reader.upgrade().and_then(|r| r.pipeline()) else {
            return Ok(());
        };
        let (now, described) = (self.timeline.now(), session.streams().iter().zip(caps));
        let streams: Vec<Option<Stream>> = described
            .map(|(stream, caps)| caps.map(|caps| Stream::new(&caps, stream.clock_rate_hz(), now)))
            .collect();
        let pads: Vec<gst::Pad> = streams.iter().flatten().map(|s| s.pad.clone()).collect();
        let reader = self.reader.clone();
        // Consumers are told, who make conversions: that takes its time.
        let told = tokio::task::spawn_blocking(move || {
            if let Some(reader) = reader.upgrade() {
                pads.iter().for_each(|pad| reader.stream(&pipeline, pad));
            }
            pipeline
        });
        let Ok(pipeline) = told.await else { return Ok(()) };
        let ended = self.packets(session, &streams).await;
        // A pad tells its peer when it goes, which must be there still.
        drop(streams);
        drop(pipeline);
        ended
    }

    /// Brings the camera to send. The caps of each stream of it that it sends.
    async fn begin(&self, address: Address) -> Result<(Session<Playing>, Vec<Option<gst::Caps>>), Failure> {
        let credentials = address
            .credentials
            .map(|(username, password)| Credentials { username, password });
        let options = SessionOptions::default()
            .creds(credentials)
            .user_agent(concat!("kms/", env!("CARGO_PKG_VERSION")).to_owned())
            .session_id(SessionIdPolicy::UseFirst)
            .teardown(TeardownPolicy::Auto);
        let mut session = Session::describe(address.url, options).await?;
        let mut described = rtsp::described(session.sdp()).into_iter();
        let (mut caps, mut kinds) = (Vec::new(), Vec::new());
        for index in 0..session.streams().len() {
            let stream = &session.streams()[index];
            let (kind, payload_type) = (stream.media().to_owned(), stream.rtp_payload_type());
            let sane = stream.clock_rate_hz() >= SLOWEST_CLOCK;
            // Both have the order of the description, of which retina leaves out what it can't read.
            let found = described.find(|d| d.media == kind && d.payload_type == payload_type);
            let playable = found
                .map(|d| d.caps)
                .filter(|caps| sane && rtsp::is_playable(caps));
            // Of each kind the first is played, as in Kurento.
            let playable = playable.filter(|_| !kinds.contains(&kind));
            if playable.is_some() {
                session.setup(index, SetupOptions::default()).await?;
                kinds.push(kind);
            }
            caps.push(playable);
        }
        if kinds.is_empty() {
            return Err(Failure {
                error: gst::glib::Error::new(
                    gst::StreamError::CodecNotFound,
                    "the camera has nothing that can be played",
                ),
                detail: String::from_utf8_lossy(session.sdp()).into_owned(),
            });
        }
        let options = PlayOptions::default().initial_timestamp(InitialTimestampPolicy::Permissive);
        Ok((session.play(options).await?, caps))
    }

    /// Hands on what comes, until nothing more does.
    async fn packets(
        &self,
        mut session: Session<Playing>,
        streams: &[Option<Stream>],
    ) -> Result<(), Failure> {
        let mut clock = SenderClock::new(streams.len());
        let mut skipped = vec![false; streams.len()];
        while let Some(item) = session.next().await {
            match item? {
                PacketItem::Rtp(packet) => {
                    let Some(Some(stream)) = streams.get(packet.stream_id()) else {
                        continue;
                    };
                    let time = stream.time(packet.timestamp())?;
                    let now = self.timeline.now().nseconds() as i64;
                    let at = clock.running_time(packet.stream_id(), time, now);
                    let paused = self.paused.load(Ordering::Relaxed);
                    let gap = std::mem::replace(&mut skipped[packet.stream_id()], paused);
                    if !paused {
                        stream.push(&packet, at, gap || packet.loss() > 0);
                    }
                }
                PacketItem::Rtcp(report) => {
                    let Some(Some(stream)) = streams.get(report.stream_id()) else {
                        continue;
                    };
                    let sent = report.pkts().find_map(|p| p.as_sender_report().ok().flatten());
                    if let (Some(sent), Some(time)) = (sent, report.rtp_timestamp()) {
                        let wall = nanoseconds(sent.ntp_timestamp().0);
                        clock.report(report.stream_id(), stream.time(time)?, wall);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Nanoseconds of a time of NTP, whose lower 32 bits are parts of a second (RFC 5905, section 6).
fn nanoseconds(ntp: u64) -> i64 {
    let (seconds, parts) = (ntp >> 32, ntp & u64::from(u32::MAX));
    (seconds * 1_000_000_000 + ((parts * 1_000_000_000) >> 32)) as i64
}

impl Stream {
    /// A pad that gives packets of these caps from this running time on.
    fn new(caps: &gst::Caps, clock_rate: u32, from: gst::ClockTime) -> Stream {
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            // Cameras can't be asked for keyframes over RTSP.
            .event_function(|_, _, _| false)
            .build();
        let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
        segment.set_start(from);
        segment.set_base(from);
        segment.set_time(gst::ClockTime::ZERO);
        // Never fails for a pad without a parent.
        let _ = pad.set_active(true);
        pad.push_event(gst::event::StreamStart::new(&pad.name()));
        pad.push_event(gst::event::Caps::new(caps));
        pad.push_event(gst::event::Segment::new(&segment));
        Stream {
            pad,
            clock_rate: i64::from(clock_rate),
        }
    }

    /// Nanoseconds since the stream began.
    fn time(&self, time: retina::Timestamp) -> Result<i64, Failure> {
        let time = i128::from(time.elapsed()) * 1_000_000_000 / i128::from(self.clock_rate);
        i64::try_from(time)
            .ok()
            .filter(|t| t.abs() < FURTHEST)
            .ok_or_else(|| Failure::new(gst::ResourceError::Read, "the camera's times make no sense"))
    }

    fn push(&self, packet: &ReceivedPacket, at: gst::ClockTime, gap: bool) {
        let mut buffer = gst::Buffer::from_mut_slice(packet.raw().to_vec());
        if let Some(buffer) = buffer.get_mut() {
            buffer.set_pts(at);
            buffer.set_dts(at);
            if gap {
                buffer.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        // Refused only by a pipeline that has stopped or failed, which says so itself.
        let _ = self.pad.push(buffer);
    }
}
