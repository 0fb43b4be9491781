//! `RtpEndpoint`: one remote that speaks RTP.

use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};

use kms_core::element::StatsMap;
use kms_core::events::{
    ConnectionStateChanged, MediaSessionStarted, MediaSessionTerminated, MediaStateChanged,
};
use kms_core::media::{MediaError, Source};
use kms_core::object::lock;
use kms_core::types::{ConnectionState, MediaState, MediaType};
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};

use super::Defaults;
use super::class::OnKeySoftLimit;
use super::counters::Counters;
use super::crypto::Key;
use super::media::{Media, RtpOutlet, Told};
use super::negotiation::{Agreed, Local, Offered};
use super::remote::Remote;
use super::statistics::{Session, stats_map};
use super::transport::Transport;
use crate::packets::{Packetiser, Workshop, clock_rate};
use crate::rtp_session::{
    RtpSession, RtpSettings, already_negotiated, described, no_offer, quality, sdp_error,
};
use crate::sources::Sources;
use crate::webrtc::types::OfferOptions;

const KINDS: [MediaType; 2] = [MediaType::Audio, MediaType::Video];
/// Of the bandwidth that a remote allows, the part that an encoder aims at: the rest is for headers and for what it overshoots.
const ENCODERS_PART: (u64, u64) = (9, 10);
/// What a packet of SRTP has more than one of RTP, bytes (RFC 3711, section 3.1).
const LONGEST_TAG: u32 = 10;

/// How far negotiation has come.
enum Phase {
    New,
    /// An offer of ours waits for its answer.
    Offered(Vec<Offered>),
    Stable,
}

struct State {
    phase: Phase,
    /// Whether it was an offer of ours that was answered.
    answered: bool,
    local: Option<String>,
    remote: Option<String>,
    running: Option<Running>,
    /// What makes packets of what is connected, audio and video.
    packetisers: [Option<Arc<Packetiser>>; 2],
    /// Whether media comes, audio and video.
    receiving: [bool; 2],
    released: bool,
}

/// What carries media once that was agreed on. The sockets' thread ends first.
struct Running {
    _transport: Transport,
    media: Arc<Media>,
    agreed: Vec<Agreed>,
}

/// An RTP endpoint.
pub struct RtpEndpoint {
    element: ElementCore,
    workshop: Arc<Workshop>,
    counters: Arc<Counters>,
    /// What it says of itself in descriptions.
    own: Local,
    sources: Sources,
    /// Held for a whole negotiation: they happen one after the other.
    negotiation: tokio::sync::Mutex<()>,
    /// Read and changed by operations on any connection.
    settings: Mutex<RtpSettings>,
    /// Changed by negotiations, by the graph, and by the thread that receives. Not held when the graph or a packetiser is told
    /// something.
    state: Mutex<State>,
    this: Weak<RtpEndpoint>,
}

impl RtpEndpoint {
    /// An endpoint that has not negotiated.
    pub(super) fn new(
        element: ElementCore,
        key: Option<Key>,
        ipv6: bool,
        workshop: &Arc<Workshop>,
        counters: &Arc<Counters>,
        defaults: Defaults,
    ) -> Arc<RtpEndpoint> {
        let sources = Sources::new(&element, &workshop.timeline, "rtp");
        Arc::new_cyclic(|this| RtpEndpoint {
            element,
            workshop: workshop.clone(),
            counters: counters.clone(),
            sources,
            negotiation: tokio::sync::Mutex::new(()),
            settings: RtpSettings::new(defaults.mtu),
            own: Local::new(key, ipv6, defaults),
            state: Mutex::new(State {
                phase: Phase::New,
                answered: false,
                local: None,
                remote: None,
                running: None,
                packetisers: [None, None],
                receiving: [false; 2],
                released: false,
            }),
            this: this.clone(),
        })
    }

    async fn offer(&self, options: OfferOptions) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        if !matches!(lock(&self.state).phase, Phase::New) {
            return Err(already_negotiated());
        }
        let (text, offered) = self.own.offer(&options, &self.bandwidths())?;
        let mut state = lock(&self.state);
        state.phase = Phase::Offered(offered);
        state.local = Some(text.clone());
        Ok(text)
    }

    async fn answer(&self, text: String) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        if !matches!(lock(&self.state).phase, Phase::New) {
            return Err(already_negotiated());
        }
        let remote = Remote::parse(&text).map_err(|e| sdp_error(&e, Code::SdpProcessOffer))?;
        let (answer, agreed) = self.own.answer(&remote, &self.bandwidths())?;
        self.begin(agreed, |state| {
            state.local = Some(answer.clone());
            state.remote = Some(text);
        })?;
        Ok(answer)
    }

    async fn accept_answer(&self, text: String) -> Result<String, Error> {
        let _one_at_a_time = self.negotiation.lock().await;
        {
            let state = lock(&self.state);
            if !matches!(state.phase, Phase::Offered(_)) {
                return Err(no_offer(state.answered));
            }
        }
        let remote = Remote::parse(&text).map_err(|e| sdp_error(&e, Code::SdpProcessAnswer))?;
        let offered = match &lock(&self.state).phase {
            Phase::Offered(offered) => {
                Local::check_answer(&remote, offered).map_err(|e| sdp_error(&e, Code::SdpProcessAnswer))
            }
            _ => Ok(()),
        };
        offered?;
        let phase = std::mem::replace(&mut lock(&self.state).phase, Phase::New);
        let offered = match phase {
            Phase::Offered(offered) => offered,
            Phase::New | Phase::Stable => Vec::new(),
        };
        self.begin(self.own.answered(&remote, offered), |state| {
            state.answered = true;
            state.remote = Some(text);
        })?;
        described(lock(&self.state).local.clone(), true)
    }

    /// Lets media flow as was agreed.
    fn begin(&self, agreed: Vec<Agreed>, note: impl FnOnce(&mut State)) -> Result<(), Error> {
        let (this, receiving) = (self.this.clone(), self.this.clone());
        let news = Box::new(move |kind, comes| {
            if let Some(this) = receiving.upgrade() {
                this.receiving(kind, comes);
            }
        });
        let sources = |kind| self.sources.of(kind).cloned();
        let started = self.own.start(
            &self.workshop.timeline,
            &self.counters,
            agreed,
            &sources,
            Arc::new(Wishes(this)),
            news,
        );
        let (media, transport, agreed) = started.map_err(|error| {
            tracing::error!(endpoint = self.core().id(), detail = %error.detail, "{error}");
            Error::new(Code::Unexpected, error.message)
        })?;
        let connected = !agreed.is_empty();
        let unused = {
            let mut state = lock(&self.state);
            state.phase = Phase::Stable;
            note(&mut state);
            let running = Running {
                _transport: transport,
                media: Arc::new(media),
                agreed,
            };
            // Released meanwhile, it would never end.
            match state.released {
                true => Some(running),
                false => state.running.replace(running),
            }
        };
        drop(unused);
        self.core().raise(&MediaSessionStarted {});
        if connected {
            self.core().raise(&ConnectionStateChanged {
                old_state: ConnectionState::Disconnected,
                new_state: ConnectionState::Connected,
            });
        }
        KINDS.into_iter().for_each(|kind| self.give_outlet(kind));
        Ok(())
    }

    /// Tells what makes packets where they go and what is taken there, once that was negotiated.
    fn give_outlet(&self, kind: MediaType) {
        let (bandwidths, mtu) = {
            let settings = lock(&self.settings);
            (settings.bandwidths, settings.mtu)
        };
        let (packetiser, outlet, codecs, allowed) = {
            let state = lock(&self.state);
            let Some(running) = &state.running else { return };
            let agreed = running.agreed.iter().find(|a| a.kind == kind && a.sends);
            let (Some(agreed), Some(sender)) = (agreed, running.media.sender(kind)) else {
                return;
            };
            let Some(packetiser) = state.packetisers[place(kind)].clone() else {
                return;
            };
            let tag = if agreed.keys.is_some() { LONGEST_TAG } else { 0 };
            let outlet = RtpOutlet {
                sender,
                types: agreed.send_types(),
                mtu: u32::try_from(mtu).unwrap_or_default().saturating_sub(tag),
                timeline: self.workshop.timeline.clone(),
                latency: self.element.latency().clone(),
            };
            let names: Vec<String> = outlet.types.iter().map(|(c, _)| c.name().to_owned()).collect();
            (packetiser, outlet, names, agreed.bandwidth)
        };
        let allowed = allowed.map(|b| u64::from(b) * ENCODERS_PART.0 / ENCODERS_PART.1);
        let set = Some(bandwidths.video_send_limit()).filter(|limit| *limit > 0);
        let most = [allowed, set].into_iter().flatten().min().unwrap_or(0);
        packetiser.set_sink(Arc::new(outlet), codecs, quality(self.element.bitrates(), most));
    }

    /// Media of a kind begins or ceases to come.
    fn receiving(&self, kind: MediaType, comes: bool) {
        let (before, after) = {
            let mut state = lock(&self.state);
            let before = state.receiving.contains(&true);
            state.receiving[place(kind)] = comes;
            (before, state.receiving.contains(&true))
        };
        self.element.set_producing(kind, comes);
        if before != after {
            self.core().raise(&MediaStateChanged {
                old_state: media_state(before),
                new_state: media_state(after),
            });
        }
    }

    /// Ends all that runs.
    fn end(&self) {
        let (running, packetisers, negotiated) = {
            let mut state = lock(&self.state);
            state.released = true;
            let negotiated = matches!(std::mem::replace(&mut state.phase, Phase::Stable), Phase::Stable);
            (
                state.running.take(),
                std::mem::take(&mut state.packetisers),
                negotiated,
            )
        };
        packetisers.iter().flatten().for_each(|p| p.end());
        drop(running);
        KINDS
            .iter()
            .filter_map(|k| self.sources.of(*k))
            .for_each(|s| s.set_native(None));
        if negotiated {
            self.core().raise(&MediaSessionTerminated {});
        }
    }

    /// What GStreamer does, as a drawing (DOT).
    pub(super) fn dot(&self) -> String {
        let media = lock(&self.state).running.as_ref().map(|r| r.media.clone());
        media
            .map(|m| m.dot())
            .unwrap_or_else(|| "digraph pipeline {}\n".into())
    }

    fn statistics(&self, wanted: Option<MediaType>) -> StatsMap {
        let session = |media: &Media, agreed: &Agreed| {
            let received = self.sources.of(agreed.kind).and_then(|s| s.native());
            let sent = media.sender(agreed.kind).and_then(|s| s.codec());
            Session {
                kind: agreed.kind,
                received: received.map(|f| f.to_string()).unwrap_or_default(),
                sent: sent.map(|c| c.name().to_owned()).unwrap_or_default(),
                frames: media.frames(agreed.kind),
                clock_rate: agreed.formats.first().map_or(90_000, |f| clock_rate(f.codec)),
            }
        };
        let found = {
            let state = lock(&self.state);
            state.running.as_ref().map(|r| {
                let sessions: Vec<Session> = r.agreed.iter().map(|a| session(&r.media, a)).collect();
                (r.media.clone(), sessions)
            })
        };
        found.map_or_else(StatsMap::new, |(media, sessions)| {
            stats_map(&media, &sessions, wanted)
        })
    }
}

fn place(kind: MediaType) -> usize {
    usize::from(kind == MediaType::Video)
}

fn media_state(receiving: bool) -> MediaState {
    match receiving {
        true => MediaState::Connected,
        false => MediaState::Disconnected,
    }
}

/// What the pipeline tells the endpoint.
struct Wishes(Weak<RtpEndpoint>);

impl Told for Wishes {
    fn keyframe_wanted(&self) {
        let Some(this) = self.0.upgrade() else { return };
        let packetiser = lock(&this.state).packetisers[place(MediaType::Video)].clone();
        if let Some(packetiser) = packetiser {
            packetiser.request_keyframe();
        }
    }

    fn key_soft_limit(&self, media_type: MediaType) {
        if let Some(this) = self.0.upgrade() {
            this.core().raise(&OnKeySoftLimit { media_type });
        }
    }

    fn failed(&self, error: &MediaError) {
        if let Some(this) = self.0.upgrade() {
            tracing::error!(endpoint = this.core().id(), detail = %error.detail, "{error}");
            this.raise_error(&error.message, Code::Unexpected);
        }
    }
}

impl Object for RtpEndpoint {
    fn core(&self) -> &ObjectCore {
        &self.element.object
    }
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
    fn into_element(self: Arc<Self>) -> Option<Arc<dyn Element>> {
        Some(self)
    }
    fn released(&self) {
        self.element.leave();
        self.end();
    }
}

impl Element for RtpEndpoint {
    fn element(&self) -> &ElementCore {
        &self.element
    }

    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        self.sources.of(media).cloned()
    }

    fn fed_by(&self, media: MediaType, source: Option<&Arc<dyn Element>>) {
        if media == MediaType::Data {
            return;
        }
        let packetiser = source.and_then(|s| s.source(media)).map(|source| {
            let this = self.this.clone();
            let failed = move |error: &MediaError| {
                if let Some(this) = this.upgrade() {
                    tracing::warn!(endpoint = this.core().id(), detail = %error.detail, "{error}");
                    this.raise_error(&error.message, Code::UnsupportedMediaType);
                }
            };
            Packetiser::start(&source, media, &self.workshop, Arc::new(failed))
        });
        let before = std::mem::replace(&mut lock(&self.state).packetisers[place(media)], packetiser);
        if let Some(before) = before {
            before.end();
        }
        self.give_outlet(media);
    }

    fn stats(&self, media: Option<MediaType>) -> Pin<Box<dyn Future<Output = StatsMap> + Send>> {
        let stats = self.statistics(media);
        Box::pin(async { stats })
    }

    fn is_endpoint(&self) -> bool {
        true
    }

    fn dot_parameters(&self) -> Vec<(String, String)> {
        let state = lock(&self.state);
        let agreed = state.running.iter().flat_map(|r| &r.agreed);
        let codecs = |a: &Agreed| {
            let names: Vec<&str> = a.formats.iter().map(|f| f.codec.name()).collect();
            (format!("{}-codecs", a.kind.lower()), names.join(" "))
        };
        agreed.map(codecs).collect()
    }
}

impl RtpSession for RtpEndpoint {
    async fn generate_offer(self: Arc<Self>, options: OfferOptions) -> Result<String, Error> {
        self.offer(options).await
    }
    async fn process_offer(self: Arc<Self>, offer: String) -> Result<String, Error> {
        self.answer(offer).await
    }
    async fn process_answer(self: Arc<Self>, answer: String) -> Result<String, Error> {
        self.accept_answer(answer).await
    }
    fn local_description(&self) -> Result<String, Error> {
        described(lock(&self.state).local.clone(), true)
    }
    fn remote_description(&self) -> Result<String, Error> {
        described(lock(&self.state).remote.clone(), false)
    }
    fn settings(&self) -> &Mutex<RtpSettings> {
        &self.settings
    }
    fn bandwidths_changed(&self) {
        self.give_outlet(MediaType::Video);
    }
    fn media_state(&self) -> MediaState {
        media_state(lock(&self.state).receiving.contains(&true))
    }
    fn connection_state(&self) -> ConnectionState {
        match &lock(&self.state).running {
            Some(running) if !running.agreed.is_empty() => ConnectionState::Connected,
            _ => ConnectionState::Disconnected,
        }
    }
    fn request_keyframe(&self) {
        let media = lock(&self.state).running.as_ref().map(|r| r.media.clone());
        if let Some(media) = media {
            media.request_keyframe();
        }
    }
}
