//! Where a recorder's URI points to.

use std::net::IpAddr;
use std::path::Path;
use std::time::SystemTime;

use kms_core::Reach;
use protocol::error::clip;
use protocol::{Code, Error};

use super::pattern::{Pattern, Values};
use super::upload::Place;

/// What a URI names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// What names are made of: paths on this machine, or on a server.
    pub(super) pattern: Pattern,
    /// The server: scheme and authority, or bucket.
    pub(super) server: Option<String>,
}

impl Target {
    /// The same, if it may be reached. Error 40107 if a file, now or with the names to come, lies outside; for servers known by a name
    /// that is found out when they are connected to.
    pub(super) fn within(self, reach: &Reach) -> Result<Target, Error> {
        let refused = |why: String| Err(Error::new(Code::IllegalParam, why));
        let Some(server) = &self.server else {
            let (at, number) = (SystemTime::now(), 1);
            let name = "name";
            reach.file(&self.pattern.path(Values { name, at, number }))?;
            return Ok(self);
        };
        let url = url::Url::parse(server).ok();
        let ip = url.as_ref().and_then(|url| match url.host()? {
            url::Host::Ipv4(ip) => Some(IpAddr::V4(ip)),
            url::Host::Ipv6(ip) => Some(IpAddr::V6(ip)),
            url::Host::Domain(_) => None,
        });
        if url.is_some_and(|url| url.scheme() == "s3") && reach.is_a_tenants() {
            return refused(
                "s3:// is not for tenants: the key that buckets are written with is the operator's".into(),
            );
        }
        if let Some(ip) = ip.filter(|ip| !reach.allows(*ip)) {
            return refused(reach.denial(&ip.to_string()));
        }
        Ok(self)
    }
}

/// What a URI names: `file:///absolute/path`, percent-encoded as RFC 8089 says, an absolute path as it is, `http(s)://` or
/// `s3://bucket/key`. All may have fields in them.
pub(super) fn target(uri: &str) -> Result<Target, Error> {
    let refused = |why: &str| {
        let shown = Place::parse(uri).map_or_else(|| uri.to_owned(), |place| place.to_string());
        let message = format!(
            "'{}' can't be recorded to: {why}. Supported are file:///absolute/path, absolute paths, http(s):// and s3://bucket/key",
            clip(&shown)
        );
        Error::new(Code::IllegalParam, message)
    };
    let as_it_is = |text: &str| Some(text.to_owned());
    let (server, parsed) = match uri.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            let at = rest.find('/').ok_or_else(|| refused("it has no path"))?;
            if !rest[..at].is_empty() && !rest[..at].eq_ignore_ascii_case("localhost") {
                return Err(refused("it names another host"));
            }
            (None, Pattern::parse(&rest[at..], decode))
        }
        Some((scheme, rest)) if Place::parse(uri).is_some() => {
            let at = rest.find('/').ok_or_else(|| refused("it has no path"))?;
            let is_s3 = scheme.eq_ignore_ascii_case("s3");
            let pattern = if is_s3 {
                Pattern::parse(&rest[at..], decode)
            } else {
                Pattern::parse(&rest[at..], as_it_is)
            };
            (Some(format!("{scheme}://{}", &rest[..at])), pattern)
        }
        Some((scheme, _)) => {
            return Err(refused(&format!("{} is not supported", clip(scheme))));
        }
        None if uri.starts_with('/') => (None, Pattern::parse(uri, as_it_is)),
        None => return Err(refused("it is neither a URI nor an absolute path")),
    };
    let pattern = parsed.map_err(|error| refused(&error.to_string()))?;
    Ok(Target { pattern, server })
}

/// The URI of a file, as RFC 8089 says.
pub(super) fn file(path: &Path) -> String {
    let mut uri = String::from("file://");
    for byte in path.as_os_str().as_encoded_bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(byte);
        if plain {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// Undoes percent-encoding; `None` if it is wrong or not UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn path(uri: &str) -> Result<PathBuf, Error> {
        let values = Values {
            name: "cam",
            at: SystemTime::UNIX_EPOCH,
            number: 1,
        };
        target(uri).map(|target| target.pattern.path(values))
    }

    #[test]
    fn files_are_found() {
        for (uri, file) in [
            ("file:///tmp/a.webm", "/tmp/a.webm"),
            ("file:///tmp/with%20space/%C3%A9.mp4", "/tmp/with space/é.mp4"),
            ("FILE://localhost/tmp/a", "/tmp/a"),
            ("/tmp/100%.webm", "/tmp/100%.webm"),
            ("file:///tmp/%7Bn%7D/{n}.mp4", "/tmp/{n}/1.mp4"),
            ("/tmp/{name}/{YYYY}/{hh}{mm}{ss}.mp4", "/tmp/cam/1970/000000.mp4"),
        ] {
            assert_eq!(path(uri), Ok(PathBuf::from(file)));
        }
    }

    #[test]
    fn servers_are_told_from_files_and_passwords_are_not_repeated() {
        let found = target("https://me:secret@host/cam/{n}%20.mp4").expect("a target");
        assert_eq!(found.server.as_deref(), Some("https://me:secret@host"));
        assert_eq!(path("https://host/cam/{n}%20.mp4"), Ok("/cam/1%20.mp4".into()));
        assert_eq!(path("s3://bucket/cam/{n}%20.mp4"), Ok("/cam/1 .mp4".into()));
        let error = target("https://me:secret@host/{what}").expect_err("refused");
        assert!(!error.message.contains("secret"), "{}", error.message);
    }

    #[test]
    fn the_uri_of_a_file_names_it() {
        for name in ["/tmp/with space/é{n}%.mp4", "/a-b_c.mp4"] {
            assert_eq!(path(&file(Path::new(name))), Ok(PathBuf::from(name)));
        }
    }

    #[test]
    fn what_is_no_file_is_refused_with_what_is_supported() {
        for uri in [
            "ftp://server/a.webm",
            "s3://bucket",
            "s3://bucket/",
            "http://server",
            "file://server/a",
            "file:///tmp/",
            "file:///tmp/%zz",
            "file:///tmp/%ff",
            "file:///a%00b",
            "file:///tmp/{year}.mp4",
            "file:///tmp/a/../b.mp4",
            "relative.webm",
            "",
        ] {
            let error = path(uri).expect_err(uri);
            assert_eq!(error.code, Code::IllegalParam);
            assert!(
                error.message.contains("file:///absolute/path"),
                "{}",
                error.message
            );
        }
    }
}
