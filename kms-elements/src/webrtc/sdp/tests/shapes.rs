//! Offers of all shapes, and the shape of their answers.

use super::*;
use crate::webrtc::sdp::{accepted_mids, without_feedback_of_viewers};

#[test]
fn offers_of_real_clients_are_answered_in_full() {
    let both = ["audio sendrecv", "video sendrecv"];
    for (offer, data) in [
        (AIORTC, true),
        (CHROMIUM, false),
        (CHROMIUM_SIMULCAST, true),
        (FIREFOX, true),
        (KURENTO, false),
        (KURENTO_WITH_CANDIDATES, false),
        (SAFARI, false),
    ] {
        let answered = summary(&answer(offer));
        assert_eq!(answered[..2], both);
        assert_eq!(answered.get(2).map(String::as_str), data.then_some("application"));
    }
}

#[test]
fn the_answer_has_a_codec_of_every_client_and_its_retransmission() {
    let chromium = answer(CHROMIUM);
    for line in [
        "a=rtpmap:111 opus/48000/2",
        "a=rtpmap:96 VP8/90000",
        "a=rtpmap:97 rtx/90000",
        "a=fmtp:97 apt=96",
    ] {
        assert!(chromium.contains(line), "{line}\n{chromium}");
    }
    assert!(answer(FIREFOX).contains("a=rtpmap:126 H264/90000"));
    assert!(answer(SAFARI).contains("a=rtpmap:98 H264/90000"));
    assert!(answer(KURENTO).contains("a=rtpmap:104 VP8/90000"));
}

#[test]
fn simulcast_layers_are_taken() {
    let offer = RemoteOffer::parse(CHROMIUM_SIMULCAST, true).expect("an offer");
    assert!(offer.has_simulcast());
    let answer = answer(CHROMIUM_SIMULCAST);
    for line in [
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:f recv",
        "a=simulcast:recv q;h;f",
    ] {
        assert!(answer.contains(line), "{line}\n{answer}");
    }
    assert!(
        !RemoteOffer::parse(CHROMIUM, true)
            .expect("an offer")
            .has_simulcast()
    );
}

#[test]
fn directions_are_the_complement_within_what_the_endpoint_wants() {
    let cases = [
        (CHROMIUM, false, false, "sendrecv"),
        (CHROMIUM, true, false, "recvonly"),
        (CHROMIUM, false, true, "sendonly"),
        (CHROMIUM_RECVONLY, false, false, "sendonly"),
        (CHROMIUM_RECVONLY, true, false, "inactive"),
        (CHROMIUM_RECVONLY, false, true, "sendonly"),
        (CHROMIUM, true, true, "sendrecv"),
    ];
    for (offer, recvonly, sendonly, expected) in cases {
        let answer = answer_with(&mut transport(), offer, recvonly, sendonly).expect("an answer");
        check_shape(offer, &answer);
        assert_eq!(
            summary(&answer),
            [format!("audio {expected}"), format!("video {expected}")]
        );
    }
    let sends = CHROMIUM.replace("a=sendrecv", "a=sendonly");
    assert_eq!(summary(&answer(&sends)), ["audio recvonly", "video recvonly"]);
    let idle = CHROMIUM.replace("a=sendrecv", "a=inactive");
    assert_eq!(summary(&answer(&idle)), ["audio inactive", "video inactive"]);
}

#[test]
fn what_stands_in_the_session_part_counts_for_every_line() {
    let answered = answer(SESSION_LEVEL);
    assert_eq!(summary(&answered), ["video recvonly"]);
    assert!(answered.contains("m=video 9 RTP/SAVPF 97\r\n"), "{answered}");
    assert!(answered.contains("a=setup:passive\r\n"), "{answered}");
    assert!(answered.contains("a=rtcp-fb:97 nack pli\r\n"), "{answered}");
    let offer = RemoteOffer::parse(SESSION_LEVEL, true).expect("an offer");
    assert_eq!(taken(&offer), [(0, "video0".to_owned())]);
    assert_eq!(offer.legs[0].candidates.len(), 2);
}

#[test]
fn a_line_without_a_mid_gets_none_and_is_told_by_kind_and_number() {
    let (session, media) = CHROMIUM.split_once("m=video").expect("video");
    let session = session.split_once("m=audio").expect("audio").0;
    let offer = without(&format!("{session}m=video{media}"), &["a=mid:", "a=group:"]);
    assert!(!answer(&offer).contains("a=mid"));
    assert_eq!(accepted_mids(&offer), [(0, "video0".to_owned())]);
}

#[test]
fn without_bundle_each_line_is_a_leg() {
    let offer = without(CHROMIUM, &["a=group:"]);
    let parsed = RemoteOffer::parse(&offer, true).expect("an offer");
    assert_eq!(parsed.legs.len(), 2);
    let legs: Vec<usize> = parsed.accepted().iter().map(|line| line.leg).collect();
    assert_eq!(legs, [0, 1]);
    let answers: Vec<String> = parsed
        .legs
        .iter()
        .map(|leg| {
            let read = SdpOffer::from_sdp_string(&leg.sdp).expect("str0m's form");
            let made = transport().sdp_api().accept_offer(read).expect("accepted");
            made.to_sdp_string()
        })
        .collect();
    let both = parsed.answer(&answers, &local()).expect("an answer");
    check_shape(&offer, &both);
    assert_eq!(summary(&both), ["audio sendrecv", "video sendrecv"]);
}

#[test]
fn a_line_outside_of_the_bundle_has_a_transport_of_its_own() {
    let offer = CHROMIUM.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0");
    let answered = answer(&offer);
    assert!(answered.contains("a=group:BUNDLE 0\r\n"), "{answered}");
    assert_eq!(summary(&answered), ["audio sendrecv", "video sendrecv"]);
}

#[test]
fn a_second_line_of_a_kind_is_rejected() {
    let answered = answer(CHROMIUM_TWO_VIDEOS);
    let expected = ["audio sendrecv", "video sendrecv", "video rejected"];
    assert_eq!(summary(&answered), expected);
    assert!(answered.contains("a=group:BUNDLE 0 1\r\n"), "{answered}");
}

#[test]
fn lines_that_are_rejected_or_unknown_are_rejected() {
    let text = "m=text 9 UDP/TLS/RTP/SAVPF 98\r\na=mid:9\r\na=rtpmap:98 t140/1000\r\n";
    let offer = CHROMIUM.replace("BUNDLE 0 1", "BUNDLE 0 9 1");
    let offer = offer.replace("m=video", &format!("{text}m=video"));
    let expected = ["audio sendrecv", "text rejected", "video sendrecv"];
    assert_eq!(summary(&answer(&offer)), expected);

    let offer = CHROMIUM.replace("m=audio 9", "m=audio 0").replace(" 0 1", " 1");
    assert_eq!(summary(&answer(&offer)), ["audio rejected", "video sendrecv"]);
    let offer = CHROMIUM.replace("m=audio 9", "m=audio 0");
    let offer = offer.replace("m=video 9", "m=video 0");
    assert_eq!(summary(&answer(&offer)), ["audio rejected", "video rejected"]);
    // RTP without encryption is none of WebRTC's.
    let offer = CHROMIUM.replace("m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP");
    assert_eq!(summary(&answer(&offer)), ["audio rejected", "video sendrecv"]);
}

#[test]
fn data_channels_are_rejected_where_they_are_off() {
    let offer = RemoteOffer::parse(CHROMIUM_SIMULCAST, false).expect("an offer");
    let read = SdpOffer::from_sdp_string(&offer.legs[0].sdp).expect("str0m's form");
    let made = transport().sdp_api().accept_offer(read).expect("accepted");
    let answered = offer
        .answer(&[made.to_sdp_string()], &local())
        .expect("an answer");
    check_shape(CHROMIUM_SIMULCAST, &answered);
    assert_eq!(summary(&answered)[2], "application rejected");
}

#[test]
fn the_data_channel_form_of_old_clients_is_answered_in_kind() {
    let new = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel";
    let offer = CHROMIUM_SIMULCAST.replace(new, "m=application 9 DTLS/SCTP 5000");
    let offer = offer.replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024");
    let answered = answer(&offer);
    assert!(
        answered.contains("m=application 9 DTLS/SCTP 5000\r\n"),
        "{answered}"
    );
    assert!(answered.contains("a=sctpmap:5000 webrtc-datachannel 1024\r\n"));
    assert!(!answered.contains("a=sctp-port"));
}

#[test]
fn a_bundle_only_line_is_accepted_with_a_port() {
    // What comes with the first line only (RFC 8829, section 5.2.1).
    let (first, second) = CHROMIUM.split_once("m=video 9").expect("video");
    let second = without(
        &format!("m=video 0{second}"),
        &["a=ice-", "a=fingerprint", "a=setup"],
    );
    let second = second.replace("a=mid:1", "a=mid:1\r\na=bundle-only");
    let answered = answer(&format!("{first}{second}"));
    assert_eq!(summary(&answered), ["audio sendrecv", "video sendrecv"]);
    assert!(answered.contains("m=video 9 "), "{answered}");
}

#[test]
fn line_ends_may_be_lf() {
    let answered = answer(&CHROMIUM_SIMULCAST.replace("\r\n", "\n"));
    assert_eq!(summary(&answered).len(), 3);
    assert_eq!(answered.matches('\n').count(), answered.matches("\r\n").count());
}

#[test]
fn an_offer_without_rtcp_mux_is_taken_all_the_same() {
    let answered = answer(&without(CHROMIUM, &["a=rtcp-mux"]));
    assert_eq!(summary(&answered), ["audio sendrecv", "video sendrecv"]);
}

#[test]
fn a_line_without_a_common_codec_is_rejected_alone() {
    let unknown = |offer: &str| offer.replace(" opus/48000/2", " speex/16000");
    let only_opus = without(CHROMIUM, &["m=audio"]);
    let audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n";
    let (session, rest) = only_opus.split_once("c=IN").expect("an m-section");
    let offer = unknown(&format!("{session}{audio}c=IN{rest}"));
    let answered = answer(&offer);
    assert_eq!(summary(&answered), ["audio rejected", "video sendrecv"]);
    assert_eq!(accepted_mids(&answered), [(1, "1".to_owned())]);
}

#[test]
fn mids_that_str0m_would_change_come_back_as_they_were() {
    let long = "a-mid-that-is-longer-than-sixteen-bytes";
    let offer = CHROMIUM.replace("a=group:BUNDLE 0 1", &format!("a=group:BUNDLE a-1 {long}"));
    let offer = offer.replace("a=mid:0", "a=mid:a-1");
    let offer = offer.replace("a=mid:1", &format!("a=mid:{long}"));
    let answered = answer(&offer);
    let parsed = RemoteOffer::parse(&offer, true).expect("an offer");
    let mids = [(0, "a-1".to_owned()), (1, long.to_owned())];
    assert_eq!(taken(&parsed), mids);
    assert_eq!(accepted_mids(&answered), mids);
    // Packets would carry another name than was agreed on, so they carry none.
    assert!(!answered.contains("sdes:mid"), "{answered}");
    assert!(answer(CHROMIUM).contains("sdes:mid"));
}

#[test]
fn audio_and_video_are_one_stream_named_after_the_endpoint() {
    for offer in [CHROMIUM, FIREFOX, SAFARI, KURENTO] {
        let answered = answer(offer);
        let names: Vec<&str> = answered
            .lines()
            .filter_map(|l| l.split_once("msid:").map(|(_, name)| name))
            .collect();
        assert!(names.len() >= 4, "{answered}");
        for name in names {
            let (stream, track) = name.split_once(' ').expect("stream and track");
            assert_eq!(stream, "kms-00001234");
            assert!(matches!(track, "kms-00001234-audio0" | "kms-00001234-video1"));
        }
    }
    for answered in [
        answer(&CHROMIUM.replace("a=sendrecv", "a=sendonly")),
        answer_with(&mut transport(), CHROMIUM, true, false).expect("an answer"),
    ] {
        assert!(!answered.contains("msid:"), "{answered}");
    }
}

#[test]
fn limits_and_candidates_are_in_the_answer() {
    let answered = answer(CHROMIUM);
    assert!(
        answered.contains("c=IN IP4 0.0.0.0\r\nb=AS:500\r\n"),
        "{answered}"
    );
    assert_eq!(answered.matches("b=AS:").count(), 1);
    assert_eq!(answered.matches("a=candidate:1 1 UDP").count(), 2);
    assert!(answered.starts_with("v=0\r\no=- 4660 7 IN IP4 0.0.0.0\r\n"));
}

#[test]
fn a_later_offer_may_drop_lines_and_add_some() {
    let mut rtc = transport();
    let mut again = |offer: &str| {
        let answered = answer_with(&mut rtc, offer, false, false).expect("an answer");
        check_shape(offer, &answered);
        summary(&answered)
    };
    let all = ["audio sendrecv", "video sendrecv", "video rejected"];
    assert_eq!(again(CHROMIUM_TWO_VIDEOS), all);
    // The browser stops what was rejected, and its audio.
    let (head, last) = CHROMIUM_TWO_VIDEOS.rsplit_once("m=video 9").expect("a video");
    let offer = format!("{head}m=video 0{last}").replace("BUNDLE 0 1 2", "BUNDLE 1");
    let offer = offer.replace("m=audio 9", "m=audio 0");
    let dropped = ["audio rejected", "video sendrecv", "video rejected"];
    assert_eq!(again(&offer), dropped);
    // And uses the place of the audio for a new one (RFC 8829, section 5.2.2).
    let offer = CHROMIUM_TWO_VIDEOS.replace("BUNDLE 0 1 2", "BUNDLE 7 1");
    let offer = offer.replace("a=mid:0", "a=mid:7");
    assert_eq!(again(&offer), all);
}

#[test]
fn viewers_whose_bandwidth_nobody_estimates_send_no_feedback() {
    let thinned = without_feedback_of_viewers(CHROMIUM_RECVONLY);
    assert!(CHROMIUM_RECVONLY.contains("transport-cc") && !thinned.contains("transport-"));
    assert_eq!(summary(&answer(&thinned)), summary(&answer(CHROMIUM_RECVONLY)));
    let whole = without_feedback_of_viewers(CHROMIUM);
    assert_eq!(
        whole.matches("transport-").count(),
        CHROMIUM.matches("transport-").count()
    );
}

/// The m-lines taken: index and mid.
fn taken(offer: &RemoteOffer) -> Vec<(usize, String)> {
    offer
        .accepted()
        .into_iter()
        .map(|line| (line.index, line.mid))
        .collect()
}
