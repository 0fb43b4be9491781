//! Register types, enumerations and events of `WebRtcEndpoint` and its ancestors.

use protocol::{event, record, remote_enum};

use kms_core::types::StatsType;

remote_enum! { "kurento"
    /// State of a data channel.
    pub enum RTCDataChannelState {
        /// It is being opened.
        Connecting = "connecting",
        /// Messages can be sent.
        Open = "open",
        /// It is being closed.
        Closing = "closing",
        /// It was closed.
        Closed = "closed",
    }

    /// State of the ICE transport.
    pub enum IceComponentState {
        /// Nothing happened yet, or the pair in use was lost.
        Disconnected = "DISCONNECTED",
        /// Candidates are gathered.
        Gathering = "GATHERING",
        /// Pairs are checked.
        Connecting = "CONNECTING",
        /// A pair works.
        Connected = "CONNECTED",
        /// Checking is over and a pair is in use.
        Ready = "READY",
        /// No pair works.
        Failed = "FAILED",
    }

    /// State of the DTLS transport.
    pub enum DtlsConnectionState {
        /// Made.
        New = "NEW",
        /// Closed.
        Closed = "CLOSED",
        /// The handshake failed.
        Failed = "FAILED",
        /// The handshake runs.
        Connecting = "CONNECTING",
        /// The handshake is done: media can flow.
        Connected = "CONNECTED",
    }

    /// Kind of key of the DTLS certificate.
    pub enum CertificateKeyType {
        /// RSA, 2048 bits.
        Rsa = "RSA",
        /// ECDSA, curve P-256.
        Ecdsa = "ECDSA",
    }

    /// Differentiated services code point of outgoing packets (RFC 2474, RFC 8837).
    pub enum DSCPValue {
        /// None is set.
        NoDscp = "NO_DSCP",
        /// None is set.
        NoValue = "NO_VALUE",
        /// Audio, very low priority: 1.
        AudioVerylow = "AUDIO_VERYLOW",
        /// Audio, low priority: 0.
        AudioLow = "AUDIO_LOW",
        /// Audio, medium priority: 46.
        AudioMedium = "AUDIO_MEDIUM",
        /// Audio, high priority: 46.
        AudioHigh = "AUDIO_HIGH",
        /// Video, very low priority: 1.
        VideoVerylow = "VIDEO_VERYLOW",
        /// Video, low priority: 0.
        VideoLow = "VIDEO_LOW",
        /// Video, medium priority: 36.
        VideoMedium = "VIDEO_MEDIUM",
        /// Video, medium priority, throughput before delay: 38.
        VideoMediumThroughput = "VIDEO_MEDIUM_THROUGHPUT",
        /// Video, high priority: 36.
        VideoHigh = "VIDEO_HIGH",
        /// Video, high priority, throughput before delay: 34.
        VideoHighThroughput = "VIDEO_HIGH_THROUGHPUT",
        /// Data, very low priority: 1.
        DataVerylow = "DATA_VERYLOW",
        /// Data, low priority: 0.
        DataLow = "DATA_LOW",
        /// Data, medium priority: 10.
        DataMedium = "DATA_MEDIUM",
        /// Data, high priority: 18.
        DataHigh = "DATA_HIGH",
        /// As Chrome marks high priority: 56.
        ChromeHigh = "CHROME_HIGH",
        /// As Chrome marks medium priority: 56.
        ChromeMedium = "CHROME_MEDIUM",
        /// As Chrome marks low priority: 0.
        ChromeLow = "CHROME_LOW",
        /// As Chrome marks very low priority: 8.
        ChromeVerylow = "CHROME_VERYLOW",
        /// Class selector 0.
        Cs0 = "CS0",
        /// Class selector 1: 8.
        Cs1 = "CS1",
        /// Class selector 2: 16.
        Cs2 = "CS2",
        /// Class selector 3: 24.
        Cs3 = "CS3",
        /// Class selector 4: 32.
        Cs4 = "CS4",
        /// Class selector 5: 40.
        Cs5 = "CS5",
        /// Class selector 6: 48.
        Cs6 = "CS6",
        /// Class selector 7: 56.
        Cs7 = "CS7",
        /// Assured forwarding 11: 10.
        Af11 = "AF11",
        /// Assured forwarding 12: 12.
        Af12 = "AF12",
        /// Assured forwarding 13: 14.
        Af13 = "AF13",
        /// Assured forwarding 21: 18.
        Af21 = "AF21",
        /// Assured forwarding 22: 20.
        Af22 = "AF22",
        /// Assured forwarding 23: 22.
        Af23 = "AF23",
        /// Assured forwarding 31: 26.
        Af31 = "AF31",
        /// Assured forwarding 32: 28.
        Af32 = "AF32",
        /// Assured forwarding 33: 30.
        Af33 = "AF33",
        /// Assured forwarding 41: 34.
        Af41 = "AF41",
        /// Assured forwarding 42: 36.
        Af42 = "AF42",
        /// Assured forwarding 43: 38.
        Af43 = "AF43",
        /// Expedited forwarding: 46.
        Ef = "EF",
        /// Voice admit: 44.
        Voiceadmit = "VOICEADMIT",
        /// Lower effort: 1.
        Le = "LE",
    }
}

impl DSCPValue {
    /// The code point, 0 to 63; `None`: the system's default.
    pub fn code_point(self) -> Option<u8> {
        use DSCPValue::*;
        Some(match self {
            NoDscp | NoValue => return None,
            AudioLow | VideoLow | DataLow | ChromeLow | Cs0 => 0,
            AudioVerylow | VideoVerylow | DataVerylow | Le => 1,
            Cs1 | ChromeVerylow => 8,
            DataMedium | Af11 => 10,
            Af12 => 12,
            Af13 => 14,
            Cs2 => 16,
            DataHigh | Af21 => 18,
            Af22 => 20,
            Af23 => 22,
            Cs3 => 24,
            Af31 => 26,
            Af32 => 28,
            Af33 => 30,
            Cs4 => 32,
            VideoHighThroughput | Af41 => 34,
            VideoMedium | VideoHigh | Af42 => 36,
            VideoMediumThroughput | Af43 => 38,
            Cs5 => 40,
            Voiceadmit => 44,
            AudioMedium | AudioHigh | Ef => 46,
            Cs6 => 48,
            Cs7 | ChromeHigh | ChromeMedium => 56,
        })
    }
}

record! { "kurento"
    /// An ICE candidate, as browsers' `RTCIceCandidate` has it.
    pub struct IceCandidate {
        /// "candidate:..." (RFC 8839); empty: there are no more.
        candidate "candidate": String,
        /// Mid of the m-line it belongs to.
        sdp_mid "sdpMid": String,
        /// Index of the m-line it belongs to.
        sdp_m_line_index "sdpMLineIndex": i32,
    }

    /// The pair of candidates in use.
    pub struct IceCandidatePair {
        /// The stream; with BUNDLE there is one.
        stream_id "streamId": String,
        /// The component: 1, RTP and RTCP share it.
        component_id "componentId": i32,
        /// Our candidate.
        local_candidate "localCandidate": String,
        /// The remote's candidate.
        remote_candidate "remoteCandidate": String,
    }

    /// State of ICE.
    pub struct IceConnection {
        /// The stream; with BUNDLE there is one.
        stream_id "streamId": String,
        /// The component.
        component_id "componentId": i32,
        /// Its state.
        state "state": IceComponentState,
    }

    /// State of DTLS.
    pub struct DtlsConnection {
        /// The stream; with BUNDLE there is one.
        stream_id "streamId": String,
        /// The component.
        component_id "componentId": String,
        /// The connection.
        connection_id "connectionId": String,
        /// Its state.
        state "state": DtlsConnectionState,
    }

    /// Options of `generateOffer`.
    pub struct OfferOptions {
        /// Whether to offer to receive audio.
        offer_to_receive_audio "offerToReceiveAudio": bool = true,
        /// Whether to offer to receive video.
        offer_to_receive_video "offerToReceiveVideo": bool = true,
    }

    /// Kurento's parameters of its receiver-side bandwidth estimation. Kept for clients that set them; bandwidth is
    /// estimated here by transport-wide congestion control.
    pub struct RembParams {
        /// Packets between estimations.
        packets_recv_interval_top "packetsRecvIntervalTop": Option<i32> => 100,
        /// Exponential factor.
        exponential_factor "exponentialFactor": Option<f32> => 0.04,
        /// Least linear factor.
        lineal_factor_min "linealFactorMin": Option<i32>,
        /// Grade of the linear factor.
        lineal_factor_grade "linealFactorGrade": Option<f32> => 30.0,
        /// Factor on losses.
        decrement_factor "decrementFactor": Option<f32> => 0.5,
        /// Factor of the threshold.
        threshold_factor "thresholdFactor": Option<f32> => 0.8,
        /// Losses that count.
        up_losses "upLosses": Option<i32> => 12,
        /// First value sent, bits a second.
        remb_on_connect "rembOnConnect": Option<i32> => 300_000,
    }

    /// What all WebRTC statistics have.
    pub struct RTCStats: "Stats" {
        /// Id.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
    }

    /// What both directions of an RTP stream have.
    pub struct RTCRTPStreamStats: "RTCStats" {
        /// Id.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// SSRC.
        ssrc "ssrc": String,
        /// Not used.
        associate_stats_id "associateStatsId": String,
        /// False: these are our own counts.
        is_remote "isRemote": bool,
        /// Not used.
        media_track_id "mediaTrackId": String,
        /// Not used.
        transport_id "transportId": String,
        /// Codec, e.g. "VP8".
        codec_id "codecId": String,
        /// FIRs.
        fir_count "firCount": i64,
        /// PLIs.
        pli_count "pliCount": i64,
        /// NACKs.
        nack_count "nackCount": i64,
        /// SLIs, always 0.
        sli_count "sliCount": i64,
        /// REMB, bits a second.
        remb "remb": i64,
        /// Packets lost.
        packets_lost "packetsLost": i64,
        /// Fraction lost, 0 to 1.
        fraction_lost "fractionLost": f64,
    }

    /// An RTP stream that is received.
    pub struct RTCInboundRTPStreamStats: "RTCRTPStreamStats" {
        /// Id.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// SSRC.
        ssrc "ssrc": String,
        /// Not used.
        associate_stats_id "associateStatsId": String,
        /// False: these are our own counts.
        is_remote "isRemote": bool,
        /// Not used.
        media_track_id "mediaTrackId": String,
        /// Not used.
        transport_id "transportId": String,
        /// Codec, e.g. "VP8".
        codec_id "codecId": String,
        /// FIRs.
        fir_count "firCount": i64,
        /// PLIs.
        pli_count "pliCount": i64,
        /// NACKs.
        nack_count "nackCount": i64,
        /// SLIs, always 0.
        sli_count "sliCount": i64,
        /// REMB, bits a second.
        remb "remb": i64,
        /// Packets lost.
        packets_lost "packetsLost": i64,
        /// Fraction lost, 0 to 1.
        fraction_lost "fractionLost": f64,
        /// Packets received.
        packets_received "packetsReceived": i64,
        /// Bytes received.
        bytes_received "bytesReceived": i64,
        /// Interarrival jitter, seconds.
        jitter "jitter": f64,
        /// Frames of video that were received (W3C webrtc-stats); none for audio. Not in Kurento.
        frames_received "framesReceived": Option<i64>,
    }

    /// An RTP stream that is sent.
    pub struct RTCOutboundRTPStreamStats: "RTCRTPStreamStats" {
        /// Id.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// SSRC.
        ssrc "ssrc": String,
        /// Not used.
        associate_stats_id "associateStatsId": String,
        /// False: these are our own counts.
        is_remote "isRemote": bool,
        /// Not used.
        media_track_id "mediaTrackId": String,
        /// Not used.
        transport_id "transportId": String,
        /// Codec, e.g. "VP8".
        codec_id "codecId": String,
        /// FIRs.
        fir_count "firCount": i64,
        /// PLIs.
        pli_count "pliCount": i64,
        /// NACKs.
        nack_count "nackCount": i64,
        /// SLIs, always 0.
        sli_count "sliCount": i64,
        /// REMB, bits a second.
        remb "remb": i64,
        /// Packets lost.
        packets_lost "packetsLost": i64,
        /// Fraction lost, 0 to 1.
        fraction_lost "fractionLost": f64,
        /// Packets sent.
        packets_sent "packetsSent": i64,
        /// Bytes sent.
        bytes_sent "bytesSent": i64,
        /// Bitrate the remote can take, bits a second.
        target_bitrate "targetBitrate": f64,
        /// Round trip time, seconds.
        round_trip_time "roundTripTime": f64,
        /// Frames of video that were sent (W3C webrtc-stats); none for audio. Not in Kurento.
        frames_sent "framesSent": Option<i64>,
    }

    /// The peer connection as a whole.
    pub struct RTCPeerConnectionStats: "RTCStats" {
        /// Id.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// Data channels opened since the start.
        data_channels_opened "dataChannelsOpened": i64,
        /// Data channels closed since the start.
        data_channels_closed "dataChannelsClosed": i64,
    }

    /// A data channel.
    pub struct RTCDataChannelStats: "RTCStats" {
        /// Id.
        id "id": String,
        /// Kind of statistics.
        stats_type "type": StatsType,
        /// When it was measured, milliseconds since 1970.
        timestamp_millis "timestampMillis": i64,
        /// Label.
        label "label": String,
        /// Sub-protocol.
        protocol "protocol": String,
        /// SCTP stream id.
        datachannelid "datachannelid": i64,
        /// How far it is opened or closed.
        state "state": RTCDataChannelState,
        /// Messages sent.
        messages_sent "messagesSent": i64,
        /// Bytes sent.
        bytes_sent "bytesSent": i64,
        /// Messages received.
        messages_received "messagesReceived": i64,
        /// Bytes received.
        bytes_received "bytesReceived": i64,
    }
}

impl RembParams {
    /// None of them set.
    pub(crate) fn unset() -> RembParams {
        RembParams {
            packets_recv_interval_top: None,
            exponential_factor: None,
            lineal_factor_min: None,
            lineal_factor_grade: None,
            decrement_factor: None,
            threshold_factor: None,
            up_losses: None,
            remb_on_connect: None,
        }
    }
}

event! { "kurento"
    /// A candidate was found; give it to the remote.
    pub struct IceCandidateFound: Media {
        /// The candidate. It is told once for each m-line.
        candidate "candidate": IceCandidate,
    }

    /// All candidates were found.
    pub struct IceGatheringDone: Media {}

    /// ICE moved on.
    pub struct IceComponentStateChanged: Media {
        /// The stream; with BUNDLE there is one.
        stream_id "streamId": i32,
        /// The component.
        component_id "componentId": i32,
        /// The new state.
        state "state": IceComponentState,
    }

    /// DTLS moved on.
    pub struct DtlsConnectionStateChange: Media {
        /// The stream; with BUNDLE there is one.
        stream_id "streamId": String,
        /// The component.
        component_id "componentId": String,
        /// The connection.
        connection_id "connectionId": String,
        /// The new state.
        state "state": DtlsConnectionState,
    }

    /// A data channel opened.
    pub struct DataChannelOpened: Media {
        /// SCTP stream id.
        channel_id "channelId": i32,
    }

    /// A data channel closed.
    pub struct DataChannelClosed: Media {
        /// SCTP stream id.
        channel_id "channelId": i32,
    }

    /// A pair of candidates is used from now on.
    pub struct NewCandidatePairSelected: Media {
        /// The pair.
        candidate_pair "candidatePair": IceCandidatePair,
    }
}
