//! Names of m-lines (`a=mid`, RFC 5888): the remote's, and those that str0m knows them by.

use std::collections::HashSet;

use super::SdpError;
use crate::sdp::text::Sdp;

/// The longest name that str0m keeps whole.
const LONGEST: usize = 16;

/// The names of the m-lines of a description, in order.
#[derive(Debug, Clone)]
pub(super) struct Mids {
    /// `a=mid` as it was sent, if it was.
    offered: Vec<Option<String>>,
    /// str0m cuts names off at 16 bytes and makes all but letters and digits to underscores, so two could become one.
    /// Where it would change a name, and where there is none, it gets one made of kind and number, as Kurento makes
    /// them: "audio0".
    inner: Vec<String>,
}

impl Mids {
    /// The names in a description.
    pub(super) fn of(sdp: &Sdp) -> Mids {
        let offered: Vec<Option<String>> = sdp
            .sections
            .iter()
            .map(|s| s.attribute("mid").filter(|m| !m.is_empty()).map(str::to_owned))
            .collect();
        let mut used: HashSet<String> = offered
            .iter()
            .flatten()
            .filter(|m| is_plain(m))
            .cloned()
            .collect();
        let mut seen: HashSet<&str> = HashSet::new();
        let mut inner = Vec::new();
        for (section, mid) in sdp.sections.iter().zip(&offered) {
            let own = mid.as_deref().filter(|m| is_plain(m) && seen.insert(*m));
            let name = own.map(str::to_owned).or_else(|| {
                let letters = section.kind.chars().filter(char::is_ascii_alphabetic);
                let kind: String = letters.take(8).collect();
                (0..=sdp.sections.len())
                    .map(|n| format!("{kind}{n}"))
                    .find(|name| !used.contains(name))
            });
            let name = name.unwrap_or_default();
            used.insert(name.clone());
            inner.push(name);
        }
        Mids { offered, inner }
    }

    /// The name that str0m is given.
    pub(super) fn inner(&self, index: usize) -> &str {
        self.inner.get(index).map(String::as_str).unwrap_or_default()
    }

    /// The name that the remote knows the m-line by.
    pub(super) fn told(&self, index: usize) -> &str {
        let offered = self.offered.get(index).and_then(Option::as_deref);
        offered.unwrap_or_else(|| self.inner(index))
    }

    /// Whether both names are the same, so that packets can carry it (RFC 9143, section 15).
    pub(super) fn in_packets(&self, index: usize) -> bool {
        self.offered.get(index).and_then(Option::as_deref) == Some(self.inner(index))
    }

    /// A name stands for one m-line (RFC 5888, section 4).
    pub(super) fn check_unique(&self) -> Result<(), SdpError> {
        let mut seen = HashSet::new();
        match self.offered.iter().flatten().find(|m| !seen.insert(m.as_str())) {
            Some(_) => Err(SdpError::Unacceptable(
                "Two m-lines have the same a=mid (RFC 5888)".into(),
            )),
            None => Ok(()),
        }
    }
}

fn is_plain(mid: &str) -> bool {
    !mid.is_empty() && mid.len() <= LONGEST && mid.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
