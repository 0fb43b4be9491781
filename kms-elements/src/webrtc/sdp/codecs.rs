//! Codec lines of an m-section: `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of the payload types in its m-line.
//!
//! One payload type without a valid `a=rtpmap` is an error of the whole description to str0m; here it is left out.

use std::collections::HashSet;

use super::text::Section;

/// Payload types that need no `a=rtpmap` (RFC 3551, section 6): PCMU, PCMA, G.722, comfort noise.
const STATIC: [u8; 4] = [0, 8, 9, 13];

/// Feedback that str0m gives or takes (RFC 4585, RFC 5104, and two drafts).
const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];
/// Lines with `a=fmtp` taken of a payload type. One is usual.
const MOST_FMTP: usize = 4;

/// The payload types of the m-line that have a codec, each once, in order of preference.
pub(super) fn payload_types(section: &Section) -> Vec<u8> {
    let mut seen = HashSet::new();
    let listed = section.formats.iter().filter_map(|f| payload_type(f));
    // Looked up once each: a hostile m-line names one type thousands of times.
    listed
        .filter(|pt| seen.insert(*pt))
        .filter(|pt| STATIC.contains(pt) || rtpmap(section, *pt).is_some())
        .collect()
}

/// The payload types of the m-line that no other m-line on the same transport has claimed: one that stood for two codecs
/// could not be told apart (RFC 9143, section 9.1), and str0m gives up on it. Those returned are claimed.
pub(super) fn claim(section: &Section, claimed: &mut HashSet<u8>) -> Vec<u8> {
    let types = payload_types(section).into_iter();
    types.filter(|pt| claimed.insert(*pt)).collect()
}

/// The codec lines of these payload types, in a form that str0m can read.
pub(super) fn lines(section: &Section, types: &[u8]) -> Vec<String> {
    let maps = types
        .iter()
        .filter_map(|pt| Some(format!("a=rtpmap:{pt} {}", rtpmap(section, *pt)?)));
    let mut lines: Vec<String> = maps.collect();
    for pt in types {
        if is_retransmission(section, *pt) {
            lines.extend(retransmitted(section, *pt, types).map(|of| format!("a=fmtp:{pt} apt={of}")));
        } else {
            lines.extend(
                formats(section, *pt)
                    .take(MOST_FMTP)
                    .map(|p| format!("a=fmtp:{pt} {p}")),
            );
        }
        lines.extend(feedback(section, *pt));
    }
    lines
}

/// The parameters of a payload type.
fn formats(section: &Section, pt: u8) -> impl Iterator<Item = &str> {
    let lines = section.lines.iter().filter_map(|l| l.strip_prefix("a=fmtp:"));
    let of_type = lines
        .filter_map(split)
        .filter(move |(of, _)| payload_type(of) == Some(pt));
    // After a last semicolon str0m looks for one more parameter, and takes the next line for it.
    let parameters = of_type.map(|(_, p)| p.trim_end_matches([';', ' ', '\t']));
    parameters.filter(|p| !p.is_empty())
}

fn is_retransmission(section: &Section, pt: u8) -> bool {
    rtpmap(section, pt).is_some_and(|codec| codec.to_ascii_lowercase().starts_with("rtx/"))
}

/// The payload type that this one retransmits (RFC 4588, section 8.1): one only, and not itself.
fn retransmitted(section: &Section, pt: u8, types: &[u8]) -> Option<u8> {
    let parameters = formats(section, pt).flat_map(|p| p.split(';'));
    let apt = parameters
        .filter_map(|p| payload_type(p.trim().strip_prefix("apt=")?))
        .next()?;
    (types.contains(&apt) && !is_retransmission(section, apt)).then_some(apt)
}

fn feedback(section: &Section, pt: u8) -> impl Iterator<Item = String> {
    // RFC 4585, section 4.2: "*" stands for all payload types. str0m knows it not.
    let offered = move |kind: &&str| {
        let lines = section.lines.iter().filter_map(|l| l.strip_prefix("a=rtcp-fb:"));
        let mut of_type = lines
            .filter_map(split)
            .filter(|(of, _)| *of == "*" || payload_type(of) == Some(pt));
        of_type.any(|(_, feedback)| feedback == *kind)
    };
    let known = FEEDBACK.into_iter().filter(offered);
    known.map(move |kind| format!("a=rtcp-fb:{pt} {kind}"))
}

/// The first valid `a=rtpmap` of a payload type, "VP8/90000" or "opus/48000/2".
fn rtpmap(section: &Section, pt: u8) -> Option<String> {
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
fn payload_type(text: &str) -> Option<u8> {
    text.parse::<u8>().ok().filter(|pt| *pt < 128)
}
