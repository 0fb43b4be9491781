//! What a remote's description says of RTP. Every text is hostile.

use std::net::{IpAddr, SocketAddr};

use kms_core::media::Codec;
use kms_core::types::MediaType;

use super::crypto::CryptoLine;
use crate::packets::{clock_rate, depayloader};
use crate::sdp::formats::{has_feedback, parameters, payload_types, rtpmap};
use crate::sdp::text::{Sdp, Section};
use crate::sdp::{SdpError, direction};

/// Payload types of an m-line that are looked at. Browsers offer some thirty.
const MOST_FORMATS: usize = 64;
/// `a=crypto` lines of an m-line that are looked at: one for each suite is usual.
const MOST_CRYPTO: usize = 16;
/// Longest parameters of a codec: H.264's parameter sets are a few hundred bytes.
const LONGEST_PARAMETERS: usize = 4096;

/// A transport profile: `RTP/AVP`, or with feedback `RTP/AVPF`; with SRTP `RTP/SAVP` and `RTP/SAVPF`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) secure: bool,
    pub(super) feedback: bool,
}

impl Profile {
    fn parse(proto: &str) -> Option<Profile> {
        let (secure, feedback) = match proto {
            "RTP/AVP" => (false, false),
            "RTP/AVPF" => (false, true),
            "RTP/SAVP" => (true, false),
            "RTP/SAVPF" => (true, true),
            _ => return None,
        };
        Some(Profile { secure, feedback })
    }

    /// Its name in an m-line.
    pub(super) fn name(self) -> &'static str {
        match (self.secure, self.feedback) {
            (false, false) => "RTP/AVP",
            (false, true) => "RTP/AVPF",
            (true, false) => "RTP/SAVP",
            (true, true) => "RTP/SAVPF",
        }
    }
}

/// A codec with its payload type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) payload_type: u8,
    pub(super) codec: Codec,
    /// `a=fmtp`, name and value.
    pub(super) parameters: Vec<(String, String)>,
    /// Whether keyframes can be asked for by PLI (RFC 4585) and FIR (RFC 5104).
    pub(super) pli: bool,
    pub(super) fir: bool,
}

/// An m-line that can be taken.
#[derive(Debug, Clone)]
pub(super) struct RemoteLine {
    /// Its place in the description.
    pub(super) index: usize,
    pub(super) kind: MediaType,
    pub(super) profile: Profile,
    /// What is known here of its formats, preferred first.
    pub(super) formats: Vec<Format>,
    /// Whether the remote sends and receives.
    pub(super) sends: bool,
    pub(super) receives: bool,
    /// Where it wants RTP and RTCP; none if it does not say (an address of zeros).
    pub(super) rtp: Option<SocketAddr>,
    pub(super) rtcp: Option<SocketAddr>,
    /// Whether RTCP may come on the port of RTP (RFC 5761).
    pub(super) mux: bool,
    /// Whether it wants media where its own comes from, whatever it says of its address (`a=direction:active`, as in Kurento).
    pub(super) active: bool,
    pub(super) ipv6: bool,
    pub(super) crypto: Vec<CryptoLine>,
    /// What it takes at most, bits a second.
    pub(super) bandwidth: Option<u32>,
}

/// A remote's description.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) sdp: Sdp,
    /// The m-lines that can be taken: of audio and of video the first.
    pub(super) lines: Vec<RemoteLine>,
}

impl Remote {
    /// Takes a description apart.
    pub(super) fn parse(text: &str) -> Result<Remote, SdpError> {
        let sdp = Sdp::parse(text)?;
        let mut lines: Vec<RemoteLine> = Vec::new();
        for index in 0..sdp.sections.len() {
            if let Some(line) = line(&sdp, index)?
                && lines.iter().all(|l| l.kind != line.kind)
            {
                lines.push(line);
            }
        }
        Ok(Remote { sdp, lines })
    }
}

fn line(sdp: &Sdp, index: usize) -> Result<Option<RemoteLine>, SdpError> {
    let section = &sdp.sections[index];
    let kind = match section.kind.as_str() {
        "audio" => MediaType::Audio,
        "video" => MediaType::Video,
        _ => return Ok(None),
    };
    let Some(profile) = Profile::parse(&section.proto).filter(|_| !section.is_rejected()) else {
        return Ok(None);
    };
    let port = section.port.split('/').next().and_then(|p| p.parse::<u16>().ok());
    let port = port
        .filter(|p| *p > 0)
        .ok_or_else(|| SdpError::Parse(format!("m-line {index} has no valid port")))?;
    let ip = address(connection(sdp, section).unwrap_or_default())?;
    let formats = formats(section, kind);
    let mux = section.attribute("rtcp-mux").is_some();
    let rtp = Some(SocketAddr::new(ip, port)).filter(|a| !a.ip().is_unspecified());
    let (sends, receives) = match direction(sdp, section) {
        "sendonly" => (true, false),
        "recvonly" => (false, true),
        "inactive" => (false, false),
        _ => (true, true),
    };
    Ok(Some(RemoteLine {
        index,
        kind,
        profile,
        formats,
        sends,
        receives,
        rtp,
        rtcp: if mux { rtp } else { rtcp(section, ip, port)? },
        mux,
        active: section.attribute("direction") == Some("active"),
        ipv6: ip.is_ipv6(),
        crypto: crypto(section),
        bandwidth: bandwidth(&section.lines).or_else(|| bandwidth(&sdp.session)),
    }))
}

/// The `c=` line that counts for an m-line.
fn connection<'a>(sdp: &'a Sdp, section: &'a Section) -> Option<&'a str> {
    let of = |lines: &'a [String]| lines.iter().find_map(|l| l.strip_prefix("c="));
    of(&section.lines).or_else(|| of(&sdp.session))
}

/// The address in "IN IP4 192.0.2.1".
fn address(connection: &str) -> Result<IpAddr, SdpError> {
    let refused = |why: &str| SdpError::Unacceptable(format!("The address in c= {why}"));
    let mut words = connection.split_whitespace();
    let (Some("IN"), Some(family), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err(refused("is missing, or not of the form IN IP4 192.0.2.1"));
    };
    // What follows a slash belongs to multicast.
    let address = address.split('/').next().unwrap_or_default();
    let ip: IpAddr = address
        .parse()
        .map_err(|_| refused("is not an address; names are not looked up"))?;
    if ip.is_ipv4() != (family == "IP4") {
        return Err(refused("is of another family than it says"));
    }
    if ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        return Err(refused("is that of many (multicast): media is sent to one"));
    }
    Ok(ip)
}

/// Where RTCP goes: the next port, unless `a=rtcp` says another (RFC 3605).
fn rtcp(section: &Section, ip: IpAddr, port: u16) -> Result<Option<SocketAddr>, SdpError> {
    let usual = port.checked_add(1).map(|port| SocketAddr::new(ip, port));
    let said = match section.attribute("rtcp") {
        None => usual,
        Some(value) => {
            let (port, elsewhere) = value.split_once(' ').unwrap_or((value, ""));
            let ip = if elsewhere.is_empty() {
                ip
            } else {
                address(elsewhere)?
            };
            let port = port.parse::<u16>().ok().filter(|p| *p > 0);
            port.map(|port| SocketAddr::new(ip, port)).or(usual)
        }
    };
    Ok(said.filter(|a| !a.ip().is_unspecified()))
}

fn formats(section: &Section, kind: MediaType) -> Vec<Format> {
    let known = payload_types(section).into_iter().take(MOST_FORMATS);
    known
        .filter_map(|payload_type| {
            let codec = codec(section, payload_type).filter(|c| c.kind() == kind)?;
            Some(Format {
                payload_type,
                codec,
                parameters: fmtp(section, payload_type),
                pli: has_feedback(section, payload_type, "nack pli"),
                fir: has_feedback(section, payload_type, "ccm fir"),
            })
        })
        .collect()
}

/// The codec of a payload type, if it is one that goes into packets here.
fn codec(section: &Section, payload_type: u8) -> Option<Codec> {
    let Some(map) = rtpmap(section, payload_type) else {
        return match payload_type {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            _ => None,
        };
    };
    let mut parts = map.split('/');
    let (name, clock) = (parts.next()?, parts.next()?);
    let mut all = [MediaType::Audio, MediaType::Video]
        .into_iter()
        .flat_map(Codec::all);
    let found = all.find(|c| c.name().eq_ignore_ascii_case(name) && depayloader(*c).is_some())?;
    (clock == clock_rate(found).to_string()).then_some(found)
}

fn fmtp(section: &Section, payload_type: u8) -> Vec<(String, String)> {
    let Some(line) = parameters(section, payload_type)
        .next()
        .filter(|l| l.len() <= LONGEST_PARAMETERS)
    else {
        return Vec::new();
    };
    let pairs = line.split(';').filter_map(|p| p.trim().split_once('='));
    let pairs = pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    pairs.collect()
}

fn crypto(section: &Section) -> Vec<CryptoLine> {
    let values = section.lines.iter().filter_map(|l| l.strip_prefix("a=crypto:"));
    values.take(MOST_CRYPTO).filter_map(CryptoLine::parse).collect()
}

/// `b=TIAS` (RFC 3890) in bits, or `b=AS` in kilobits a second.
fn bandwidth(lines: &[String]) -> Option<u32> {
    let value = |name: &str| {
        let text = lines.iter().find_map(|l| l.strip_prefix(name))?;
        text.trim().parse::<u32>().ok().filter(|v| *v > 0)
    };
    value("b=TIAS:").or_else(|| value("b=AS:").map(|kilobits| kilobits.saturating_mul(1_000)))
}
