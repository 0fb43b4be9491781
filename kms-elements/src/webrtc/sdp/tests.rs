//! Descriptions of real clients through str0m and back.

mod answers;
mod corpus;
mod hostile;
mod shapes;

use str0m::Rtc;
use str0m::change::SdpOffer;

use super::fuzzing::{self, local, transport};
use super::{RemoteOffer, SdpError};
use crate::sdp::text::Sdp;

const AIORTC: &str = include_str!("../../../testdata/aiortc_offer.sdp");
const CHROMIUM: &str = include_str!("../../../testdata/chromium_sendrecv_offer.sdp");
const CHROMIUM_RECVONLY: &str = include_str!("../../../testdata/chromium_recvonly_offer.sdp");
const CHROMIUM_SIMULCAST: &str = include_str!("../../../testdata/chromium_simulcast_offer.sdp");
const CHROMIUM_TWO_VIDEOS: &str = include_str!("../../../testdata/chromium_two_videos_offer.sdp");
const FIREFOX: &str = include_str!("../../../testdata/firefox_offer.sdp");
const KURENTO: &str = include_str!("../../../testdata/kurento_offer.sdp");
const KURENTO_WITH_CANDIDATES: &str = include_str!("../../../testdata/kurento_offer_with_candidates.sdp");
const SAFARI: &str = include_str!("../../../testdata/safari_offer.sdp");
const SESSION_LEVEL: &str = include_str!("../../../testdata/session_level_offer.sdp");

/// Answers an offer as an endpoint does.
fn answer_with(rtc: &mut Rtc, offer: &str, recvonly: bool, sendonly: bool) -> Result<String, SdpError> {
    let offer = RemoteOffer::parse(offer, true)?;
    fuzzing::answer(rtc, &offer, recvonly, sendonly)
}

fn answer(offer: &str) -> String {
    let answer = answer_with(&mut transport(), offer, false, false).expect("an answer");
    check_shape(offer, &answer);
    answer
}

fn refusal(offer: &str) -> String {
    let refused = RemoteOffer::parse(offer, true);
    refused.map(|_| ()).expect_err("a refusal").to_string()
}

/// What holds for every answer (RFC 3264, section 6; RFC 9143, section 7.3).
fn check_shape(offer: &str, answer: &str) {
    let (offer, answer) = (parse(offer), parse(answer));
    assert_eq!(answer.sections.len(), offer.sections.len());
    let mut bundled = Vec::new();
    for (offered, answered) in offer.sections.iter().zip(&answer.sections) {
        assert_eq!(answered.kind, offered.kind);
        assert_eq!(answered.proto, offered.proto);
        assert_eq!(answered.attribute("mid"), offered.attribute("mid"));
        assert!(!answered.formats.is_empty(), "{answered:?}");
        let mids = answered.lines.iter().filter(|l| l.starts_with("a=mid:"));
        assert!(mids.count() <= 1);
        if answered.port == "0" {
            assert_eq!(answered.attribute("ice-ufrag"), None, "{answered:?}");
            continue;
        }
        let unknown = |f: &&String| !offered.formats.contains(f);
        assert_eq!(answered.formats.iter().find(unknown), None, "not offered");
        for needed in ["ice-ufrag", "ice-pwd", "fingerprint", "candidate"] {
            assert!(answered.attribute(needed).is_some(), "{needed}: {answered:?}");
        }
        let role = answered.attribute("setup");
        assert!(matches!(role, Some("active" | "passive")), "{role:?}");
        bundled.extend(answered.attribute("mid"));
    }
    let group = |sdp: &Sdp| {
        let line = sdp.session.iter().find_map(|l| l.strip_prefix("a=group:BUNDLE "));
        line.map(|l| l.split(' ').map(str::to_owned).collect::<Vec<_>>())
    };
    match group(&offer) {
        Some(offered) => {
            bundled.retain(|mid| offered.iter().any(|o| o == mid));
            let expected = (!bundled.is_empty()).then_some(bundled);
            assert_eq!(
                group(&answer),
                expected.map(|b| b.into_iter().map(str::to_owned).collect())
            );
        }
        None => assert_eq!(group(&answer), None),
    }
}

fn parse(text: &str) -> Sdp {
    Sdp::parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// "audio sendrecv", or "audio rejected".
fn summary(text: &str) -> Vec<String> {
    let of = |s: &crate::sdp::text::Section| {
        let direction = crate::sdp::DIRECTIONS.iter().find(|d| s.attribute(d).is_some());
        match (s.is_rejected(), direction) {
            (true, _) => format!("{} rejected", s.kind),
            (_, Some(direction)) => format!("{} {direction}", s.kind),
            _ => s.kind.clone(),
        }
    };
    parse(text).sections.iter().map(of).collect()
}

/// The offer without the lines that start so.
fn without(offer: &str, starts: &[&str]) -> String {
    let kept = offer
        .lines()
        .filter(|l| !starts.iter().any(|start| l.starts_with(start)));
    kept.map(|l| format!("{l}\r\n")).collect()
}
