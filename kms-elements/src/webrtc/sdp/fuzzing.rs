//! What fuzz targets (`fuzz/`) and tests do with a text: take it all the way through str0m and back, and check what must
//! hold whatever the text.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer};
use str0m::config::DtlsCert;
use str0m::media::{Direction, MediaKind};
use str0m::{Rtc, RtcConfig};

use super::{LocalDescription, RemoteAnswer, RemoteOffer, SdpError, local_offer, restrict_directions};
use crate::sdp::text::Sdp;
use crate::webrtc::api::Certificate;
use crate::webrtc::certificate::Certificates;
use crate::webrtc::ice::parse_candidate;
use crate::webrtc::types::CertificateKeyType;

/// Takes a text for an offer, as an endpoint does.
pub fn offer(text: &str) {
    for data in [true, false] {
        let Ok(offer) = RemoteOffer::parse(text, data) else {
            return;
        };
        let answer = answer(&mut transport(), &offer, false, false).expect("an answer");
        let lines = |text: &str| Sdp::parse(text).map(|sdp| sdp.sections.len());
        assert_eq!(lines(&answer), lines(text), "{answer}");
    }
}

/// Takes a text for the answer to an offer of audio, video and data.
pub fn remote_answer(text: &str) {
    let mut rtc = transport();
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
    changes.add_media(MediaKind::Video, Direction::SendRecv, None, None, None);
    changes.add_channel(String::new());
    let (made, pending) = changes.apply().expect("an offer");
    let Ok(answer) = RemoteAnswer::parse(text, &made.to_sdp_string()) else {
        return;
    };
    let Some(sdp) = answer.sdp else { return };
    let read = SdpAnswer::from_sdp_string(&sdp).unwrap_or_else(|e| panic!("{e}\n{sdp}"));
    let accepted = rtc.sdp_api().accept_answer(pending, read);
    accepted.unwrap_or_else(|e| panic!("{e}\n{sdp}"));
    // What comes after: an offer with new ICE credentials.
    let mut changes = rtc.sdp_api();
    changes.ice_restart(true);
    let (again, _) = changes.apply().expect("an offer");
    local_offer(&again.to_sdp_string(), &local()).expect("an offer");
}

/// Takes a text for a candidate.
pub fn candidate(text: &str) {
    let _ = parse_candidate(text);
}

/// A transport with the codecs of the engine's.
pub(super) fn transport() -> Rtc {
    static CERTIFICATE: LazyLock<Arc<Certificate>> = LazyLock::new(|| {
        let made = Certificates::default().get(CertificateKeyType::Ecdsa);
        made.expect("a certificate")
    });
    RtcConfig::new()
        .set_rtp_mode(true)
        .set_dtls_cert(DtlsCert {
            certificate: CERTIFICATE.certificate.clone(),
            private_key: CERTIFICATE.private_key.clone(),
        })
        .clear_codecs()
        .enable_opus(true, false)
        .enable_pcmu(true, false)
        .enable_pcma(true, false)
        .enable_vp8(true)
        .enable_vp9(true)
        .enable_h264(true)
        .enable_av1(true)
        .build(Instant::now())
}

/// What the endpoint says of itself.
pub(super) fn local() -> LocalDescription {
    LocalDescription {
        candidates: vec![vec!["candidate:1 1 UDP 2130706431 192.0.2.1 40000 typ host".into()]; 3],
        max_video_recv_kbps: Some(500),
        max_audio_recv_kbps: None,
        session_id: 0x1234,
        session_version: 7,
    }
}

/// Has str0m answer all legs, the first by `rtc`; it must read every m-line of them.
pub(super) fn answer(
    rtc: &mut Rtc,
    offer: &RemoteOffer,
    recvonly: bool,
    sendonly: bool,
) -> Result<String, SdpError> {
    let mut answers = Vec::new();
    for (index, leg) in offer.legs.iter().enumerate() {
        let wanted = restrict_directions(&leg.sdp, recvonly, sendonly);
        let read = SdpOffer::from_sdp_string(&wanted).unwrap_or_else(|e| panic!("{e}\n{wanted}"));
        let lines = |text: &str| text.lines().filter(|l| l.starts_with("m=")).count();
        let read_back = read.to_sdp_string();
        assert_eq!(
            lines(&read_back),
            lines(&wanted),
            "str0m stopped reading\n{wanted}"
        );
        let made = match index {
            0 => rtc.sdp_api().accept_offer(read),
            _ => transport().sdp_api().accept_offer(read),
        };
        answers.push(made.unwrap_or_else(|e| panic!("{e}\n{wanted}")).to_sdp_string());
    }
    offer.answer(&answers, &local())
}
