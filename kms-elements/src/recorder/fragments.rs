//! Mends what mp4mux of GStreamer 1.22 writes wrong into the fragments of a file that grows.
//!
//! In a fragment (`moof`, ISO/IEC 14496-12) a run of samples (`trun`) may leave out durations and sizes that are the same as those of
//! the track's first sample, if the header of the track's part (`tfhd`) tells them as defaults. When samples differ, mp4mux takes the
//! defaults away, but still leaves the values out in later runs that happen to be as the first sample: silence in AAC is. Players
//! refuse such a file. It is rewritten when it is closed, so only what is left of a killed server would be lost.

use std::sync::Mutex;

use gst::prelude::*;
use kms_core::media::probe;
use kms_core::object::lock;

const BASE_OFFSET: u32 = 0x1;
const DESCRIPTION: u32 = 0x2;
const DEFAULT_DURATION: u32 = 0x8;
const DEFAULT_SIZE: u32 = 0x10;
const DEFAULT_FLAGS: u32 = 0x20;
const BASE_IS_MOOF: u32 = 0x20000;

const RUN_OFFSET: u32 = 0x1;
const RUN_FIRST_FLAGS: u32 = 0x4;
const RUN_DURATION: u32 = 0x100;
const RUN_SIZE: u32 = 0x200;

/// Mends the fragments that leave this pad of mp4mux.
pub(super) fn mend_from(muxer: &gst::Element) {
    let Some(pad) = muxer.static_pad("src") else {
        return;
    };
    let position = Mutex::new(0);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(&pad, kinds, move |_, info| {
        let mut position = lock(&position);
        match &mut info.data {
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(segment) = event.view()
                    && let Some(bytes) = segment.segment().downcast_ref::<gst::format::Bytes>()
                {
                    *position = bytes.start().map_or(0, |start| *start);
                }
            }
            Some(gst::PadProbeData::Buffer(buffer)) => {
                if is_fragment(buffer)
                    && let Ok(mut map) = buffer.make_mut().map_writable()
                {
                    mend(&mut map, *position);
                }
                *position += buffer.size() as u64;
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

fn is_fragment(buffer: &gst::Buffer) -> bool {
    let mut start = [0; 8];
    buffer.size() >= start.len()
        && buffer.copy_to_slice(0, &mut start).is_ok()
        && &start[4..] == b"moof"
        && u32::from_be_bytes([start[0], start[1], start[2], start[3]]) as usize == buffer.size()
}

/// A box: its type, and where its content is.
type Found = ([u8; 4], std::ops::Range<usize>);

fn boxes(bytes: &[u8], within: std::ops::Range<usize>) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = within.start;
    while let (Some(size), Some(name)) = (number(bytes, at), bytes.get(at + 4..at + 8)) {
        let end = at + size as usize;
        if size < 8 || end > within.end {
            break;
        }
        let name = [name[0], name[1], name[2], name[3]];
        found.push((name, at + 8..end));
        at = end;
    }
    found
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([four[0], four[1], four[2], four[3]]))
}

fn put(bytes: &mut [u8], at: usize, value: u32) -> Option<()> {
    bytes.get_mut(at..at + 4)?.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// Mends a fragment that stands at this place in the file. Its size stays.
fn mend(moof: &mut [u8], position: u64) {
    for (name, content) in boxes(moof, 8..moof.len()) {
        if &name == b"traf" {
            // What is not as expected is left as it is.
            let _ = mend_track(moof, content, position);
        }
    }
}

fn mend_track(moof: &mut [u8], traf: std::ops::Range<usize>, position: u64) -> Option<()> {
    let parts = boxes(moof, traf);
    let head = parts.iter().find(|(name, _)| name == b"tfhd")?.1.clone();
    let runs: Vec<usize> = parts
        .iter()
        .filter(|(name, _)| name == b"trun")
        .map(|(_, r)| r.start)
        .collect();
    let flags = number(moof, head.start)?;
    let run_flags = runs
        .iter()
        .map(|run| number(moof, *run))
        .collect::<Option<Vec<u32>>>()?;
    let lacks = |in_run: u32, default: u32| flags & default == 0 && run_flags.iter().any(|f| f & in_run == 0);
    if !lacks(RUN_DURATION, DEFAULT_DURATION) && !lacks(RUN_SIZE, DEFAULT_SIZE) {
        return Some(());
    }
    if flags & BASE_OFFSET == 0 || flags & DESCRIPTION != 0 || run_flags.iter().any(|f| f & RUN_OFFSET == 0) {
        return None;
    }

    // What the header tells, and what the first sample is like.
    let base = u64::from(number(moof, head.start + 8)?) << 32 | u64::from(number(moof, head.start + 12)?);
    let mut at = head.start + 16;
    let mut told = |flag: u32| {
        let value = (flags & flag != 0).then(|| number(moof, at)).flatten();
        at += if value.is_some() { 4 } else { 0 };
        value
    };
    let (duration, size, sample_flags) = (told(DEFAULT_DURATION), told(DEFAULT_SIZE), told(DEFAULT_FLAGS));
    let (first_run, first_flags) = (*runs.first()?, *run_flags.first()?);
    let mut sample = first_run + 12 + if first_flags & RUN_FIRST_FLAGS != 0 { 4 } else { 0 };
    let first_duration = if first_flags & RUN_DURATION != 0 {
        sample += 4;
        number(moof, sample - 4)
    } else {
        duration
    };
    let first_size = if first_flags & RUN_SIZE != 0 {
        number(moof, sample)
    } else {
        size
    };
    let (duration_, size_) = (first_duration?, first_size?);

    // The place of the base, eight bytes, is that of the defaults: offsets count from the fragment itself instead.
    let offsets = runs.iter().map(|run| {
        let offset = i64::from(number(moof, run + 8)? as i32);
        let from_moof = i64::try_from(base).ok()? + offset - i64::try_from(position).ok()?;
        i32::try_from(from_moof).ok()
    });
    let offsets = offsets.collect::<Option<Vec<i32>>>()?;
    let mut fields = vec![];
    let mut now = flags & !BASE_OFFSET | BASE_IS_MOOF | DEFAULT_DURATION | DEFAULT_SIZE;
    if duration.is_some() || size.is_some() {
        // One default more takes four bytes: the number of the description, of which there is one, fills the rest.
        now |= DESCRIPTION;
        fields.push(1);
    }
    fields.extend([duration_, size_]);
    fields.extend(sample_flags);
    if head.start + 8 + fields.len() * 4 != head.end {
        return None;
    }
    put(moof, head.start, now)?;
    for (index, field) in fields.into_iter().enumerate() {
        put(moof, head.start + 8 + index * 4, field)?;
    }
    for (run, offset) in runs.into_iter().zip(offsets) {
        put(moof, run + 8, offset as u32)?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Sound that is silent most of the time, beside video: as mp4mux leaves it when it is not closed.
    fn unfinished(path: &std::path::Path, mended: bool) -> String {
        gst::init().expect("GStreamer");
        let description = format!(
            "mp4mux name=muxer fragment-duration=1000 fragment-mode=first-moov-then-finalise ! filesink location={} \
             buffer-mode=unbuffered audiotestsrc wave=ticks num-buffers=280 samplesperbuffer=1024 ! \
             audio/x-raw,rate=48000,channels=1 ! avenc_aac ! aacparse ! queue max-size-time=0 max-size-buffers=0 ! muxer. \
             videotestsrc num-buffers=150 ! video/x-raw,width=160,height=120,framerate=25/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast ! queue max-size-time=0 max-size-buffers=0 ! muxer.",
            path.display()
        );
        let pipeline = gst::parse::launch(&description).expect("elements");
        let pipeline: gst::Pipeline = pipeline.downcast().expect("a pipeline");
        if mended {
            mend_from(&pipeline.by_name("muxer").expect("a muxer"));
        }
        // It does not hear of the end.
        for pad in pipeline.by_name("muxer").expect("a muxer").sink_pads() {
            probe(&pad, gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
                match &info.data {
                    Some(gst::PadProbeData::Event(e)) if e.type_() == gst::EventType::Eos => {
                        gst::PadProbeReturn::Drop
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            });
        }
        pipeline.set_state(gst::State::Playing).expect("it plays");
        let (_sender, never) = std::sync::mpsc::sync_channel::<()>(0);
        let _ = never.recv_timeout(std::time::Duration::from_secs(4));
        let copy = path.with_extension("copy.mp4");
        std::fs::copy(path, &copy).expect("a copy");
        pipeline.set_state(gst::State::Null).expect("it ends");
        let probed = Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-show_entries",
                "packet=pts_time",
                "-of",
                "csv=p=0",
            ])
            .arg(&copy)
            .output()
            .expect("ffprobe");
        assert!(!mended || String::from_utf8_lossy(&probed.stdout).lines().count() > 250);
        String::from_utf8_lossy(&probed.stderr).into_owned()
    }

    #[test]
    fn a_file_that_was_not_closed_can_be_read() {
        let folder = std::env::temp_dir().join(format!("kms-fragments-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a directory");
        assert!(
            unfinished(&folder.join("a.mp4"), false).contains("error reading header"),
            "mp4mux needs no help any more"
        );
        assert_eq!(unfinished(&folder.join("b.mp4"), true), "");
        std::fs::remove_dir_all(folder).expect("removed");
    }
}
