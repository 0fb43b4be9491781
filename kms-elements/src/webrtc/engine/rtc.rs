//! How str0m is set up for this server.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use str0m::bwe::Bitrate;
use str0m::config::{CryptoProvider, DtlsCert};
use str0m::format::Codec;
use str0m::media::MediaKind;
use str0m::{Rtc, RtcConfig};

use crate::webrtc::api::{Kind, Limits, PeerSettings};

/// How often counters are brought up to date.
pub(super) const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// Bitrate that estimation starts from; layers above wait until it has grown.
const START_BITRATE: Bitrate = Bitrate::kbps(1500);
/// Packets kept for retransmission: at 120 packets a second some 2 s of video, at 2.5 Mbit/s most of one, well above any round
/// trip. They are most of what an endpoint with media takes: 256 are 280 KiB.
const VIDEO_SEND_BUFFER: usize = 256;
const AUDIO_SEND_BUFFER: usize = 32;

/// A transport in RTP mode with the codecs this server forwards.
pub(super) fn build(settings: &PeerSettings, limits: &Limits, estimate_bandwidth: bool, now: Instant) -> Rtc {
    let mut config = RtcConfig::new()
        .set_crypto_provider(crypto())
        .set_rtp_mode(true)
        .set_dtls_cert(DtlsCert {
            certificate: settings.certificate.certificate.clone(),
            private_key: settings.certificate.private_key.clone(),
        })
        .clear_codecs()
        .enable_opus(true, false)
        .enable_pcmu(true, false)
        .enable_pcma(true, false)
        .enable_vp8(true)
        .enable_vp9(true)
        .enable_h264(true)
        .enable_av1(true)
        .set_send_buffer_video(VIDEO_SEND_BUFFER)
        .set_send_buffer_audio(AUDIO_SEND_BUFFER)
        .set_stats_interval(Some(STATS_INTERVAL))
        .set_mtu(limits.mtu..=1500.max(limits.mtu));
    if estimate_bandwidth {
        config = config.enable_bwe(Some(START_BITRATE));
    }
    config.build(now)
}

/// OpenSSL for DTLS, and AWS-LC for what is done with every packet.
fn crypto() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            dtls_provider: str0m_openssl::default_provider().dtls_provider,
            ..str0m_aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}

/// Name of a codec, as descriptions and errors name it.
pub(super) fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "OPUS",
        Codec::PCMU => "PCMU",
        Codec::PCMA => "PCMA",
        Codec::Vp8 => "VP8",
        Codec::Vp9 => "VP9",
        Codec::H264 => "H264",
        Codec::H265 => "H265",
        Codec::Av1 => "AV1",
        _ => "unknown",
    }
}

/// str0m's kind of media as ours.
pub(super) fn kind(kind: MediaKind) -> Kind {
    if kind == MediaKind::Audio {
        Kind::Audio
    } else {
        Kind::Video
    }
}
