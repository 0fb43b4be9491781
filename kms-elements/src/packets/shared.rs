//! Media made into RTP packets, once for all remotes that get it.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst_app::{AppSink, AppSinkCallbacks};
use kms_core::media::{Branch, Codec, Format, Input, MediaError, Report, Segment, Timeline, guarded};
use kms_core::object::lock;

use super::payloads::payloader;

/// Media that may wait for the payloader, which does next to nothing.
const LONGEST_QUEUE: gst::ClockTime = gst::ClockTime::from_mseconds(500);
/// Keyframes that are asked for sooner after one another are one: viewers who come together share theirs.
const KEYFRAMES_APART: Duration = Duration::from_millis(300);

/// A packet of a payloader.
pub(crate) struct Packet {
    /// With its RTP header, which is the payloader's own.
    pub(crate) sample: gst::Sample,
    parts: OnceCell<Option<Parts>>,
}

/// What a transport needs that makes headers of its own.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// RTP time: running time, in ticks.
    pub(crate) time: u32,
    /// The marker bit.
    pub(crate) marker: bool,
    /// What follows the header.
    pub(crate) payload: Arc<[u8]>,
}

impl Packet {
    /// How long ago it was captured, or read.
    pub(crate) fn age(&self, timeline: &Timeline) -> Option<Duration> {
        let segment = self.sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let at = segment.to_running_time(self.sample.buffer()?.pts()?)?;
        let age = timeline.now().saturating_sub(at);
        Some(Duration::from_nanos(age.nseconds()))
    }

    /// Its parts, copied once for all remotes; `None`: it is no packet of RTP.
    pub(crate) fn parts(&self) -> Option<&Parts> {
        self.parts.get_or_init(|| parts(&self.sample)).as_ref()
    }
}

/// RFC 3550, section 5.1.
fn parts(sample: &gst::Sample) -> Option<Parts> {
    let map = sample.buffer()?.map_readable().ok()?;
    let bytes = map.as_slice();
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let mut header = 12 + 4 * usize::from(first & 0x0f);
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes(bytes.get(header + 2..header + 4)?.try_into().ok()?);
        header += 4 + 4 * usize::from(words);
    }
    Some(Parts {
        time: u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?),
        marker: second & 0x80 != 0,
        payload: Arc::from(bytes.get(header..)?),
    })
}

/// All that is packetised, by the address of the branch and the size of packets. What is packetised keeps its branch, so that nothing
/// else can have that address meanwhile.
#[derive(Default)]
pub(crate) struct Packetised(Mutex<HashMap<(usize, u32), Weak<Packets>>>);

impl Packetised {
    /// The packets of a branch, of at most so many bytes; made if nobody has them yet, and until the last drops them.
    pub(super) fn of(
        &self,
        branch: &Arc<Branch>,
        mtu: u32,
        timeline: &Timeline,
    ) -> Result<Arc<Packets>, MediaError> {
        let mut all = lock(&self.0);
        all.retain(|_, packets| packets.strong_count() > 0);
        let key = (Arc::as_ptr(branch) as usize, mtu);
        let there_is = all.get(&key).and_then(Weak::upgrade);
        if let Some(packets) = there_is.filter(|packets| !packets.failed.load(Ordering::Relaxed)) {
            return Ok(packets);
        }
        let packets = Packets::start(branch, mtu, timeline)?;
        all.insert(key, Arc::downgrade(&packets));
        Ok(packets)
    }
}

/// Takes packets, on the payloader's thread, which carries others too: it must not wait.
pub(crate) type Take = Box<dyn FnMut(&Packet) + Send>;

/// A remote that gets packets.
pub(super) struct Viewer {
    take: Mutex<Take>,
    /// Told when there will be no more.
    failed: Arc<dyn Fn(&MediaError) + Send + Sync>,
    /// It has panicked, and gets no more.
    broken: AtomicBool,
}

impl Viewer {
    pub(super) fn new(take: Take, failed: Arc<dyn Fn(&MediaError) + Send + Sync>) -> Arc<Viewer> {
        Arc::new(Viewer {
            take: Mutex::new(take),
            failed,
            broken: AtomicBool::new(false),
        })
    }

    /// What one remote panics on is that one's failure.
    fn give(&self, packet: &Packet) {
        if self.broken.load(Ordering::Relaxed) {
            return;
        }
        if guarded(None, || (lock(&self.take))(packet)).is_none() {
            self.broken.store(true, Ordering::Relaxed);
            (self.failed)(&MediaError::new("Packets can't be sent"));
        }
    }
}

type Viewers = Arc<Mutex<Vec<Weak<Viewer>>>>;

/// The segment that makes packets of a branch.
pub(super) struct Packets {
    branch: Arc<Branch>,
    codec: Codec,
    sink: AppSink,
    /// No more comes.
    failed: Arc<AtomicBool>,
    /// Read with each packet, changed when remotes come; those that went are left out by and by.
    viewers: Viewers,
    keyframe_asked: Mutex<Option<Instant>>,
    _input: Input,
    _segment: Segment,
}

impl Packets {
    fn start(branch: &Arc<Branch>, mtu: u32, timeline: &Timeline) -> Result<Arc<Packets>, MediaError> {
        let found = match branch.format() {
            Format::Encoded(codec) => payloader(codec, mtu).map(|element| (codec, element)),
            Format::Raw => None,
        };
        let Some((codec, payloader)) = found else {
            let message = format!("{} can't be made into packets", branch.format());
            return Err(MediaError::new(message));
        };
        let viewers = Viewers::default();
        let (told, failed) = (viewers.clone(), Arc::new(AtomicBool::new(false)));
        let fails = failed.clone();
        let segment = Segment::new(timeline, &format!("packetiser-{codec}"), move |report| {
            if let Report::Failed { error, detail, .. } = report {
                tracing::error!(%codec, %error, detail, "media can't be made into packets");
                fails.store(true, Ordering::Relaxed);
                let error = MediaError::new("Media can't be made into packets");
                for viewer in present(&told) {
                    (viewer.failed)(&error);
                }
            }
        });
        let input = Input::new(&segment, LONGEST_QUEUE)?;
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
        let fed = viewers.clone();
        let callbacks = AppSinkCallbacks::builder().new_sample(move |sink| {
            let packet = Packet {
                sample: sink.pull_sample().map_err(|_| gst::FlowError::Eos)?,
                parts: OnceCell::new(),
            };
            for viewer in present(&fed) {
                viewer.give(&packet);
            }
            Ok(gst::FlowSuccess::Ok)
        });
        sink.set_callbacks(callbacks.build());
        segment.play()?;
        input.connect(Some(branch.clone()));
        Ok(Arc::new(Packets {
            branch: branch.clone(),
            codec,
            sink,
            failed,
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

    /// Its codec.
    pub(super) fn codec(&self) -> Codec {
        self.codec
    }

    /// Gives them to this one too, until it is dropped.
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn what_one_remote_panics_on_is_its_own_failure_and_told_once() {
        gst::init().expect("GStreamer");
        let counter = || Arc::new(AtomicU32::new(0));
        let (given, failures) = (counter(), counter());
        let (give, fail) = (given.clone(), failures.clone());
        let take = move |_: &Packet| {
            give.fetch_add(1, Ordering::Relaxed);
            panic!("as the test wants");
        };
        let failed = move |_: &MediaError| {
            fail.fetch_add(1, Ordering::Relaxed);
        };
        let viewer = Viewer::new(Box::new(take), Arc::new(failed));
        let packet = Packet {
            sample: gst::Sample::builder().build(),
            parts: OnceCell::new(),
        };
        viewer.give(&packet);
        viewer.give(&packet);
        assert_eq!(given.load(Ordering::Relaxed), 1);
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    }
}
