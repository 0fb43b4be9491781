//! Session descriptions: what remotes send, made into what str0m takes; what str0m makes, put into what remotes expect.
//!
//! str0m is strict where clients of Kurento are not: a missing `a=mid`, no BUNDLE, or the profile `RTP/SAVPF` is an error
//! to it. So a description is rebuilt from the attributes that are understood here, and the answer is put back into the
//! shape of the offer. Sans I/O; every text is hostile.
//!
//! An offer goes this way: [`RemoteOffer::parse`] takes it apart into [`Leg`]s, str0m answers them, and
//! [`RemoteOffer::answer`] makes one answer of theirs. An offer of ours goes through [`local_offer`], and its answer
//! through [`RemoteAnswer::parse`].

mod answer;
mod codecs;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod leg;
mod local;
mod mids;
mod offer;
mod streams;

pub use answer::RemoteAnswer;
pub use leg::Leg;
pub use local::{LocalDescription, local_offer};
pub use offer::{AcceptedLine, RemoteOffer};

pub use crate::sdp::SdpError;
use crate::sdp::text::Sdp;
use mids::Mids;

/// Changes the directions in an offer so that its answer says no more than this side wants: `recvonly`, only to receive;
/// `sendonly`, only to send. Both or none: as offered.
pub fn restrict_directions(offer: &str, recvonly: bool, sendonly: bool) -> String {
    if recvonly == sendonly {
        return offer.to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    for line in offer.lines() {
        lines.push(match (line, recvonly) {
            ("a=sendrecv", true) => "a=sendonly".into(),
            ("a=recvonly", true) => "a=inactive".into(),
            ("a=sendrecv", false) => "a=recvonly".into(),
            ("a=sendonly", false) => "a=inactive".into(),
            (other, _) => other.to_owned(),
        });
    }
    lines.push(String::new());
    lines.join("\r\n")
}

/// Takes transport-wide congestion control out of the m-lines of an offer that only receive. Its feedback would be
/// some twenty packets a second of every viewer; where nothing estimates its bandwidth, nobody reads them.
pub fn without_feedback_of_viewers(offer: &str) -> String {
    const EXTENSION: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
    let Ok(mut sdp) = Sdp::parse(offer) else {
        return offer.to_owned();
    };
    for section in &mut sdp.sections {
        if section.attribute("recvonly").is_some() {
            let unread = |line: &String| line.ends_with(EXTENSION) || line.ends_with(" transport-cc");
            section.lines.retain(|line| !unread(line));
        }
    }
    sdp.write()
}

/// Mids of the m-lines that are not rejected, with their index.
pub fn accepted_mids(sdp: &str) -> Vec<(usize, String)> {
    let Ok(sdp) = Sdp::parse(sdp) else {
        return Vec::new();
    };
    let mids = Mids::of(&sdp);
    let accepted = sdp.sections.iter().enumerate().filter(|(_, s)| !s.is_rejected());
    accepted
        .map(|(index, _)| (index, mids.told(index).to_owned()))
        .collect()
}

#[cfg(test)]
mod tests;
