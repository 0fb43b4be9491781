//! Register types and enumerations of module `core`.

use protocol::{record, remote_enum};

use crate::objects::names::MediaElement;
use protocol::Ref;

remote_enum! { "kurento"
    /// Kind of server.
    pub enum ServerType {
        /// A media server.
        Kms = "KMS",
        /// A cloud of media servers.
        Kcs = "KCS",
    }

    /// What a connection carries.
    pub enum MediaType {
        /// Audio.
        Audio = "AUDIO",
        /// Messages of data channels.
        Data = "DATA",
        /// Video.
        Video = "VIDEO",
    }

    /// How much a graph in DOT format tells.
    pub enum GstreamerDotDetails {
        /// Media types on edges.
        ShowMediaType = "SHOW_MEDIA_TYPE",
        /// Formats on edges.
        ShowCapsDetails = "SHOW_CAPS_DETAILS",
        /// Parameters that were changed.
        ShowNonDefaultParams = "SHOW_NON_DEFAULT_PARAMS",
        /// States of elements.
        ShowStates = "SHOW_STATES",
        /// All parameters.
        ShowFullParams = "SHOW_FULL_PARAMS",
        /// All of the above.
        ShowAll = "SHOW_ALL",
        /// All, without cutting long values.
        ShowVerbose = "SHOW_VERBOSE",
    }

    /// Whether media is received.
    pub enum MediaState {
        /// Nothing is received.
        Disconnected = "DISCONNECTED",
        /// Something is received.
        Connected = "CONNECTED",
    }

    /// Whether the transport is up.
    pub enum ConnectionState {
        /// It is not.
        Disconnected = "DISCONNECTED",
        /// It is.
        Connected = "CONNECTED",
    }

    /// Whether media flows through a pad.
    pub enum MediaFlowState {
        /// Media flows.
        Flowing = "FLOWING",
        /// Media does not flow.
        NotFlowing = "NOT_FLOWING",
    }

    /// Whether media is transcoded.
    pub enum MediaTranscodingState {
        /// It is decoded and encoded again.
        Transcoding = "TRANSCODING",
        /// It is passed on as it is.
        NotTranscoding = "NOT_TRANSCODING",
    }

    /// Video codecs.
    pub enum VideoCodec {
        /// VP8 (RFC 6386).
        Vp8 = "VP8",
        /// VP9.
        Vp9 = "VP9",
        /// H.264.
        H264 = "H264",
        /// H.265.
        H265 = "H265",
        /// AV1.
        Av1 = "AV1",
        /// Uncompressed.
        Raw = "RAW",
    }

    /// Audio codecs.
    pub enum AudioCodec {
        /// Opus (RFC 6716).
        Opus = "OPUS",
        /// G.711 mu-law.
        Pcmu = "PCMU",
        /// G.711 A-law.
        Pcma = "PCMA",
        /// Uncompressed.
        Raw = "RAW",
    }

    /// Kind of a statistics object.
    pub enum StatsType {
        /// RTP stream received.
        InboundRtp = "inboundrtp",
        /// RTP stream sent.
        OutboundRtp = "outboundrtp",
        /// Session as a whole.
        Session = "session",
        /// Data channel.
        DataChannel = "datachannel",
        /// Track.
        Track = "track",
        /// Transport.
        Transport = "transport",
        /// Candidate pair.
        CandidatePair = "candidatepair",
        /// Local candidate.
        LocalCandidate = "localcandidate",
        /// Remote candidate.
        RemoteCandidate = "remotecandidate",
        /// Media element.
        Element = "element",
        /// End point.
        Endpoint = "endpoint",
    }
}

record! { "kurento"
    /// A module of the server.
    pub struct ModuleInfo {
        /// Version of the module.
        version "version": String,
        /// Name of the module.
        name "name": String,
        /// When the server was built.
        generation_time "generationTime": String,
        /// Classes of the module that can be created.
        factories "factories": Vec<String>,
    }

    /// What the server is.
    pub struct ServerInfo {
        /// Version of the server.
        version "version": String,
        /// Its modules.
        modules "modules": Vec<ModuleInfo>,
        /// Kind of server, always KMS.
        server_type "type": ServerType,
        /// What the protocol edge supports: "transactions".
        capabilities "capabilities": Vec<String>,
    }

    /// A tag: a pair of strings that belongs to an object.
    pub struct Tag {
        /// Key, unique in the object.
        key "key": String,
        /// Value.
        value "value": String,
    }

    /// One connection between two elements.
    pub struct ElementConnectionData {
        /// Where media comes from.
        source "source": Ref<MediaElement>,
        /// Where it goes.
        sink "sink": Ref<MediaElement>,
        /// What is connected.
        media_type "type": MediaType,
        /// Name of the source's pad, "default" unless given.
        source_description "sourceDescription": String,
        /// Name of the sink's pad, "default" unless given.
        sink_description "sinkDescription": String,
    }

    /// Media that an element gives, in one format. Not in Kurento.
    pub struct MediaOutput {
        /// AUDIO or VIDEO.
        media_type "type": MediaType,
        /// The codec, e.g. "H264"; "raw" for what is not encoded.
        codec "codec": String,
        /// It is not what the element itself gives, but decoded or encoded for those who take it.
        converted "converted": bool,
        /// Bitrate that its encoder aims at, bits a second; 0: video that is not encoded here, or audio.
        target_bitrate "targetBitrate": i64,
        /// Frames so far; of sound: packets.
        frames "frames": i64,
        /// Bytes so far, without headers of containers and packets.
        bytes "bytes": i64,
    }

    /// The format in which an element takes media. Not in Kurento.
    pub struct MediaInput {
        /// AUDIO or VIDEO.
        media_type "type": MediaType,
        /// The codec, e.g. "H264"; "raw" for what is not encoded.
        codec "codec": String,
    }

    /// A fraction, for frame rates.
    pub struct Fraction {
        /// Numerator.
        numerator "numerator": i32,
        /// Denominator.
        denominator "denominator": i32,
    }

    /// Format of audio.
    pub struct AudioCaps {
        /// Codec.
        codec "codec": AudioCodec,
        /// Bitrate, bits a second.
        bitrate "bitrate": i32,
    }

    /// Format of video.
    pub struct VideoCaps {
        /// Codec.
        codec "codec": VideoCodec,
        /// Frame rate, frames a second.
        framerate "framerate": Fraction,
    }

    /// Configuration of a codec.
    pub struct CodecConfiguration {
        /// Name of the codec, e.g. "VP8".
        name "name": Option<String>,
        /// Properties of the encoder.
        properties "properties": Option<std::collections::BTreeMap<String, String>>,
    }

    /// Mean latency of a kind of media at one place.
    pub struct MediaLatencyStat {
        /// The pad it was measured at, e.g. "sink_video_default".
        name "name": String,
        /// The kind of media.
        media_type "type": MediaType,
        /// Mean latency, nanoseconds.
        avg "avg": f64,
    }

    /// What all statistics have.
    pub struct Stats {
        /// Id of the object measured.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
    }

    /// Statistics of an element.
    pub struct ElementStats: "Stats" {
        /// Id of the object measured.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// Latency of what comes in, when `latencyStats` of the pipeline is on.
        input_latency "inputLatency": Vec<MediaLatencyStat>,
    }

    /// Statistics of an element where media leaves the server.
    pub struct EndpointStats: "ElementStats" {
        /// Id of the object measured.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// Latency of what comes in, when `latencyStats` of the pipeline is on.
        input_latency "inputLatency": Vec<MediaLatencyStat>,
        /// Latency from where it entered the server to here.
        e2e_latency "E2ELatency": Vec<MediaLatencyStat>,
    }
}

/// The order in which media types are listed in events of one `connect`.
pub const CONNECT_ORDER: [MediaType; 3] = [MediaType::Audio, MediaType::Video, MediaType::Data];

impl MediaType {
    /// Lower-case name, for pad names and logs.
    pub fn lower(self) -> &'static str {
        match self {
            MediaType::Audio => "audio",
            MediaType::Video => "video",
            MediaType::Data => "data",
        }
    }
}
