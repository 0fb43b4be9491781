//! The pipeline of an endpoint: GStreamer's rtpbin with a session for each m-line.
//!
//! ```text
//! socket -> [srtpdec] -> gate -> rtpbin -> depacketiser -> the endpoint's source
//! socket <- [srtpenc] <-         rtpbin <- packetiser   <- the source that feeds the endpoint
//! ```
//!
//! Sockets and (de)packetisers are joined to it by pads of our own: packets need no thread more to pass from one to the other.

mod pads;
mod receiving;
mod sending;
mod srtp;

use std::sync::Arc;

use gst::prelude::*;
use kms_core::media::{MediaError, Report, Segment, Source, Timeline, guarded};
use kms_core::types::MediaType;

use super::counters::Counters;
use super::crypto::Key;
use super::remote::Format;
use super::transport::{Line, Receiver};
use pads::{Inlet, sink_pad};
use receiving::Receiving;
pub(super) use sending::RtpOutlet;
use sending::SendPad;
use srtp::Decrypter;

/// Packets that come out of order are waited for so long, milliseconds: rtpbin's default, and enough for the internet.
const LATENCY: u32 = 200;
/// RTCP is sent at most this often, nanoseconds. Five seconds (RFC 3550, section 6.2) would let audio and video find together late.
const RTCP_INTERVAL: u64 = 1_000_000_000;
/// Senders that a session knows at once. The gate lets another one in only every 2 s, and those that are silent time out.
const MOST_STREAMS: u32 = 32;

/// What is to be done with the media of an m-line.
pub(super) struct Setup {
    pub(super) line: Arc<Line>,
    /// What may come.
    pub(super) formats: Vec<Format>,
    pub(super) receives: bool,
    pub(super) feedback: bool,
    /// The key that we send with, and the remote's.
    pub(super) keys: Option<(Key, Key)>,
    pub(super) ssrc: u32,
    pub(super) source: Arc<Source>,
}

/// What the pipeline tells. Called on its threads, and on that which receives.
pub(super) trait Told: Send + Sync {
    /// The remote needs a keyframe.
    fn keyframe_wanted(&self);
    /// A key is soon used up.
    fn key_soft_limit(&self, kind: MediaType);
    /// It failed for good.
    fn failed(&self, error: &MediaError);
}

/// The pipeline.
pub(super) struct Media {
    segment: Arc<Segment>,
    pub(super) rtpbin: gst::Element,
    lines: Vec<LineMedia>,
    /// Last, see [`pads`].
    _pipeline: gst::Pipeline,
}

struct LineMedia {
    kind: MediaType,
    session: u32,
    receiving: Arc<Receiving>,
    sender: Arc<SendPad>,
    /// To the sockets. Links hold no pad that is in no element.
    _exits: [gst::Pad; 2],
}

impl Media {
    /// Sets it up. What is answered takes the packets of the lines, in order.
    pub(super) fn new(
        timeline: &Timeline,
        counters: &Arc<Counters>,
        cname: &str,
        setups: Vec<Setup>,
        told: Arc<dyn Told>,
    ) -> Result<(Media, Vec<Box<dyn Receiver>>), MediaError> {
        let reports = told.clone();
        let report = move |report| {
            if let Report::Failed {
                element,
                error,
                detail,
            } = report
            {
                reports.failed(&MediaError {
                    message: "RTP is not sent and received any more; the server's log has more".into(),
                    detail: format!("{element}: {error} ({detail})"),
                });
            }
        };
        let segment = Arc::new(Segment::new(timeline, "rtp", report));
        let sdes = gst::Structure::builder("application/x-rtp-source-sdes").field("cname", cname);
        let rtpbin = gst::ElementFactory::make("rtpbin")
            .property("latency", LATENCY)
            .property("autoremove", true)
            .property("max-streams", MOST_STREAMS)
            .property("sdes", sdes.build())
            // Sender reports tell when media was captured, not when it was sent: so audio and video stay together.
            .property("rtcp-sync-send-time", false)
            .build()
            .map_err(missing)?;
        segment.pipeline().add(&rtpbin).map_err(missing)?;
        let mut media = Media {
            _pipeline: segment.pipeline().clone(),
            segment,
            rtpbin,
            lines: Vec::new(),
        };
        let mut receivers: Vec<Box<dyn Receiver>> = Vec::new();
        for (session, setup) in (0..).zip(setups) {
            receivers.push(media.add_line(timeline, counters, session, setup, &told)?);
        }
        media.hand_on_streams();
        media.segment.play()?;
        Ok((media, receivers))
    }

    fn add_line(
        &mut self,
        timeline: &Timeline,
        counters: &Arc<Counters>,
        session: u32,
        setup: Setup,
        told: &Arc<dyn Told>,
    ) -> Result<Box<dyn Receiver>, MediaError> {
        let kind = setup.line.kind;
        let request = |name: &str| {
            let pad = self.rtpbin.request_pad_simple(&format!("{name}_{session}"));
            pad.ok_or_else(|| missing(format!("rtpbin has no {name}")))
        };
        let (rtp_in, rtcp_in) = (request("recv_rtp_sink")?, request("recv_rtcp_sink")?);
        let (rtp_out, rtcp_out) = (request("send_rtp_sink")?, request("send_rtcp_src")?);
        let packets = self
            .rtpbin
            .static_pad(&format!("send_rtp_src_{session}"))
            .ok_or_else(|| missing("rtpbin sends nothing"))?;
        self.set_up_session(session, &setup);
        pads::guard(&rtp_in, &rtcp_in, &setup);

        // Out: through the encrypter, if there is one, to the sockets.
        let (rtp_line, rtcp_line) = (setup.line.clone(), setup.line.clone());
        let to_rtp = sink_pad("rtp-socket", move |bytes| rtp_line.send_rtp(bytes))?;
        let to_rtcp = sink_pad("rtcp-socket", move |bytes| rtcp_line.send_rtcp(bytes))?;
        let pipeline = self.segment.pipeline();
        let (packets, reports) = match &setup.keys {
            Some((own, _)) => srtp::encrypter(pipeline, own, kind, told, &packets, &rtcp_out)?,
            None => (packets, rtcp_out),
        };
        pads::link(&packets, &to_rtp)?;
        pads::link(&reports, &to_rtcp)?;

        // In: from the sockets, through the decrypter.
        let decrypter = setup
            .keys
            .as_ref()
            .map(|(_, remote)| Decrypter::new(pipeline, remote, &setup.line, told, &rtp_in, &rtcp_in));
        let inlet = Inlet::new(timeline, pipeline, &rtp_in, &rtcp_in, decrypter.transpose()?)?;
        let wanted = told.clone();
        let sender = SendPad::new(pipeline, &rtp_out, setup.ssrc, counters, move || {
            wanted.keyframe_wanted()
        })?;
        self.lines.push(LineMedia {
            kind,
            session,
            receiving: Receiving::new(timeline, &self.segment, setup.formats, setup.source, counters),
            sender: Arc::new(sender),
            _exits: [to_rtp, to_rtcp],
        });
        Ok(Box::new(inlet))
    }

    fn set_up_session(&self, session: u32, setup: &Setup) {
        let own = self
            .rtpbin
            .emit_by_name::<Option<gst::glib::Object>>("get-internal-session", &[&session]);
        let Some(own) = own else { return };
        own.set_property("internal-ssrc", setup.ssrc);
        own.set_property("rtcp-min-interval", RTCP_INTERVAL);
        let profile = match (setup.keys.is_some(), setup.feedback) {
            (false, false) => "avp",
            (false, true) => "avpf",
            (true, false) => "savp",
            (true, true) => "savpf",
        };
        own.set_property_from_str("rtp-profile", profile);
    }

    /// Tells rtpbin what payload types are, and takes what comes out of it.
    fn hand_on_streams(&self) {
        let lines = || self.lines.iter().map(|l| l.receiving.clone()).collect::<Vec<_>>();
        let known = lines();
        self.rtpbin.connect("request-pt-map", false, move |values| {
            let caps = guarded(None, || {
                let (session, payload_type) = (
                    values.get(1)?.get::<u32>().ok()?,
                    values.get(2)?.get::<u32>().ok()?,
                );
                known.get(usize::try_from(session).ok()?)?.caps(payload_type)
            });
            // Caps or none: to answer nothing at all is a panic of the bindings.
            Some(caps.flatten().to_value())
        });
        let known = lines();
        self.rtpbin.connect_pad_added(move |_, pad| {
            // recv_rtp_src_SESSION_SSRC_TYPE
            let name = pad.name();
            let Some(numbers) = name.strip_prefix("recv_rtp_src_") else {
                return;
            };
            let numbers: Vec<u32> = numbers.split('_').filter_map(|n| n.parse().ok()).collect();
            if let [session, _, payload_type] = numbers[..]
                && let Some(line) = known.get(session as usize)
            {
                guarded(pad.parent_element().as_ref(), || {
                    line.stream_found(pad, payload_type)
                });
            }
        });
    }

    /// Where packets made for the remote go.
    pub(super) fn sender(&self, kind: MediaType) -> Option<Arc<SendPad>> {
        let line = self.lines.iter().find(|l| l.kind == kind);
        line.map(|l| l.sender.clone())
    }

    /// Asks the remote for a keyframe.
    pub(super) fn request_keyframe(&self) {
        self.lines
            .iter()
            .for_each(|line| line.receiving.request_keyframe());
    }

    /// Pictures that came, and that were sent.
    pub(super) fn frames(&self, kind: MediaType) -> (u64, u64) {
        let line = self.lines.iter().find(|l| l.kind == kind);
        line.map_or((0, 0), |l| (l.receiving.frames(), l.sender.frames()))
    }

    /// The sessions of rtpbin with what they carry.
    pub(super) fn sessions(&self) -> impl Iterator<Item = (u32, MediaType)> {
        self.lines.iter().map(|l| (l.session, l.kind))
    }

    /// What GStreamer does, as drawings.
    pub(super) fn dot(&self) -> String {
        let details = gst::DebugGraphDetails::all();
        let mut dot = self.segment.pipeline().debug_to_dot_data(details).to_string();
        for line in &self.lines {
            dot.push_str(&line.receiving.dot());
        }
        dot
    }
}

/// What GStreamer lacks, or does not do.
fn missing(error: impl std::fmt::Display) -> MediaError {
    MediaError {
        message: "RTP can't be set up: a part of GStreamer is missing; the server's log names it".into(),
        detail: error.to_string(),
    }
}
