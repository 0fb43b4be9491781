//! Descriptions that are wrong, by mistake or on purpose.

use std::time::Duration;

use super::*;

#[test]
fn what_is_no_description_is_refused() {
    for text in [
        "",
        "hello",
        "v=1\r\n",
        "o=- 1 1 IN IP4 0.0.0.0\r\n",
        "v=0\r\nm=audio\r\n",
    ] {
        let refused = RemoteOffer::parse(text, true);
        assert!(matches!(refused, Err(SdpError::Parse(_))), "{text}");
    }
    let large = format!("{CHROMIUM}a=x:{}\r\n", "y".repeat(300_000));
    assert!(refusal(&large).contains("longer than"));
    let many = format!("v=0\r\n{}", "m=audio 9 RTP/SAVPF 0\r\n".repeat(65));
    assert!(refusal(&many).contains("more than 64 m-lines"));
}

#[test]
fn what_dtls_and_ice_need_must_be_there() {
    let sha1 = "a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB";
    let offer = without(CHROMIUM, &["a=fingerprint"]).replace("a=mid:", &format!("{sha1}\r\na=mid:"));
    assert!(refusal(&offer).contains("sha-256"));
    assert!(refusal(&without(CHROMIUM, &["a=fingerprint"])).contains("a=fingerprint"));
    let short = without(CHROMIUM, &["a=fingerprint"]);
    let short = short.replace("a=mid:", "a=fingerprint:sha-256 AB:CD\r\na=mid:");
    assert!(refusal(&short).contains("a=fingerprint"));
    assert!(refusal(&without(CHROMIUM, &["a=ice-ufrag"])).contains("a=ice-ufrag"));
    assert!(refusal(&without(CHROMIUM, &["a=ice-pwd"])).contains("a=ice-pwd"));
    let long = without(CHROMIUM, &["a=ice-ufrag"]);
    let long = long.replace("a=mid:", &format!("a=ice-ufrag:{}\r\na=mid:", "x".repeat(257)));
    assert!(refusal(&long).contains("a=ice-ufrag"));
}

#[test]
fn a_name_for_two_lines_is_refused() {
    let offer = CHROMIUM.replace("a=mid:1", "a=mid:0");
    assert!(refusal(&offer).contains("same a=mid"));
}

#[test]
fn an_echo_can_not_make_lines() {
    let offer = CHROMIUM.replace("a=mid:1", "a=mid:1\ra=candidate:x");
    assert!(refusal(&offer).contains("control character"));
    assert!(refusal(&CHROMIUM.replace("a=mid:1", "a=mid:1\0")).contains("control character"));
}

#[test]
fn a_wrong_line_costs_no_more_than_its_codec() {
    let wrong = [
        ("a=fmtp:97 apt=96", "a=fmtp:97 apt=96;"),
        ("a=fmtp:97 apt=96", "a=fmtp:97 ; ;"),
        ("a=fmtp:111 minptime=10;useinbandfec=1", "a=fmtp:111 "),
        ("a=rtpmap:98 VP9/90000", "a=rtpmap:98 VP9/0"),
        ("a=rtpmap:98 VP9/90000", "a=rtpmap:98"),
        ("a=rtpmap:98 VP9/90000", "a=rtpmap:300 VP9/90000"),
        (
            "a=rtpmap:98 VP9/90000",
            "a=rtpmap:98 VP9/90000\r\na=rtpmap:98 VP8/90000",
        ),
        ("a=rtpmap:98 VP9/90000\r\n", ""),
        (
            "m=video 9 UDP/TLS/RTP/SAVPF",
            "m=video 9 UDP/TLS/RTP/SAVPF 96 96 500 x",
        ),
        ("a=sendrecv", "a=sendrecv\r\na=recvonly"),
        ("a=sendrecv", "a=sendrecv:x"),
        ("a=setup:actpass", "a=setup:holdconn"),
        ("a=rtcp-mux", "a=rtcp-mux\r\na=extmap:200 urn:x\r\na=extmap:x"),
        ("a=mid:1", "a=mid:1\r\na=ssrc:x\r\na=ssrc-group:FID 1"),
        ("a=mid:1", "a=mid:1\r\na=rid:\r\na=simulcast:send"),
    ];
    for (right, wrong) in wrong {
        assert!(CHROMIUM.contains(right), "{right}");
        let answered = answer(&CHROMIUM.replace(right, wrong));
        assert_eq!(
            summary(&answered),
            ["audio sendrecv", "video sendrecv"],
            "{wrong}"
        );
        assert!(answered.contains("VP8/90000"), "{wrong}");
    }
}

/// str0m asserts that a payload type stands for one thing.
#[test]
fn payload_types_that_stand_for_two_things_are_no_danger() {
    let video = |lines: &str| {
        let (head, tail) = KURENTO.split_once("m=video").expect("video");
        let tail = tail.split_once("a=rtcp:9").expect("more").1;
        let lines = lines.replace(',', "\r\n");
        format!("{head}m=video 9 RTP/SAVPF {lines}\r\na=rtcp:9{tail}")
    };
    for lines in [
        "96,a=rtpmap:96 VP8/90000",
        "0,a=rtpmap:0 VP8/90000",
        "97 98,a=rtpmap:97 VP8/90000,a=rtpmap:98 VP8/90000",
        "97 98,a=rtpmap:97 VP8/90000,a=rtpmap:98 rtx/90000,a=fmtp:98 apt=98",
        "97 96,a=rtpmap:97 VP8/90000,a=rtpmap:96 rtx/90000,a=fmtp:96 apt=97",
        "97 98 99,a=rtpmap:97 VP8/90000,a=rtpmap:98 VP9/90000,a=rtpmap:99 rtx/90000,a=fmtp:99 apt=97,a=fmtp:99 apt=98",
        "97 98 99,a=rtpmap:97 VP8/90000,a=rtpmap:98 VP9/90000,a=rtpmap:99 rtx/90000,a=fmtp:99 apt=97;apt=98",
        "97 99,a=rtpmap:97 VP8/90000,a=rtpmap:99 rtx/90000,a=fmtp:97 apt=99,a=fmtp:99 apt=97",
        "97,a=rtpmap:97 H264/90000",
        "97,a=rtpmap:97 H264/90000,a=fmtp:97 packetization-mode=1",
        "97 98,a=rtpmap:97 VP9/90000,a=rtpmap:98 AV1/90000,a=fmtp:97 profile-id=1",
        "97,a=rtpmap:97 opus/48000/2",
    ] {
        let answered = answer(&video(lines));
        assert_eq!(summary(&answered)[0], "audio sendrecv", "{lines}");
    }
}

/// As much as is read at all may take a moment, but no more. str0m's parser needs most of it.
#[test]
fn long_offers_are_answered_in_time() {
    let fill = |line: &str| {
        let mut offer = CHROMIUM.to_owned();
        let mut number = 1_000_000_000_u32;
        while offer.len() < 250_000 {
            number += 1;
            offer.push_str(&line.replace('#', &number.to_string()));
            offer.push_str("\r\n");
        }
        offer
    };
    let formats = format!("m=audio 9 RTP/SAVPF{}\r\n", " 1".repeat(60_000));
    let offer = format!("{formats}{}", "a=rtpmap:2 x/1\r\n".repeat(8_000));
    let begun = std::time::Instant::now();
    let parsed = RemoteOffer::parse(&format!("v=0\r\n{offer}"), true).expect("an offer");
    assert!(parsed.legs.is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5));
    for line in [
        "a=ssrc:# cname:x",
        "a=ssrc-group:FID # #",
        "a=extmap:1 urn:#",
        "a=rid:# send",
        "a=fmtp:96 x=#",
        "a=rtcp-fb:96 nack #",
        "a=rtcp-fb:* #",
        "a=rtpmap:96 VP8/#",
        "a=candidate:# 1 udp 1 192.0.2.1 # typ host",
        "a=mid:#",
        "a=x:#",
    ] {
        let offer = fill(line);
        let begun = std::time::Instant::now();
        let answered = answer_with(&mut transport(), &offer, false, false);
        let took = begun.elapsed();
        assert!(answered.is_ok(), "{line}");
        assert!(took < Duration::from_secs(5), "{line}: {took:?}");
    }
}
