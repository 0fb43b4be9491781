//! Offers of ours, and the answers they get.

use str0m::change::{SdpAnswer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind, Mid};

use super::*;
use crate::webrtc::sdp::{RemoteAnswer, accepted_mids, local_offer};

/// An offer of audio, video and data, as str0m made it.
fn made_offer(rtc: &mut Rtc, direction: Direction) -> (String, SdpPendingOffer) {
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Audio, direction, None, None, None);
    changes.add_media(MediaKind::Video, direction, None, None, None);
    changes.add_channel(String::new());
    let (offer, pending) = changes.apply().expect("an offer");
    (offer.to_sdp_string(), pending)
}

fn accept(rtc: &mut Rtc, pending: SdpPendingOffer, answer: &str, made: &str) -> RemoteAnswer {
    let parsed = RemoteAnswer::parse(answer, made).expect("an answer");
    let text = parsed.sdp.as_deref().expect("m-lines");
    let read = SdpAnswer::from_sdp_string(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let done = rtc.sdp_api().accept_answer(pending, read);
    done.unwrap_or_else(|e| panic!("{e}\n{text}"));
    parsed
}

fn direction(rtc: &Rtc, made: &str, index: usize) -> Option<Direction> {
    let mid = super::parse(made).sections[index]
        .attribute("mid")
        .map(str::to_owned)?;
    rtc.media(Mid::from(mid.as_str())).map(|m| m.direction())
}

/// An answer that rejects these m-lines of an answer.
fn rejecting(answer: &str, rejected: &[usize]) -> String {
    let mut out = String::new();
    let sdp = super::parse(answer);
    for line in sdp.session.iter().filter(|l| !l.starts_with("a=group:")) {
        out.push_str(line);
        out.push_str("\r\n");
    }
    for (index, mut section) in sdp.sections.into_iter().enumerate() {
        if rejected.contains(&index) {
            section.port = "0".into();
            section.lines.clear();
        }
        section.write(&mut out);
    }
    out
}

#[test]
fn an_offer_of_ours_goes_round_between_two_of_us() {
    for (offered, sent) in [
        (Direction::SendRecv, Direction::SendRecv),
        (Direction::RecvOnly, Direction::RecvOnly),
        (Direction::SendOnly, Direction::SendOnly),
    ] {
        let mut rtc = transport();
        let (made, pending) = made_offer(&mut rtc, offered);
        let offer = local_offer(&made, &local()).expect("an offer");
        assert!(offer.contains("a=msid-semantic: WMS *\r\n"), "{offer}");
        let answered = answer(&offer);
        let parsed = accept(&mut rtc, pending, &answered, &made);
        assert_eq!(parsed.candidates, local().candidates[0]);
        assert_eq!(direction(&rtc, &made, 0), Some(sent));
        assert_eq!(direction(&rtc, &made, 1), Some(sent));
        assert_eq!(offer.contains("msid:"), offered != Direction::RecvOnly, "{offer}");
    }
}

#[test]
fn tracks_of_an_offer_are_one_stream() {
    let (made, _) = made_offer(&mut transport(), Direction::SendRecv);
    let offer = local_offer(&made, &local()).expect("an offer");
    for track in ["audio0", "video1"] {
        let name = format!("a=msid:kms-00001234 kms-00001234-{track}\r\n");
        assert!(offer.contains(&name), "{offer}");
        let of_ssrc = format!(" msid:kms-00001234 kms-00001234-{track}\r\n");
        assert!(offer.contains(&of_ssrc), "{offer}");
    }
    let others = offer
        .lines()
        .filter(|l| l.contains("msid:") && !l.contains("msid:kms-00001234 "));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn an_answer_that_rejects_a_line_leaves_the_others() {
    for rejected in [[0].as_slice(), &[1], &[2], &[0, 2], &[0, 1]] {
        let mut rtc = transport();
        let (made, pending) = made_offer(&mut rtc, Direction::SendRecv);
        let answered = answer(&local_offer(&made, &local()).expect("an offer"));
        accept(&mut rtc, pending, &rejecting(&answered, rejected), &made);
        for index in [0, 1] {
            let expected = if rejected.contains(&index) {
                Direction::Inactive
            } else {
                Direction::SendRecv
            };
            assert_eq!(direction(&rtc, &made, index), Some(expected), "{rejected:?}");
        }
        // A further offer says so too, in a form that can be read.
        let mut changes = rtc.sdp_api();
        changes.ice_restart(true);
        let (again, _) = changes.apply().expect("an offer");
        let again = local_offer(&again.to_sdp_string(), &local()).expect("an offer");
        for (index, line) in super::parse(&again).sections.iter().take(2).enumerate() {
            assert_eq!(line.is_rejected(), rejected.contains(&index), "{again}");
            assert!(!line.formats.is_empty(), "{again}");
        }
    }
}

#[test]
fn an_answer_that_wants_nothing_is_no_error() {
    let (made, _) = made_offer(&mut transport(), Direction::SendRecv);
    let answered = answer(&local_offer(&made, &local()).expect("an offer"));
    for nothing in [
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n",
        &rejecting(&answered, &[0, 1, 2]),
    ] {
        let parsed = RemoteAnswer::parse(nothing, &made).expect("an answer");
        assert_eq!(parsed.sdp, None);
    }
}

#[test]
fn an_answer_recorded_of_aiortc_is_taken() {
    let recorded = include_str!("../../../../testdata/aiortc_answer.sdp");
    let mut rtc = transport();
    let mut changes = rtc.sdp_api();
    changes.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
    changes.add_media(MediaKind::Video, Direction::SendRecv, None, None, None);
    let (offer, pending) = changes.apply().expect("an offer");
    let made = offer.to_sdp_string();
    // Payload types were another's; str0m takes those it knows by codec.
    let parsed = accept(&mut rtc, pending, recorded, &made);
    assert_eq!(parsed.candidates.len(), 1);
    assert_eq!(direction(&rtc, &made, 1), Some(Direction::SendRecv));
}

#[test]
fn an_answer_of_chromium_is_taken() {
    let mut answered = include_str!("../../../../testdata/chromium_answer.sdp").to_owned();
    let mut rtc = transport();
    let (made, pending) = made_offer(&mut rtc, Direction::SendRecv);
    // It answered an offer like this one, whose lines had other names.
    for (theirs, ours) in ["PXb", "uLY", "NFQ"].iter().zip(accepted_mids(&made)) {
        answered = answered.replace(theirs, &ours.1);
    }
    accept(&mut rtc, pending, &answered, &made);
    assert_eq!(direction(&rtc, &made, 0), Some(Direction::SendRecv));
    assert_eq!(direction(&rtc, &made, 1), Some(Direction::SendRecv));
}

#[test]
fn an_answer_that_does_not_fit_is_refused() {
    let (made, _) = made_offer(&mut transport(), Direction::SendRecv);
    let answered = answer(&local_offer(&made, &local()).expect("an offer"));
    let refusal = |answer: &str| {
        let refused = RemoteAnswer::parse(answer, &made);
        refused.map(|_| ()).expect_err("a refusal").to_string()
    };
    let (two, _) = answered.split_once("m=application").expect("data");
    assert!(refusal(two).contains("2 m-lines, the offer has 3"));
    let actpass = without(&answered, &["a=setup:"]).replace("a=mid:", "a=setup:actpass\r\na=mid:");
    assert!(refusal(&actpass).contains("not actpass"));
    let swapped = answered.replace("m=audio", "m=text");
    assert!(refusal(&swapped).contains("not of kind audio"));
    assert!(refusal(&without(&answered, &["a=ice-ufrag"])).contains("a=ice-ufrag"));
}
