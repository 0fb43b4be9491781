//! Where a recorder's URI points to.

use std::path::Path;

use protocol::error::clip;
use protocol::{Code, Error};

use super::pattern::Pattern;

/// The files that a URI names: `file:///absolute/path`, percent-encoded as RFC 8089 says, or an absolute path as it is. Both may
/// have fields in them.
pub(super) fn pattern(uri: &str) -> Result<Pattern, Error> {
    let refused = |why: &str| {
        let message = format!(
            "'{}' can't be recorded to: {why}. Supported are file:///absolute/path and absolute paths",
            clip(uri)
        );
        Error::new(Code::IllegalParam, message)
    };
    let parsed = match uri.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            let at = rest.find('/').ok_or_else(|| refused("it has no path"))?;
            if !rest[..at].is_empty() && !rest[..at].eq_ignore_ascii_case("localhost") {
                return Err(refused("it names another host"));
            }
            Pattern::parse(&rest[at..], decode)
        }
        Some((scheme, _)) => {
            return Err(refused(&format!("{} is not supported", clip(scheme))));
        }
        None if uri.starts_with('/') => Pattern::parse(uri, |text| Some(text.to_owned())),
        None => return Err(refused("it is neither a URI nor an absolute path")),
    };
    parsed.map_err(|error| refused(&error.to_string()))
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
    use std::time::SystemTime;

    use super::super::pattern::Values;
    use super::*;

    fn path(uri: &str) -> Result<PathBuf, Error> {
        let values = Values {
            name: "cam",
            at: SystemTime::UNIX_EPOCH,
            number: 1,
        };
        pattern(uri).map(|pattern| pattern.path(values))
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
    fn the_uri_of_a_file_names_it() {
        for name in ["/tmp/with space/é{n}%.mp4", "/a-b_c.mp4"] {
            assert_eq!(path(&file(Path::new(name))), Ok(PathBuf::from(name)));
        }
    }

    #[test]
    fn what_is_no_file_is_refused_with_what_is_supported() {
        for uri in [
            "http://server/a.webm",
            "s3://bucket/a",
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
