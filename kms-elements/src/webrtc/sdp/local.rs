//! What this side says of itself: str0m's descriptions, completed for the remote.

use super::SdpError;
use crate::sdp::text::{Sdp, Section};

/// What this side says of itself in a description.
#[derive(Debug, Clone, Default)]
pub struct LocalDescription {
    /// Candidates known so far of each transport, "candidate:..." lines.
    pub candidates: Vec<Vec<String>>,
    /// `b=AS` of video, kbit/s.
    pub max_video_recv_kbps: Option<u32>,
    /// `b=AS` of audio, kbit/s.
    pub max_audio_recv_kbps: Option<u32>,
    /// Session id of the o= line, the same for all descriptions of an endpoint. Its media stream is named after it.
    pub session_id: u64,
    /// Version of the o= line, raised with every description (RFC 3264, section 8).
    pub session_version: u64,
}

impl LocalDescription {
    /// The session part.
    pub(super) fn session(&self) -> String {
        let (id, version) = (self.session_id, self.session_version);
        format!(
            "v=0\r\no=- {id} {version} IN IP4 0.0.0.0\r\ns=Kurento Media Server\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        )
    }

    /// Adds what only this side knows to the `index`-th m-section, which str0m made for the transport `leg`.
    pub(super) fn complete(&self, section: &mut Section, index: usize, leg: usize) {
        self.name_tracks(section, index);
        section
            .lines
            .retain(|l| !l.starts_with("a=candidate:") && l != "a=end-of-candidates");
        section.lines.extend(
            self.candidates
                .get(leg)
                .into_iter()
                .flatten()
                .map(|c| format!("a={c}")),
        );
        let limit = match section.kind.as_str() {
            "video" => self.max_video_recv_kbps,
            "audio" => self.max_audio_recv_kbps,
            _ => None,
        };
        if let Some(limit) = limit.filter(|l| *l > 0) {
            // b= stands after c= and before a= (RFC 8866, section 5).
            let at = section
                .lines
                .iter()
                .take_while(|l| l.starts_with("c=") || l.starts_with("i="))
                .count();
            section.lines.insert(at, format!("b=AS:{limit}"));
        }
    }

    /// Puts the tracks of an endpoint into one media stream (RFC 8830): browsers play only tracks of one stream in
    /// lip-sync. str0m gives every m-line a stream of its own, or the remote's. What is not sent has no name.
    fn name_tracks(&self, section: &mut Section, index: usize) {
        let sends = section.attribute("sendrecv").is_some() || section.attribute("sendonly").is_some();
        let stream = format!("kms-{:08x}", self.session_id);
        let name = format!("{stream} {stream}-{}{index}", section.kind);
        let lines = std::mem::take(&mut section.lines);
        section.lines = lines
            .into_iter()
            .filter_map(|line| {
                let prefix = if line.starts_with("a=msid:") {
                    "a=msid:"
                } else if line.starts_with("a=ssrc:") && line.contains(" msid:") {
                    &line[..line.find("msid:")? + "msid:".len()]
                } else {
                    return Some(line);
                };
                sends.then(|| format!("{prefix}{name}"))
            })
            .collect();
    }
}

/// Puts an offer that str0m made into the form it is given out in.
pub fn local_offer(made: &str, local: &LocalDescription) -> Result<String, SdpError> {
    let made = Sdp::parse(made)?;
    let mut out = local.session();
    let groups = made.session.iter().filter(|l| l.starts_with("a=group:"));
    for line in groups.map(String::as_str).chain(["a=msid-semantic: WMS *"]) {
        out.push_str(line);
        out.push_str("\r\n");
    }
    for (index, section) in made.sections.iter().enumerate() {
        let mut section = section.clone();
        if section.is_rejected() {
            // A format has to stand there (RFC 8866, section 5.14), and str0m has none for a line without a codec.
            if section.formats.is_empty() {
                section.formats.push("0".into());
            }
        } else {
            local.complete(&mut section, index, 0);
        }
        section.write(&mut out);
    }
    Ok(out)
}
