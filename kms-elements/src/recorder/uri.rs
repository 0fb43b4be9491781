//! Where a recorder's URI points to.

use std::path::PathBuf;

use protocol::error::clip;
use protocol::{Code, Error};

/// The file that a URI names: `file:///absolute/path`, percent-encoded as RFC 8089 says, or an absolute path as it is.
pub(super) fn path(uri: &str) -> Result<PathBuf, Error> {
    let refused = |why: &str| {
        let message = format!(
            "'{}' can't be recorded to: {why}. Supported are file:///absolute/path and absolute paths",
            clip(uri)
        );
        Error::new(Code::IllegalParam, message)
    };
    let path = match uri.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
            let at = rest.find('/').ok_or_else(|| refused("it has no path"))?;
            if !rest[..at].is_empty() && !rest[..at].eq_ignore_ascii_case("localhost") {
                return Err(refused("it names another host"));
            }
            decode(&rest[at..]).ok_or_else(|| refused("its percent-encoding is wrong"))?
        }
        Some((scheme, _)) => {
            return Err(refused(&format!("{} is not supported", clip(scheme))));
        }
        None if uri.starts_with('/') => uri.to_owned(),
        None => return Err(refused("it is neither a URI nor an absolute path")),
    };
    if path.ends_with('/') || path.contains('\0') {
        return Err(refused("it names no file"));
    }
    Ok(PathBuf::from(path))
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
    use super::*;

    #[test]
    fn files_are_found() {
        for (uri, file) in [
            ("file:///tmp/a.webm", "/tmp/a.webm"),
            ("file:///tmp/with%20space/%C3%A9.mp4", "/tmp/with space/é.mp4"),
            ("FILE://localhost/tmp/a", "/tmp/a"),
            ("/tmp/100%.webm", "/tmp/100%.webm"),
        ] {
            assert_eq!(path(uri), Ok(PathBuf::from(file)));
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
