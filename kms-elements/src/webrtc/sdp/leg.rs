//! A description for str0m, rebuilt from the attributes it needs.

use std::collections::HashSet;

use super::mids::Mids;
use super::{SdpError, codecs, streams};
use crate::sdp::direction;
use crate::sdp::text::{Sdp, Section};

/// Candidates taken of a description. A host has some for each of its addresses.
const MOST_CANDIDATES: usize = 128;
/// Longest user fragment and password (RFC 8839, section 5.4).
const LONGEST_ICE: usize = 256;

/// A part of an offer that has a transport of its own.
#[derive(Debug, Clone)]
pub struct Leg {
    /// The description for str0m.
    pub sdp: String,
    /// The m-lines in it, by the names that str0m knows them by.
    pub mids: Vec<String>,
    /// Candidates that came with it, "candidate:...".
    pub candidates: Vec<String>,
}

/// Makes a description of the m-lines in `live`, which all have a codec to claim or need none. Those in `idle` hold
/// their places: str0m knows m-lines by their position, and one that is rejected now may come to life, or die, with a
/// later offer.
pub(super) fn make_leg(sdp: &Sdp, live: &[usize], idle: &[usize], mids: &Mids) -> Result<Leg, SdpError> {
    let mut all = [live, idle].concat();
    all.sort_unstable();
    let names = |indices: &[usize]| -> Vec<&str> { indices.iter().map(|i| mids.inner(*i)).collect() };
    let mut out = "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned();
    if !idle.is_empty() {
        // str0m takes a line for rejected when it is in no BUNDLE, but wants to see all lines, in order, in the first
        // group of whatever kind.
        out.push_str(&format!("a=group:LS {}\r\n", names(&all).join(" ")));
    }
    out.push_str(&format!("a=group:BUNDLE {}\r\n", names(live).join(" ")));
    if sdp.attribute("ice-lite").is_some() {
        out.push_str("a=ice-lite\r\n");
    }
    let mut candidates = candidates(&sdp.session);
    let mut claimed = HashSet::new();
    for index in &all {
        let section = &sdp.sections[*index];
        if live.contains(index) {
            candidates.extend(self::candidates(&section.lines));
            let types = codecs::claim(section, &mut claimed);
            rebuild(sdp, live, *index, mids, &types)?.write(&mut out);
        } else {
            idle_section(section, mids.inner(*index)).write(&mut out);
        }
    }
    let mut seen = HashSet::new();
    candidates.retain(|c| seen.insert(c.clone()));
    candidates.truncate(MOST_CANDIDATES);
    Ok(Leg {
        sdp: out,
        mids: names(&all).into_iter().map(str::to_owned).collect(),
        candidates,
    })
}

fn candidates(lines: &[String]) -> Vec<String> {
    let attributes = lines.iter().filter_map(|l| l.strip_prefix("a="));
    let candidates = attributes.filter(|a| a.starts_with("candidate:"));
    candidates.map(str::to_owned).collect()
}

/// An m-line without a codec, so that nothing is sent either way.
fn idle_section(section: &Section, mid: &str) -> Section {
    let lines = ["c=IN IP4 0.0.0.0", &format!("a=mid:{mid}"), "a=inactive"];
    let mut idle = Section {
        kind: section.kind.clone(),
        port: "0".into(),
        proto: "UDP/DTLS/SCTP".into(),
        formats: vec!["webrtc-datachannel".into()],
        lines: lines.map(str::to_owned).to_vec(),
    };
    if section.kind != "application" {
        idle.proto = "UDP/TLS/RTP/SAVPF".into();
        idle.formats = vec!["127".into()];
        idle.lines.push("a=rtpmap:127 none/90000".into());
    }
    idle
}

/// An m-section of what str0m needs, with what it lacks taken from the session or the first m-line of its group.
fn rebuild(sdp: &Sdp, group: &[usize], index: usize, mids: &Mids, types: &[u8]) -> Result<Section, SdpError> {
    let (section, mid) = (&sdp.sections[index], mids.inner(index));
    let mut lines = vec!["c=IN IP4 0.0.0.0".to_owned(), format!("a=mid:{mid}")];
    lines.extend(transport(sdp, group, section, mids.told(index))?);
    if section.kind == "application" {
        lines.push("a=sctp-port:5000".into());
        let size = section.attribute("max-message-size");
        let size = size.and_then(|s| s.parse::<u32>().ok());
        lines.extend(size.map(|s| format!("a=max-message-size:{s}")));
        return Ok(Section {
            kind: section.kind.clone(),
            port: "9".into(),
            proto: "UDP/DTLS/SCTP".into(),
            formats: vec!["webrtc-datachannel".into()],
            lines,
        });
    }
    lines.extend(streams::extensions(section, mids.in_packets(index)));
    lines.extend(streams::ssrcs(section));
    lines.extend(streams::layers(section));
    lines.extend(codecs::lines(section, types));
    lines.push("a=rtcp-mux".into());
    lines.push(format!("a={}", direction(sdp, section)));
    Ok(Section {
        kind: section.kind.clone(),
        port: "9".into(),
        proto: "UDP/TLS/RTP/SAVPF".into(),
        formats: types.iter().map(u8::to_string).collect(),
        lines,
    })
}

/// ICE credentials, fingerprint and DTLS role.
fn transport(sdp: &Sdp, group: &[usize], section: &Section, mid: &str) -> Result<Vec<String>, SdpError> {
    let inherited = |name: &str| {
        let of_group = || group.iter().find_map(|i| sdp.sections[*i].attribute(name));
        let own = section.attribute(name).or_else(|| sdp.attribute(name));
        own.or_else(of_group)
    };
    let ice = |name: &str| {
        let valid =
            |v: &&str| (1..=LONGEST_ICE).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_graphic());
        let missing = || SdpError::Unacceptable(format!("m-line {mid} has no valid a={name} (RFC 8839)"));
        inherited(name).filter(valid).ok_or_else(missing)
    };
    let fingerprint = fingerprint(sdp, group, section).ok_or_else(|| {
        SdpError::Unacceptable(format!(
            "m-line {mid} has no a=fingerprint with sha-256 (RFC 8122)"
        ))
    })?;
    let role = inherited("setup").filter(|s| matches!(*s, "active" | "passive"));
    Ok(vec![
        format!("a=ice-ufrag:{}", ice("ice-ufrag")?),
        format!("a=ice-pwd:{}", ice("ice-pwd")?),
        format!("a=fingerprint:sha-256 {fingerprint}"),
        format!("a=setup:{}", role.unwrap_or("actpass")),
    ])
}

/// A sha-256 fingerprint of the m-line, the session or the group: the hash str0m verifies.
fn fingerprint<'a>(sdp: &'a Sdp, group: &[usize], section: &'a Section) -> Option<&'a str> {
    let sha256 = |lines: &'a [String]| {
        lines.iter().find_map(|line| {
            let (hash, digest) = line.strip_prefix("a=fingerprint:")?.trim().split_once(' ')?;
            let bytes = digest.split(':');
            let valid = digest.len() == 32 * 3 - 1
                && bytes
                    .clone()
                    .all(|b| b.len() == 2 && b.bytes().all(|c| c.is_ascii_hexdigit()));
            (hash.eq_ignore_ascii_case("sha-256") && valid).then_some(digest)
        })
    };
    let of_group = || group.iter().find_map(|i| sha256(&sdp.sections[*i].lines));
    sha256(&section.lines)
        .or_else(|| sha256(&sdp.session))
        .or_else(of_group)
}
