//! The payload types of an m-section, and what `a=rtpmap` and `a=fmtp` say of them.

use std::collections::HashSet;

use super::text::Section;

/// Payload types that need no `a=rtpmap` (RFC 3551, section 6): PCMU, PCMA, G.722, comfort noise.
const STATIC: [u8; 4] = [0, 8, 9, 13];

/// The payload types of the m-line that have a codec, each once, in order of preference.
pub(crate) fn payload_types(section: &Section) -> Vec<u8> {
    let mut seen = HashSet::new();
    let listed = section.formats.iter().filter_map(|f| payload_type(f));
    // Looked up once each: a hostile m-line names one type thousands of times.
    listed
        .filter(|pt| seen.insert(*pt))
        .filter(|pt| STATIC.contains(pt) || rtpmap(section, *pt).is_some())
        .collect()
}

/// The parameters of a payload type.
pub(crate) fn parameters(section: &Section, pt: u8) -> impl Iterator<Item = &str> {
    let lines = section.lines.iter().filter_map(|l| l.strip_prefix("a=fmtp:"));
    let of_type = lines
        .filter_map(split)
        .filter(move |(of, _)| payload_type(of) == Some(pt));
    // After a last semicolon str0m looks for one more parameter, and takes the next line for it.
    let parameters = of_type.map(|(_, p)| p.trim_end_matches([';', ' ', '\t']));
    parameters.filter(|p| !p.is_empty())
}

/// Whether feedback such as "nack pli" is asked for or given of a payload type (RFC 4585, section 4.2: "*" stands for all).
pub(crate) fn has_feedback(section: &Section, pt: u8, kind: &str) -> bool {
    let lines = section.lines.iter().filter_map(|l| l.strip_prefix("a=rtcp-fb:"));
    let mut of_type = lines
        .filter_map(split)
        .filter(|(of, _)| *of == "*" || payload_type(of) == Some(pt));
    of_type.any(|(_, feedback)| feedback == kind)
}

/// The first valid `a=rtpmap` of a payload type, "VP8/90000" or "opus/48000/2".
pub(crate) fn rtpmap(section: &Section, pt: u8) -> Option<String> {
    section.lines.iter().find_map(|line| {
        let (of, codec) = split(line.strip_prefix("a=rtpmap:")?)?;
        if payload_type(of)? != pt {
            return None;
        }
        let mut parts = codec.split('/');
        let (name, clock) = (parts.next()?.trim(), parts.next()?.trim());
        let clock = clock.parse::<u32>().ok().filter(|c| *c > 0)?;
        let channels = parts.next().and_then(|c| c.trim().parse::<u8>().ok());
        let channels = channels.map(|c| format!("/{c}")).unwrap_or_default();
        (!name.is_empty()).then(|| format!("{name}/{clock}{channels}"))
    })
}

fn split(value: &str) -> Option<(&str, &str)> {
    let (first, rest) = value.trim().split_once(' ')?;
    Some((first, rest.trim()))
}

/// RTP has 7 bits for it.
pub(crate) fn payload_type(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|pt| *pt < 128)
}
