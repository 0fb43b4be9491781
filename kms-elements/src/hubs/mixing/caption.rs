//! Names under pictures. Each is drawn once, beside the mixer, by Pango, which knows every script; until it is there, it is not shown.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_app::AppSink;
use gst_video::prelude::*;
use gst_video::{VideoFrame, VideoInfo};
use kms_core::media::MediaError;
use kms_core::object::lock;

use super::layout::Rect;

/// Of the height of the picture it is under, and pixels.
const HEIGHT: f64 = 0.09;
const HEIGHTS: std::ops::RangeInclusive<u32> = 16..=48;
/// Pictures that are lower have none.
const LOWEST: u32 = 64;
/// Letters are so high, of the strip they are in.
const LETTERS: f64 = 0.72;
/// Captions that wait to be drawn. One for which there is no room is asked for again with the next picture.
const WAITING: usize = 64;
/// How long drawing one may take.
const PATIENCE: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// A text and the width and height that it is drawn in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Caption {
    text: Arc<str>,
    width: u32,
    height: u32,
}

/// The brightness of a strip, row by row; `None`: it waits.
type Strip = Option<Arc<Vec<u8>>>;

/// Captions that are drawn.
#[derive(Default)]
pub(super) struct Captions {
    strips: Arc<Mutex<HashMap<Caption, Strip>>>,
    orders: Option<SyncSender<Caption>>,
}

/// Whether captions can be drawn here; else what to do.
pub(in crate::hubs) fn can_draw() -> Result<(), String> {
    match gst::ElementFactory::find("textoverlay") {
        Some(_) => Ok(()),
        None => Err("Captions can't be drawn here: GStreamer's plugin pango is missing".into()),
    }
}

impl Caption {
    /// The caption for a picture in this place, and where it is; `None`: it is too small for one.
    pub(super) fn of(text: Arc<str>, place: Rect) -> Option<(Caption, Rect)> {
        if place.height < LOWEST || place.width < 2 {
            return None;
        }
        let height = (f64::from(place.height) * HEIGHT / 2.0).round() as u32 * 2;
        let height = height.clamp(*HEIGHTS.start(), *HEIGHTS.end());
        let at = Rect {
            y: place.y + place.height - height,
            height,
            ..place
        };
        let caption = Caption {
            text,
            width: at.width,
            height,
        };
        Some((caption, at))
    }

    /// Draws it, white on black.
    fn draw(&self) -> Result<Vec<u8>, MediaError> {
        let Caption { text, width, height } = self;
        let letters = (f64::from(*height) * LETTERS).round();
        let pipeline = gst::parse::launch(&format!(
            "videotestsrc num-buffers=1 pattern=black ! video/x-raw,format=I420,width={width},height={height},framerate=1/1 \
             ! textoverlay name=text auto-resize=false font-desc=\"Sans {letters}px\" draw-shadow=false draw-outline=false \
             wrap-mode=none halignment=center valignment=center ! video/x-raw,format=I420 ! appsink name=sink sync=false"
        ));
        let failed = |detail: String| MediaError {
            message: "A caption can't be drawn".into(),
            detail,
        };
        let pipeline = pipeline.map_err(|e| failed(e.to_string()))?;
        let pipeline = pipeline
            .downcast::<gst::Pipeline>()
            .map_err(|_| failed("no pipeline".into()))?;
        let (text_element, sink) = (pipeline.by_name("text"), pipeline.by_name("sink"));
        let sink = sink.and_then(|sink| sink.downcast::<AppSink>().ok());
        let (Some(text_element), Some(sink)) = (text_element, sink) else {
            return Err(failed("elements are missing".into()));
        };
        // The property is markup.
        text_element.set_property("text", gst::glib::markup_escape_text(text).as_str());
        let played = pipeline.set_state(gst::State::Playing);
        let sample = sink.try_pull_sample(PATIENCE);
        let _ = pipeline.set_state(gst::State::Null);
        played.map_err(|e| failed(e.to_string()))?;
        let sample = sample.ok_or_else(|| failed("nothing came".into()))?;
        let info = sample.caps().and_then(|caps| VideoInfo::from_caps(caps).ok());
        let frame = info
            .zip(sample.buffer_owned())
            .and_then(|(info, buffer)| VideoFrame::from_buffer_readable(buffer, &info).ok());
        let frame = frame.ok_or_else(|| failed("no picture came".into()))?;
        let stride = usize::try_from(frame.plane_stride()[0]).unwrap_or(1).max(1);
        let rows = frame.plane_data(0).map_err(|e| failed(e.to_string()))?;
        let rows = rows.chunks(stride).take(*height as usize);
        Ok(rows
            .flat_map(|row| row.iter().take(*width as usize))
            .copied()
            .collect())
    }
}

impl Captions {
    /// The brightness of a caption's pixels; `None`: it is not drawn yet.
    pub(super) fn get(&mut self, caption: &Caption) -> Strip {
        let mut strips = lock(&self.strips);
        if let Some(strip) = strips.get(caption) {
            return strip.clone();
        }
        let orders = self.orders.get_or_insert_with(|| begin(self.strips.clone()));
        match orders.try_send(caption.clone()) {
            Ok(()) => drop(strips.insert(caption.clone(), None)),
            // Who draws is gone: there will be another.
            Err(TrySendError::Disconnected(_)) => self.orders = None,
            Err(TrySendError::Full(_)) => {}
        }
        None
    }

    /// Those that are not shown any more are forgotten.
    pub(super) fn keep(&self, shown: &[Caption]) {
        lock(&self.strips).retain(|caption, _| shown.contains(caption));
    }
}

/// Begins to draw, on a thread that ends with who orders.
fn begin(strips: Arc<Mutex<HashMap<Caption, Strip>>>) -> SyncSender<Caption> {
    let (sender, orders) = sync_channel(WAITING);
    let draw = move || works(&orders, &strips);
    if let Err(error) = std::thread::Builder::new().name("captions".into()).spawn(draw) {
        tracing::error!(%error, "no captions are drawn: no thread can be made");
    }
    sender
}

fn works(orders: &Receiver<Caption>, strips: &Mutex<HashMap<Caption, Strip>>) {
    while let Ok(caption) = orders.recv() {
        // Nobody wants it any more.
        if !lock(strips).contains_key(&caption) {
            continue;
        }
        match caption.draw() {
            Ok(strip) => {
                if let Some(place) = lock(strips).get_mut(&caption) {
                    *place = Some(Arc::new(strip));
                }
            }
            // Asked for again with the next picture.
            Err(error) => {
                tracing::warn!(detail = %error.detail, "{error}");
                lock(strips).remove(&caption);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(text: &str, width: u32) -> Vec<u8> {
        gst::init().expect("GStreamer");
        let place = Rect::of((width, 400));
        let (caption, at) = Caption::of(text.into(), place).expect("room for it");
        assert_eq!((at.y, at.height, at.width), (364, 36, width));
        caption.draw().expect("a strip")
    }

    fn bright(strip: &[u8]) -> usize {
        strip.iter().filter(|n| **n > 128).count()
    }

    #[test]
    fn names_of_any_script_are_drawn_and_markup_is_text() {
        let nothing = strip("", 640);
        assert_eq!((nothing.len(), bright(&nothing)), (640 * 36, 0));
        let (ann, zoya) = (bright(&strip("Ann", 640)), bright(&strip("Зоя Ω", 640)));
        assert!(ann > 100 && zoya > ann, "{ann} {zoya}");
        // As markup it would be as long as "Ann", or an error and nothing.
        for hostile in [
            "<b>Ann</b>",
            "<span size='900000'>Ann</span>",
            "Ann & <Bob",
            "%s%n\u{202e}",
        ] {
            assert!(bright(&strip(hostile, 640)) > ann, "{hostile}");
        }
        let long = strip(&"W".repeat(200), 64);
        assert_eq!(long.len(), 64 * 36);
        assert!(Caption::of("Ann".into(), Rect::of((640, 40))).is_none());
    }
}
