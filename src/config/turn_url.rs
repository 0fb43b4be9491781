//! A TURN server, as Kurento writes it.

use std::fmt;

use kms_elements::webrtc::api::TurnServer;

use super::setting::{Kind, Setting, quoted};

/// A TURN server: `user:password@address:port?transport=udp`. Neither `Debug` nor `Display` shows the password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TurnUrl(TurnServer);

impl TurnUrl {
    /// The server, its password included.
    pub(crate) fn server(&self) -> &TurnServer {
        &self.0
    }
}

impl fmt::Debug for TurnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnUrl({})", self.0)
    }
}

impl Setting for TurnUrl {
    const KIND: Kind = Kind::String;
    const SECRET: bool = true;
    const EXPECTED: &'static str =
        "user:password@address:port, with ?transport=udp or ?transport=tcp if wanted";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
            .map(TurnUrl)
            .map_err(|e: kms_elements::webrtc::api::TurnServerError| e.to_string())
    }

    fn to_toml(&self) -> String {
        quoted(&self.0.to_string())
    }
}
