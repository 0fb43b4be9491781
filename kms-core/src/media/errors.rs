//! GStreamer's errors, as Kurento's clients know them.

use gst::glib;
use gst::glib::error::ErrorDomain;
use gst::{CoreError, LibraryError, ResourceError, StreamError};

/// Number and name of an error of GStreamer, such as 3 and `RESOURCE_ERROR_NOT_FOUND`: what Kurento's `Error` event has for
/// them.
pub fn error_name(error: &glib::Error) -> (i32, String) {
    // The names that GLib gives the values are not these, so they are made of Rust's.
    let (domain, value, code) = if let Some(kind) = error.kind::<ResourceError>() {
        ("RESOURCE", format!("{kind:?}"), kind.code())
    } else if let Some(kind) = error.kind::<StreamError>() {
        ("STREAM", format!("{kind:?}"), kind.code())
    } else if let Some(kind) = error.kind::<CoreError>() {
        ("CORE", format!("{kind:?}"), kind.code())
    } else if let Some(kind) = error.kind::<LibraryError>() {
        ("LIBRARY", format!("{kind:?}"), kind.code())
    } else {
        return (1, "UNEXPECTED_ERROR".into());
    };
    let mut name = format!("{domain}_ERROR");
    for (index, letter) in value.char_indices() {
        if index == 0 || letter.is_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    (code, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_names_that_kurento_gives_them() {
        gst::init().expect("GStreamer");
        let failed = glib::Error::new(StreamError::Failed, "Internal data stream error.");
        assert_eq!(error_name(&failed), (1, "STREAM_ERROR_FAILED".into()));
        let missing = glib::Error::new(ResourceError::NotFound, "no such file");
        assert_eq!(error_name(&missing), (3, "RESOURCE_ERROR_NOT_FOUND".into()));
        let codec = glib::Error::new(StreamError::CodecNotFound, "no decoder");
        assert_eq!(error_name(&codec).1, "STREAM_ERROR_CODEC_NOT_FOUND");
    }
}
