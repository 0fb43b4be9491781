//! `ZBarFilter`: finds QR and bar codes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use gst::prelude::*;
use kms_core::media::{MediaError, Segment, Timeline, probe};
use kms_core::object::lock;
use kms_core::objects::{InPipeline, MediaPipeline};
use kms_core::types::MediaType;
use kms_core::{Class, ElementCore, Object};
use protocol::{Error, event};

use crate::filter::{Filter, Work, filter, filter_object};

/// Codes are looked for this often, in the newest picture.
const INTERVAL: gst::ClockTime = gst::ClockTime::from_mseconds(100);
/// A code that was not seen for so long has left the view.
const LEFT: gst::ClockTime = gst::ClockTime::from_seconds(2);
/// Codes that are remembered; of more, those that were seen longest ago are told again.
const MOST_CODES: usize = 256;

event! { "kurento"
    /// A code has come into view: once for each, until it was away for two seconds.
    pub struct CodeFound: Media {
        /// What kind of code, as zbar calls it: `QR-Code`, `EAN-13`, `UPC-A`, `CODE-128` and others.
        code_type "codeType": String,
        /// What it says.
        value "value": String,
    }
}

/// A filter that finds codes.
pub(crate) struct ZBarFilter {
    filter: Arc<Filter>,
}

/// Looks for codes beside the stream.
struct Search {
    timeline: Timeline,
    filter: OnceLock<Weak<Filter>>,
    /// When each code was seen last: type and value.
    seen: Mutex<HashMap<(String, String), gst::ClockTime>>,
    this: Weak<Search>,
}

impl Search {
    fn new(timeline: &Timeline) -> Arc<Search> {
        Arc::new_cyclic(|this| Search {
            timeline: timeline.clone(),
            filter: OnceLock::new(),
            seen: Mutex::default(),
            this: this.clone(),
        })
    }

    /// What zbar found.
    fn heard(&self, told: &gst::StructureRef) {
        let (Ok(code_type), Ok(value)) = (told.get::<String>("type"), told.get::<String>("symbol")) else {
            return;
        };
        let code = (code_type, mended(value));
        if !self.is_news(code.clone(), self.timeline.now()) {
            return;
        }
        if let Some(filter) = self.filter.get().and_then(Weak::upgrade) {
            let (code_type, value) = code;
            filter.element().object.raise(&CodeFound { code_type, value });
        }
    }

    /// Whether a code that is seen now was away.
    fn is_news(&self, code: (String, String), now: gst::ClockTime) -> bool {
        let mut seen = lock(&self.seen);
        if seen.len() >= MOST_CODES
            && let Some(oldest) = seen
                .iter()
                .min_by_key(|(_, at)| **at)
                .map(|(code, _)| code.clone())
        {
            seen.remove(&oldest);
        }
        let before = seen.insert(code, now);
        before.is_none_or(|before| now > before + LEFT)
    }
}

/// QR codes don't say how their text is encoded, nearly all is UTF-8, and zbar takes what is short for Japanese or Chinese. If its text,
/// written back in their encodings, is valid UTF-8, then that is what was meant: by chance it happens to hardly any.
fn mended(value: String) -> String {
    if value.is_ascii() {
        return value;
    }
    let meant = [encoding_rs::SHIFT_JIS, encoding_rs::BIG5]
        .into_iter()
        .find_map(|encoding| {
            let (bytes, _, lost) = encoding.encode(&value);
            String::from_utf8(bytes.into_owned()).ok().filter(|_| !lost)
        });
    meant.unwrap_or(value)
}

impl Work for Search {
    fn add(&self, segment: &Segment) -> Result<(gst::Element, gst::Element), MediaError> {
        // The stream never waits: while a picture is looked at, the newest one of those that come waits.
        let bin = segment.add(
            "tee name=tee ! identity tee. ! queue name=side leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0 \
             ! videoconvert ! zbar ! fakesink sync=false async=false",
        )?;
        if let Some(pad) = bin.by_name("side").and_then(|side| side.static_pad("sink")) {
            let looked = Mutex::new(None);
            probe(&pad, gst::PadProbeType::BUFFER, move |_, info| {
                let at = info.buffer().and_then(|b| b.pts());
                let mut looked = lock(&looked);
                let is_due = match (*looked, at) {
                    (Some(before), Some(at)) => at < before || at - before >= INTERVAL,
                    _ => true,
                };
                if is_due {
                    *looked = at;
                    return gst::PadProbeReturn::Ok;
                }
                info.data = None;
                gst::PadProbeReturn::Handled
            });
        }
        let this = self.this.clone();
        segment.hear(move |told| {
            if told.name() == "barcode"
                && let Some(this) = this.upgrade()
            {
                this.heard(told);
            }
        });
        Ok((bin.clone().upcast(), bin.upcast()))
    }
}

/// The class.
pub(crate) fn class(timeline: &Timeline) -> Class<ZBarFilter> {
    let timeline = timeline.clone();
    Class::<ZBarFilter>::new(
        "ZBarFilter",
        "filters",
        "Finds QR and bar codes in video, ten times a second, in the newest picture. The video passes as it is and waits for nothing.",
    )
    .extends(filter())
    .constructor(move |call, p: InPipeline| {
        let pipeline: Arc<MediaPipeline> = call.constructor_object(&p.media_pipeline)?;
        let element = ElementCore::new(&pipeline, pipeline.core(), "kurento.ZBarFilter")
            .ok_or_else(|| Error::object_not_found(&p.media_pipeline.id))?;
        let search = Search::new(&timeline);
        let filter = Filter::new(element, &timeline, "zbar", MediaType::Video, search.clone());
        let _ = search.filter.set(Arc::downgrade(&filter));
        let this = Arc::new(ZBarFilter { filter });
        pipeline.join(this.clone());
        Ok(this)
    })
    .event::<CodeFound>()
}

filter_object!(ZBarFilter);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_was_taken_for_japanese_or_chinese_is_mended() {
        // As zbar gives "Grüße aus Köln", and a lone "ü".
        assert_eq!(
            mended("Gr\u{ff83}\u{ff7c}\u{ff83}\u{6b79} aus K\u{ff83}\u{ff76}ln".into()),
            "Grüße aus Köln"
        );
        assert_eq!(mended("b=\u{7fb9}".into()), "b=ü");
        for right in [
            "plain",
            "日本語のテキスト",
            "繁體中文",
            "Grüße",
            "Привет",
            "مرحبا",
        ] {
            assert_eq!(mended(right.into()), right);
        }
    }

    #[test]
    fn a_code_is_news_once_until_it_was_away() {
        let timeline = Timeline::start().expect("GStreamer");
        let search = Search::new(&timeline);
        let code = |value: &str| ("QR-Code".to_owned(), value.to_owned());
        let at = gst::ClockTime::from_mseconds;
        assert!(search.is_news(code("a"), at(1_000)));
        assert!(!search.is_news(code("a"), at(2_900)));
        assert!(search.is_news(code("b"), at(3_000)), "another one");
        assert!(!search.is_news(code("a"), at(4_900)), "it stayed");
        assert!(search.is_news(code("a"), at(7_000)), "it came back");
        for number in 0..1_000 {
            assert!(search.is_news(code(&format!("many {number}")), at(8_000 + number)));
        }
        assert!(lock(&search.seen).len() <= MOST_CODES);
    }
}
