//! Answers of remotes to offers of ours.

use std::collections::HashSet;

use super::leg::make_leg;
use super::mids::Mids;
use super::{SdpError, codecs};
use crate::sdp::text::{Sdp, Section};

/// An answer of a remote to an offer of ours.
#[derive(Debug, Clone)]
pub struct RemoteAnswer {
    /// The description for str0m. `None`: the answer has no m-lines or rejects them all, the remote wants nothing.
    pub sdp: Option<String>,
    /// Candidates that came with it, "candidate:...".
    pub candidates: Vec<String>,
}

impl RemoteAnswer {
    /// Takes an answer apart; `offered` is the offer it answers, as str0m made it.
    pub fn parse(text: &str, offered: &str) -> Result<RemoteAnswer, SdpError> {
        let answer = Sdp::parse(text)?;
        let offer = Sdp::parse(offered)?;
        let mut claimed = HashSet::new();
        let mut rejected = |s: &Section| {
            s.is_rejected() || (s.kind != "application" && codecs::claim(s, &mut claimed).is_empty())
        };
        let (idle, live): (Vec<usize>, Vec<usize>) =
            (0..answer.sections.len()).partition(|i| rejected(&answer.sections[*i]));
        if answer.sections.is_empty() {
            return Ok(RemoteAnswer {
                sdp: None,
                candidates: Vec::new(),
            });
        }
        check_lines(&answer, &offer)?;
        check_role(&answer)?;
        if live.is_empty() {
            return Ok(RemoteAnswer {
                sdp: None,
                candidates: Vec::new(),
            });
        }
        let leg = make_leg(&answer, &live, &idle, &Mids::of(&offer))?;
        Ok(RemoteAnswer {
            sdp: Some(leg.sdp),
            candidates: leg.candidates,
        })
    }
}

/// An answer has the m-lines of its offer, in order (RFC 3264, section 6).
fn check_lines(answer: &Sdp, offer: &Sdp) -> Result<(), SdpError> {
    let (got, wanted) = (answer.sections.len(), offer.sections.len());
    if got != wanted {
        return Err(SdpError::Unacceptable(format!(
            "The answer has {got} m-lines, the offer has {wanted}"
        )));
    }
    let pairs = answer.sections.iter().zip(&offer.sections);
    match pairs.enumerate().find(|(_, (a, o))| a.kind != o.kind) {
        Some((index, (_, offered))) => Err(SdpError::Unacceptable(format!(
            "m-line {index} of the answer is not of kind {}, as in the offer",
            offered.kind
        ))),
        None => Ok(()),
    }
}

/// An answer decides on the DTLS roles.
fn check_role(answer: &Sdp) -> Result<(), SdpError> {
    let of_lines = || answer.sections.iter().find_map(|s| s.attribute("setup"));
    if of_lines().or(answer.attribute("setup")) == Some("actpass") {
        return Err(SdpError::Unacceptable(
            "An answer says a=setup:active or passive, not actpass (RFC 8842)".into(),
        ));
    }
    Ok(())
}
