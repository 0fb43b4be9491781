//! Lines of an m-section that tell packets apart: header extensions, SSRCs and simulcast layers.
//!
//! They are written anew rather than passed on: some of str0m's readers go past the end of a line that is cut short.
//! Of each there is a bound, far above what clients send, for each costs time or memory.

use crate::sdp::text::Section;

/// Header extensions of an m-line. Chromium offers 13.
const MOST_EXTENSIONS: usize = 32;
/// SSRCs of an m-line. Three layers with retransmission and error correction are 9.
const MOST_SSRCS: usize = 32;
/// Layers of an m-line. Browsers send 3.
const MOST_LAYERS: usize = 8;
/// Longest name of a layer, as in a one-byte header extension (RFC 8285, section 4.2).
const LONGEST_LAYER: usize = 16;
/// Header extension that carries the name of the m-line (RFC 9143, section 15.2).
const MID_EXTENSION: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";

/// The header extensions (RFC 8285, section 5). `mid_in_packets`: whether packets may carry the name of the m-line; one
/// that the other side does not know would have them thrown away.
pub(super) fn extensions(section: &Section, mid_in_packets: bool) -> Vec<String> {
    let values = section.lines.iter().filter_map(|l| l.strip_prefix("a=extmap:"));
    let read = values.filter_map(|value| {
        let (id, uri) = value.trim().split_once(' ')?;
        let id: u8 = id.split('/').next()?.parse().ok().filter(|id| *id > 0)?;
        Some((id, uri.split_whitespace().next()?))
    });
    let useful = read.filter(|(_, uri)| mid_in_packets || *uri != MID_EXTENSION);
    let lines = useful.map(|(id, uri)| format!("a=extmap:{id} {uri}"));
    lines.take(MOST_EXTENSIONS).collect()
}

/// The SSRCs (RFC 5576), and which of them retransmit others.
pub(super) fn ssrcs(section: &Section) -> Vec<String> {
    let mut ssrcs: Vec<u32> = Vec::new();
    let mut lines = Vec::new();
    for line in &section.lines {
        if let Some(value) = line.strip_prefix("a=ssrc:") {
            let ssrc = value.split_whitespace().next().and_then(|s| s.parse().ok());
            if let Some(ssrc) = ssrc.filter(|s| ssrcs.len() < MOST_SSRCS && !ssrcs.contains(s)) {
                ssrcs.push(ssrc);
                lines.push(format!("a=ssrc:{ssrc} cname:-"));
            }
        }
    }
    let groups = section.lines.iter().filter_map(|l| {
        let members = l.strip_prefix("a=ssrc-group:FID ")?;
        let members: Vec<u32> = members
            .split_whitespace()
            .filter_map(|s| s.parse().ok())
            .collect();
        let [main, repair] = members.as_slice() else {
            return None;
        };
        let known = main != repair && ssrcs.contains(main) && ssrcs.contains(repair);
        known.then(|| format!("a=ssrc-group:FID {main} {repair}"))
    });
    lines.extend(groups.take(MOST_SSRCS));
    lines
}

/// The layers (RFC 8851, RFC 8853), without their restrictions.
pub(super) fn layers(section: &Section) -> Vec<String> {
    let is_name =
        |id: &str| (1..=LONGEST_LAYER).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let values = section.lines.iter().filter_map(|l| l.strip_prefix("a=rid:"));
    let read = values.filter_map(|value| {
        let mut words = value.split_whitespace();
        let (id, direction) = (words.next()?, words.next()?);
        let valid = is_name(id) && matches!(direction, "send" | "recv");
        valid.then(|| format!("a=rid:{id} {direction}"))
    });
    let mut lines: Vec<String> = read.take(MOST_LAYERS).collect();
    let simulcast = section.attribute("simulcast").filter(|value| {
        let words: Vec<&str> = value.split(' ').collect();
        let directions = words.iter().step_by(2).all(|d| matches!(*d, "send" | "recv"));
        let streams = words.iter().skip(1).step_by(2);
        let mut ids = streams.flat_map(|s| s.split([';', ',']));
        directions
            && words.len().is_multiple_of(2)
            && words.len() <= 4
            && ids.clone().count() <= MOST_LAYERS * 2
            && ids.all(|id| is_name(id.trim_start_matches('~')))
    });
    lines.extend(simulcast.map(|value| format!("a=simulcast:{value}")));
    lines
}
