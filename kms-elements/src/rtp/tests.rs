//! Descriptions of remotes, as they are and as they should not be.

use kms_core::media::Codec;
use kms_core::types::MediaType;
use protocol::Code;

use super::Defaults;
use super::crypto::{CryptoSuite, Key, SDES};
use super::negotiation::{Agreed, Local};
use super::ports::PortRange;
use super::remote::Remote;
use crate::rtp_session::Bandwidths;
use crate::sdp::SdpError;
use crate::webrtc::api::GatherSettings;
use crate::webrtc::types::OfferOptions;

const BOTH: OfferOptions = OfferOptions {
    offer_to_receive_audio: true,
    offer_to_receive_video: true,
};
const KEY: &str = "NDMyMVpZWFdWVVRTUlFQT05NTEtKSUhHRkVEQ0JB";
const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";

fn local(suite: Option<CryptoSuite>) -> Local {
    let sdes = SDES {
        key: None,
        key_base64: None,
        crypto: suite,
    };
    let key = Key::chosen(&sdes).expect("a key");
    let defaults = Defaults {
        ports: PortRange { first: 0, last: 0 },
        gather: GatherSettings::default(),
        mtu: 1200,
    };
    Local::new(key, false, defaults)
}

fn answer_of(local: &Local, lines: &str) -> (String, Vec<Agreed>) {
    let remote = Remote::parse(&format!("{HEAD}{lines}")).expect("an offer");
    local.answer(&remote, &Bandwidths::default()).expect("an answer")
}

fn answer(lines: &str) -> String {
    answer_of(&local(None), lines).0
}

#[test]
fn an_offer_is_answered_as_kurento_does() {
    let text = answer(
        "m=audio 50000 RTP/AVPF 96\r\na=rtpmap:96 opus/48000/2\r\na=sendrecv\r\n\
         m=video 50002 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\na=recvonly\r\n",
    );
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let number = |line: &str| {
        line.split([' ', ':'])
            .nth(1)
            .and_then(|n| n.parse::<u32>().ok())
            .expect("a number")
    };
    let (audio, video) = (number(&lines[5]), number(&lines[10]));
    assert!(audio.is_multiple_of(2) && video.is_multiple_of(2));
    assert_eq!(number(&lines[7]), audio + 1);
    assert_eq!(number(&lines[12]), video + 1);
    let mask = |line: &mut String| {
        let digits = |c: char| c.is_ascii_digit();
        if line.starts_with("o=") || line.starts_with("a=ssrc:") || line.starts_with("a=rtcp:") {
            *line = line
                .replace(digits, "")
                .split("kms-")
                .next()
                .expect("a part")
                .to_owned();
        } else if line.starts_with("m=") {
            *line = line.replacen(&number(line).to_string(), "PORT", 1);
        }
    };
    lines.iter_mut().for_each(mask);
    assert_eq!(
        lines,
        [
            "v=0",
            "o=-   IN IP ...",
            "s=Kurento Media Server",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            "m=audio PORT RTP/AVPF 96",
            "a=sendrecv",
            "a=rtcp:",
            "a=rtpmap:96 opus/48000/2",
            "a=ssrc: cname:",
            "m=video PORT RTP/AVP 97",
            "a=sendonly",
            "a=rtcp:",
            "a=rtpmap:97 VP8/90000",
            "a=ssrc: cname:",
        ]
    );
}

#[test]
fn directions_are_turned_round() {
    for (theirs, ours) in [
        ("sendrecv", "sendrecv"),
        ("sendonly", "recvonly"),
        ("recvonly", "sendonly"),
        ("inactive", "inactive"),
    ] {
        let text = answer(&format!("m=audio 5004 RTP/AVP 0\r\na={theirs}\r\n"));
        assert!(text.contains(&format!("\r\na={ours}\r\n")), "{theirs}: {text}");
    }
}

#[test]
fn codecs_are_known_by_name_and_clock_and_the_others_left_out() {
    let (text, agreed) = answer_of(
        &local(None),
        "m=video 5004 RTP/AVPF 31 96 97 98 99 100 96 200 x\r\na=rtpmap:96 h264/90000\r\n\
         a=fmtp:96 packetization-mode=1;profile-level-id=42e01f;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\n\
         a=rtpmap:97 VP8/8000\r\na=rtpmap:98 H265/90000\r\na=rtpmap:99 rtx/90000\r\na=rtpmap:100 opus/48000/2\r\n\
         a=rtcp-fb:* nack pli\r\na=rtcp-fb:96 ccm fir\r\n",
    );
    assert!(text.contains(" RTP/AVPF 96 98\r\n"), "{text}");
    assert!(
        text.contains("a=fmtp:96 packetization-mode=1;profile-level-id=42e01f\r\n"),
        "{text}"
    );
    assert!(
        text.contains("a=rtcp-fb:96 nack pli") && text.contains("a=rtcp-fb:96 ccm fir"),
        "{text}"
    );
    assert!(
        text.contains("a=rtcp-fb:98 nack pli") && !text.contains("a=rtcp-fb:98 ccm fir"),
        "{text}"
    );
    assert_eq!(agreed[0].send_types(), [(Codec::H264, 96), (Codec::H265, 98)]);
    let without = answer("m=audio 5004 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n");
    assert!(without.contains("m=audio 0 RTP/AVP 18"), "{without}");
}

#[test]
fn bandwidths_are_read_and_told() {
    let (_, agreed) = answer_of(
        &local(None),
        "m=video 5004 RTP/AVP 96\r\nb=AS:500\r\na=rtpmap:96 VP8/90000\r\n",
    );
    assert_eq!(agreed[0].bandwidth, Some(500_000));
    let (_, agreed) = answer_of(
        &local(None),
        "m=video 5004 RTP/AVP 96\r\nb=AS:500\r\nb=TIAS:420000\r\na=rtpmap:96 VP8/90000\r\n",
    );
    assert_eq!(agreed[0].bandwidth, Some(420_000));
    let bandwidths = Bandwidths::default()
        .changed(&|b| b.max_video_recv = 700)
        .expect("bandwidths");
    let (offer, _) = local(None).offer(&BOTH, &bandwidths).expect("an offer");
    assert_eq!(offer.matches("b=AS:700").count(), 1, "{offer}");
    let refused = Bandwidths::default()
        .changed(&|b| b.max_audio_recv = -1)
        .expect_err("a refusal");
    assert_eq!(refused.code, Code::IllegalParam);
}

#[test]
fn an_offer_has_what_can_be_sent_and_received() {
    let (offer, _) = local(None)
        .offer(&BOTH, &Bandwidths::default())
        .expect("an offer");
    let read = Remote::parse(&offer).expect("what we understand ourselves");
    let codecs = |kind| {
        let line = read.lines.iter().find(|l| l.kind == kind).expect("a line");
        line.formats.iter().map(|f| f.codec).collect::<Vec<_>>()
    };
    assert_eq!(codecs(MediaType::Audio), [Codec::Opus, Codec::Pcmu, Codec::Pcma]);
    assert_eq!(
        codecs(MediaType::Video),
        [Codec::Vp8, Codec::H264, Codec::Vp9, Codec::H265]
    );
    assert!(offer.contains("RTP/AVPF") && offer.contains("a=mid:audio0") && !offer.contains("crypto"));
    let silent = OfferOptions {
        offer_to_receive_audio: false,
        offer_to_receive_video: true,
    };
    let (offer, _) = local(None)
        .offer(&silent, &Bandwidths::default())
        .expect("an offer");
    assert_eq!(
        (
            offer.matches("a=sendonly").count(),
            offer.matches("a=sendrecv").count()
        ),
        (1, 1)
    );
}

#[test]
fn encryption_is_taken_as_it_was_asked_for_and_in_no_other_way() {
    let offer = format!(
        "m=audio 5004 RTP/SAVP 0\r\na=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{KEY}\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20\r\n"
    );
    let (text, agreed) = answer_of(&local(None), &offer);
    assert!(
        text.contains("a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:"),
        "{text}"
    );
    let keys = agreed[0].keys.as_ref().expect("keys");
    assert_eq!(keys.1.bytes, b"4321ZYXWVUTSRQPONMLKJIHGFEDCBA");
    assert_ne!(keys.0.bytes, keys.1.bytes);
    let own = local(Some(CryptoSuite::Aes128CmHmacSha1_80));
    assert!(
        answer_of(&own, &offer)
            .0
            .contains("a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:")
    );
    let other = local(Some(CryptoSuite::Aes256CmHmacSha1_80));
    for refused in [offer.as_str(), "m=audio 5004 RTP/AVP 0\r\n"] {
        let (text, agreed) = answer_of(&other, refused);
        assert!(text.contains("m=audio 0 ") && agreed.is_empty(), "{text}");
    }
    assert!(
        answer("m=audio 5004 RTP/SAVP 0\r\n").contains("m=audio 0 "),
        "no key, no agreement"
    );
}

#[test]
fn an_answer_must_be_one_to_the_offer() {
    let own = local(Some(CryptoSuite::Aes128CmHmacSha1_80));
    let (_, offered) = own.offer(&BOTH, &Bandwidths::default()).expect("an offer");
    let check = |lines: &str| {
        let remote = Remote::parse(&format!("{HEAD}{lines}")).expect("a description");
        Local::check_answer(&remote, &offered).map_err(|e| e.to_string())
    };
    let audio = format!(
        "m=audio 5004 RTP/SAVPF 96\r\na=rtpmap:96 opus/48000/2\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}\r\n"
    );
    let rejected = "m=video 0 RTP/SAVPF 97\r\n";
    assert_eq!(check(&format!("{audio}{rejected}")), Ok(()));
    let wrong = |lines: &str, why: &str| {
        let error = check(lines).expect_err(lines);
        assert!(error.contains(why), "{error}");
    };
    wrong(&audio, "has 1 m-lines");
    wrong(&format!("{rejected}{audio}"), "not of kind audio");
    wrong(
        &format!("{}{rejected}", audio.replace("SAVPF", "AVPF")),
        "was offered",
    );
    wrong(
        &format!("{}{rejected}", audio.replace("SHA1_80", "SHA1_32")),
        "no a=crypto",
    );
    let remote = Remote::parse(&format!("{HEAD}{audio}{rejected}")).expect("an answer");
    let agreed = own.answered(&remote, offered);
    assert_eq!(agreed.len(), 1);
    assert_eq!(agreed[0].send_types(), [(Codec::Opus, 96)]);
}

#[test]
fn what_can_not_be_read_or_sent_to_is_refused() {
    let refused = |text: &str| Remote::parse(text).map(|_| ()).expect_err(text);
    for text in [
        "",
        "hello",
        "v=0\r\nm=audio\r\n",
        "v=0\r\nm=audio x RTP/AVP 0\r\n",
        "v=0\r\nm=audio 70000 RTP/AVP 0\r\n",
    ] {
        assert!(matches!(refused(text), SdpError::Parse(_)), "{text}");
    }
    for connection in [
        "",
        "c=IN\r\n",
        "c=IN IP4\r\n",
        "c=IN IP4 example.com\r\n",
        "c=IN IP4 ::1\r\n",
        "c=IN IP6 127.0.0.1\r\n",
        "c=IN IP4 239.1.1.1/127\r\n",
        "c=IN IP6 ff02::1\r\n",
        "c=IN IP4 255.255.255.255\r\n",
        "c=NBMA IP4 127.0.0.1\r\n",
    ] {
        let text = format!("v=0\r\n{connection}m=audio 5004 RTP/AVP 0\r\n");
        assert!(matches!(refused(&text), SdpError::Unacceptable(_)), "{text}");
    }
}

#[test]
fn addresses_that_say_nothing_are_learnt_and_those_of_rtcp_are_read() {
    let line = |text: &str| {
        Remote::parse(&format!("{HEAD}{text}"))
            .expect("an offer")
            .lines
            .remove(0)
    };
    let of = |text: &str| {
        let line = line(text);
        (line.rtp.map(|a| a.to_string()), line.rtcp.map(|a| a.to_string()))
    };
    let some = |a: &str| Some(a.to_owned());
    assert_eq!(
        of("m=audio 5004 RTP/AVP 0\r\n"),
        (some("127.0.0.1:5004"), some("127.0.0.1:5005"))
    );
    assert_eq!(
        of("m=audio 5004/2 RTP/AVP 0\r\na=rtcp:6000\r\n"),
        (some("127.0.0.1:5004"), some("127.0.0.1:6000"))
    );
    assert_eq!(
        of("m=audio 5004 RTP/AVP 0\r\na=rtcp:6000 IN IP4 192.0.2.1\r\n").1,
        some("192.0.2.1:6000")
    );
    assert_eq!(
        of("m=audio 5004 RTP/AVP 0\r\na=rtcp-mux\r\n").1,
        some("127.0.0.1:5004")
    );
    assert_eq!(of("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"), (None, None));
    assert_eq!(of("m=audio 65535 RTP/AVP 0\r\n").1, None);
    assert!(line("m=audio 5004 RTP/AVP 0\r\na=direction:active\r\n").active);
}

#[test]
fn a_description_that_was_cut_or_garbled_is_refused_or_answered() {
    let offer = format!(
        "{HEAD}m=audio 50000 RTP/SAVPF 96 0\r\nb=AS:64\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\n\
         a=rtcp:50001 IN IP4 127.0.0.1\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\na=mid:a\r\n\
         m=video 50002 RTP/AVP 97\r\nc=IN IP6 ::1\r\na=rtpmap:97 VP8/90000\r\na=rtcp-fb:97 nack pli\r\na=rtcp-mux\r\n"
    );
    let own = local(None);
    let mut tried = 0;
    let mut attempt = |text: &str| {
        if let Ok(remote) = Remote::parse(text) {
            let (answer, _) = own.answer(&remote, &Bandwidths::default()).expect("an answer");
            let read = Remote::parse(&answer).unwrap_or_else(|e| panic!("{e}\n{answer}"));
            assert_eq!(read.sdp.sections.len(), remote.sdp.sections.len(), "{answer}");
            tried += 1;
        }
    };
    for cut in 0..offer.len() {
        attempt(&offer[..cut]);
        for replacement in ["", " ", ":", "9999999999", "/", "\u{fffd}", "\r\na=x"] {
            if cut % 7 == 0 {
                attempt(&format!("{}{replacement}{}", &offer[..cut], &offer[cut + 1..]));
            }
        }
    }
    assert!(tried > 100, "{tried}");
}
