//! A track of the file that is being written.

use gst::ClockTime;
use gst_app::AppSrc;
use kms_core::media::Codec;
use kms_core::types::MediaType;

use super::file_time::{Times, TrackTime};
use super::profile::filler;

/// How much media waits for a slow disk before it is dropped.
pub(super) const LONGEST_QUEUE: ClockTime = ClockTime::from_seconds(5);
const LARGEST_QUEUE: u64 = 64 * 1024 * 1024;

/// A track in the file.
pub(super) struct Output {
    pub(super) appsrc: AppSrc,
    caps: gst::Caps,
    pub(super) codec: Codec,
    pub(super) time: TrackTime,
    pub(super) needs_keyframe: bool,
    /// When what was written last is decoded, running time.
    pub(super) reached: Option<ClockTime>,
    /// Motion JPEG's last picture, which is its own filler.
    last_picture: Option<gst::Buffer>,
    pub(super) dropped: Dropped,
    /// Buffers of its sources that were written, without fillers.
    pub(super) written: u64,
    /// Nothing more comes.
    pub(super) ended: bool,
}

/// What was dropped and not yet logged.
#[derive(Default)]
pub(super) struct Dropped {
    count: u64,
    logged: Option<ClockTime>,
}

impl Dropped {
    pub(super) fn count(&mut self, kind: MediaType, why: &str, now: ClockTime) {
        self.count += 1;
        let quiet = self
            .logged
            .is_some_and(|at| now.saturating_sub(at) < ClockTime::SECOND);
        if !quiet {
            tracing::warn!(?kind, dropped = self.count, "a recording loses media: {why}");
            *self = Dropped {
                count: 0,
                logged: Some(now),
            };
        }
    }
}

fn shape(caps: &gst::CapsRef) -> Option<(i32, i32)> {
    let caps = caps.structure(0)?;
    Some((caps.get("rate").ok()?, caps.get("channels").ok()?))
}

/// Caps that a muxer can deal with. Those of VP9 from a file or from RTP don't say where colours are sampled, and mp4mux of
/// GStreamer 1.22 crashes on that; libvpx samples them as MPEG-2 does.
fn for_muxer(codec: Codec, mut caps: gst::Caps) -> gst::Caps {
    let silent = caps.structure(0).is_some_and(|s| !s.has_field("chroma-site"));
    if codec == Codec::Vp9 && silent {
        caps.make_mut().set("chroma-site", "mpeg2");
    }
    caps
}

impl Output {
    /// One that nothing was written to.
    pub(super) fn new(codec: Codec, caps: gst::Caps) -> Output {
        let caps = for_muxer(codec, caps);
        let appsrc = AppSrc::builder().format(gst::Format::Time).caps(&caps).build();
        // Bounded by us, who know where media can be left out.
        appsrc.set_max_bytes(0);
        Output {
            appsrc,
            caps,
            codec,
            time: TrackTime::default(),
            needs_keyframe: codec.kind() == MediaType::Video,
            reached: None,
            last_picture: None,
            dropped: Dropped::default(),
            written: 0,
            ended: false,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.appsrc.current_level_time() > LONGEST_QUEUE || self.appsrc.current_level_bytes() > LARGEST_QUEUE
    }

    /// Whether the track can hold media of these caps: AAC has one configuration for all of a file.
    pub(super) fn takes(&self, caps: &gst::Caps) -> bool {
        self.codec == Codec::Opus || *caps == self.caps || shape(caps) == shape(&self.caps)
    }

    /// Rate and channels of its sound, if caps tell.
    pub(super) fn shape(&self) -> Option<(i32, i32)> {
        shape(&self.caps)
    }

    /// Fills the track until there with frames that say nothing.
    pub(super) fn fill(&mut self, until: ClockTime) {
        let frame = match (filler(self.codec, &self.caps), &self.last_picture) {
            (Some(filler), _) => Some((gst::Buffer::from_slice(filler.bytes), filler.duration)),
            (None, Some(picture)) => Some((picture.clone(), ClockTime::from_mseconds(500))),
            (None, None) => None,
        };
        let Some((frame, duration)) = frame else { return };
        while self.time.end() + duration <= until {
            let at = self.time.end();
            let times = self.time.next(Times { pts: at, dts: at }, duration);
            let mut frame = frame.clone();
            if self.codec.kind() == MediaType::Video && self.codec != Codec::Jpeg {
                frame.make_mut().set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            self.push(frame, times, duration);
        }
    }

    pub(super) fn push(&mut self, mut buffer: gst::Buffer, times: Times, duration: ClockTime) {
        if self.codec == Codec::Jpeg {
            self.last_picture = Some(buffer.clone());
        }
        let writable = buffer.make_mut();
        writable.set_pts(times.pts);
        writable.set_dts((self.codec.kind() == MediaType::Video).then_some(times.dts));
        writable.set_duration((!duration.is_zero()).then_some(duration));
        writable.unset_flags(gst::BufferFlags::DISCONT);
        // Refused only by an appsrc that has stopped, which was reported.
        let _ = self.appsrc.push_buffer(buffer);
    }
}
