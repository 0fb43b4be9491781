//! A player: plays a URI, again and again if it is asked to.

use std::any::Any;
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;
use kms_core::events::Error as ErrorEvent;
use kms_core::media::{Report, Source, Timeline, error_name};
use kms_core::object::lock;
use kms_core::types::MediaType;
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};

use super::camera;
use super::class::{ConnectionLost, ConnectionRestored, EndOfStream, VideoInfo};
use super::reconnect::{Backoff, CHECK, SILENCE};
use super::session::{Listener, Session};
use super::uri::{BAD_CERTIFICATE, PlayerUri, Reading};
use crate::endpoint::{UriEndpoint, UriEndpointState, UriEndpointStateChanged};
use crate::sources::Sources;

/// What the player does.
struct Playing {
    state: UriEndpointState,
    /// The last state that clients were told.
    told: UriEndpointState,
    session: Option<Session>,
    /// Number of the session; what earlier ones still report is too late.
    number: u64,
    /// The session has played to its end.
    ended: bool,
    /// Where it will go on, milliseconds, if a position was set while it was paused.
    sought: Option<i64>,
    /// Media has come since `play`: what ends now was lost.
    has_begun: bool,
    /// It was lost, and is tried again.
    lost: bool,
    /// The camera gives nothing over TCP, or is elsewhere: GStreamer reads it.
    refused: bool,
    reconnects: bool,
    backoff: Backoff,
}

/// The endpoint.
pub struct PlayerEndpoint {
    element: ElementCore,
    uri: PlayerUri,
    reading: Reading,
    timeline: Timeline,
    sources: Sources,
    /// Changed by clients on any connection and by what the session reports on its threads. Not held when the graph or a source is
    /// told something.
    playing: Mutex<Playing>,
    this: Weak<PlayerEndpoint>,
    /// Where waiting is done: the runtime that serves clients, in which endpoints are created.
    runtime: tokio::runtime::Handle,
}

impl PlayerEndpoint {
    /// A player that has not begun.
    pub(super) fn new(
        element: ElementCore,
        uri: PlayerUri,
        reading: Reading,
        timeline: &Timeline,
    ) -> Arc<PlayerEndpoint> {
        let sources = Sources::new(&element, timeline, "player");
        Arc::new_cyclic(|this| PlayerEndpoint {
            sources,
            element,
            reading,
            timeline: timeline.clone(),
            playing: Mutex::new(Playing {
                reconnects: uri.is_live(),
                state: UriEndpointState::Stop,
                told: UriEndpointState::Stop,
                session: None,
                number: 0,
                ended: false,
                sought: None,
                has_begun: false,
                lost: false,
                refused: false,
                backoff: Backoff::default(),
            }),
            uri,
            this: this.clone(),
            runtime: tokio::runtime::Handle::current(),
        })
    }

    /// Plays: from the beginning, from where it was paused, or anew if it has ended.
    pub(super) fn play(&self) -> Result<(), Error> {
        self.go(UriEndpointState::Start)
    }

    /// Whether live media that is lost is tried again.
    pub(super) fn reconnects(&self) -> bool {
        lock(&self.playing).reconnects
    }

    /// Sets it.
    pub(super) fn set_reconnects(&self, reconnects: bool) {
        lock(&self.playing).reconnects = reconnects;
    }

    fn go(&self, state: UriEndpointState) -> Result<(), Error> {
        let over = lock(&self.playing).ended;
        if over {
            self.end_session();
        }
        let mut playing = lock(&self.playing);
        if playing.session.is_none() {
            playing.number += 1;
            playing.ended = false;
            let listener: Weak<dyn Listener> = self.this.clone();
            let origin = self.uri.origin(self.reading.clone(), !playing.refused);
            let session = Session::new(playing.number, origin, &self.timeline, listener);
            playing.session = Some(session.map_err(|error| {
                tracing::error!(uri = %self.uri, detail = %self.uri.redact(&error.detail), "{error}");
                Error::new(Code::Unexpected, error.message)
            })?);
            if self.uri.is_live() {
                self.watch(playing.number);
            }
        }
        playing.state = state;
        if let Some(session) = &playing.session {
            session.go(match state {
                UriEndpointState::Pause => gst::State::Paused,
                _ => gst::State::Playing,
            });
        }
        Ok(())
    }

    /// Ends the session, if there is one; its media is given no more.
    fn end_session(&self) {
        let session = {
            let mut playing = lock(&self.playing);
            playing.number += 1;
            playing.ended = false;
            playing.sought = None;
            playing.has_begun = false;
            playing.lost = false;
            playing.session.take()
        };
        self.sources.stop(&self.element);
        drop(session);
    }

    /// Looks for silence of a live source as long as this session lasts.
    fn watch(&self, session: u64) {
        let this = self.this.clone();
        self.runtime.spawn(async move {
            let mut check = tokio::time::interval(CHECK);
            loop {
                check.tick().await;
                let Some(player) = this.upgrade().filter(|p| p.is_current(session)) else {
                    return;
                };
                if player.is_silent() {
                    let why = match player.anything_comes() {
                        true => "no video came for 4 s",
                        false => "nothing came for 4 s",
                    };
                    if player.lost(session, why) {
                        return;
                    }
                }
            }
        });
    }

    fn is_silent(&self) -> bool {
        let playing = lock(&self.playing);
        let missing = playing.session.as_ref().map(Session::missing_since);
        playing.state == UriEndpointState::Start
            && playing.has_begun
            && missing.is_some_and(|since| self.timeline.now() > since + gst_time(SILENCE))
    }

    /// Whether some media is still coming.
    fn anything_comes(&self) -> bool {
        let playing = lock(&self.playing);
        let last = playing.session.as_ref().map(Session::last_media);
        last.is_some_and(|last| self.timeline.now() < last + gst_time(SILENCE))
    }

    /// A live source is gone: it is tried again, if that is wanted. False: it is not.
    fn lost(&self, session: u64, why: &str) -> bool {
        let (news, wait, next, dead) = {
            let mut playing = lock(&self.playing);
            let again =
                playing.number == session && playing.reconnects && (playing.has_begun || playing.lost);
            if !again || !self.uri.is_live() {
                return false;
            }
            let news = !std::mem::replace(&mut playing.lost, true);
            playing.has_begun = false;
            playing.number += 1;
            (
                news,
                playing.backoff.next(),
                playing.number,
                playing.session.take(),
            )
        };
        drop(dead);
        self.sources.stop(&self.element);
        if news {
            tracing::warn!(uri = %self.uri, why, "a camera is lost, and tried again");
            self.core().raise(&ConnectionLost {
                description: format!("{} is lost: {why}", self.uri),
            });
        }
        let this = self.this.clone();
        self.runtime.spawn(async move {
            tokio::time::sleep(wait).await;
            // Stopped, released or played anew meanwhile: then the number is another.
            if let Some(player) = this.upgrade().filter(|p| p.is_current(next))
                && let Err(error) = player.go(UriEndpointState::Start)
            {
                tracing::error!(uri = %player.uri, %error, "a camera can't be tried again");
            }
        });
        true
    }

    /// Media of a kind comes.
    fn restored(&self) -> bool {
        let mut playing = lock(&self.playing);
        playing.has_begun = true;
        playing.backoff.reset();
        std::mem::take(&mut playing.lost)
    }

    /// Tells clients the state, if it is news.
    fn tell(&self, state: UriEndpointState) {
        let news = {
            let mut playing = lock(&self.playing);
            std::mem::replace(&mut playing.told, state) != state
        };
        if news {
            self.core().raise(&UriEndpointStateChanged { state });
        }
    }

    /// Milliseconds since the beginning.
    pub(super) fn position(&self) -> i64 {
        let playing = lock(&self.playing);
        if let Some(sought) = playing.sought {
            return sought;
        }
        let position = playing.session.as_ref().map(Session::position);
        millis(position)
    }

    /// Jumps: to the last keyframe before the position.
    pub(super) fn set_position(&self, millis: i64) -> Result<(), Error> {
        let failed = |why: &str| Error::new(Code::PlayerSeek, format!("The position can't be set: {why}"));
        let position = u64::try_from(millis).map_err(|_| failed("it is before the beginning"))?;
        let info = self.video_info();
        if !info.is_seekable {
            return Err(failed("this media can't be sought in, or nothing is played yet"));
        }
        if millis > info.seekable_end && info.seekable_end > 0 {
            return Err(failed(&format!("the media ends at {} ms", info.seekable_end)));
        }
        let mut playing = lock(&self.playing);
        playing.ended = false;
        let plays = playing.state == UriEndpointState::Start;
        playing.sought = (!plays).then_some(millis);
        let Some(session) = &playing.session else {
            return Err(failed("nothing is played yet"));
        };
        session.seek(gst::ClockTime::from_mseconds(position), plays);
        Ok(())
    }

    /// How long it is, and where in it can be sought.
    pub(super) fn video_info(&self) -> VideoInfo {
        let playing = lock(&self.playing);
        let Some(session) = &playing.session else {
            return VideoInfo {
                is_seekable: false,
                seekable_init: 0,
                seekable_end: 0,
                duration: 0,
            };
        };
        let pipeline = session.pipeline();
        let duration = millis(pipeline.query_duration::<gst::ClockTime>());
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        let (seekable, start, end) = match pipeline.query(&mut query) {
            true => query.result(),
            false => (false, gst::ClockTime::NONE.into(), gst::ClockTime::NONE.into()),
        };
        let time = |value: gst::GenericFormattedValue| match value {
            gst::GenericFormattedValue::Time(time) => millis(time),
            _ => 0,
        };
        let seekable = seekable && !self.uri.is_live();
        VideoInfo {
            is_seekable: seekable,
            seekable_init: if seekable { time(start) } else { 0 },
            seekable_end: if seekable { time(end) } else { 0 },
            duration,
        }
    }

    /// What GStreamer does, as a drawing (DOT), without user and password.
    pub(super) fn dot(&self) -> String {
        let playing = lock(&self.playing);
        let dot = playing
            .session
            .as_ref()
            .map(|s| s.pipeline().debug_to_dot_data(gst::DebugGraphDetails::all()));
        dot.map(|d| self.uri.redact(&d))
            .unwrap_or_else(|| "digraph pipeline {}\n".into())
    }

    /// A camera can't be had over TCP, or has sent us elsewhere: another session tries it in other ways. False: one has.
    fn try_otherwise(&self, session: u64) -> bool {
        let (dead, state) = {
            let mut playing = lock(&self.playing);
            if playing.number != session || std::mem::replace(&mut playing.refused, true) {
                return false;
            }
            (playing.session.take(), playing.state)
        };
        drop(dead);
        tracing::info!(uri = %self.uri, "a camera is asked for UDP: it gives nothing over TCP, or is elsewhere");
        if let Err(error) = self.go(state) {
            tracing::error!(uri = %self.uri, %error, "a camera can't be tried otherwise");
        }
        true
    }

    /// The session has failed for good.
    fn failed(&self, element: &str, error: &gst::glib::Error, detail: &str) {
        tracing::warn!(uri = %self.uri, element, detail = %self.uri.redact(detail), "{}", self.uri.redact(error.message()));
        lock(&self.playing).state = UriEndpointState::Stop;
        self.end_session();
        if ["TLS", "Secure connection"]
            .iter()
            .any(|word| detail.contains(word))
        {
            let error = gst::glib::Error::new(gst::ResourceError::NotAuthorized, BAD_CERTIFICATE);
            return self.tell_failure(&error);
        }
        // Sources say little when they get no connection, so it is looked whether there is such a host.
        let unreachable = element == "source"
            && (error.matches(gst::StreamError::Failed) || error.matches(gst::ResourceError::OpenReadWrite));
        let Some(host) = self.uri.host().filter(|_| unreachable) else {
            return self.tell_failure(error);
        };
        let this = self.this.clone();
        self.runtime.spawn(async move {
            let known = tokio::net::lookup_host((host.0.as_str(), host.1)).await;
            let error = match known {
                Ok(_) => gst::glib::Error::new(
                    gst::ResourceError::OpenRead,
                    &format!("{} can't be reached", host.0),
                ),
                Err(_) => gst::glib::Error::new(
                    gst::ResourceError::NotFound,
                    &format!("there is no host {}", host.0),
                ),
            };
            if let Some(player) = this.upgrade() {
                player.tell_failure(&error);
            }
        });
    }

    fn tell_failure(&self, error: &gst::glib::Error) {
        let (number, name) = error_name(error);
        self.core().raise(&ErrorEvent {
            description: format!(
                "{} can't be played: {}",
                self.uri,
                self.uri.redact(error.message())
            ),
            error_code: number,
            error_type: name,
        });
        self.tell(UriEndpointState::Stop);
    }

    fn ended(&self) {
        lock(&self.playing).ended = true;
        self.sources
            .ended(&self.element, || self.core().raise(&EndOfStream {}));
    }
}

fn gst_time(duration: std::time::Duration) -> gst::ClockTime {
    gst::ClockTime::from_mseconds(duration.as_millis() as u64)
}

fn millis(time: Option<gst::ClockTime>) -> i64 {
    time.map_or(0, |t| t.mseconds() as i64)
}

impl Listener for PlayerEndpoint {
    fn is_current(&self, session: u64) -> bool {
        lock(&self.playing).number == session
    }

    fn sources(&self) -> &Sources {
        &self.sources
    }

    fn began(&self, session: u64, kind: MediaType) {
        if !self.is_current(session) {
            return;
        }
        if self.restored() {
            tracing::info!(uri = %self.uri, "a camera is back");
            self.core().raise(&ConnectionRestored {});
        }
        self.element.set_producing(kind, true);
    }

    fn reported(&self, session: u64, report: Report) {
        if !self.is_current(session) {
            return;
        }
        let wanted = lock(&self.playing).state;
        match (report, wanted) {
            (Report::State(gst::State::Playing), UriEndpointState::Start) => {
                lock(&self.playing).sought = None;
                self.tell(UriEndpointState::Start);
            }
            (Report::State(gst::State::Paused), UriEndpointState::Pause) => {
                self.tell(UriEndpointState::Pause)
            }
            (Report::State(_), _) => {}
            (Report::EndOfStream, _) if self.lost(session, "it ended the stream") => {}
            (Report::EndOfStream, _) => self.ended(),
            (Report::Failed { error, .. }, _)
                if camera::may_be_had_otherwise(&error) && self.try_otherwise(session) => {}
            (
                Report::Failed {
                    element,
                    error,
                    detail,
                },
                _,
            ) => {
                if !self.lost(session, &self.uri.redact(error.message())) {
                    self.failed(&element, &error, &detail);
                }
            }
        }
    }
}

impl UriEndpoint for PlayerEndpoint {
    fn uri(&self) -> String {
        self.uri.to_string()
    }

    fn state(&self) -> UriEndpointState {
        lock(&self.playing).state
    }

    fn pause(self: Arc<Self>) -> Result<(), Error> {
        self.go(UriEndpointState::Pause)
    }

    fn stop(self: Arc<Self>) -> Result<(), Error> {
        lock(&self.playing).state = UriEndpointState::Stop;
        self.end_session();
        self.tell(UriEndpointState::Stop);
        Ok(())
    }
}

impl Object for PlayerEndpoint {
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
        self.end_session();
        self.element.leave();
    }
}

impl Element for PlayerEndpoint {
    fn element(&self) -> &ElementCore {
        &self.element
    }
    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        self.sources.of(media).cloned()
    }
    fn is_endpoint(&self) -> bool {
        true
    }
    fn dot_parameters(&self) -> Vec<(String, String)> {
        vec![("uri".into(), self.uri.to_string())]
    }
}
