//! What this side says of itself, in Kurento's form.

use std::net::IpAddr;

use kms_core::media::Codec;
use kms_core::types::MediaType;

use super::crypto::CryptoLine;
use super::remote::{Format, Profile, Remote};
use crate::packets::clock_rate;

/// What an offer offers, preferred first: what any machine encodes in real time comes before what it may only pass on.
const OFFERED: [(Codec, u8); 7] = [
    (Codec::Opus, 96),
    (Codec::Pcmu, 0),
    (Codec::Pcma, 8),
    (Codec::Vp8, 97),
    (Codec::H264, 98),
    (Codec::Vp9, 99),
    (Codec::H265, 100),
];
/// Parameters of codecs that hold for both sides and are given back as they came.
const ECHOED: [&str; 4] = [
    "level-asymmetry-allowed",
    "packetization-mode",
    "profile-level-id",
    "profile-id",
];

/// The session part.
#[derive(Debug, Clone)]
pub(super) struct LocalSession {
    pub(super) id: u32,
    pub(super) address: IpAddr,
}

/// An m-line of ours.
#[derive(Debug, Clone)]
pub(super) struct LocalLine {
    pub(super) kind: MediaType,
    pub(super) profile: Profile,
    pub(super) formats: Vec<Format>,
    pub(super) sends: bool,
    pub(super) receives: bool,
    pub(super) port: u16,
    pub(super) rtcp_port: u16,
    pub(super) mux: bool,
    /// Media goes where the remote's comes from.
    pub(super) passive: bool,
    pub(super) crypto: Option<CryptoLine>,
    /// `b=AS`, kbit/s; 0: no limit.
    pub(super) bandwidth: i32,
    pub(super) mid: Option<String>,
    pub(super) ssrc: u32,
    pub(super) cname: String,
}

/// The formats that are offered of a kind.
pub(super) fn offered_formats(kind: MediaType) -> Vec<Format> {
    let of_kind = OFFERED.iter().filter(|(codec, _)| codec.kind() == kind);
    of_kind
        .map(|(codec, payload_type)| Format {
            payload_type: *payload_type,
            codec: *codec,
            parameters: match codec {
                Codec::H264 => [
                    ("level-asymmetry-allowed", "1"),
                    ("packetization-mode", "1"),
                    ("profile-level-id", "42e01f"),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
                _ => Vec::new(),
            },
            pli: kind == MediaType::Video,
            fir: kind == MediaType::Video,
        })
        .collect()
}

impl LocalSession {
    fn write(&self) -> String {
        let family = if self.address.is_ipv6() { "IP6" } else { "IP4" };
        let (id, address) = (self.id, self.address);
        format!(
            "v=0\r\no=- {id} {id} IN {family} {address}\r\ns=Kurento Media Server\r\nc=IN {family} {address}\r\nt=0 0\r\n"
        )
    }

    /// An offer of these m-lines.
    pub(super) fn offer(&self, lines: &[LocalLine]) -> String {
        lines.iter().fold(self.write(), |text, line| text + &line.write())
    }

    /// An answer: the m-lines of the offer in their order, those without one of ours with port 0 (RFC 3264, section 6).
    pub(super) fn answer(&self, remote: &Remote, lines: &[(usize, LocalLine)]) -> String {
        let mut text = self.write();
        for (index, section) in remote.sdp.sections.iter().enumerate() {
            if let Some((_, line)) = lines.iter().find(|(i, _)| *i == index) {
                text.push_str(&line.write());
                continue;
            }
            let formats = section.formats.join(" ");
            let formats = if formats.is_empty() { "0" } else { &formats };
            text.push_str(&format!(
                "m={} 0 {} {formats}\r\na=inactive\r\n",
                section.kind, section.proto
            ));
        }
        text
    }
}

impl LocalLine {
    fn write(&self) -> String {
        let types: Vec<String> = self.formats.iter().map(|f| f.payload_type.to_string()).collect();
        let mut text = format!(
            "m={} {} {} {}\r\n",
            self.kind.lower(),
            self.port,
            self.profile.name(),
            types.join(" ")
        );
        let mut line = |content: String| {
            text.push_str(&content);
            text.push_str("\r\n");
        };
        if self.bandwidth > 0 {
            line(format!("b=AS:{}", self.bandwidth));
        }
        line(format!("a={}", self.direction()));
        line(format!("a=rtcp:{}", self.rtcp_port));
        if self.mux {
            line("a=rtcp-mux".into());
        }
        if self.passive {
            line("a=direction:passive".into());
        }
        if let Some(crypto) = &self.crypto {
            line(format!("a=crypto:{crypto}"));
        }
        if let Some(mid) = &self.mid {
            line(format!("a=mid:{mid}"));
        }
        self.formats
            .iter()
            .flat_map(|f| format_lines(f, self.profile))
            .for_each(&mut line);
        if self.sends {
            line(format!("a=ssrc:{} cname:{}", self.ssrc, self.cname));
        }
        text
    }

    fn direction(&self) -> &'static str {
        match (self.sends, self.receives) {
            (true, true) => "sendrecv",
            (true, false) => "sendonly",
            (false, true) => "recvonly",
            (false, false) => "inactive",
        }
    }
}

fn format_lines(format: &Format, profile: Profile) -> Vec<String> {
    let (pt, rate) = (format.payload_type, clock_rate(format.codec));
    let map = match format.codec {
        Codec::Opus => format!("a=rtpmap:{pt} opus/{rate}/2"),
        codec => format!("a=rtpmap:{pt} {codec}/{rate}"),
    };
    let mut lines = vec![map];
    let is_plain = |value: &str| {
        !value.is_empty() && value.len() <= 16 && value.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let echoed = format
        .parameters
        .iter()
        .filter(|(name, value)| ECHOED.contains(&name.as_str()) && is_plain(value));
    let echoed: Vec<String> = echoed.map(|(name, value)| format!("{name}={value}")).collect();
    if !echoed.is_empty() {
        lines.push(format!("a=fmtp:{pt} {}", echoed.join(";")));
    }
    if profile.feedback {
        let known = [(format.pli, "nack pli"), (format.fir, "ccm fir")];
        lines.extend(
            known
                .iter()
                .filter(|(given, _)| *given)
                .map(|(_, kind)| format!("a=rtcp-fb:{pt} {kind}")),
        );
    }
    lines
}
