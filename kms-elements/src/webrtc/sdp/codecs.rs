//! Codec lines of an m-section: `a=rtpmap`, `a=fmtp` and `a=rtcp-fb` of the payload types in its m-line.
//!
//! One payload type without a valid `a=rtpmap` is an error of the whole description to str0m; here it is left out.

use std::collections::HashSet;

use crate::sdp::formats::{has_feedback, parameters, payload_type, payload_types, rtpmap};
use crate::sdp::text::Section;

/// Feedback that str0m gives or takes (RFC 4585, RFC 5104, and two drafts).
const FEEDBACK: [&str; 5] = ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"];
/// Lines with `a=fmtp` taken of a payload type. One is usual.
const MOST_FMTP: usize = 4;

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
                parameters(section, *pt)
                    .take(MOST_FMTP)
                    .map(|p| format!("a=fmtp:{pt} {p}")),
            );
        }
        lines.extend(feedback(section, *pt));
    }
    lines
}

fn is_retransmission(section: &Section, pt: u8) -> bool {
    rtpmap(section, pt).is_some_and(|codec| codec.to_ascii_lowercase().starts_with("rtx/"))
}

/// The payload type that this one retransmits (RFC 4588, section 8.1): one only, and not itself.
fn retransmitted(section: &Section, pt: u8, types: &[u8]) -> Option<u8> {
    let parameters = parameters(section, pt).flat_map(|p| p.split(';'));
    let apt = parameters
        .filter_map(|p| payload_type(p.trim().strip_prefix("apt=")?))
        .next()?;
    (types.contains(&apt) && !is_retransmission(section, apt)).then_some(apt)
}

fn feedback(section: &Section, pt: u8) -> impl Iterator<Item = String> {
    let known = FEEDBACK
        .into_iter()
        .filter(move |kind| has_feedback(section, pt, kind));
    known.map(move |kind| format!("a=rtcp-fb:{pt} {kind}"))
}
