//! How a peer negotiates, and what it reads off the result.

use std::time::Instant;

use str0m::Rtc;
use str0m::media::{Mid, Rid, Rids};

use super::{Peer, slot};
use crate::webrtc::api::{Kind, Limits, NegotiationError, OfferOptions};
use crate::webrtc::engine::outbound::Outbound;
use crate::webrtc::engine::rtc::{self, codec_name};
use crate::webrtc::sdp::{accepted_mids, without_feedback_of_viewers};

impl Peer {
    pub(in crate::webrtc::engine) fn rtc(&mut self, estimate: bool, now: Instant) -> &mut Rtc {
        if self.rtc.is_none() {
            self.estimates = estimate;
        }
        let (settings, limits) = (&self.settings, &self.limits);
        let (locals, early) = (self.transport.locals(), &mut self.early_candidates);
        self.rtc.get_or_insert_with(|| {
            let mut rtc = rtc::build(settings, limits, estimate, now);
            for local in locals {
                rtc.add_local_candidate(local.candidate.clone());
            }
            early.drain(..).for_each(|c| rtc.add_remote_candidate(c));
            rtc
        })
    }

    /// Takes an offer in str0m's form and answers it.
    pub(in crate::webrtc::engine) fn process_offer(
        &mut self,
        offer: &str,
        limits: Limits,
        estimate: bool,
        now: Instant,
    ) -> Result<String, NegotiationError> {
        self.limits = limits;
        self.rtc(estimate, now);
        let Some(rtc) = self.rtc.as_mut() else {
            return Err(NegotiationError::Closed);
        };
        let answer = match self.estimates {
            true => self.negotiation.accept_offer(rtc, offer)?,
            false => self
                .negotiation
                .accept_offer(rtc, &without_feedback_of_viewers(offer))?,
        };
        self.negotiated(&answer);
        Ok(answer)
    }

    /// Makes an offer in str0m's form.
    pub(in crate::webrtc::engine) fn generate_offer(
        &mut self,
        options: &OfferOptions,
        limits: Limits,
        estimate: bool,
        now: Instant,
    ) -> Result<String, NegotiationError> {
        self.limits = limits;
        self.rtc(estimate, now);
        let Some(rtc) = self.rtc.as_mut() else {
            return Err(NegotiationError::Closed);
        };
        self.negotiation
            .make_offer(rtc, self.mids.is_empty(), options, &self.settings)
    }

    /// Takes the answer to the offer made last.
    pub(in crate::webrtc::engine) fn process_answer(
        &mut self,
        answer: Option<&str>,
    ) -> Result<(), NegotiationError> {
        let Some(rtc) = self.rtc.as_mut() else {
            return Err(NegotiationError::NoOfferPending);
        };
        self.negotiation.accept_answer(rtc, answer)?;
        self.negotiated(answer.unwrap_or_default());
        Ok(())
    }

    /// Reads off what was negotiated: m-lines, layers, and the tracks this peer can send.
    pub(in crate::webrtc::engine) fn negotiated(&mut self, description: &str) {
        let mids = accepted_mids(description);
        self.mids = mids.iter().map(|(_, mid)| Mid::from(mid.as_str())).collect();
        self.has_data = description
            .lines()
            .any(|l| l.starts_with("m=application") && !l.starts_with("m=application 0"));
        let Some(rtc) = self.rtc.as_mut() else { return };
        for mid in &self.mids {
            let Some(media) = rtc.media(*mid) else { continue };
            let (kind, direction) = (rtc::kind(media.kind()), media.direction());
            let mut rids = match media.rids_rx() {
                Rids::Specific(rids) => rids.clone(),
                Rids::None | Rids::Any => Vec::new(),
            };
            // Which layer is the better one is told by measured bitrates; any order that stays is good.
            rids.sort_unstable_by_key(layer_order);
            if direction.is_receiving() {
                self.inbound.media(kind, *mid, &rids);
            }
            if !direction.is_sending() {
                self.outbound.retain(|o| o.mid() != *mid);
                continue;
            }
            let mut api = rtc.direct_api();
            if api.stream_tx_by_mid(*mid, None).is_none() {
                // An m-line that receives simulcast gets no stream to send on by itself.
                let (ssrc, rtx) = (api.new_ssrc(), api.new_ssrc());
                api.declare_stream_tx(ssrc, (kind == Kind::Video).then_some(rtx), *mid, None);
            }
            match self.outbound.iter_mut().find(|o| o.mid() == *mid) {
                Some(track) => track.renegotiated(),
                None => {
                    let mut track = Outbound::new(kind, *mid, uuid::Uuid::new_v4().as_u128() as u16);
                    track.set_source(self.sources[slot(kind)]);
                    self.outbound.push(track);
                }
            }
        }
    }

    /// Codecs negotiated for a kind, preferred first.
    pub(in crate::webrtc::engine) fn codecs(&self, kind: Kind) -> Vec<String> {
        let Some(rtc) = &self.rtc else { return Vec::new() };
        let mut names: Vec<String> = Vec::new();
        for media in self
            .mids
            .iter()
            .filter_map(|mid| rtc.media(*mid))
            .filter(|m| rtc::kind(m.kind()) == kind)
        {
            let all = rtc.codec_config().params();
            for pt in media.remote_pts() {
                if let Some(params) = all.iter().find(|p| p.pt() == *pt) {
                    let name = codec_name(params.spec().codec).to_owned();
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
        }
        names
    }

    /// The local user name fragment, by which checks that arrive on a shared socket find this peer (RFC 8445, section 7.3).
    pub(in crate::webrtc::engine) fn ufrag(&mut self) -> Option<String> {
        Some(self.rtc.as_mut()?.direct_api().local_ice_credentials().ufrag)
    }
}

/// Layers by the names in use: "q", "h", "f" (quarter, half, full), "l", "m", "h" (low, medium, high), or numbers.
fn layer_order(rid: &Rid) -> (u8, String) {
    let name = rid.to_string();
    let rank = match name.as_str() {
        "q" | "l" | "low" => 0,
        "m" | "mid" | "medium" => 1,
        "h" | "high" => 2,
        "f" | "full" => 3,
        _ => 1,
    };
    (rank, name)
}
