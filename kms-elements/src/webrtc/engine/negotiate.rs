//! Offers and answers of one peer, on top of str0m.

use std::time::Instant;

use str0m::Rtc;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::media::{Direction, MediaKind};

use crate::webrtc::api::{NegotiationError, OfferOptions, PeerSettings};

/// An offer that waits for its answer.
#[derive(Default)]
pub(super) struct Negotiation {
    pending: Option<SdpPendingOffer>,
}

impl Negotiation {
    /// Takes an offer and answers it, both in str0m's form.
    pub(super) fn accept_offer(&mut self, rtc: &mut Rtc, offer: &str) -> Result<String, NegotiationError> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(|e| NegotiationError::Parse(e.to_string()))?;
        // An offer of ours that crosses this one is given up (RFC 3264, section 4: glare).
        self.pending = None;
        let answer = rtc
            .sdp_api()
            .accept_offer(offer)
            .map_err(|e| NegotiationError::Offer(e.to_string()))?;
        Ok(answer.to_sdp_string())
    }

    /// Makes an offer: on a new peer with m-lines for what is wanted, on a live one with what it has.
    pub(super) fn make_offer(
        &mut self,
        rtc: &mut Rtc,
        first: bool,
        options: &OfferOptions,
        settings: &PeerSettings,
    ) -> Result<String, NegotiationError> {
        let mut changes = rtc.sdp_api();
        if first {
            for (wanted, kind) in [
                (options.receive_audio, MediaKind::Audio),
                (options.receive_video, MediaKind::Video),
            ] {
                let direction = match (settings.recvonly, settings.sendonly) {
                    (true, false) => Direction::RecvOnly,
                    (false, true) => Direction::SendOnly,
                    _ if wanted => Direction::SendRecv,
                    _ => Direction::SendOnly,
                };
                changes.add_media(kind, direction, None, None, None);
            }
            if settings.data_channels {
                changes.add_channel(String::new());
            }
        } else {
            // An offer without changes does not exist for str0m; new ICE credentials are one that harms nothing.
            changes.ice_restart(true);
        }
        let Some((offer, pending)) = changes.apply() else {
            return Err(NegotiationError::Offer("there is nothing to offer".into()));
        };
        self.pending = Some(pending);
        Ok(offer.to_sdp_string())
    }

    /// Takes the answer to the offer made last, in str0m's form. `None`: the remote wants nothing of it.
    pub(super) fn accept_answer(
        &mut self,
        rtc: &mut Rtc,
        answer: Option<&str>,
    ) -> Result<(), NegotiationError> {
        let Some(pending) = self.pending.take() else {
            return Err(NegotiationError::NoOfferPending);
        };
        let Some(answer) = answer else { return Ok(()) };
        let answer =
            SdpAnswer::from_sdp_string(answer).map_err(|e| NegotiationError::Parse(e.to_string()))?;
        rtc.sdp_api()
            .accept_answer(pending, answer)
            .map_err(|e| NegotiationError::Answer(e.to_string()))
    }
}

/// ICE is given up when no pair worked for this long. str0m itself never gives up: a late candidate may still help.
pub(super) fn ice_deadline(now: Instant) -> Instant {
    now + std::time::Duration::from_secs(30)
}
