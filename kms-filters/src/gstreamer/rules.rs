//! What a command may name.
//!
//! - The elements of a list: filters of sound or of pictures, with one input and one output that are always there. So sources, sinks,
//!   bins, codecs and whatever opens a network are out; and so are filters that end the process with some of their own values, such as
//!   interlace (an assertion) and audiofirfilter (memory), which a rule made of GStreamer's classes would let in.
//! - Properties whose values are numbers, yes or no, or words of a list; text only where it is what is shown, without markup. So no property names a
//!   file, a device or a host. Times are at most 10 s, for an element keeps media that long, and sizes at most 8192.
//! - Pictures of 8192x8192 and 240 a second, and sound of 8 channels and 384 kHz, at most: between any two elements.

use gst::glib::{self, ParamFlags, ParamSpec, Value, prelude::*};
use gst::prelude::*;
use kms_core::types::MediaType;
use protocol::error::clip;

/// The elements.
#[rustfmt::skip]
const TAKEN: &[&str] = &[
    // Video.
    "agingtv", "alpha", "aspectratiocrop", "burn", "chromahold", "chromium", "clockoverlay", "coloreffects", "deinterlace",
    "dicetv", "dilate", "dodge", "edgetv", "exclusion", "gamma", "gaussianblur", "optv", "quarktv", "radioactv", "revtv",
    "rippletv", "shagadelictv", "smooth", "solarize", "streaktv", "timeoverlay", "vertigotv", "videobalance", "videobox",
    "videoconvert", "videocrop", "videoflip", "videomedian", "videoscale", "warptv",
    // Audio.
    "audioamplify", "audiochebband", "audiocheblimit", "audioconvert", "audiodynamic", "audioecho", "audioinvert",
    "audiokaraoke", "audiopanorama", "audioresample", "audiowsincband", "audiowsinclimit", "equalizer-10bands",
    "equalizer-3bands", "freeverb", "pitch", "stereo", "volume",
];

/// The property of elements that write on pictures which is shown, and opens nothing.
const SHOWN: &str = "text";

/// The longest text, bytes.
const LONGEST_TEXT: usize = 256;

/// Limit of other whole numbers, most of which are sizes; colours are longer.
const LARGEST_SIZE: i64 = 8192;

/// Limit of 64-bit numbers, most of which are times in nanoseconds.
const LONGEST_TIME: i64 = 10_000_000_000;

/// The caps that media may have between elements.
pub(super) fn bounds(kind: MediaType) -> &'static str {
    match kind {
        MediaType::Audio => "audio/x-raw,rate=[1,384000],channels=[1,8]",
        _ => "video/x-raw,width=[1,8192],height=[1,8192],framerate=[0/1,240/1]",
    }
}

/// The factory of this name, if it is one that may be used, and the kind of media that it changes.
pub(super) fn element(name: &str) -> Result<(gst::ElementFactory, MediaType), String> {
    let factory = gst::ElementFactory::find(name).ok_or_else(|| format!("no element \"{}\"", clip(name)))?;
    let klass: Vec<&str> = factory.klass().split('/').collect();
    let kind = match (klass.contains(&"Audio"), klass.contains(&"Video")) {
        (true, false) => MediaType::Audio,
        (false, true) => MediaType::Video,
        _ => return Err(refused(name, factory.klass())),
    };
    // Another version may have made another thing of it.
    if !TAKEN.contains(&name) || !has_two_pads(&factory, kind) {
        return Err(refused(name, factory.klass()));
    }
    let factory = factory
        .load()
        .map_err(|_| format!("\"{name}\" can't be loaded"))?;
    Ok((factory, kind))
}

fn refused(name: &str, is: &str) -> String {
    format!(
        "\"{name}\" ({is}) is none of the filters of audio or video that may be used; the server's documentation lists them"
    )
}

fn has_two_pads(factory: &gst::ElementFactory, kind: MediaType) -> bool {
    let raw = gst::Caps::new_empty_simple(if kind == MediaType::Audio {
        "audio/x-raw"
    } else {
        "video/x-raw"
    });
    let templates = factory.static_pad_templates();
    let fits = |direction| {
        let mut pads = templates.iter().filter(|t| t.direction() == direction);
        let one = pads
            .next()
            .is_some_and(|t| t.presence() == gst::PadPresence::Always && t.caps().can_intersect(&raw));
        one && pads.next().is_none()
    };
    fits(gst::PadDirection::Sink) && fits(gst::PadDirection::Src)
}

/// The property of this name of elements of a factory; `None`: there is none that can be written.
pub(super) fn property(factory: &gst::ElementFactory, name: &str) -> Option<ParamSpec> {
    let class = glib::object::ObjectClass::from_type(factory.element_type())?;
    let found = class.find_property(name)?;
    found.flags().contains(ParamFlags::WRITABLE).then_some(found)
}

/// The value that this text means for a property. The error says what is wrong with it.
pub(super) fn value(property: &ParamSpec, text: &str) -> Result<Value, String> {
    let name = property.name();
    let is = property.value_type();
    let wrong = |why: String| format!("'{}' is no value for '{name}': {why}", clip(text));
    let deserialised = || {
        Value::deserialize_with_pspec(text, property).map_err(|_| wrong(format!("a {} is needed", is.name())))
    };
    if is == glib::Type::STRING && name == SHOWN {
        // As markup it could ask for letters larger than memory.
        if text.len() > LONGEST_TEXT || text.contains(['\0', '<', '&']) {
            return Err(wrong(format!(
                "at most {LONGEST_TEXT} bytes are shown, without '<' and '&'"
            )));
        }
        return Ok(text.to_value());
    }
    // GStreamer takes nothing for zero.
    if text.trim().is_empty() {
        return Err(wrong("it is empty".into()));
    }
    if is == glib::Type::BOOL || is.is_a(glib::Type::ENUM) {
        return deserialised();
    }
    if is.is_a(glib::Type::FLAGS) {
        // A number would be taken with bits that mean nothing.
        return match text.starts_with(|c: char| c.is_ascii_digit() || c == '-') {
            true => Err(wrong("names joined by '+' are needed".into())),
            false => deserialised(),
        };
    }
    match number_range(property) {
        Some((least, most)) => {
            let value = deserialised()?;
            let number = as_number(&value).ok_or_else(|| wrong("a number is needed".into()))?;
            // A number that is none is in no range.
            if (least..=most).contains(&number) {
                Ok(value)
            } else {
                Err(wrong(format!("{least} to {most} is possible")))
            }
        }
        None => Err(format!(
            "property '{name}' may not be set: only numbers, yes or no, words of a list and text that is shown"
        )),
    }
}

/// The least and the most of a property that is a number.
fn number_range(property: &ParamSpec) -> Option<(f64, f64)> {
    let most = match property.name().contains("color") {
        true => i64::from(u32::MAX),
        false => LARGEST_SIZE,
    };
    macro_rules! range {
        ($($spec:ident, $limit:expr;)*) => {
            $(if let Some(spec) = property.downcast_ref::<glib::$spec>() {
                let limit: f64 = $limit;
                return Some(((spec.minimum() as f64).max(-limit), (spec.maximum() as f64).min(limit)));
            })*
        };
    }
    range!(
        ParamSpecInt, most as f64;
        ParamSpecUInt, most as f64;
        ParamSpecInt64, LONGEST_TIME as f64;
        ParamSpecUInt64, LONGEST_TIME as f64;
        ParamSpecFloat, f64::MAX;
        ParamSpecDouble, f64::MAX;
    );
    None
}

fn as_number(value: &Value) -> Option<f64> {
    macro_rules! number {
        ($($is:ty),*) => {
            $(if let Ok(number) = value.get::<$is>() {
                return Some(number as f64);
            })*
        };
    }
    number!(i32, u32, i64, u64, f32, f64);
    None
}
