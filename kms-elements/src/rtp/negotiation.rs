//! What this side offers and answers, and what is agreed on by it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use kms_core::media::{Codec, MediaError, Source, Timeline};
use kms_core::types::MediaType;
use protocol::{Code, Error};

use super::Defaults;
use super::counters::Counters;
use super::crypto::{CryptoLine, CryptoSuite, Key};
use super::local::{LocalLine, LocalSession, offered_formats};
use super::media::{Media, Setup, Told};
use super::ports::Ports;
use super::remote::{Format, Profile, Remote, RemoteLine};
use super::transport::{Destination, Line, News, Reading, Transport};
use crate::rtp_session::Bandwidths;
use crate::sdp::SdpError;
use crate::webrtc::ice::host_addresses;
use crate::webrtc::types::OfferOptions;

/// What this side is, whomever it negotiates with.
pub(super) struct Local {
    key: Option<Key>,
    ipv6: bool,
    defaults: Defaults,
    session_id: u32,
    cname: String,
}

/// An m-line of an offer of ours.
pub(super) struct Offered {
    line: LocalLine,
    ports: Ports,
}

/// An m-line that both sides agreed on.
pub(super) struct Agreed {
    pub(super) kind: MediaType,
    /// What may come.
    pub(super) formats: Vec<Format>,
    /// What the remote takes, preferred first.
    taken: Vec<Format>,
    pub(super) sends: bool,
    receives: bool,
    feedback: bool,
    pub(super) keys: Option<(Key, Key)>,
    ssrc: u32,
    /// What the remote takes at most, bits a second.
    pub(super) bandwidth: Option<u32>,
    /// Until media flows.
    ports: Option<Ports>,
    destination: Destination,
}

impl Agreed {
    fn new(own: LocalLine, remote: &RemoteLine, ports: Ports, remote_key: Option<Key>) -> Agreed {
        let follows = remote.active || remote.rtp.is_none();
        let keys = own.crypto.map(|c| c.key).zip(remote_key);
        Agreed {
            kind: own.kind,
            formats: own.formats,
            taken: remote.formats.clone(),
            sends: own.sends,
            receives: own.receives,
            feedback: own.profile.feedback,
            keys,
            ssrc: own.ssrc,
            bandwidth: remote.bandwidth,
            ports: Some(ports),
            destination: Destination {
                rtp: remote.rtp.filter(|_| !follows),
                rtcp: remote.rtcp.filter(|_| !follows),
                follows,
            },
        }
    }

    /// The payload types to send, each codec once.
    pub(super) fn send_types(&self) -> Vec<(Codec, u8)> {
        let mut types: Vec<(Codec, u8)> = Vec::new();
        for format in &self.taken {
            if types.iter().all(|(codec, _)| *codec != format.codec) {
                types.push((format.codec, format.payload_type));
            }
        }
        types
    }
}

impl Local {
    pub(super) fn new(key: Option<Key>, ipv6: bool, defaults: Defaults) -> Local {
        let random = uuid::Uuid::new_v4();
        Local {
            key,
            ipv6,
            defaults,
            session_id: random.as_u128() as u32,
            cname: format!("kms-{}", &random.simple().to_string()[..12]),
        }
    }

    /// An offer of audio and video.
    pub(super) fn offer(
        &self,
        options: &OfferOptions,
        bandwidths: &Bandwidths,
    ) -> Result<(String, Vec<Offered>), Error> {
        let session = self.session(None, self.ipv6);
        let profile = Profile {
            secure: self.key.is_some(),
            feedback: true,
        };
        let mut offered = Vec::new();
        for (kind, receives) in [
            (MediaType::Audio, options.offer_to_receive_audio),
            (MediaType::Video, options.offer_to_receive_video),
        ] {
            let ports = self.bind(self.ipv6, false)?;
            let line = LocalLine {
                formats: offered_formats(kind),
                sends: true,
                receives,
                crypto: self.key.clone().map(|key| CryptoLine { tag: 1, key }),
                mid: Some(format!("{}0", kind.lower())),
                ..self.line(kind, profile, &ports, bandwidths)
            };
            offered.push(Offered { line, ports });
        }
        let lines: Vec<LocalLine> = offered.iter().map(|o| o.line.clone()).collect();
        Ok((session.offer(&lines), offered))
    }

    /// The answer to an offer.
    pub(super) fn answer(
        &self,
        remote: &Remote,
        bandwidths: &Bandwidths,
    ) -> Result<(String, Vec<Agreed>), Error> {
        let (mut lines, mut agreed) = (Vec::new(), Vec::new());
        // One c= line speaks for all m-lines of the answer, in the family of the first.
        let mut ipv6 = None;
        for line in &remote.lines {
            let Some((own, theirs)) = self.keys(line)? else {
                continue;
            };
            if line.formats.is_empty() || *ipv6.get_or_insert(line.ipv6) != line.ipv6 {
                continue;
            }
            let ports = self.bind(line.ipv6, line.mux)?;
            let mid = remote
                .sdp
                .sections
                .get(line.index)
                .and_then(|s| s.attribute("mid"));
            let own = LocalLine {
                formats: line.formats.clone(),
                sends: line.receives,
                receives: line.sends,
                mux: line.mux,
                passive: line.active,
                crypto: own,
                mid: mid.map(str::to_owned),
                ..self.line(line.kind, line.profile, &ports, bandwidths)
            };
            lines.push((line.index, own.clone()));
            agreed.push(Agreed::new(own, line, ports, theirs));
        }
        let first = remote.lines.first().and_then(|l| l.rtp);
        let session = self.session(first.map(|a| a.ip()), ipv6.unwrap_or(self.ipv6));
        Ok((session.answer(remote, &lines), agreed))
    }

    /// Whether a description can be the answer to an offer of ours (RFC 3264, section 6; RFC 4568, section 5.1.3).
    pub(super) fn check_answer(remote: &Remote, offered: &[Offered]) -> Result<(), SdpError> {
        let refused = |why: String| Err(SdpError::Unacceptable(why));
        let (got, wanted) = (remote.sdp.sections.len(), offered.len());
        if got != wanted {
            return refused(format!("The answer has {got} m-lines, the offer has {wanted}"));
        }
        for (index, (section, offered)) in remote.sdp.sections.iter().zip(offered).enumerate() {
            let kind = offered.line.kind.lower();
            if section.kind != kind {
                return refused(format!(
                    "m-line {index} of the answer is not of kind {kind}, as in the offer"
                ));
            }
        }
        for line in &remote.lines {
            let Some(offered) = offered.get(line.index) else {
                continue;
            };
            if line.profile.secure != offered.line.profile.secure {
                return refused(format!(
                    "m-line {} of the answer is {}, but {} was offered",
                    line.index,
                    line.profile.name(),
                    offered.line.profile.name()
                ));
            }
            if let Some(crypto) = &offered.line.crypto
                && line.crypto.iter().all(|c| c.key.suite != crypto.key.suite)
            {
                return refused(format!(
                    "m-line {} of the answer has no a=crypto of the suite that was offered",
                    line.index
                ));
            }
        }
        Ok(())
    }

    /// What is agreed on by an answer that was checked.
    pub(super) fn answered(&self, remote: &Remote, offered: Vec<Offered>) -> Vec<Agreed> {
        let mut agreed = Vec::new();
        for (index, offered) in offered.into_iter().enumerate() {
            let Some(line) = remote
                .lines
                .iter()
                .find(|l| l.index == index && !l.formats.is_empty())
            else {
                continue; // rejected
            };
            let mut own = offered.line;
            let suite = own.crypto.as_ref().map(|c| c.key.suite);
            let theirs = line.crypto.iter().find(|c| Some(c.key.suite) == suite);
            own.sends &= line.receives;
            own.receives &= line.sends;
            own.profile.feedback &= line.profile.feedback;
            // Each side sends by the payload types of the other; some send by their own.
            own.formats
                .retain(|f| line.formats.iter().any(|l| l.codec == f.codec));
            let used: Vec<u8> = own.formats.iter().map(|f| f.payload_type).collect();
            let others = line.formats.iter().filter(|f| !used.contains(&f.payload_type));
            own.formats.extend(others.cloned());
            for format in &mut own.formats {
                let of_remote = line.formats.iter().find(|l| l.codec == format.codec);
                format.pli &= of_remote.is_some_and(|f| f.pli);
                format.fir &= of_remote.is_some_and(|f| f.fir);
                format.parameters = of_remote.map(|f| f.parameters.clone()).unwrap_or_default();
            }
            let key = theirs.map(|c| c.key.clone());
            agreed.push(Agreed::new(own, line, offered.ports, key));
        }
        agreed
    }

    /// Lets media flow.
    pub(super) fn start(
        &self,
        timeline: &Timeline,
        counters: &Arc<Counters>,
        mut agreed: Vec<Agreed>,
        source: &dyn Fn(MediaType) -> Option<Arc<Source>>,
        told: Arc<dyn Told>,
        news: News,
    ) -> Result<(Media, Transport, Vec<Agreed>), MediaError> {
        let failed = |error: std::io::Error| MediaError {
            message: "RTP can't be received".into(),
            detail: error.to_string(),
        };
        let bound = agreed.iter_mut().filter_map(|a| {
            let ports = a.ports.take()?;
            Some(Line::new(a.kind, ports, a.keys.is_some(), a.destination))
        });
        let mut lines: Vec<Line> = bound.collect();
        let reading = Reading::of(&mut lines).map_err(failed)?;
        let lines: Vec<Arc<Line>> = lines.into_iter().map(Arc::new).collect();
        let setups = agreed.iter().zip(&lines).filter_map(|(agreed, line)| {
            Some(Setup {
                line: line.clone(),
                formats: agreed.formats.clone(),
                receives: agreed.receives,
                feedback: agreed.feedback,
                keys: agreed.keys.clone(),
                ssrc: agreed.ssrc,
                source: source(agreed.kind)?,
            })
        });
        let (media, receivers) = Media::new(timeline, counters, &self.cname, setups.collect(), told)?;
        let transport = reading.start(lines.into_iter().zip(receivers).collect(), news);
        Ok((media, transport.map_err(failed)?, agreed))
    }

    /// Our `a=crypto` for an m-line of an offer, and the remote's key; none for what is not encrypted. `None`: no agreement is
    /// possible. An endpoint that was made with a suite takes nothing else; one without takes what is offered.
    #[allow(clippy::type_complexity, reason = "it is used once")]
    fn keys(&self, line: &RemoteLine) -> Result<Option<(Option<CryptoLine>, Option<Key>)>, Error> {
        if !line.profile.secure {
            return Ok(self.key.is_none().then_some((None, None)));
        }
        let fits = |suite: CryptoSuite| self.key.as_ref().is_none_or(|key| key.suite == suite);
        let Some(chosen) = line.crypto.iter().find(|c| fits(c.key.suite)) else {
            return Ok(None);
        };
        let key = match &self.key {
            Some(key) => key.clone(),
            None => Key::random(chosen.key.suite)?,
        };
        let own = CryptoLine { tag: chosen.tag, key };
        Ok(Some((Some(own), Some(chosen.key.clone()))))
    }

    fn line(&self, kind: MediaType, profile: Profile, ports: &Ports, bandwidths: &Bandwidths) -> LocalLine {
        LocalLine {
            kind,
            profile,
            formats: Vec::new(),
            sends: false,
            receives: false,
            port: ports.port,
            rtcp_port: ports.rtcp_port(),
            mux: false,
            passive: false,
            crypto: None,
            bandwidth: match kind {
                MediaType::Video => bandwidths.max_video_recv,
                _ => bandwidths.max_audio_recv,
            },
            mid: None,
            ssrc: uuid::Uuid::new_v4().as_u128() as u32,
            cname: self.cname.clone(),
        }
    }

    fn bind(&self, ipv6: bool, mux: bool) -> Result<Ports, Error> {
        Ports::bind(self.defaults.ports, ipv6, mux).map_err(|error| {
            tracing::warn!(%error, "there are no ports for RTP");
            Error::new(Code::NotEnoughResources, "No UDP ports are free for RTP")
        })
    }

    fn session(&self, remote: Option<IpAddr>, ipv6: bool) -> LocalSession {
        LocalSession {
            id: self.session_id,
            address: self.address(remote, ipv6),
        }
    }

    /// The address to tell: the one that a remote on this host knows, the external one, the one that reaches the remote, or the first
    /// of this host.
    fn address(&self, remote: Option<IpAddr>, ipv6: bool) -> IpAddr {
        let gather = &self.defaults.gather;
        if let Some(remote) = remote.filter(IpAddr::is_loopback) {
            return remote;
        }
        let external = match ipv6 {
            true => gather.external_ipv6.map(IpAddr::from),
            false => gather.external_ipv4.map(IpAddr::from),
        };
        let host = || host_addresses(gather).into_iter().find(|a| a.is_ipv6() == ipv6);
        let loopback = match ipv6 {
            true => IpAddr::from(Ipv6Addr::LOCALHOST),
            false => IpAddr::from(Ipv4Addr::LOCALHOST),
        };
        let towards = || remote.and_then(source_towards);
        external.or_else(towards).or_else(host).unwrap_or(loopback)
    }
}

/// The address that packets to a remote leave from. Nothing is sent.
fn source_towards(remote: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(SocketAddr::new(remote, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}
