//! Session descriptions: what remotes send, made into what str0m takes; what str0m makes, put into what remotes expect.
//!
//! str0m is strict where clients of Kurento are not: a missing `a=mid`, no BUNDLE, or the profile `RTP/SAVPF` is an error
//! to it. So a description is rebuilt from the attributes that are understood here, and the answer is put back into the
//! shape of the offer. Sans I/O; every text is hostile.

mod text;

use text::{Sdp, Section};

/// Why a description can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// It is no session description.
    #[error("Invalid SDP: {0}")]
    Parse(String),
    /// It is one, but not acceptable.
    #[error("{0}")]
    Unacceptable(String),
}

/// What this side says of itself in a description.
#[derive(Debug, Clone, Default)]
pub struct LocalDescription {
    /// Candidates known so far, "candidate:..." lines.
    pub candidates: Vec<String>,
    /// `b=AS` of video, kbit/s.
    pub max_video_recv_kbps: Option<u32>,
    /// `b=AS` of audio, kbit/s.
    pub max_audio_recv_kbps: Option<u32>,
    /// Session id of the o= line, the same for all descriptions of an endpoint.
    pub session_id: u64,
    /// Version of the o= line, raised with every description (RFC 3264, section 8).
    pub session_version: u64,
}

impl LocalDescription {
    fn session(&self) -> String {
        let (id, version) = (self.session_id, self.session_version);
        format!(
            "v=0\r\no=- {id} {version} IN IP4 0.0.0.0\r\ns=Kurento Media Server\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
        )
    }

    /// Adds what only this side knows to an m-section that str0m made.
    fn complete(&self, section: &mut Section) {
        let limit = match section.kind.as_str() {
            "video" => self.max_video_recv_kbps,
            "audio" => self.max_audio_recv_kbps,
            _ => None,
        };
        section
            .lines
            .retain(|l| !l.starts_with("a=candidate:") && l != "a=end-of-candidates");
        section
            .lines
            .extend(self.candidates.iter().map(|c| format!("a={c}")));
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
}

/// A part of an offer that has a transport of its own.
#[derive(Debug, Clone)]
pub struct Leg {
    /// The description for str0m.
    pub sdp: String,
    /// The m-lines in it.
    pub mids: Vec<String>,
    /// Candidates that came with it.
    pub candidates: Vec<String>,
}

/// What becomes of an m-line of the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is the n-th m-line of this leg.
    Accepted {
        leg: usize,
        index: usize,
    },
    Rejected,
}

/// An offer of a remote.
#[derive(Debug, Clone)]
pub struct RemoteOffer {
    /// Parts with a transport of their own; usually one.
    pub legs: Vec<Leg>,
    sdp: Sdp,
    fates: Vec<Fate>,
    mids: Vec<String>,
    bundled: bool,
}

impl RemoteOffer {
    /// Takes an offer apart. Of each kind (audio, video, application) the first m-line is taken, others are rejected.
    /// `data`: whether data channels may be negotiated.
    pub fn parse(text: &str, data: bool) -> Result<RemoteOffer, SdpError> {
        let sdp = Sdp::parse(text)?;
        let mids = mids_of(&sdp);
        let bundle: Vec<&str> = sdp
            .session
            .iter()
            .filter_map(|l| l.strip_prefix("a=group:BUNDLE"))
            .flat_map(str::split_whitespace)
            .collect();
        let mut taken: Vec<&str> = Vec::new();
        let mut groups: Vec<(bool, Vec<usize>)> = Vec::new();
        for (index, section) in sdp.sections.iter().enumerate() {
            let wanted = match section.kind.as_str() {
                "audio" | "video" => section.proto.contains("RTP/SAVP"),
                "application" => data && section.proto.contains("SCTP"),
                _ => false,
            };
            if !wanted || section.is_rejected() || taken.contains(&section.kind.as_str()) {
                continue;
            }
            taken.push(&section.kind);
            let bundled = bundle.contains(&mids[index].as_str());
            match groups.iter_mut().find(|(b, _)| *b && bundled) {
                Some((_, group)) => group.push(index),
                None => groups.push((bundled, vec![index])),
            }
        }
        let mut fates = vec![Fate::Rejected; sdp.sections.len()];
        let mut legs = Vec::new();
        for (leg, (_, group)) in groups.iter().enumerate() {
            for (index, section) in group.iter().enumerate() {
                fates[*section] = Fate::Accepted { leg, index };
            }
            legs.push(make_leg(&sdp, group, &mids)?);
        }
        Ok(RemoteOffer {
            legs,
            bundled: !bundle.is_empty(),
            sdp,
            fates,
            mids,
        })
    }

    /// The o= line: an offer with the same one is the same offer (RFC 3264, section 8).
    pub fn origin(&self) -> &str {
        self.sdp.origin()
    }

    /// Whether the remote sends video in several layers.
    pub fn has_simulcast(&self) -> bool {
        self.sdp
            .sections
            .iter()
            .any(|s| s.attribute("simulcast").is_some_and(|v| v.contains("send")))
    }

    /// Mids of the m-lines taken, with their index in the offer.
    pub fn accepted(&self) -> Vec<(usize, String)> {
        let accepted = self
            .fates
            .iter()
            .enumerate()
            .filter(|(_, f)| **f != Fate::Rejected);
        accepted
            .map(|(index, _)| (index, self.mids[index].clone()))
            .collect()
    }

    /// Puts str0m's answers, one a leg in order, into the shape of this offer: same m-lines in the same order (rejected
    /// ones with port 0), same profiles, `a=mid` and BUNDLE only where the offer had them.
    pub fn answer(&self, legs: &[String], local: &LocalDescription) -> Result<String, SdpError> {
        let legs: Vec<Sdp> = legs.iter().map(|l| Sdp::parse(l)).collect::<Result<_, _>>()?;
        let mut out = local.session();
        if self.sdp.attribute("msid-semantic").is_some() {
            out.push_str("a=msid-semantic:WMS *\r\n");
        }
        if self.bundled {
            let mids: Vec<String> = self.accepted().into_iter().map(|(_, mid)| mid).collect();
            out.push_str(&format!("a=group:BUNDLE {}\r\n", mids.join(" ")));
        }
        for (offered, fate) in self.sdp.sections.iter().zip(&self.fates) {
            let made = match fate {
                Fate::Accepted { leg, index } => legs.get(*leg).and_then(|l| l.sections.get(*index)),
                Fate::Rejected => None,
            };
            match made {
                Some(made) if made.port != "0" => {
                    let mut section = Section {
                        proto: offered.proto.clone(),
                        ..made.clone()
                    };
                    if offered.kind == "application" {
                        section.formats = offered.formats.clone();
                    }
                    if offered.attribute("mid").is_none() {
                        section.lines.retain(|l| !l.starts_with("a=mid:"));
                    }
                    if section.attribute("rtcp").is_none() && section.kind != "application" {
                        section.lines.push("a=rtcp:9 IN IP4 0.0.0.0".into());
                    }
                    local.complete(&mut section);
                    section.write(&mut out);
                }
                _ => reject(offered).write(&mut out),
            }
        }
        Ok(out)
    }
}

fn reject(offered: &Section) -> Section {
    let mid = offered.attribute("mid").map(|mid| format!("a=mid:{mid}"));
    let mut lines = vec!["c=IN IP4 0.0.0.0".to_owned()];
    lines.extend(mid);
    lines.push("a=inactive".into());
    Section {
        port: "0".into(),
        lines,
        ..offered.clone()
    }
}

/// An answer of a remote to an offer of ours.
#[derive(Debug, Clone)]
pub struct RemoteAnswer {
    /// The description for str0m. `None`: the answer has no m-lines, the remote wants nothing.
    pub sdp: Option<String>,
    /// Candidates that came with it.
    pub candidates: Vec<String>,
}

impl RemoteAnswer {
    /// Takes an answer apart; `offered` is the offer it answers, as str0m made it.
    pub fn parse(text: &str, offered: &str) -> Result<RemoteAnswer, SdpError> {
        let answer = Sdp::parse(text)?;
        let offer = Sdp::parse(offered)?;
        if answer.sections.is_empty() {
            return Ok(RemoteAnswer {
                sdp: None,
                candidates: Vec::new(),
            });
        }
        if answer.sections.len() != offer.sections.len() {
            let (got, wanted) = (answer.sections.len(), offer.sections.len());
            return Err(SdpError::Unacceptable(format!(
                "The answer has {got} m-lines, the offer has {wanted}"
            )));
        }
        let setup = answer
            .sections
            .iter()
            .find_map(|s| s.attribute("setup"))
            .or(answer.attribute("setup"));
        if setup == Some("actpass") {
            return Err(SdpError::Unacceptable(
                "An answer says a=setup:active or passive, not actpass (RFC 8842)".into(),
            ));
        }
        let mids = mids_of(&offer);
        let all: Vec<usize> = (0..answer.sections.len()).collect();
        let leg = make_leg(&answer, &all, &mids)?;
        Ok(RemoteAnswer {
            sdp: Some(leg.sdp),
            candidates: leg.candidates,
        })
    }
}

/// Puts an offer that str0m made into the form it is given out in.
pub fn local_offer(made: &str, local: &LocalDescription) -> Result<String, SdpError> {
    let made = Sdp::parse(made)?;
    let mut out = local.session();
    for line in made
        .session
        .iter()
        .filter(|l| l.starts_with("a=group:") || l.starts_with("a=msid-semantic"))
    {
        out.push_str(line);
        out.push_str("\r\n");
    }
    for section in &made.sections {
        let mut section = section.clone();
        local.complete(&mut section);
        section.write(&mut out);
    }
    Ok(out)
}

/// Changes the directions in an offer so that its answer says no more than this side wants: `recvonly`, only to receive;
/// `sendonly`, only to send.
pub fn restrict_directions(offer: &str, recvonly: bool, sendonly: bool) -> String {
    if recvonly == sendonly {
        return offer.to_owned();
    }
    let mut lines: Vec<String> = Vec::new();
    for line in offer.lines() {
        lines.push(match (line, recvonly) {
            ("a=sendrecv", true) => "a=sendonly".into(),
            ("a=recvonly", true) => "a=inactive".into(),
            ("a=sendrecv", false) => "a=recvonly".into(),
            ("a=sendonly", false) => "a=inactive".into(),
            (other, _) => other.to_owned(),
        });
    }
    lines.push(String::new());
    lines.join("\r\n")
}

/// Mids of the m-lines that are not rejected, with their index.
pub fn accepted_mids(sdp: &str) -> Vec<(usize, String)> {
    let Ok(sdp) = Sdp::parse(sdp) else {
        return Vec::new();
    };
    let mids = mids_of(&sdp);
    let accepted = sdp.sections.iter().enumerate().filter(|(_, s)| !s.is_rejected());
    accepted.map(|(index, _)| (index, mids[index].clone())).collect()
}

/// The mid of each m-line; where there is none, one made of its kind and number, as Kurento does: "audio0".
fn mids_of(sdp: &Sdp) -> Vec<String> {
    let mut mids: Vec<String> = Vec::new();
    for section in &sdp.sections {
        let own = section
            .attribute("mid")
            .map(|m| m.split_whitespace().next().unwrap_or_default());
        let usable =
            |m: &&str| !m.is_empty() && m.len() <= 16 && m.is_ascii() && !mids.iter().any(|o| o == m);
        mids.push(match own.filter(usable) {
            Some(mid) => mid.to_owned(),
            None => {
                let kind: String = section
                    .kind
                    .chars()
                    .filter(char::is_ascii_alphabetic)
                    .take(8)
                    .collect();
                let number = sdp.sections[..mids.len()]
                    .iter()
                    .filter(|s| s.kind == section.kind)
                    .count();
                format!("{kind}{number}")
            }
        });
    }
    mids
}

/// Attributes that str0m needs to see; all others are left out.
const UNDERSTOOD: &[&str] = &[
    "rtpmap",
    "fmtp",
    "rtcp-fb",
    "extmap",
    "ssrc",
    "ssrc-group",
    "msid",
    "rid",
    "simulcast",
    "sctp-port",
    "max-message-size",
    "sendrecv",
    "sendonly",
    "recvonly",
    "inactive",
    "rtcp-rsize",
];

fn make_leg(sdp: &Sdp, group: &[usize], mids: &[String]) -> Result<Leg, SdpError> {
    let names: Vec<&str> = group.iter().map(|i| mids[*i].as_str()).collect();
    let mut out = format!(
        "v=0\r\no=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
        names.join(" ")
    );
    if sdp.attribute("ice-lite").is_some() {
        out.push_str("a=ice-lite\r\n");
    }
    let mut candidates: Vec<String> = Vec::new();
    for index in group {
        let section = &sdp.sections[*index];
        let found = section
            .lines
            .iter()
            .filter_map(|l| l.strip_prefix("a=").filter(|l| l.starts_with("candidate:")));
        candidates.extend(found.map(str::to_owned));
        rebuild(sdp, group, section, &mids[*index])?.write(&mut out);
    }
    candidates.sort();
    candidates.dedup();
    Ok(Leg {
        sdp: out,
        mids: names.into_iter().map(str::to_owned).collect(),
        candidates,
    })
}

/// An m-section of what str0m needs, with what it lacks taken from the session or the first m-line of its group.
fn rebuild(sdp: &Sdp, group: &[usize], section: &Section, mid: &str) -> Result<Section, SdpError> {
    let inherited = |name: &str| {
        let of_group = || group.iter().find_map(|i| sdp.sections[*i].attribute(name));
        section
            .attribute(name)
            .or_else(|| sdp.attribute(name))
            .or_else(of_group)
    };
    let needed = |name: &str| {
        let missing = || SdpError::Unacceptable(format!("m-line {mid} has no a={name}"));
        inherited(name).filter(|v| !v.is_empty()).ok_or_else(missing)
    };
    let mut lines = vec!["c=IN IP4 0.0.0.0".to_owned(), format!("a=mid:{mid}")];
    let is_application = section.kind == "application";
    if section.port != "0" || section.attribute("bundle-only").is_some() {
        lines.push(format!("a=ice-ufrag:{}", needed("ice-ufrag")?));
        lines.push(format!("a=ice-pwd:{}", needed("ice-pwd")?));
        lines.push(format!(
            "a=fingerprint:{}",
            fingerprint(sdp, group, section).ok_or_else(|| {
                SdpError::Unacceptable(format!(
                    "m-line {mid} has no a=fingerprint with sha-256 (RFC 8122)"
                ))
            })?
        ));
        lines.push(format!("a=setup:{}", inherited("setup").unwrap_or("actpass")));
    }
    for line in &section.lines {
        let Some(attribute) = line.strip_prefix("a=") else {
            continue;
        };
        let name = attribute.split(':').next().unwrap_or_default();
        if UNDERSTOOD.contains(&name) {
            lines.push(format!("a={}", attribute.trim()));
        }
    }
    if is_application && section.attribute("sctp-port").is_none() {
        lines.push("a=sctp-port:5000".into());
    }
    if !is_application {
        lines.push("a=rtcp-mux".into());
        let directions = ["sendrecv", "sendonly", "recvonly", "inactive"];
        if !directions.iter().any(|d| section.attribute(d).is_some()) {
            let direction = directions
                .iter()
                .find(|d| sdp.attribute(d).is_some())
                .unwrap_or(&"sendrecv");
            lines.push(format!("a={direction}"));
        }
    }
    let proto = if is_application {
        "UDP/DTLS/SCTP"
    } else {
        "UDP/TLS/RTP/SAVPF"
    };
    let formats = match is_application {
        true => vec!["webrtc-datachannel".to_owned()],
        false => section
            .formats
            .iter()
            .filter(|f| f.parse::<u8>().is_ok_and(|pt| pt < 128))
            .cloned()
            .collect(),
    };
    let port = if section.is_rejected() { "0" } else { "9" };
    Ok(Section {
        kind: section.kind.clone(),
        port: port.into(),
        proto: proto.into(),
        formats,
        lines,
    })
}

/// A sha-256 fingerprint of the m-line, the session or the group: the hash str0m verifies.
fn fingerprint<'a>(sdp: &'a Sdp, group: &[usize], section: &'a Section) -> Option<&'a str> {
    let sha256 = |lines: &'a [String]| {
        let values = lines.iter().filter_map(|l| l.strip_prefix("a=fingerprint:"));
        values.map(str::trim).find(|v| {
            v.get(..8)
                .is_some_and(|hash| hash.eq_ignore_ascii_case("sha-256 "))
        })
    };
    let of_group = || group.iter().find_map(|i| sha256(&sdp.sections[*i].lines));
    sha256(&section.lines)
        .or_else(|| sha256(&sdp.session))
        .or_else(of_group)
}

#[cfg(test)]
mod tests;
