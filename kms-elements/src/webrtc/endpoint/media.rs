//! Which way media takes to this endpoint's remote, and from it.
//!
//! Between WebRTC endpoints packets go as they are, inside the engine. Where the remote doesn't take the codec that comes, and from all
//! other elements, media goes by way of GStreamer: depacketised, converted, packetised.

use std::sync::{Arc, Weak};

use kms_core::media::{MediaError, Source};
use kms_core::object::lock;
use kms_core::types::MediaType;
use kms_core::{Element, Object};
use protocol::Code;

use super::{KINDS, WebRtcEndpoint, kind_of, media_type, place};
use crate::packets::Packetiser;
use crate::rtp_session::{RtpSession, quality};
use crate::webrtc::api::{Kind, PeerEvent};
use crate::webrtc::class::EventPump;
use crate::webrtc::outlet::FeedOutlet;
use crate::webrtc::tapped::{Wishes, can_depacketise};

impl WebRtcEndpoint {
    /// Tells the engine who feeds this endpoint and whom it feeds. Both ends need a transport: the later one makes the
    /// connection.
    pub(super) fn connect_all(&self) {
        KINDS.into_iter().for_each(|kind| self.connect_source(kind));
        let Some(pipeline) = self.element.object.pipeline() else {
            return;
        };
        for sink in pipeline.fed_from(&self.element) {
            let Ok(sink) = sink.into_any().downcast::<WebRtcEndpoint>() else {
                continue;
            };
            for kind in KINDS {
                let source = lock(&sink.sources)[place(kind)].clone();
                if source.is_some_and(|s| std::ptr::eq(s.as_ptr(), self)) {
                    sink.connect_source(kind);
                }
            }
        }
    }

    fn connect_source(&self, kind: Kind) {
        let source = lock(&self.sources)[place(kind)].as_ref().and_then(Weak::upgrade);
        if let (Some(own), Some(source)) = (self.peer_of(kind), source) {
            self.shared.engine.set_source(own, kind, source.peer_of(kind));
        }
    }

    /// The source's packets can't be sent to the remote as they are: they are converted from now on.
    pub(super) fn convert(&self, kind: Kind, codec: &str) {
        let source = lock(&self.sources)[place(kind)].as_ref().and_then(Weak::upgrade);
        let Some(source) = source else { return };
        let media = media_type(kind);
        if !can_depacketise(media, codec) {
            let message = format!(
                "The connected source sends {} in {codec}, which was not negotiated with this endpoint's remote and can't be \
                 converted here: nothing is sent",
                media.lower()
            );
            return self.raise_error(&message, Code::UnsupportedMediaType);
        }
        self.packetise(kind, source.source(media).as_ref());
    }

    /// Sends the media of a source by way of GStreamer, or no longer.
    pub(super) fn packetise(&self, kind: Kind, source: Option<&Arc<Source>>) {
        if kind == Kind::Data {
            return;
        }
        let packetiser = source.map(|source| {
            let this = self.this.clone();
            let failed = move |error: &MediaError| {
                if let Some(this) = this.upgrade() {
                    tracing::warn!(endpoint = this.core().id(), detail = %error.detail, "{error}");
                    this.raise_error(&error.message, Code::UnsupportedMediaType);
                }
            };
            Packetiser::start(source, media_type(kind), &self.shared.workshop, Arc::new(failed))
        });
        let before = std::mem::replace(&mut lock(&self.packetisers)[place(kind)], packetiser);
        if let Some(before) = before {
            before.end();
        }
        self.give_sink(kind);
    }

    /// Lets what makes media of received packets have them, once there is a transport.
    pub(super) fn set_tap(&self, kind: Kind) {
        if kind == Kind::Data {
            return;
        }
        if let (Some(depacketiser), Some(peer)) = (self.depacketisers[place(kind)].get(), self.peer_of(kind))
        {
            peer.set_tap(kind, Some(depacketiser.clone()));
        }
    }

    /// Tells what makes packets where they go and what is taken there, once that was negotiated.
    pub(super) fn give_sink(&self, kind: Kind) {
        let packetiser = lock(&self.packetisers)[place(kind)].clone();
        let codecs = lock(&self.state).codecs[place(kind)].clone();
        if let (Some(packetiser), Some(codecs), Some(peer)) = (packetiser, codecs, self.peer_of(kind)) {
            let outlet = FeedOutlet {
                peer: peer.clone(),
                kind,
                timeline: self.shared.workshop.timeline.clone(),
                latency: self.element.latency().clone(),
            };
            let most = self.limits().max_video_send;
            let quality = quality(self.element.bitrates(), most);
            packetiser.set_sink(Arc::new(outlet), codecs, quality);
        }
    }
}

/// Carries what a depacketiser wants to where it may be done.
pub(super) struct TapWishes {
    pub(super) endpoint: Weak<WebRtcEndpoint>,
    pub(super) pump: EventPump,
}

impl Wishes for TapWishes {
    fn codec(&self, kind: MediaType, codec: &'static str) {
        if let Some(kind) = kind_of(kind) {
            self.pump
                .send(self.endpoint.clone(), 0, PeerEvent::TapCodec(kind, codec));
        }
    }

    fn keyframe(&self) {
        self.pump.send(self.endpoint.clone(), 0, PeerEvent::TapKeyframe);
    }
}
