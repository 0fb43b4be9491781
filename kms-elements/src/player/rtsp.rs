//! Cameras: RTSP, whose streams are taken apart here, without the searching that files need.

use gst::{ElementFactory, ElementFactoryType, Rank};
use kms_core::media::Codec;

use crate::packets::depayloader;

/// Whether a URI is that of a camera: `rtsp`, and its variants over TCP, UDP or TLS.
pub(super) fn is_rtsp(uri: &str) -> bool {
    uri.get(..4).is_some_and(|s| s.eq_ignore_ascii_case("rtsp"))
}

/// What reads a camera. Its pads give RTP packets, each of one stream. It has the name that uridecodebin gives to its sources, by which
/// failures are told apart.
pub(super) fn reader(uri: &str) -> Result<gst::Element, gst::glib::BoolError> {
    ElementFactory::make("rtspsrc")
        .name("source")
        .property("location", uri)
        .build()
}

/// The codec of a stream by the caps of its packets (RFC 8866, section 6.6), and the elements that take them apart. `None`: GStreamer is to
/// find out.
pub(super) fn codec_of(caps: &gst::StructureRef) -> Option<(Codec, &'static str)> {
    let name = caps.get::<&str>("encoding-name").ok()?;
    match name {
        "MPEG4-GENERIC" => {
            // The only mode of AAC that cameras use (RFC 3640, section 3.3.6).
            let is_aac = caps
                .get::<&str>("mode")
                .is_ok_and(|m| m.eq_ignore_ascii_case("AAC-hbr"));
            is_aac.then_some((Codec::Aac, "rtpmp4gdepay"))
        }
        "JPEG" => Some((Codec::Jpeg, "rtpjpegdepay")),
        name => {
            let kinds = [
                kms_core::types::MediaType::Video,
                kms_core::types::MediaType::Audio,
            ];
            let mut codecs = kinds.into_iter().flat_map(Codec::all);
            let codec = codecs.find(|c| c.name() == name)?;
            depayloader(codec).map(|element| (codec, element))
        }
    }
}

/// A stream that a camera describes.
pub(super) struct Described {
    /// Such as `video`.
    pub(super) media: String,
    /// The first of its payload types: cameras give no choice.
    pub(super) payload_type: u8,
    /// The caps of its packets.
    pub(super) caps: gst::Caps,
}

/// The streams of a camera's description (RFC 8866), in their order.
pub(super) fn described(sdp: &[u8]) -> Vec<Described> {
    let Ok(message) = gst_sdp::SDPMessage::parse_buffer(sdp) else {
        return Vec::new();
    };
    let described = |media: &gst_sdp::SDPMediaRef| {
        let payload_type: u8 = media.format(0)?.parse().ok()?;
        let mut caps = media.caps_from_media(i32::from(payload_type))?;
        let known = caps.make_mut();
        let _ = message.attributes_to_caps(known);
        let _ = media.attributes_to_caps(known);
        known.structure_mut(0)?.set_name("application/x-rtp");
        Some(Described {
            media: media.media()?.to_owned(),
            payload_type,
            caps,
        })
    };
    message.medias().filter_map(described).collect()
}

/// Whether packets of these caps can be played.
pub(super) fn is_playable(caps: &gst::Caps) -> bool {
    caps.structure(0).is_some_and(|s| codec_of(s).is_some()) || may_be_known(caps)
}

/// Whether some element of GStreamer takes packets of these caps apart that are of picture or sound.
pub(super) fn may_be_known(caps: &gst::CapsRef) -> bool {
    let media = caps.structure(0).and_then(|s| s.get::<&str>("media").ok());
    matches!(media, Some("audio" | "video"))
        && ElementFactory::factories_with_type(ElementFactoryType::DEPAYLOADER, Rank::MARGINAL)
            .iter()
            .any(|factory| takes(factory, caps))
}

/// Some take whatever has no better name: they don't count.
fn takes(factory: &ElementFactory, caps: &gst::CapsRef) -> bool {
    let sinks = factory.static_pad_templates();
    let mut sinks = sinks.iter().filter(|t| t.direction() == gst::PadDirection::Sink);
    sinks.any(|template| {
        let named = |s: &&gst::StructureRef| s.has_field("encoding-name");
        template
            .caps()
            .iter()
            .filter(named)
            .any(|s| caps.can_intersect(&gst::Caps::builder_full().structure(s.to_owned()).build()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_cameras_are_known_by_their_names() {
        gst::init().expect("GStreamer");
        let of = |caps: &str| {
            let caps: gst::Caps = format!("application/x-rtp,{caps}").parse().expect("caps");
            codec_of(caps.structure(0).expect("a structure")).map(|(codec, _)| codec)
        };
        assert_eq!(of("media=video,encoding-name=H264"), Some(Codec::H264));
        assert_eq!(of("media=video,encoding-name=JPEG"), Some(Codec::Jpeg));
        assert_eq!(of("media=audio,encoding-name=PCMU"), Some(Codec::Pcmu));
        assert_eq!(
            of("media=audio,encoding-name=MPEG4-GENERIC,mode=AAC-hbr"),
            Some(Codec::Aac)
        );
        assert_eq!(of("media=audio,encoding-name=MPEG4-GENERIC,mode=CELP-cbr"), None);
        assert_eq!(of("media=audio,encoding-name=G722"), None);
        assert_eq!(of("media=application,encoding-name=VND.ONVIF.METADATA"), None);
    }

    #[test]
    fn what_else_there_is_may_be_decoded_or_left_out() {
        gst::init().expect("GStreamer");
        let may = |caps: &str| {
            let caps: gst::Caps = format!("application/x-rtp,clock-rate=8000,{caps}")
                .parse()
                .expect("caps");
            may_be_known(&caps)
        };
        assert!(may("media=audio,encoding-name=GSM"));
        assert!(!may("media=audio,encoding-name=NOBODY-KNOWS"));
        assert!(!may("media=application,encoding-name=VND.ONVIF.METADATA"));
    }
}
