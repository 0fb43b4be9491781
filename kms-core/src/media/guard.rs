//! Code of ours that GStreamer calls. It calls from C, which a panic can't unwind through: without this one panic would end the
//! process, and everybody's media with it.
//!
//! Callbacks of appsinks and appsrcs, and elements written in Rust, are guarded by GStreamer's bindings themselves.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use gst::prelude::*;

/// Does this. A panic is logged, with its message by the panic hook, and becomes an error of the element: its segment has failed, and
/// who owns that makes it anew or tells the client. `None`: it panicked.
pub fn guarded<T>(element: Option<&gst::Element>, act: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(done) => Some(done),
        Err(panic) => {
            failed(element, panic);
            None
        }
    }
}

/// Adds a probe to a pad. What it panics on is dropped, and is an error of the element that the pad is of.
#[expect(clippy::disallowed_methods, reason = "this is what is to be used instead")]
pub fn probe(
    pad: &gst::Pad,
    kinds: gst::PadProbeType,
    act: impl Fn(&gst::Pad, &mut gst::PadProbeInfo) -> gst::PadProbeReturn + Send + Sync + 'static,
) -> Option<gst::PadProbeId> {
    pad.add_probe(kinds, move |pad, info| {
        let passes = !matches!(info.data, None | Some(gst::PadProbeData::Query(_)));
        let act = AssertUnwindSafe(|| act(pad, info));
        let done = catch_unwind(act).unwrap_or_else(|panic| {
            failed(pad.parent_element().as_ref(), panic);
            gst::PadProbeReturn::Drop
        });
        match done {
            // The bindings free what is dropped, and GStreamer would free it once more: it complains of a null pointer.
            gst::PadProbeReturn::Drop if passes => {
                info.data = None;
                gst::PadProbeReturn::Handled
            }
            gst::PadProbeReturn::Drop => gst::PadProbeReturn::Ok,
            done => done,
        }
    })
}

fn failed(element: Option<&gst::Element>, panic: Box<dyn Any + Send>) {
    let name = element.map(|e| e.name().to_string()).unwrap_or_default();
    tracing::error!(element = name, "code that GStreamer called has panicked");
    if let Some(element) = element {
        gst::subclass::post_panic_error_message(element, element.upcast_ref(), Some(panic));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::time::Duration;

    use super::*;
    use crate::media::{Report, Segment, Timeline};

    /// Pictures that come, and what the segment reports of failures.
    fn pictures(
        timeline: &Timeline,
        act: impl Fn(u32) + Send + Sync + 'static,
    ) -> (Segment, Receiver<u32>, Receiver<String>) {
        let (tell, failures) = sync_channel(8);
        let report = move |report| {
            if let Report::Failed { detail, error, .. } = report {
                let _ = tell.try_send(format!("{error} {detail}"));
            }
        };
        let segment = Segment::new(timeline, "pictures", report);
        let bin = segment
            .add("videotestsrc is-live=true ! video/x-raw,width=16,height=16,framerate=50/1 ! fakesink name=end")
            .expect("elements");
        let (tell, seen) = sync_channel(100);
        let pad = bin.by_name("end").and_then(|end| end.static_pad("sink"));
        let count = std::sync::atomic::AtomicU32::new(0);
        probe(&pad.expect("a pad"), gst::PadProbeType::BUFFER, move |_, _| {
            let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            act(number);
            let _ = tell.try_send(number);
            gst::PadProbeReturn::Ok
        });
        segment.play().expect("it plays");
        (segment, seen, failures)
    }

    #[test]
    fn a_panic_fails_its_own_segment_and_no_other() {
        let timeline = Timeline::start().expect("GStreamer");
        let (_well, well, unhurt) = pictures(&timeline, |_| {});
        let (_ill, ill, failures) = pictures(&timeline, |number| assert!(number < 3, "as the test wants"));
        let patience = Duration::from_secs(10);
        for number in 0..3 {
            assert_eq!(ill.recv_timeout(patience), Ok(number));
        }
        let failure = failures.recv_timeout(patience).expect("a report");
        assert!(failure.contains("as the test wants"), "{failure}");
        let seen = well.try_iter().count();
        for _ in 0..seen + 10 {
            well.recv_timeout(patience).expect("the other goes on");
        }
        assert!(unhurt.try_recv().is_err());
    }
}
