//! URIs of players, whose user and password are nobody's business but the camera's.

use std::fmt;
use std::net::IpAddr;

use gst::prelude::*;
use kms_core::Reach;
use percent_encoding::percent_decode_str;
use protocol::{Code, Error};

use super::camera::Address;
use super::session::Origin;

/// How media is read.
#[derive(Clone)]
pub(super) struct Reading {
    /// Milliseconds that packets from a camera may be late.
    pub(super) cache: u32,
    /// Whether certificates of cameras and servers have to be signed by an authority that this machine knows.
    pub(super) verify_certificates: bool,
    /// What may be reached on behalf of who plays.
    pub(super) reach: Reach,
}

/// What can be played. Printed, it shows no user and no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PlayerUri {
    full: String,
    shown: String,
}

/// What is known to be playable.
const SCHEMES: [&str; 8] = ["file", "http", "https", "rtsp", "rtsps", "rtspt", "rtspu", "rtmp"];

impl PlayerUri {
    /// Takes a URI apart. A bare absolute path is a file's.
    pub(super) fn parse(text: &str) -> Result<PlayerUri, Error> {
        let refused = |why: &str| Error::new(Code::IllegalParam, format!("uri: {why}"));
        if text.starts_with('/') {
            let uri = gst::glib::filename_to_uri(text, None).map_err(|e| refused(e.message()))?;
            return PlayerUri::parse(&uri);
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            refused("should be a URI, such as file:///media/video.webm or rtsp://camera/stream")
        })?;
        if !SCHEMES.contains(&scheme.to_ascii_lowercase().as_str()) {
            return Err(refused(&format!(
                "'{scheme}' can't be played; {} can",
                SCHEMES.join(", ")
            )));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        if host.is_empty() && !scheme.eq_ignore_ascii_case("file") {
            return Err(refused("names no host"));
        }
        Ok(PlayerUri {
            full: text.to_owned(),
            shown: format!("{scheme}://{host}{}", &rest[authority.len()..]),
        })
    }

    /// The same, if it may be reached. Error 40107 if not; of hosts known by a name that is found out when they are connected to.
    pub(super) fn within(self, reach: &Reach) -> Result<PlayerUri, Error> {
        let refused = |why: String| Err(Error::new(Code::IllegalParam, format!("uri: {why}")));
        let Some((host, _)) = self.host() else {
            let (path, _) = gst::glib::filename_from_uri(&self.full)
                .map_err(|e| Error::new(Code::IllegalParam, format!("uri: {}", e.message())))?;
            return PlayerUri::parse(&reach.file(&path)?.to_string_lossy());
        };
        match host.parse::<IpAddr>() {
            Ok(ip) if !reach.allows(ip) => refused(reach.denial(&host)),
            Ok(_) => Ok(self),
            // GStreamer looks these up by itself.
            Err(_) if reach.is_limited() && !self.goes_through_us() => {
                refused("where addresses are limited, only http, https, rtsp and rtspt may name a host; others need its IP address".into())
            }
            Err(_) => Ok(self),
        }
    }

    /// Whether this server connects to its host itself.
    fn goes_through_us(&self) -> bool {
        let scheme = self.full.split_once("://").map_or("", |(scheme, _)| scheme);
        ["http", "https", "rtsp", "rtspt"]
            .iter()
            .any(|s| scheme.eq_ignore_ascii_case(s))
    }

    /// For a session that plays it. `over_tcp`: a camera is asked for TCP, as all are at first; otherwise GStreamer tries what
    /// else there is.
    pub(super) fn origin(&self, reading: Reading, over_tcp: bool) -> Origin {
        Origin {
            uri: self.full.clone(),
            live: self.is_live(),
            // What GStreamer would look up, and where it would send packets to, is beyond our reach.
            camera: self
                .camera(&reading.reach)
                .filter(|_| over_tcp || reading.reach.is_limited()),
            leads_on: !reading.reach.is_limited(),
            set_up: Box::new(move |source| set_up_source(source, &reading)),
        }
    }

    /// Where a camera is, if it is one that can be asked for TCP.
    fn camera(&self, reach: &Reach) -> Option<Address> {
        let (scheme, rest) = self.shown.split_once("://")?;
        let over_tcp = ["rtsp", "rtspt"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
        let url = over_tcp.then(|| url::Url::parse(&format!("rtsp://{rest}")).ok());
        let unescaped = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = self.secret().map(|secret| {
            let (user, password) = secret.split_once(':').unwrap_or((secret, ""));
            (unescaped(user), unescaped(password))
        });
        Address::new(url??, credentials, reach.clone())
    }

    /// User and password, as they are written.
    fn secret(&self) -> Option<&str> {
        let (_, rest) = self.full.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit_once('@').map(|(secret, _)| secret)
    }

    /// Host and port, if it names them.
    pub(super) fn host(&self) -> Option<(String, u16)> {
        let (scheme, rest) = self.shown.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ if scheme.starts_with("rtsp") => (authority, 554),
            _ => (authority, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| (host.to_owned(), port))
    }

    /// Whether its media comes live: it is passed on as it comes, and can't be paused without a loss.
    pub(super) fn is_live(&self) -> bool {
        self.full
            .get(..4)
            .is_some_and(|s| s.eq_ignore_ascii_case("rtsp") || s.eq_ignore_ascii_case("rtmp"))
    }

    /// A text of a library that may hold the URI, without user and password.
    pub(super) fn redact(&self, text: &str) -> String {
        let text = text.replace(&self.full, &self.shown);
        let secret = self.secret();
        secret.map_or(text.clone(), |secret| text.replace(&format!("{secret}@"), ""))
    }
}

/// What clients are told.
pub(super) const BAD_CERTIFICATE: &str = "its certificate is not accepted: it is for another name, out of date, or of an authority that this \
                                          machine doesn't know (see player.verify_certificates)";

fn set_up_source(source: &gst::Element, reading: &Reading) {
    let set = |name: &str, value: &str| {
        if source.has_property(name) {
            source.set_property_from_str(name, value);
        }
    };
    // For cameras: how long packets may be late.
    set("latency", &reading.cache.to_string());
    // A camera that answers nothing, in microseconds: UDP is given up for TCP after the first, the camera after the second.
    if source.has_property("tcp-timeout") {
        set("timeout", "5000000");
        set("tcp-timeout", "5000000");
    } else if source.has_property("user-agent") {
        // HTTP: seconds.
        set("timeout", "10");
        if let Some(proxy) = reading.reach.proxy() {
            set("proxy", &proxy);
        }
    }
    if !reading.verify_certificates {
        set("tls-validation-flags", "0");
        set("ssl-strict", "false");
    } else if source.has_property("tls-validation-flags") {
        // Asked about a certificate that does not hold. What rtspsrc itself says of it is "Generic error".
        source.connect("accept-certificate", false, |values| {
            if let Some(Ok(source)) = values.first().map(|v| v.get::<gst::Element>()) {
                gst::element_error!(source, gst::ResourceError::NotAuthorized, ("{BAD_CERTIFICATE}"));
            }
            Some(false.to_value())
        });
    }
}

impl fmt::Display for PlayerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for PlayerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_shown_nowhere() {
        let uri = PlayerUri::parse("rtsp://admin:s3cret@10.0.0.7:554/stream?channel=1").expect("a URI");
        assert_eq!(uri.to_string(), "rtsp://10.0.0.7:554/stream?channel=1");
        assert_eq!(format!("{uri:?}"), uri.to_string());
        assert_eq!(uri.full, "rtsp://admin:s3cret@10.0.0.7:554/stream?channel=1");
        let error =
            "Could not open rtsp://admin:s3cret@10.0.0.7:554/stream?channel=1, as admin:s3cret@10.0.0.7";
        let redacted = uri.redact(error);
        assert!(
            !redacted.contains("s3cret") && redacted.contains("10.0.0.7"),
            "{redacted}"
        );
        assert_eq!(uri.host(), Some(("10.0.0.7".into(), 554)));
        let v6 = PlayerUri::parse("http://[::1]:8080/a").expect("a URI");
        assert_eq!(v6.host(), Some(("::1".into(), 8080)));
        // A password with the characters that end an authority elsewhere.
        let odd = PlayerUri::parse("rtsp://admin:p@ss@camera/1").expect("a URI");
        assert_eq!(odd.to_string(), "rtsp://camera/1");
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_what_can() {
        for text in [
            "",
            "video.webm",
            "ftp://host/file",
            "rtsp://",
            "rtsp:///stream",
            "javascript://x",
        ] {
            let error = PlayerUri::parse(text).expect_err(text);
            assert_eq!(error.code, Code::IllegalParam, "{text}");
        }
        assert_eq!(
            PlayerUri::parse("/media/a b.mp4").expect("a path").full,
            "file:///media/a%20b.mp4"
        );
        assert!(PlayerUri::parse("RTSP://camera/1").expect("a URI").is_live());
        assert!(!PlayerUri::parse("file:///a.mp4").expect("a URI").is_live());
    }
}
