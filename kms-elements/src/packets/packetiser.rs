//! Media of a source in GStreamer for the remote of one endpoint: converted if need be, and made into RTP packets.

use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use kms_core::media::{
    Codec, Consumer, Format, Input, MediaError, Quality, Report, Segment, Source, Timeline, Wanted,
};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::payloads::{depayloader, payloader};

/// Media that may wait for the packetiser, which does next to nothing.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_mseconds(500);

/// What is told about it.
type Failed = Box<dyn Fn(&MediaError) + Send + Sync>;

/// Where packets go.
pub(crate) trait Outlet: Send + Sync {
    /// Most bytes of a packet, with its RTP header.
    fn mtu(&self) -> u32;
    /// Packets of this codec come from now on; what is answered is given each, on a thread of GStreamer.
    fn open(&self, codec: Codec) -> Box<dyn FnMut(&gst::Sample) + Send>;
}

/// Makes packets of what a source gives.
pub(crate) struct Packetiser {
    source: Arc<Source>,
    kind: MediaType,
    timeline: Timeline,
    failed: Failed,
    /// Changed when the remote has negotiated, by the source, and when it ends.
    state: Mutex<State>,
    this: Weak<Packetiser>,
}

#[derive(Default)]
struct State {
    /// Where packets go, and the codecs that are taken there, preferred first; none before it was negotiated.
    sink: Option<(Arc<dyn Outlet>, Vec<String>)>,
    quality: Option<Quality>,
    running: Option<Running>,
    ended: bool,
}

/// The segment that makes packets of one codec.
struct Running {
    codec: Codec,
    input: Input,
    sink: AppSink,
    _segment: Segment,
}

impl Packetiser {
    /// Waits for the source to give media, and for [`Packetiser::set_sink`].
    pub(crate) fn start(
        source: &Arc<Source>,
        kind: MediaType,
        timeline: &Timeline,
        failed: Failed,
    ) -> Arc<Packetiser> {
        let packetiser = Arc::new_cyclic(|this| Packetiser {
            source: source.clone(),
            kind,
            timeline: timeline.clone(),
            failed,
            state: Mutex::default(),
            this: this.clone(),
        });
        source.attach(packetiser.this.clone() as Weak<dyn Consumer>);
        packetiser
    }

    /// The remote takes these codecs from now on, preferred first.
    pub(crate) fn set_sink(&self, outlet: Arc<dyn Outlet>, codecs: Vec<String>, quality: Quality) {
        {
            let mut state = lock(&self.state);
            state.sink = Some((outlet, codecs));
            state.quality = Some(quality);
        }
        self.update();
    }

    /// The remote needs a keyframe.
    pub(crate) fn request_keyframe(&self) {
        let sink = lock(&self.state).running.as_ref().map(|r| r.sink.clone());
        if let Some(pad) = sink.and_then(|s| s.static_pad("sink")) {
            pad.push_event(
                gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build(),
            );
        }
    }

    /// Sends no more.
    pub(crate) fn end(&self) {
        self.source.detach(&(self.this.clone() as Weak<dyn Consumer>));
        let running = {
            let mut state = lock(&self.state);
            state.ended = true;
            state.running.take()
        };
        drop(running);
    }

    /// Brings what runs in line with what the source gives and the remote takes.
    fn update(&self) {
        if let Err(error) = self.try_update() {
            (self.failed)(&error);
        }
    }

    fn try_update(&self) -> Result<(), MediaError> {
        let mut state = lock(&self.state);
        let (Some((outlet, codecs)), Some(quality), false) = (state.sink.clone(), state.quality, state.ended)
        else {
            return Ok(());
        };
        if codecs.is_empty() {
            return Ok(()); // the remote wants nothing of this kind
        }
        let branch = self.source.obtain(|native| {
            let format = choose(native, self.kind, &codecs)?;
            Some(Wanted { format, quality })
        })?;
        let codec = match branch.as_ref().map(|b| b.format()) {
            Some(Format::Encoded(codec)) => codec,
            // Nothing now; what there was before stays, for it may come again.
            _ => {
                if let Some(running) = &state.running {
                    running.input.connect(None);
                }
                return if self.source.native().is_some() {
                    Err(MediaError::new(format!(
                        "The connected source's {} can't be converted to what the remote takes: {}",
                        self.kind.lower(),
                        codecs.join(", ")
                    )))
                } else {
                    Ok(())
                };
            }
        };
        if state.running.as_ref().is_none_or(|r| r.codec != codec) {
            let running = self.build(codec, &*outlet)?;
            state.running = Some(running);
        }
        if let Some(running) = &state.running {
            running.input.connect(branch);
        }
        Ok(())
    }

    fn build(&self, codec: Codec, outlet: &dyn Outlet) -> Result<Running, MediaError> {
        let this = self.this.clone();
        let segment = Segment::new(&self.timeline, &format!("packetiser-{codec}"), move |report| {
            if let (Report::Failed { error, detail, .. }, Some(this)) = (report, this.upgrade()) {
                tracing::error!(%codec, %error, detail, "media can't be made into packets");
                (this.failed)(&MediaError::new("Media can't be made into packets"));
            }
        });
        let input = Input::new(&segment, LONGEST_QUEUE)?;
        let payloader = payloader(codec, outlet.mtu())
            .ok_or_else(|| MediaError::new(format!("{codec} can't be made into packets")))?;
        let bin = segment.add(&payloader)?;
        let sink = AppSink::builder().sync(false).async_(false).build();
        let linked = segment.pipeline().add(&sink).is_ok()
            && gst::Element::link_many([
                input.appsrc().upcast_ref(),
                bin.upcast_ref::<gst::Element>(),
                sink.upcast_ref(),
            ])
            .is_ok();
        if !linked {
            return Err(MediaError::new("Media can't be set up"));
        }
        let mut packets = outlet.open(codec);
        let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
            packets(&sink.pull_sample().map_err(|_| gst::FlowError::Eos)?);
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        segment.play()?;
        Ok(Running {
            codec,
            input,
            sink,
            _segment: segment,
        })
    }
}

impl Consumer for Packetiser {
    fn source_changed(&self, _: MediaType) {
        self.update();
    }

    fn source_failed(&self, _: MediaType, error: &MediaError) {
        (self.failed)(error);
    }
}

impl Drop for Packetiser {
    fn drop(&mut self) {
        self.end();
    }
}

/// The format for a remote that takes these codecs: as it is, if it takes that, else the one it prefers.
fn choose(native: Format, kind: MediaType, codecs: &[String]) -> Option<Format> {
    let takes = |codec: Codec| codecs.iter().any(|c| c == codec.name());
    if let Format::Encoded(codec) = native
        && takes(codec)
        && depayloader(codec).is_some()
    {
        return Some(native);
    }
    let wanted = codecs
        .iter()
        .find_map(|name| Codec::all(kind).find(|codec| codec.name() == name && is_cheap(*codec)));
    wanted.map(Format::Encoded)
}

/// Whether a codec is encoded in real time by any machine; others are only passed on.
fn is_cheap(codec: Codec) -> bool {
    !matches!(codec, Codec::Vp9 | Codec::Av1 | Codec::H265)
}
