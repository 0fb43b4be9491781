//! Containers: which codecs they take, how their muxers want them, and frames that say nothing.

use gst::prelude::*;
use kms_core::media::{Codec, Format, MediaError};
use kms_core::types::MediaType;
use protocol::remote_enum;

use super::fragments;

remote_enum! { "elements"
    /// Container of a recording, and which kinds of media go into it. Media that the container can hold is written as it is;
    /// other media is transcoded to the codecs named here.
    pub enum MediaProfileSpecType {
        /// WebM: VP8, VP9, AV1; Opus. Others become VP8 and Opus.
        Webm = "WEBM",
        /// Matroska: every codec there is. Raw media becomes VP8 and Opus.
        Mkv = "MKV",
        /// MP4: H.264, H.265, AV1, VP9 (but not RGB); AAC, Opus. Others become H.264 and AAC.
        Mp4 = "MP4",
        /// WebM without audio.
        WebmVideoOnly = "WEBM_VIDEO_ONLY",
        /// WebM without video.
        WebmAudioOnly = "WEBM_AUDIO_ONLY",
        /// Matroska without audio.
        MkvVideoOnly = "MKV_VIDEO_ONLY",
        /// Matroska without video.
        MkvAudioOnly = "MKV_AUDIO_ONLY",
        /// MP4 without audio.
        Mp4VideoOnly = "MP4_VIDEO_ONLY",
        /// MP4 without video.
        Mp4AudioOnly = "MP4_AUDIO_ONLY",
        /// Motion JPEG in Matroska, without audio.
        JpegVideoOnly = "JPEG_VIDEO_ONLY",
        /// Matroska, as MKV, in one file after the other: of a minute each, unless segmentDuration or segmentSize say otherwise. The
        /// plugin that Kurento needs for this profile was never published, nor what its files were like.
        KurentoSplitRecorder = "KURENTO_SPLIT_RECORDER",
        /// FLV: H.264; AAC. Others become these.
        Flv = "FLV",
    }
}

/// A container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Container {
    Webm,
    Mkv,
    Mp4,
    Flv,
    /// Motion JPEG in Matroska.
    Jpeg,
}

/// A container and the kinds of media that go into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) container: Container,
    audio: bool,
    video: bool,
}

impl MediaProfileSpecType {
    /// What it means.
    pub(super) fn profile(self) -> Profile {
        use MediaProfileSpecType as P;
        let (container, audio, video) = match self {
            P::Webm => (Container::Webm, true, true),
            P::WebmVideoOnly => (Container::Webm, false, true),
            P::WebmAudioOnly => (Container::Webm, true, false),
            P::Mkv | P::KurentoSplitRecorder => (Container::Mkv, true, true),
            P::MkvVideoOnly => (Container::Mkv, false, true),
            P::MkvAudioOnly => (Container::Mkv, true, false),
            P::Mp4 => (Container::Mp4, true, true),
            P::Mp4VideoOnly => (Container::Mp4, false, true),
            P::Mp4AudioOnly => (Container::Mp4, true, false),
            P::JpegVideoOnly => (Container::Jpeg, false, true),
            P::Flv => (Container::Flv, true, true),
        };
        Profile {
            container,
            audio,
            video,
        }
    }

    /// How long its files are if nobody says, milliseconds; 0: without a bound.
    pub(super) fn segment_duration(self) -> i64 {
        match self {
            MediaProfileSpecType::KurentoSplitRecorder => 60_000,
            _ => 0,
        }
    }
}

impl Profile {
    /// Whether this kind of media is recorded.
    pub(super) fn takes(self, kind: MediaType) -> bool {
        match kind {
            MediaType::Audio => self.audio,
            MediaType::Video => self.video,
            _ => false,
        }
    }
}

impl Container {
    /// The codec that a source of this native format is written in.
    pub(super) fn codec_for(self, kind: MediaType, native: Format) -> Codec {
        match native {
            Format::Encoded(codec) if self.takes(codec) => codec,
            _ => self.usual(kind),
        }
    }

    /// The codec for what can't be written as it is.
    pub(super) fn usual(self, kind: MediaType) -> Codec {
        let (audio, video) = match self {
            Container::Webm | Container::Mkv => (Codec::Opus, Codec::Vp8),
            Container::Mp4 | Container::Flv => (Codec::Aac, Codec::H264),
            Container::Jpeg => (Codec::Opus, Codec::Jpeg),
        };
        if kind == MediaType::Audio { audio } else { video }
    }

    fn takes(self, codec: Codec) -> bool {
        use Codec::{Aac, Av1, H264, H265, Jpeg, Opus, Vp8, Vp9};
        match self {
            Container::Webm => matches!(codec, Vp8 | Vp9 | Av1 | Opus),
            Container::Mkv => true,
            Container::Mp4 => matches!(codec, H264 | H265 | Av1 | Vp9 | Aac | Opus),
            Container::Flv => matches!(codec, H264 | Aac),
            Container::Jpeg => codec == Jpeg,
        }
    }

    /// Whether its muxer takes media of these caps: of some codecs it takes some forms only.
    pub(super) fn holds(self, kind: MediaType, caps: &gst::Caps) -> bool {
        let name = self.pad(kind).replace("_0", "_%u");
        let Some(muxer) = gst::ElementFactory::find(self.muxer_name()) else {
            return false;
        };
        let pads = muxer.static_pad_templates();
        pads.iter()
            .any(|pad| pad.name_template() == name && caps.is_subset(&pad.caps()))
    }

    /// Elements (as for `gst-launch`) that bring a codec into the form its muxer takes. H.264 and H.265 keep their parameter
    /// sets in the stream, so that the size of the picture can change in the middle of a file.
    pub(super) fn parser(self, codec: Codec) -> &'static str {
        match codec {
            Codec::H264 if self == Container::Flv => {
                "h264parse config-interval=-1 ! capsfilter caps=video/x-h264,stream-format=avc,alignment=au"
            }
            Codec::H264 => {
                "h264parse config-interval=-1 ! capsfilter caps=video/x-h264,stream-format=avc3,alignment=au"
            }
            Codec::H265 => {
                "h265parse config-interval=-1 ! capsfilter caps=video/x-h265,stream-format=hev1,alignment=au"
            }
            Codec::Av1 => "av1parse ! capsfilter caps=video/x-av1,stream-format=obu-stream,alignment=tu",
            Codec::Vp9 => "vp9parse ! capsfilter caps=video/x-vp9,alignment=super-frame",
            Codec::Jpeg => "jpegparse",
            Codec::Opus => "opusparse",
            Codec::Aac => "aacparse ! capsfilter caps=audio/mpeg,mpegversion=4,stream-format=raw",
            Codec::Vp8 | Codec::Pcmu | Codec::Pcma => "identity",
        }
    }

    fn muxer_name(self) -> &'static str {
        match self {
            Container::Webm => "webmmux",
            Container::Mkv | Container::Jpeg => "matroskamux",
            Container::Mp4 => "mp4mux",
            Container::Flv => "flvmux",
        }
    }

    /// The muxer.
    pub(super) fn muxer(self) -> Result<gst::Element, MediaError> {
        let properties: &[(&str, &str)] = match self {
            Container::Webm | Container::Mkv | Container::Jpeg => &[("offset-to-zero", "true")],
            // In fragments while it grows, so that a file that is cut short can be played; an ordinary file once it is closed.
            Container::Mp4 => &[
                ("fragment-duration", "1000"),
                ("fragment-mode", "first-moov-then-finalise"),
            ],
            // Without an index: FFmpeg can't read the one that is written.
            Container::Flv => &[("streamable", "true")],
        };
        let muxer = gst::ElementFactory::make(self.muxer_name())
            .build()
            .map_err(|error| MediaError {
                message: "The container can't be written here: its muxer is not installed".into(),
                detail: error.to_string(),
            })?;
        for (property, value) in properties {
            muxer.set_property_from_str(property, value);
        }
        if self == Container::Mp4 {
            fragments::mend_from(&muxer);
        }
        Ok(muxer)
    }

    /// Name of the muxer's pad for a kind of media.
    pub(super) fn pad(self, kind: MediaType) -> &'static str {
        match (self, kind) {
            (Container::Flv, MediaType::Audio) => "audio",
            (Container::Flv, _) => "video",
            (_, MediaType::Audio) => "audio_0",
            _ => "video_0",
        }
    }
}

/// A frame that says nothing: silence, or "the picture stays as it is".
#[derive(Debug, Clone, Copy)]
pub(super) struct Filler {
    /// Its bytes.
    pub(super) bytes: &'static [u8],
    /// How long it lasts.
    pub(super) duration: gst::ClockTime,
}

const PCMU_SILENCE: [u8; 160] = [0xff; 160];
const PCMA_SILENCE: [u8; 160] = [0xd5; 160];

/// The frame of a codec that says nothing, for media of these caps; `None`: none is known.
///
/// Muxers wait for media of all kinds before they write any. When a kind falls silent, something must be written for it.
/// Tried with GStreamer 1.22: matroskamux and mp4mux take no notice of gap events, only flvmux does; and mp4mux ignores buffers
/// with the flag GAP. Frames that say nothing work in all of them, and leave in the file what a
/// player expects: sound without holes, and a picture that stands still.
pub(super) fn filler(codec: Codec, caps: &gst::CapsRef) -> Option<Filler> {
    let frame = |bytes, duration| Some(Filler { bytes, duration });
    let ms = gst::ClockTime::from_mseconds;
    let number = |name| caps.structure(0).and_then(|s| s.get::<i32>(name).ok());
    match codec {
        // RFC 6716: CELT, full band, 20 ms, mono; all of it silence. A stereo decoder takes it, too.
        Codec::Opus => frame(&[0xf8, 0xff, 0xfe], ms(20)),
        Codec::Pcmu => frame(&PCMU_SILENCE, ms(20)),
        Codec::Pcma => frame(&PCMA_SILENCE, ms(20)),
        // ISO 14496-3: one element, with no scale factor bands.
        Codec::Aac => {
            let rate = number("rate").filter(|r| *r > 0)?;
            let duration = gst::ClockTime::SECOND.mul_div_floor(1_024, rate as u64)?;
            match number("channels")? {
                1 => frame(&[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80], duration),
                2 => frame(&[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80], duration),
                _ => None,
            }
        }
        // A frame without bytes: demuxers skip it, and the decoder never sees it. (Filler data, as H.264 has it, is an error to
        // FFmpeg's decoder.)
        Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Vp8 | Codec::Vp9 => frame(&[], ms(500)),
        // Each picture stands for itself: the writer repeats the last one.
        Codec::Jpeg => None,
    }
}
