//! Offers of remotes, and the answers they get.

use std::collections::HashSet;

use super::leg::make_leg;
use super::mids::Mids;
use super::{Leg, LocalDescription, SdpError, codecs};
use crate::sdp::text::{Sdp, Section};
use crate::webrtc::api::Kind;

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

/// An m-line that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedLine {
    /// Its place in the offer.
    pub index: usize,
    /// Its `a=mid`, or the one it was given for lack of one.
    pub mid: String,
    /// The transport it belongs to: the index in [`RemoteOffer::legs`].
    pub leg: usize,
    /// What it carries.
    pub kind: Option<Kind>,
}

/// An offer of a remote.
#[derive(Debug, Clone)]
pub struct RemoteOffer {
    /// Parts with a transport of their own; usually one. Those taken away here are rejected in the answer.
    pub legs: Vec<Leg>,
    sdp: Sdp,
    fates: Vec<Fate>,
    mids: Mids,
    /// Mids of the first BUNDLE group.
    bundle: Vec<String>,
}

impl RemoteOffer {
    /// Takes an offer apart. Of each kind (audio, video, application) the first m-line is taken, others are rejected.
    /// `data`: whether data channels may be negotiated.
    pub fn parse(text: &str, data: bool) -> Result<RemoteOffer, SdpError> {
        let sdp = Sdp::parse(text)?;
        let mids = Mids::of(&sdp);
        mids.check_unique()?;
        let bundle = bundle_of(&sdp);
        let groups = group(&sdp, &mids, &bundle, data);
        let mut fates = vec![Fate::Rejected; sdp.sections.len()];
        let mut legs = Vec::new();
        for (leg, group) in groups.iter().enumerate() {
            let idle = match group.bundled {
                true => idle_lines(&sdp, &groups),
                false => Vec::new(),
            };
            for section in &group.lines {
                let before = |others: &[usize]| others.iter().filter(|o| *o < section).count();
                let index = before(&group.lines) + before(&idle);
                fates[*section] = Fate::Accepted { leg, index };
            }
            legs.push(make_leg(&sdp, &group.lines, &idle, &mids)?);
        }
        Ok(RemoteOffer {
            legs,
            sdp,
            fates,
            mids,
            bundle,
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

    /// The m-lines taken. One whose codecs turn out to be unknown is among them, and rejected in the answer: what was
    /// agreed on is [`accepted_mids`](super::accepted_mids) of the answer.
    pub fn accepted(&self) -> Vec<AcceptedLine> {
        let line = |(index, fate): (usize, &Fate)| match fate {
            Fate::Accepted { leg, .. } if *leg < self.legs.len() => Some(AcceptedLine {
                index,
                mid: self.mids.told(index).to_owned(),
                leg: *leg,
                kind: match self.sdp.sections[index].kind.as_str() {
                    "audio" => Some(Kind::Audio),
                    "video" => Some(Kind::Video),
                    "application" => Some(Kind::Data),
                    _ => None,
                },
            }),
            _ => None,
        };
        self.fates.iter().enumerate().filter_map(line).collect()
    }

    /// Puts str0m's answers, one a leg in order, into the shape of this offer: same m-lines in the same order (rejected
    /// ones with port 0), same profiles, `a=mid` and BUNDLE only where the offer had them.
    pub fn answer(&self, legs: &[String], local: &LocalDescription) -> Result<String, SdpError> {
        let legs: Vec<Sdp> = legs.iter().map(|l| Sdp::parse(l)).collect::<Result<_, _>>()?;
        let mut sections = String::new();
        let mut bundled: Vec<&str> = Vec::new();
        for (index, (offered, fate)) in self.sdp.sections.iter().zip(&self.fates).enumerate() {
            let (leg, made) = match fate {
                Fate::Accepted { leg, index } => (*leg, legs.get(*leg).and_then(|l| l.sections.get(*index))),
                Fate::Rejected => (0, None),
            };
            // Without a common codec str0m leaves the formats empty.
            match made.filter(|m| !m.is_rejected() && !m.formats.is_empty()) {
                Some(made) => {
                    let mid = self.mids.told(index);
                    if self.bundle.iter().any(|m| m == mid) {
                        bundled.push(mid);
                    }
                    let mut section = shape(offered, made);
                    local.complete(&mut section, index, leg);
                    section.write(&mut sections);
                }
                None => reject(offered).write(&mut sections),
            }
        }
        let mut out = local.session();
        if self.sdp.attribute("msid-semantic").is_some() {
            out.push_str("a=msid-semantic: WMS *\r\n");
        }
        if !bundled.is_empty() {
            out.push_str(&format!("a=group:BUNDLE {}\r\n", bundled.join(" ")));
        }
        Ok(out + &sections)
    }
}

/// m-lines that share a transport.
struct Group {
    bundled: bool,
    lines: Vec<usize>,
    claimed: HashSet<u8>,
}

/// Mids of the first BUNDLE group. Further groups would be further transports.
fn bundle_of(sdp: &Sdp) -> Vec<String> {
    let groups = sdp.session.iter().filter_map(|l| l.strip_prefix("a=group:"));
    let mut groups = groups.map(str::split_whitespace);
    let bundle = groups.find_map(|mut words| (words.next()? == "BUNDLE").then_some(words));
    bundle.into_iter().flatten().map(str::to_owned).collect()
}

/// The m-lines to take, by transport.
fn group(sdp: &Sdp, mids: &Mids, bundle: &[String], data: bool) -> Vec<Group> {
    let mut taken: Vec<&str> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for (index, section) in sdp.sections.iter().enumerate() {
        let media = matches!(section.kind.as_str(), "audio" | "video");
        let wanted = match section.kind.as_str() {
            "application" => data && section.proto.contains("SCTP"),
            _ => media && section.proto.contains("RTP/SAVP"),
        };
        if !wanted || section.is_rejected() || taken.contains(&section.kind.as_str()) {
            continue;
        }
        let bundled = bundle.iter().any(|m| m == mids.told(index));
        let group = groups.iter().position(|g| g.bundled && bundled);
        let mut claimed = group.map(|g| groups[g].claimed.clone()).unwrap_or_default();
        if media && codecs::claim(section, &mut claimed).is_empty() {
            continue;
        }
        taken.push(&section.kind);
        let group = group.unwrap_or_else(|| {
            groups.push(Group {
                bundled,
                lines: Vec::new(),
                claimed: HashSet::new(),
            });
            groups.len() - 1
        });
        groups[group].lines.push(index);
        groups[group].claimed = claimed;
    }
    groups
}

/// The audio and video m-lines that are in no group.
fn idle_lines(sdp: &Sdp, groups: &[Group]) -> Vec<usize> {
    let taken = |index: &usize| groups.iter().any(|g| g.lines.contains(index));
    let media = |index: &usize| matches!(sdp.sections[*index].kind.as_str(), "audio" | "video");
    (0..sdp.sections.len())
        .filter(|i| media(i) && !taken(i))
        .collect()
}

/// What str0m answered, in the form of what was offered.
fn shape(offered: &Section, made: &Section) -> Section {
    let mut section = Section {
        proto: offered.proto.clone(),
        ..made.clone()
    };
    let mid = offered.attribute("mid").filter(|m| !m.is_empty());
    let mid = mid.map(|mid| format!("a=mid:{mid}"));
    let at = section.lines.iter().position(|l| l.starts_with("a=mid:"));
    section.lines.retain(|l| !l.starts_with("a=mid:"));
    if let (Some(at), Some(mid)) = (at, mid) {
        section.lines.insert(at, mid);
    }
    if section.kind != "application" {
        if section.attribute("rtcp").is_none() {
            section.lines.push("a=rtcp:9 IN IP4 0.0.0.0".into());
        }
        return section;
    }
    section.formats = offered.formats.clone();
    // Before RFC 8841 the port stood in the m-line, and a=sctpmap told what it is for.
    if let (Some(_), Some(port)) = (offered.attribute("sctpmap"), offered.formats.first()) {
        let sctpmap = format!("a=sctpmap:{port} webrtc-datachannel 1024");
        section.lines.retain(|l| !l.starts_with("a=sctp-port:"));
        section.lines.push(sctpmap);
    }
    section
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
