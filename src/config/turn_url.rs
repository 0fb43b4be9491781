//! A TURN server, as Kurento writes it.

use std::fmt;
use std::net::SocketAddr;

use kms_elements::webrtc::api::{TurnServer, TurnTransport};

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

impl fmt::Display for TurnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = match self.0.transport {
            TurnTransport::Udp => "udp",
            TurnTransport::Tcp => "tcp",
        };
        write!(
            f,
            "{}:***@{}?transport={transport}",
            self.0.username, self.0.address
        )
    }
}

impl fmt::Debug for TurnUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TurnUrl({self})")
    }
}

impl Setting for TurnUrl {
    const KIND: Kind = Kind::String;
    const SECRET: bool = true;
    const EXPECTED: &'static str =
        "user:password@address:port, with ?transport=udp or ?transport=tcp if wanted";

    fn from_text(text: &str) -> Result<Self, String> {
        let (rest, transport) = match text.split_once("?transport=") {
            None => (text, TurnTransport::Udp),
            Some((rest, "udp")) => (rest, TurnTransport::Udp),
            Some((rest, "tcp")) => (rest, TurnTransport::Tcp),
            Some((_, "tls")) => return Err("TURN over TLS isn't supported yet".to_owned()),
            Some(_) => return Err("the transport is none of udp, tcp".to_owned()),
        };
        // Split as Kurento's expression does, `^(?<user>.+):(?<password>.+)@…`, whose user takes as much as it can:
        // user names of temporary credentials hold a colon ("1700000000:alice").
        let (credentials, address) = rest.rsplit_once('@').ok_or_else(|| "there is no @".to_owned())?;
        let (username, password) = credentials
            .rsplit_once(':')
            .ok_or_else(|| "there is no : between user and password".to_owned())?;
        if username.is_empty() || password.is_empty() {
            return Err("user or password is empty".to_owned());
        }
        let address: SocketAddr = address
            .parse()
            .map_err(|_| "after the @ stands no IP address and port".to_owned())?;
        Ok(TurnUrl(TurnServer {
            address,
            transport,
            username: username.to_owned(),
            password: password.to_owned(),
        }))
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}
