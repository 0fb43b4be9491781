//! Takes the first file out of a form that is uploaded (multipart/form-data, RFC 7578 and 2046), while it comes.
//!
//! Written here because the usual crates read ahead as much as the network gives; this one keeps a boundary's length at most.

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

/// The longest boundary (RFC 2046, section 5.1.1).
const LONGEST_BOUNDARY: usize = 70;
/// Headers of a part, bytes.
const MOST_HEADERS: usize = 16 * 1024;

/// Why a form can't be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormError {
    #[error("multipart/form-data needs a boundary of 1 to 70 characters")]
    Boundary,
    #[error("The form is not multipart/form-data as RFC 7578 has it")]
    Malformed,
    #[error("The form holds no file")]
    NoFile,
}

/// Where in the form the bytes are that came last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before a part that isn't wanted, or in it.
    Before,
    /// Just after a boundary.
    Boundary,
    Headers,
    File,
    After,
}

/// A form whose bytes come one after the other.
pub(super) struct Form {
    /// CR LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// What may be the beginning of a delimiter, or headers that are not complete.
    kept: Vec<u8>,
    place: Place,
}

impl Form {
    /// `None`: what comes is no form, but the file itself.
    pub(super) fn of(headers: &HeaderMap) -> Option<Result<Form, FormError>> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameters.split(';').find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case("boundary").then_some(value)
        });
        let fits = boundary.filter(|b| (1..=LONGEST_BOUNDARY).contains(&b.len()));
        Some(fits.map(Form::new).ok_or(FormError::Boundary))
    }

    fn new(boundary: &str) -> Form {
        Form {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            // The first boundary may stand at the very beginning.
            kept: b"\r\n".to_vec(),
            place: Place::Before,
        }
    }

    /// The next bytes of the form; gives those of the file among them.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, FormError> {
        let mut file = Vec::new();
        self.kept.extend_from_slice(bytes);
        loop {
            match self.place {
                Place::Before | Place::File => {
                    let (content, found) = self.up_to_delimiter();
                    if self.place == Place::File {
                        file.extend_from_slice(&content);
                    }
                    match (found, self.place) {
                        (false, _) => return Ok(file),
                        (true, Place::File) => self.place = Place::After,
                        (true, _) => self.place = Place::Boundary,
                    }
                }
                Place::Boundary => match self.kept.get(..2) {
                    None => return Ok(file),
                    Some(b"--") => return Err(FormError::NoFile),
                    Some(_) => self.place = Place::Headers,
                },
                Place::Headers => match self.headers()? {
                    None => return Ok(file),
                    Some(is_file) => self.place = if is_file { Place::File } else { Place::Before },
                },
                Place::After => {
                    self.kept.clear();
                    return Ok(file);
                }
            }
        }
    }

    /// Whether the file has come to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.place == Place::After
    }

    /// Takes what comes before the next delimiter, and the delimiter if it has come.
    fn up_to_delimiter(&mut self) -> (Vec<u8>, bool) {
        let length = self.delimiter.len();
        if let Some(at) = find(&self.kept, &self.delimiter) {
            let content = self.kept.drain(..at).collect();
            self.kept.drain(..length);
            return (content, true);
        }
        let safe = self.kept.len().saturating_sub(length - 1);
        (self.kept.drain(..safe).collect(), false)
    }

    /// Takes a part's headers, once they are complete; says whether the part is a file.
    fn headers(&mut self) -> Result<Option<bool>, FormError> {
        let Some(end) = find(&self.kept, b"\r\n\r\n") else {
            return match self.kept.len() > MOST_HEADERS {
                true => Err(FormError::Malformed),
                false => Ok(None),
            };
        };
        let headers: Vec<u8> = self.kept.drain(..end + 4).collect();
        // The next delimiter may follow at once, and its line break is the one that was just taken.
        self.kept.splice(..0, *b"\r\n");
        let is_file = String::from_utf8_lossy(&headers).lines().any(|line| {
            let line = line.to_ascii_lowercase();
            line.starts_with("content-disposition:") && line.contains("filename")
        });
        if is_file {
            self.kept.drain(..2);
        }
        Ok(Some(is_file))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "preamble\r\n--xYz\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA film\r\n--xYz\r\n\
        content-disposition: form-data; name=\"file\"; filename=\"a.webm\"\r\nContent-Type: video/webm\r\n\r\n\
        bytes\r\n--xY of\r\nthe file\r\n\r\n--xYz\r\nContent-Disposition: form-data; name=\"b\"; filename=\"b\"\r\n\r\nno\r\n--xYz--\r\n";

    fn read(form: &str, piece: usize) -> Result<(String, bool), FormError> {
        let mut reader = Form::new("xYz");
        let mut file = Vec::new();
        for bytes in form.as_bytes().chunks(piece) {
            file.extend(reader.take(bytes)?);
            assert!(
                reader.kept.len() <= MOST_HEADERS + piece,
                "what is kept is bounded"
            );
        }
        Ok((String::from_utf8(file).unwrap(), reader.is_complete()))
    }

    #[test]
    fn the_first_file_is_taken_however_its_bytes_come() {
        for piece in [1, 2, 3, 10, 64, 10_000] {
            let (file, complete) = read(FORM, piece).unwrap();
            assert_eq!(file, "bytes\r\n--xY of\r\nthe file\r\n", "in pieces of {piece}");
            assert!(complete);
        }
        let at_once = FORM.strip_prefix("preamble\r\n").unwrap();
        assert!(read(at_once, 5).unwrap().0.starts_with("bytes"));
        let empty_field = "--xYz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n--xYz\r\n\
            Content-Disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n\r\n--xYz--";
        assert_eq!(read(empty_field, 4).unwrap(), (String::new(), true));
    }

    #[test]
    fn forms_that_end_early_or_hold_no_file_are_told_apart() {
        let cut = FORM.split("the file").next().unwrap();
        let (file, complete) = read(cut, 7).unwrap();
        assert!("bytes\r\n--xY of\r\n".starts_with(&file) && !complete, "{file:?}");
        let fields = "--xYz\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nA film\r\n--xYz--\r\n";
        assert_eq!(read(fields, 9), Err(FormError::NoFile));
        let endless = format!("--xYz\r\nX: {}", "a".repeat(40_000));
        assert_eq!(read(&endless, 1_000), Err(FormError::Malformed));
        assert!(!read("no form at all", 3).unwrap().1);
    }

    #[test]
    fn the_boundary_comes_from_the_content_type() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            Form::of(&headers).map(|form| form.map(|f| f.delimiter))
        };
        assert_eq!(of("video/webm"), None);
        assert_eq!(
            of("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""),
            Some(Ok(b"\r\n--a b".to_vec()))
        );
        assert_eq!(of("multipart/form-data"), Some(Err(FormError::Boundary)));
        assert_eq!(
            of(&format!("multipart/form-data; boundary={}", "x".repeat(71))),
            Some(Err(FormError::Boundary))
        );
    }
}
