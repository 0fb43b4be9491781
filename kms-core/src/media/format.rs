//! What media is made of, as elements agree on it.

use std::fmt;

use crate::types::MediaType;

/// A codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Codec {
    /// RFC 6386.
    Vp8,
    /// VP9.
    Vp9,
    /// ITU-T H.264, as a byte stream, an access unit a buffer, with its parameter sets before each keyframe.
    H264,
    /// ITU-T H.265, in the same form.
    H265,
    /// AV1, a temporal unit a buffer.
    Av1,
    /// Motion JPEG.
    Jpeg,
    /// RFC 6716.
    Opus,
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// MPEG-4 AAC, raw frames.
    Aac,
}

/// Everything that is said of a codec, once.
struct Facts {
    codec: Codec,
    name: &'static str,
    kind: MediaType,
    /// The caps it is handed on with.
    caps: &'static str,
    /// Brings what a demuxer or depayloader gives into that form.
    parse: &'static str,
    /// Decodes it. Several: the first that is installed.
    decoders: &'static [&'static str],
}

const CODECS: &[Facts] = &[
    Facts {
        codec: Codec::Vp8,
        name: "VP8",
        kind: MediaType::Video,
        caps: "video/x-vp8",
        parse: "identity",
        decoders: &["vp8dec"],
    },
    Facts {
        codec: Codec::Vp9,
        name: "VP9",
        kind: MediaType::Video,
        caps: "video/x-vp9",
        parse: "vp9parse",
        decoders: &["vp9dec"],
    },
    Facts {
        codec: Codec::H264,
        name: "H264",
        kind: MediaType::Video,
        caps: "video/x-h264,stream-format=byte-stream,alignment=au",
        parse: "h264parse config-interval=-1",
        decoders: &["avdec_h264", "openh264dec"],
    },
    Facts {
        codec: Codec::H265,
        name: "H265",
        kind: MediaType::Video,
        caps: "video/x-h265,stream-format=byte-stream,alignment=au",
        parse: "h265parse config-interval=-1",
        decoders: &["avdec_h265", "libde265dec"],
    },
    Facts {
        codec: Codec::Av1,
        name: "AV1",
        kind: MediaType::Video,
        caps: "video/x-av1,stream-format=obu-stream,alignment=tu",
        parse: "av1parse",
        decoders: &["dav1ddec", "av1dec"],
    },
    Facts {
        codec: Codec::Jpeg,
        name: "JPEG",
        kind: MediaType::Video,
        caps: "image/jpeg",
        parse: "jpegparse",
        decoders: &["jpegdec"],
    },
    Facts {
        codec: Codec::Opus,
        name: "OPUS",
        kind: MediaType::Audio,
        caps: "audio/x-opus",
        parse: "opusparse",
        decoders: &["opusdec"],
    },
    Facts {
        codec: Codec::Pcmu,
        name: "PCMU",
        kind: MediaType::Audio,
        caps: "audio/x-mulaw",
        parse: "identity",
        decoders: &["mulawdec"],
    },
    Facts {
        codec: Codec::Pcma,
        name: "PCMA",
        kind: MediaType::Audio,
        caps: "audio/x-alaw",
        parse: "identity",
        decoders: &["alawdec"],
    },
    Facts {
        codec: Codec::Aac,
        name: "AAC",
        kind: MediaType::Audio,
        caps: "audio/mpeg,mpegversion=4,stream-format=raw,framed=true",
        parse: "aacparse",
        decoders: &["avdec_aac", "faad"],
    },
];

impl Codec {
    /// All codecs of a kind of media.
    pub fn all(kind: MediaType) -> impl Iterator<Item = Codec> {
        CODECS.iter().filter(move |f| f.kind == kind).map(|f| f.codec)
    }

    fn facts(self) -> &'static Facts {
        let found = CODECS.iter().find(|f| f.codec == self);
        found.unwrap_or(&CODECS[0]) // a test holds that none is missing
    }

    /// Its name, as in session descriptions and errors.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// AUDIO or VIDEO.
    pub fn kind(self) -> MediaType {
        self.facts().kind
    }

    /// The codec of this media type of GStreamer, such as `video/x-h264`.
    pub fn from_caps(caps: &gst::StructureRef) -> Option<Codec> {
        let name = caps.name();
        let found = CODECS.iter().find(|f| f.caps.split(',').next() == Some(name))?;
        let is_mp3 = name == "audio/mpeg" && caps.get::<i32>("mpegversion").is_ok_and(|v| v != 4 && v != 2);
        (!is_mp3).then_some(found.codec)
    }

    /// Media type of GStreamer without details: what any demuxer gives.
    pub fn media_type(self) -> &'static str {
        self.facts().caps.split(',').next().unwrap_or_default()
    }

    /// The caps that elements hand it on with.
    pub(super) fn caps(self) -> &'static str {
        self.facts().caps
    }

    /// Elements (of `gst-launch`) that bring it into the form it is handed on in.
    pub(super) fn parser(self) -> &'static str {
        self.facts().parse
    }

    /// The decoders that may be installed, best first.
    pub(super) fn decoders(self) -> &'static [&'static str] {
        self.facts().decoders
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A form that media can have between two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Pictures or samples.
    Raw,
    /// Encoded.
    Encoded(Codec),
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::Raw => f.write_str("raw"),
            Format::Encoded(codec) => codec.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_has_its_facts_and_its_caps_are_caps() {
        gst::init().expect("GStreamer");
        let all: Vec<Codec> = [MediaType::Audio, MediaType::Video]
            .into_iter()
            .flat_map(Codec::all)
            .collect();
        assert_eq!(all.len(), Codec::Aac as usize + 1);
        for codec in all {
            assert_eq!(codec.facts().codec, codec);
            let caps: gst::Caps = codec.caps().parse().expect("caps");
            let caps = caps.structure(0).expect("a structure");
            assert_eq!(Codec::from_caps(caps), Some(codec));
        }
    }

    #[test]
    fn mp3_is_not_aac() {
        gst::init().expect("GStreamer");
        let mp3 = gst::Structure::builder("audio/mpeg")
            .field("mpegversion", 1)
            .build();
        assert_eq!(Codec::from_caps(&mp3), None);
    }
}
