//! Media of a source in GStreamer for the remote of one endpoint: converted if need be, and made into RTP packets.

use std::sync::{Arc, Mutex, Weak};

use kms_core::media::{Codec, Consumer, Format, MediaError, Quality, Source, Timeline, Wanted};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::payloads::can_packetise;
use super::shared::{Packetised, Packets, Take, Viewer};

/// What is told when media can't be sent.
type Failed = Arc<dyn Fn(&MediaError) + Send + Sync>;

/// A source's media is given up when what is had from it has failed so often.
const MOST_FAILURES: u32 = 3;

/// Where packets go.
pub(crate) trait Outlet: Send + Sync {
    /// Most bytes of a packet, with its RTP header.
    fn mtu(&self) -> u32;
    /// Packets of this codec come from now on; what is answered is given each.
    fn open(&self, codec: Codec) -> Take;
}

/// What all packetisers share.
pub(crate) struct Workshop {
    pub(crate) timeline: Timeline,
    packetised: Packetised,
}

impl Workshop {
    /// One where nothing is made yet.
    pub(crate) fn new(timeline: &Timeline) -> Arc<Workshop> {
        Arc::new(Workshop {
            timeline: timeline.clone(),
            packetised: Packetised::default(),
        })
    }
}

/// Sends what a source gives to one remote.
pub(crate) struct Packetiser {
    source: Arc<Source>,
    kind: MediaType,
    workshop: Arc<Workshop>,
    failed: Failed,
    /// Changed when the remote has negotiated, by the source, and when it ends.
    state: Mutex<State>,
    this: Weak<Packetiser>,
}

#[derive(Default)]
struct State {
    /// Where packets go, the codecs that are taken there, preferred first, and how good they are to be; none before it was
    /// negotiated.
    sink: Option<(Arc<dyn Outlet>, Vec<String>, Quality)>,
    /// Packets that are sent there, as long as there is this viewer of them.
    running: Option<(Arc<Packets>, Arc<Viewer>)>,
    /// How often what is had from the source failed.
    failures: u32,
    ended: bool,
}

impl Packetiser {
    /// Waits for the source to give media, and for [`Packetiser::set_sink`].
    pub(crate) fn start(
        source: &Arc<Source>,
        kind: MediaType,
        workshop: &Arc<Workshop>,
        failed: Failed,
    ) -> Arc<Packetiser> {
        let packetiser = Arc::new_cyclic(|this| Packetiser {
            source: source.clone(),
            kind,
            workshop: workshop.clone(),
            failed,
            state: Mutex::default(),
            this: this.clone(),
        });
        source.attach(packetiser.this.clone() as Weak<dyn Consumer>);
        packetiser
    }

    /// The remote takes these codecs from now on, preferred first.
    pub(crate) fn set_sink(&self, outlet: Arc<dyn Outlet>, codecs: Vec<String>, quality: Quality) {
        lock(&self.state).sink = Some((outlet, codecs, quality));
        self.update();
    }

    /// The remote needs a keyframe.
    pub(crate) fn request_keyframe(&self) {
        let packets = lock(&self.state).running.as_ref().map(|r| r.0.clone());
        if let Some(packets) = packets {
            packets.request_keyframe();
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

    /// What was sent comes no more.
    fn fell_out(&self, error: &MediaError) {
        (self.failed)(error);
        // What failed once is made anew; what fails again and again is broken.
        let (failures, before) = {
            let mut state = lock(&self.state);
            state.failures += 1;
            (state.failures, state.running.take())
        };
        drop(before);
        if failures < MOST_FAILURES {
            self.update();
        }
    }

    /// Brings what is sent in line with what the source gives and the remote takes.
    fn update(&self) {
        if let Err(error) = self.try_update() {
            (self.failed)(&error);
        }
    }

    fn try_update(&self) -> Result<(), MediaError> {
        let mut state = lock(&self.state);
        let (Some((outlet, codecs, quality)), false) = (state.sink.clone(), state.ended) else {
            return Ok(());
        };
        if codecs.is_empty() {
            return Ok(()); // the remote wants nothing of this kind
        }
        let branch = self.source.obtain(|native| {
            Some(Wanted {
                format: choose(native, self.kind, &codecs)?,
                quality,
                in_order: true,
            })
        })?;
        let Some(branch) = branch else {
            let before = state.running.take();
            drop(state);
            drop(before);
            return match self.source.native() {
                None => Ok(()),
                Some(_) => Err(MediaError::new(format!(
                    "The connected source's {} can't be converted to what the remote takes: {}",
                    self.kind.lower(),
                    codecs.join(", ")
                ))),
            };
        };
        if let Some((packets, _)) = &state.running
            && Arc::ptr_eq(packets.branch(), &branch)
        {
            return Ok(());
        }
        let Workshop { timeline, packetised } = &*self.workshop;
        let packets = packetised.of(&branch, outlet.mtu(), timeline)?;
        let this = self.this.clone();
        let failed = move |error: &MediaError| {
            if let Some(this) = this.upgrade() {
                this.fell_out(error);
            }
        };
        let viewer = Viewer::new(outlet.open(packets.codec()), Arc::new(failed));
        packets.add(&viewer);
        let before = state.running.replace((packets, viewer));
        drop(state);
        drop(before);
        Ok(())
    }
}

impl Consumer for Packetiser {
    fn source_changed(&self, _: MediaType) {
        self.update();
    }

    fn source_failed(&self, _: MediaType, error: &MediaError) {
        self.fell_out(error);
    }
}

impl Drop for Packetiser {
    fn drop(&mut self) {
        self.end();
    }
}

/// The format for a remote that takes these codecs: as it is, if it takes that; else the one it prefers of those that any machine
/// encodes in real time; else any.
fn choose(native: Format, kind: MediaType, codecs: &[String]) -> Option<Format> {
    let known = |name: &String| Codec::all(kind).find(|c| c.name() == name && can_packetise(*c));
    let taken: Vec<Codec> = codecs.iter().filter_map(known).collect();
    if let Format::Encoded(codec) = native
        && taken.contains(&codec)
    {
        return Some(native);
    }
    let cheap = taken.iter().find(|c| !matches!(c, Codec::Vp9 | Codec::H265));
    cheap.or(taken.first()).copied().map(Format::Encoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_goes_as_it_is_where_it_can_and_is_converted_to_what_is_cheap() {
        let choose = |native: Codec, codecs: &[&str]| {
            let codecs: Vec<String> = codecs.iter().map(|c| (*c).to_owned()).collect();
            match choose(Format::Encoded(native), native.kind(), &codecs) {
                Some(Format::Encoded(codec)) => Some(codec),
                _ => None,
            }
        };
        assert_eq!(choose(Codec::H264, &["VP8", "H264"]), Some(Codec::H264));
        assert_eq!(choose(Codec::H265, &["VP9", "H264", "VP8"]), Some(Codec::H264));
        assert_eq!(choose(Codec::Vp8, &["VP9"]), Some(Codec::Vp9));
        assert_eq!(choose(Codec::H265, &["H265"]), Some(Codec::H265));
        assert_eq!(choose(Codec::Vp8, &["AV1"]), None, "no packets can be made of it");
        assert_eq!(choose(Codec::Aac, &["OPUS", "PCMU"]), Some(Codec::Opus));
    }
}
