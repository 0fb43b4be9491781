//! Media made into RTP packets, once for all remotes that get it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use kms_core::media::{Branch, Codec, Format, Input, MediaError, Report, Segment, Timeline};
use kms_core::object::lock;

use super::api::Kind;
use super::engine::{FedPacket, Feed};

/// Media that may wait for the payloader, which does next to nothing.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Keyframes that are asked for sooner after one another are one: viewers who come together share theirs.
const KEYFRAMES_APART: Duration = Duration::from_millis(300);

/// All that is packetised, by the address of the branch. What is packetised keeps its branch, so that nothing else can have that
/// address meanwhile.
#[derive(Default)]
pub(super) struct Packetised(Mutex<HashMap<usize, Weak<Packets>>>);

impl Packetised {
    /// The packets of a branch; made if nobody has them yet, and until the last drops them.
    pub(super) fn of(&self, branch: &Arc<Branch>, timeline: &Timeline) -> Result<Arc<Packets>, MediaError> {
        let mut all = lock(&self.0);
        all.retain(|_, packets| packets.strong_count() > 0);
        let key = Arc::as_ptr(branch) as usize;
        if let Some(packets) = all.get(&key).and_then(Weak::upgrade) {
            return Ok(packets);
        }
        let packets = Packets::start(branch, timeline)?;
        all.insert(key, Arc::downgrade(&packets));
        Ok(packets)
    }
}

/// A remote that gets packets.
pub(super) struct Viewer {
    /// Where they go.
    pub(super) feed: Feed,
    /// Told when there will be no more.
    pub(super) failed: Box<dyn Fn(&MediaError) + Send + Sync>,
}

/// The segment that makes packets of a branch.
pub(super) struct Packets {
    branch: Arc<Branch>,
    sink: AppSink,
    /// Read with each packet, changed when remotes come; those that went are left out by and by.
    viewers: Arc<Mutex<Vec<Weak<Viewer>>>>,
    keyframe_asked: Mutex<Option<Instant>>,
    _input: Input,
    _segment: Segment,
}

impl Packets {
    fn start(branch: &Arc<Branch>, timeline: &Timeline) -> Result<Arc<Packets>, MediaError> {
        let found = match branch.format() {
            Format::Encoded(codec) => payloader(codec).map(|element| (codec, element)),
            Format::Raw => None,
        };
        let Some((codec, payloader)) = found else {
            let message = format!("{} can't be sent to browsers", branch.format());
            return Err(MediaError::new(message));
        };
        let viewers: Arc<Mutex<Vec<Weak<Viewer>>>> = Arc::default();
        let told = viewers.clone();
        let segment = Segment::new(timeline, &format!("packetiser-{codec}"), move |report| {
            if let Report::Failed { error, detail, .. } = report {
                tracing::error!(%codec, %error, detail, "media can't be made into packets");
                let error = MediaError::new("Media can't be made into packets");
                for viewer in present(&told) {
                    (viewer.failed)(&error);
                }
            }
        });
        let input = Input::new(&segment, LONGEST_QUEUE)?;
        let bin = segment.add(payloader)?;
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
        let (timeline, fed) = (timeline.clone(), viewers.clone());
        let mut sequence = 0;
        let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
            let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
            if let Some(packet) = packet(&sample, &timeline, codec, sequence) {
                sequence += 1;
                for viewer in present(&fed) {
                    viewer.feed.send(packet.clone());
                }
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        segment.play()?;
        input.connect(Some(branch.clone()));
        Ok(Arc::new(Packets {
            branch: branch.clone(),
            sink,
            viewers,
            keyframe_asked: Mutex::default(),
            _input: input,
            _segment: segment,
        }))
    }

    /// The media they are made of.
    pub(super) fn branch(&self) -> &Arc<Branch> {
        &self.branch
    }

    /// Sends them there too, until the viewer is dropped.
    pub(super) fn add(&self, viewer: &Arc<Viewer>) {
        let mut viewers = lock(&self.viewers);
        viewers.retain(|v| v.strong_count() > 0);
        viewers.push(Arc::downgrade(viewer));
    }

    /// Some remote needs a keyframe.
    pub(super) fn request_keyframe(&self) {
        {
            let mut asked = lock(&self.keyframe_asked);
            if asked.is_some_and(|at| at.elapsed() < KEYFRAMES_APART) {
                return;
            }
            *asked = Some(Instant::now());
        }
        if let Some(pad) = self.sink.static_pad("sink") {
            pad.push_event(
                gst_video::UpstreamForceKeyUnitEvent::builder()
                    .all_headers(true)
                    .build(),
            );
        }
    }
}

fn present(viewers: &Mutex<Vec<Weak<Viewer>>>) -> Vec<Arc<Viewer>> {
    lock(viewers).iter().filter_map(Weak::upgrade).collect()
}

/// How each codec is made into packets: of 1200 bytes, which leave room for what is around them, as browsers do.
const PAYLOADERS: &[(Codec, &str)] = &[
    (Codec::Vp8, "rtpvp8pay mtu=1200 picture-id-mode=15-bit"),
    (Codec::Vp9, "rtpvp9pay mtu=1200 picture-id-mode=15-bit"),
    (
        Codec::H264,
        "rtph264pay mtu=1200 config-interval=-1 aggregate-mode=zero-latency",
    ),
    (Codec::Opus, "rtpopuspay"),
    (Codec::Pcmu, "rtppcmupay min-ptime=20000000 max-ptime=20000000"),
    (Codec::Pcma, "rtppcmapay min-ptime=20000000 max-ptime=20000000"),
];

fn payloader(codec: Codec) -> Option<&'static str> {
    let found = PAYLOADERS.iter().find(|(c, _)| *c == codec);
    found.map(|(_, element)| *element)
}

/// Whether packets can be made of a codec.
pub(super) fn can_packetise(codec: Codec) -> bool {
    payloader(codec).is_some()
}

/// A packet of the payloader, without its header: the engine makes one of its own (RFC 3550, section 5.1).
fn packet(sample: &gst::Sample, timeline: &Timeline, codec: Codec, sequence: u64) -> Option<FedPacket> {
    let buffer = sample.buffer()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let at = segment.to_running_time(buffer.pts()?)?;
    let age = timeline.now().saturating_sub(at);
    let captured = Instant::now().checked_sub(Duration::from_nanos(age.nseconds()))?;
    let map = buffer.map_readable().ok()?;
    let bytes = map.as_slice();
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let mut header = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes(bytes.get(header + 2..header + 4)?.try_into().ok()?);
        header += 4 + 4 * usize::from(words);
    }
    Some(FedPacket {
        kind: match codec.kind() {
            kms_core::types::MediaType::Audio => Kind::Audio,
            _ => Kind::Video,
        },
        codec: codec.name(),
        sequence,
        time: u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?),
        marker: second & 0x80 != 0,
        captured,
        payload: Arc::from(bytes.get(header..)?),
    })
}
