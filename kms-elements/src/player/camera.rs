//! A camera that is read over TCP: RTSP by retina, on a thread that reads many.
//!
//! GStreamer's rtspsrc needs seven threads for a camera with sound, most for jitter buffers, which have nothing to do where TCP keeps the
//! order. It still reads what comes over UDP or TLS.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use gst::prelude::*;
use kms_core::Reach;
use kms_core::media::{Report, Timeline};
use retina::client::{
    Credentials, InitialSequenceNumberPolicy, InitialTimestampPolicy, PacketItem, PlayOptions, Playing,
    Session, SessionIdPolicy, SessionOptions, SetupOptions, TeardownPolicy,
};
use retina::rtcp::ReceivedCompoundPacket;
use retina::rtp::ReceivedPacket;

use super::rtsp;
use super::sender_clock::SenderClock;
use super::threads::{ReadingThread, least_busy};

/// How long a camera may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Packets that are gathered at most before they are handed on.
const MOST_GATHERED: usize = 256;
/// No camera's clock is slower, and times of one that is could grow beyond all bounds.
const SLOWEST_CLOCK: u32 = 1_000;
/// Times this far from the beginning, nanoseconds, are nonsense: some 36 years.
const FURTHEST: i64 = i64::MAX / 8;
/// Answers to what a camera is asked for (RFC 2326, section 7.1.1).
const MOVED: std::ops::Range<u16> = 300..400;
const UNAUTHORIZED: u16 = 401;
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
/// Where cameras listen (RFC 2326, section 3.2); only names are looked up with it.
const RTSP_PORT: u16 = 554;
const UNSUPPORTED_TRANSPORT: u16 = 461;

/// Where a camera is, who may see it, and the thread that reads it.
#[derive(Clone)]
pub(crate) struct Address {
    url: url::Url,
    credentials: Option<(String, String)>,
    thread: ReadingThread,
    reach: Reach,
}

impl Address {
    /// A URL without user and password, and these. `None`: no thread can be had to read cameras.
    pub(super) fn new(url: url::Url, credentials: Option<(String, String)>, reach: Reach) -> Option<Address> {
        Some(Address {
            url,
            credentials,
            thread: least_busy()?,
            reach,
        })
    }

    /// The URL with an address in it that may be reached, where not all may be.
    async fn checked(&self) -> Result<url::Url, Failure> {
        let mut url = self.url.clone();
        if !self.reach.is_limited() {
            return Ok(url);
        }
        let found = self
            .reach
            .resolve(url.host_str().unwrap_or_default(), RTSP_PORT)
            .await;
        let found = found.map_err(|why| Failure::new(gst::ResourceError::NotAuthorized, &why))?;
        let address = found.first().map(std::net::SocketAddr::ip);
        match address.map(|ip| url.set_ip_host(ip)) {
            Some(Ok(())) => Ok(url),
            _ => Err(Failure::new(
                gst::ResourceError::NotFound,
                "the camera has no address",
            )),
        }
    }
}

/// Whom a camera is read for. Called on the threads that read cameras.
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
    pub(super) fn read(address: Address, timeline: &Timeline, reader: Weak<dyn Reader>) -> Camera {
        let paused = Arc::new(AtomicBool::new(false));
        let reading = Reading {
            timeline: timeline.clone(),
            reader,
            paused: paused.clone(),
        };
        let thread = address.thread.clone();
        let task = thread.spawn(async move {
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
        Camera { task, paused }
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
        let url = address.checked().await?;
        let credentials = address
            .credentials
            .map(|(username, password)| Credentials { username, password });
        let options = SessionOptions::default()
            .creds(credentials)
            .user_agent(concat!("kms/", env!("CARGO_PKG_VERSION")).to_owned())
            .session_id(SessionIdPolicy::UseFirst)
            .teardown(TeardownPolicy::Auto);
        let mut session = Session::describe(url, options).await?;
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
        // What cameras say about where they begin may be wrong by a packet, or made up.
        let options = PlayOptions::default()
            .initial_timestamp(InitialTimestampPolicy::Permissive)
            .initial_seq(InitialSequenceNumberPolicy::Ignore);
        Ok((session.play(options).await?, caps))
    }

    /// Hands on what comes, until nothing more does.
    async fn packets(
        &self,
        mut session: Session<Playing>,
        streams: &[Option<Stream>],
    ) -> Result<(), Failure> {
        let mut delivery = Delivery::new(self, streams);
        while let Some(first) = session.next().await {
            delivery.take(first?)?;
            while delivery.packets < MOST_GATHERED
                && let Some(next) = session.next().now_or_never()
            {
                let Some(item) = next else { return Ok(()) };
                delivery.take(item?)?;
            }
            delivery.hand_on();
        }
        Ok(())
    }
}

/// Packets on their way into the pipeline.
struct Delivery<'a> {
    reading: &'a Reading,
    clock: SenderClock,
    streams: &'a [Option<Stream>],
    /// Of each stream.
    gathered: Vec<gst::BufferList>,
    packets: usize,
    /// Whether what came last of each stream was let go of.
    skipped: Vec<bool>,
}

impl<'a> Delivery<'a> {
    fn new(reading: &'a Reading, streams: &'a [Option<Stream>]) -> Delivery<'a> {
        Delivery {
            reading,
            clock: SenderClock::new(streams.len()),
            streams,
            gathered: streams.iter().map(|_| gst::BufferList::new()).collect(),
            packets: 0,
            skipped: vec![false; streams.len()],
        }
    }

    fn take(&mut self, item: PacketItem) -> Result<(), Failure> {
        match item {
            PacketItem::Rtp(packet) => self.packet(&packet),
            PacketItem::Rtcp(report) => self.report(&report),
            _ => Ok(()),
        }
    }

    fn packet(&mut self, packet: &ReceivedPacket) -> Result<(), Failure> {
        let number = packet.stream_id();
        let Some(Some(stream)) = self.streams.get(number) else {
            return Ok(());
        };
        let time = stream.time(packet.timestamp())?;
        let now = self.reading.timeline.now().nseconds() as i64;
        let at = self.clock.running_time(number, time, now);
        let paused = self.reading.paused.load(Ordering::Relaxed);
        let gap = std::mem::replace(&mut self.skipped[number], paused) || packet.loss() > 0;
        if !paused {
            self.gathered[number].make_mut().add(buffer(packet, at, gap));
            self.packets += 1;
        }
        Ok(())
    }

    fn report(&mut self, report: &ReceivedCompoundPacket) -> Result<(), Failure> {
        let number = report.stream_id();
        let sent = report.pkts().find_map(|p| p.as_sender_report().ok().flatten());
        if let (Some(Some(stream)), Some(sent), Some(time)) =
            (self.streams.get(number), sent, report.rtp_timestamp())
        {
            let wall = nanoseconds(sent.ntp_timestamp().0);
            self.clock.report(number, stream.time(time)?, wall);
        }
        Ok(())
    }

    /// Into the pipeline with what was gathered.
    fn hand_on(&mut self) {
        self.packets = 0;
        for (stream, gathered) in self.streams.iter().zip(&mut self.gathered) {
            if let Some(stream) = stream
                && !gathered.is_empty()
            {
                // Refused only by a pipeline that has stopped or failed, which says so itself.
                let _ = stream.pad.push_list(std::mem::take(gathered));
            }
        }
    }
}

fn buffer(packet: &ReceivedPacket, at: gst::ClockTime, gap: bool) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(packet.raw().to_vec());
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(at);
        buffer.set_dts(at);
        if gap {
            buffer.set_flags(gst::BufferFlags::DISCONT);
        }
    }
    buffer
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
}
