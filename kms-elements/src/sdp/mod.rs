//! Session descriptions as text, and what all endpoints read in them alike. Every text is hostile.

pub(crate) mod formats;
pub(crate) mod text;

use text::{Sdp, Section};

/// The four directions of an m-line (RFC 8866, section 6.7).
pub(crate) const DIRECTIONS: [&str; 4] = ["sendrecv", "sendonly", "recvonly", "inactive"];

/// Why a description can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is no session description.
    #[error("Invalid SDP: {0}")]
    Parse(String),
    /// It is one, but not acceptable.
    #[error("{0}")]
    Unacceptable(String),
}

/// The direction of an m-line: its own, else the session's, else both (RFC 8866, section 6.7).
pub(crate) fn direction(sdp: &Sdp, section: &Section) -> &'static str {
    let own = DIRECTIONS.iter().find(|d| section.attribute(d) == Some(""));
    own.or_else(|| DIRECTIONS.iter().find(|d| sdp.attribute(d) == Some("")))
        .unwrap_or(&"sendrecv")
}
