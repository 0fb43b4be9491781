//! A session description as lines: a session part and m-sections. Nothing is interpreted beyond that.

use super::SdpError;

/// Descriptions of browsers are a few tens of kilobytes.
const LARGEST: usize = 256 * 1024;
/// One m-line a track; calls of more tracks than this use several endpoints.
const MOST_SECTIONS: usize = 64;

/// A session description, taken apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sdp {
    /// Lines before the first m-line.
    pub(crate) session: Vec<String>,
    /// The m-sections.
    pub(crate) sections: Vec<Section>,
}

/// An m-section.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    /// "audio", "video", "application" or anything else.
    pub(crate) kind: String,
    /// Port; 0 means rejected or, with `a=bundle-only`, no port of its own.
    pub(crate) port: String,
    /// Transport profile, e.g. "UDP/TLS/RTP/SAVPF".
    pub(crate) proto: String,
    /// Payload types, or the data format.
    pub(crate) formats: Vec<String>,
    /// Lines below the m-line.
    pub(crate) lines: Vec<String>,
}

impl Sdp {
    /// Takes a text apart. Line ends may be CRLF or LF.
    pub(crate) fn parse(text: &str) -> Result<Sdp, SdpError> {
        if text.len() > LARGEST {
            return Err(SdpError::Parse(format!("longer than {LARGEST} bytes")));
        }
        let mut sdp = Sdp::default();
        for line in text.lines().map(str::trim_end).filter(|l| !l.is_empty()) {
            let valid = line.as_bytes().get(1) == Some(&b'=') && line.as_bytes()[0].is_ascii_lowercase();
            if !valid {
                return Err(SdpError::Parse("a line is not of the form x=...".into()));
            }
            // What is echoed must not make a line of its own, whatever the reader takes for a line end.
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(SdpError::Parse("a line holds a control character".into()));
            }
            match line.strip_prefix("m=") {
                Some(media) => {
                    if sdp.sections.len() >= MOST_SECTIONS {
                        return Err(SdpError::Parse(format!("more than {MOST_SECTIONS} m-lines")));
                    }
                    sdp.sections.push(Section::parse(media)?);
                }
                None => match sdp.sections.last_mut() {
                    Some(section) => section.lines.push(line.to_owned()),
                    None => sdp.session.push(line.to_owned()),
                },
            }
        }
        if sdp.session.first().map(String::as_str) != Some("v=0") {
            return Err(SdpError::Parse("the first line is not v=0".into()));
        }
        Ok(sdp)
    }

    /// The description as a text.
    pub(crate) fn write(&self) -> String {
        let mut out = String::new();
        for line in &self.session {
            out.push_str(line);
            out.push_str("\r\n");
        }
        self.sections.iter().for_each(|section| section.write(&mut out));
        out
    }

    /// The value of a session attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.session, name)
    }

    /// The o= line.
    pub(crate) fn origin(&self) -> &str {
        self.session
            .iter()
            .find_map(|l| l.strip_prefix("o="))
            .unwrap_or_default()
    }
}

impl Section {
    fn parse(media: &str) -> Result<Section, SdpError> {
        let mut words = media.split_whitespace().map(str::to_owned);
        let (Some(kind), Some(port), Some(proto)) = (words.next(), words.next(), words.next()) else {
            return Err(SdpError::Parse("an m-line lacks its port or profile".into()));
        };
        Ok(Section {
            kind,
            port,
            proto,
            formats: words.collect(),
            lines: Vec::new(),
        })
    }

    /// The value of an attribute: "" for a flag.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        attribute(&self.lines, name)
    }

    /// Whether the m-line is rejected.
    pub(crate) fn is_rejected(&self) -> bool {
        self.port == "0" && self.attribute("bundle-only").is_none()
    }

    /// The m-line and what is below it.
    pub(crate) fn write(&self, out: &mut String) {
        let formats = self.formats.join(" ");
        let media = format!("m={} {} {} {formats}", self.kind, self.port, self.proto);
        for line in std::iter::once(media.trim_end()).chain(self.lines.iter().map(String::as_str)) {
            out.push_str(line);
            out.push_str("\r\n");
        }
    }
}

fn attribute<'a>(lines: &'a [String], name: &str) -> Option<&'a str> {
    lines.iter().find_map(|line| {
        let rest = line.strip_prefix("a=")?.strip_prefix(name)?;
        if rest.is_empty() {
            Some("")
        } else {
            rest.strip_prefix(':').map(str::trim)
        }
    })
}
