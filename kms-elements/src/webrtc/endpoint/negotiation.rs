//! Offers, answers and candidates.

use kms_core::Object;
use kms_core::events::MediaSessionStarted;
use kms_core::object::lock;
use protocol::{Code, Error};

use super::{
    AcceptedLine, Kind, LocalDescription, MLine, MOST_EARLY_CANDIDATES, MOST_LEGS, Phase, RemoteAnswer,
    RemoteOffer, WebRtcEndpoint, place,
};
use crate::rtp_session::{already_negotiated, no_offer, sdp_error};
use crate::webrtc::api::{self, NegotiationError};
use crate::webrtc::sdp;
use crate::webrtc::types::{IceCandidate, OfferOptions};

impl WebRtcEndpoint {
    /// What this side says of itself in the next description.
    fn local(&self) -> LocalDescription {
        let limit = |kbps: i32| u32::try_from(kbps).ok().filter(|k| *k > 0);
        let bandwidths = lock(&self.rtp).bandwidths;
        let mut descriptions = lock(&self.descriptions);
        descriptions.version += 1;
        LocalDescription {
            candidates: lock(&self.state)
                .legs
                .iter()
                .map(|l| l.candidates.clone())
                .collect(),
            max_video_recv_kbps: limit(bandwidths.max_video_recv),
            max_audio_recv_kbps: limit(bandwidths.max_audio_recv),
            session_id: self.session_id,
            session_version: descriptions.version,
        }
    }

    pub(super) async fn offer(&self, options: OfferOptions) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let phase = lock(&self.descriptions).phase.clone();
        let may_offer = match phase {
            Phase::New => true,
            Phase::Offered(_) => false,
            Phase::Stable => lock(&self.state).ever_connected,
        };
        if !may_offer {
            return Err(already_negotiated());
        }
        let options = api::OfferOptions {
            receive_audio: options.offer_to_receive_audio,
            receive_video: options.offer_to_receive_video,
            ice_restart: phase == Phase::Stable,
        };
        let made = self.peer(0).await?.generate_offer(options, self.limits()).await;
        let made = made.map_err(|e| negotiation_error(e, Code::SdpGenerateOffer))?;
        let offer = sdp::local_offer(&made, &self.local()).map_err(|e| sdp_error(&e, Code::SdpCreate))?;
        let lines = sdp::accepted_mids(&offer).into_iter();
        lock(&self.state).mlines = lines.map(|(index, mid)| MLine { index, mid, leg: 0 }).collect();
        let mut descriptions = lock(&self.descriptions);
        descriptions.phase = Phase::Offered(made);
        descriptions.answered = false;
        descriptions.local = Some(offer.clone());
        Ok(offer)
    }

    pub(super) async fn answer(&self, text: String) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let (phase, origin) = {
            let descriptions = lock(&self.descriptions);
            (descriptions.phase.clone(), descriptions.remote_origin.clone())
        };
        if matches!(phase, Phase::Offered(_)) {
            return Err(already_negotiated());
        }
        let offer = RemoteOffer::parse(&text, self.options.data_channels);
        let offer = offer.map_err(|e| sdp_error(&e, Code::SdpProcessOffer))?;
        // The same o= line is the same offer (RFC 3264, section 8), which Kurento refuses.
        if phase == Phase::Stable && offer.origin() == origin {
            return Err(already_negotiated());
        }
        let mut answers = Vec::new();
        for (index, leg) in offer.legs.iter().enumerate().take(MOST_LEGS) {
            let wanted = sdp::restrict_directions(&leg.sdp, self.options.recvonly, self.options.sendonly);
            let answer = self.peer(index).await?.process_offer(wanted, self.limits()).await;
            answers.push(answer.map_err(|e| negotiation_error(e, Code::SdpProcessOffer))?);
        }
        let answer = offer
            .answer(&answers, &self.local())
            .map_err(|e| sdp_error(&e, Code::SdpCreate))?;
        // A line without a common codec was rejected after all.
        let agreed = sdp::accepted_mids(&answer);
        let mut lines = offer.accepted();
        lines.retain(|line| agreed.iter().any(|(index, _)| *index == line.index));
        self.take_lines(lines);
        for (index, leg) in offer.legs.iter().enumerate().take(MOST_LEGS) {
            self.take_candidates(index, &leg.candidates);
        }
        {
            let mut descriptions = lock(&self.descriptions);
            descriptions.phase = Phase::Stable;
            descriptions.answered = false;
            descriptions.local = Some(answer.clone());
            descriptions.remote_origin = offer.origin().to_owned();
            descriptions.remote = Some(text);
        }
        self.negotiated(phase == Phase::New).await;
        Ok(answer)
    }

    pub(super) async fn accept_answer(&self, text: String) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        let offered = {
            let descriptions = lock(&self.descriptions);
            match &descriptions.phase {
                Phase::Offered(made) => made.clone(),
                _ => return Err(no_offer(descriptions.answered)),
            }
        };
        let answer =
            RemoteAnswer::parse(&text, &offered).map_err(|e| sdp_error(&e, Code::SdpProcessAnswer))?;
        let done = self.peer(0).await?.process_answer(answer.sdp).await;
        done.map_err(|e| negotiation_error(e, Code::SdpProcessAnswer))?;
        self.take_candidates(0, &answer.candidates);
        let local = {
            let mut descriptions = lock(&self.descriptions);
            descriptions.phase = Phase::Stable;
            descriptions.answered = true;
            descriptions.remote = Some(text);
            descriptions.local.clone().unwrap_or_default()
        };
        self.negotiated(true).await;
        Ok(local)
    }

    /// Notes the m-lines that were agreed on, and with them which transport carries what.
    fn take_lines(&self, lines: Vec<AcceptedLine>) {
        {
            let mut state = lock(&self.state);
            state.legs_used = lines.iter().map(|l| l.leg + 1).max().unwrap_or(1);
            for line in &lines {
                if let Some(kind) = line.kind {
                    state.leg_of[place(kind)] = line.leg;
                }
            }
            let mline = |l: AcceptedLine| MLine {
                index: l.index,
                mid: l.mid,
                leg: l.leg,
            };
            state.mlines = lines.into_iter().map(mline).collect();
        }
        self.connect_all();
    }

    /// Gives a transport the candidates that came with its description, and those that came before it.
    fn take_candidates(&self, leg: usize, with_description: &[String]) {
        let Some(peer) = self.peers[leg].get() else { return };
        let early = {
            let mut state = lock(&self.state);
            let all = std::mem::take(&mut state.early);
            let (here, elsewhere) = all
                .into_iter()
                .partition(|c| state.leg_for(c).unwrap_or(0) == leg);
            state.early = elsewhere;
            here
        };
        let early: Vec<String> = early.into_iter().map(|c: IceCandidate| c.candidate).collect();
        for candidate in with_description.iter().chain(&early) {
            // One that can't be used does not spoil the others.
            let _ = peer.add_remote_candidate(candidate);
        }
    }

    /// What follows a negotiation: codecs are known.
    async fn negotiated(&self, first: bool) {
        for (index, kind) in [Kind::Audio, Kind::Video].into_iter().enumerate() {
            if let Some(peer) = self.peer_of(kind) {
                let codecs = peer.codecs(kind).await;
                lock(&self.state).codecs[index] = Some(codecs);
            }
        }
        for kind in [Kind::Audio, Kind::Video] {
            self.give_sink(kind);
            self.set_tap(kind);
        }
        if first {
            self.core().raise(&MediaSessionStarted {});
        }
    }

    /// Begins to gather candidates.
    pub(in crate::webrtc) async fn gather_candidates(&self) -> Result<(), Error> {
        let settings = lock(&self.settings).gather.clone();
        self.peer(0).await?;
        self.peers().for_each(|peer| peer.gather(settings.clone()));
        Ok(())
    }

    /// Takes a candidate of the remote. Before the remote's description it waits; afterwards its m-line must exist.
    pub(in crate::webrtc) fn add_ice_candidate(&self, candidate: &IceCandidate) -> Result<(), Error> {
        let refuse = || Error::new(Code::IceAddCandidate, "Error adding candidate");
        let negotiated = lock(&self.descriptions).phase == Phase::Stable;
        if !negotiated {
            let mut state = lock(&self.state);
            if state.early.len() >= MOST_EARLY_CANDIDATES {
                return Err(refuse());
            }
            state.early.push(candidate.clone());
            return Ok(());
        }
        let leg = lock(&self.state).leg_for(candidate).ok_or_else(refuse)?;
        if let Some(peer) = self.peers[leg].get()
            && let Err(error) = peer.add_remote_candidate(&candidate.candidate)
        {
            // Kurento takes anything here, and clients pass on what browsers of tomorrow send.
            tracing::debug!(endpoint = self.core().id(), %error, "candidate is left out");
        }
        Ok(())
    }
}

fn negotiation_error(error: NegotiationError, code: Code) -> Error {
    let code = match error {
        NegotiationError::Parse(_) => Code::SdpParse,
        NegotiationError::NoOfferPending => Code::SdpNoOffer,
        NegotiationError::NoPort(_) => Code::NotEnoughResources,
        NegotiationError::Offer(_) | NegotiationError::Answer(_) | NegotiationError::Closed => code,
    };
    Error::new(code, error.to_string())
}
