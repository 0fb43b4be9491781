//! The endpoint: a session for each upload, and what clients are told of it.

use std::any::Any;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use kms_core::events::{Error as ErrorEvent, MediaSessionStarted, MediaSessionTerminated};
use kms_core::media::{Report, Source, Timeline, error_name};
use kms_core::object::lock;
use kms_core::types::MediaType;
use kms_core::{Element, ElementCore, Object, ObjectCore};
use protocol::{Code, Error};
use tokio::sync::watch;
use uuid::Uuid;

use super::upload::{End, Upload, UploadError, origin};
use super::uploads::Uploads;
use crate::player::EndOfStream;
use crate::player::session::{Listener, Session};
use crate::sources::Sources;

/// The endpoint.
pub struct HttpPostEndpoint {
    element: ElementCore,
    /// The part of the URL that nobody guesses.
    id: String,
    uploads: Uploads,
    disconnection_timeout: Duration,
    timeline: Timeline,
    sources: Sources,
    /// Changed by uploads and by what sessions report on their threads. Not held when the graph, a source or an upload is told
    /// something.
    state: Mutex<State>,
    this: Weak<HttpPostEndpoint>,
    /// Where waiting is done: the runtime that serves clients, in which endpoints are created.
    runtime: tokio::runtime::Handle,
}

#[derive(Default)]
struct State {
    session: Option<Session>,
    /// Number of the session; what earlier ones still report is too late.
    number: u64,
    /// The upload that plays: what it is told at its end.
    upload: Option<watch::Sender<End>>,
    /// Clients were told that the session has begun, but not yet that it is over.
    started: bool,
    released: bool,
}

impl HttpPostEndpoint {
    /// An endpoint that nothing was uploaded to yet.
    pub(super) fn new(
        element: ElementCore,
        disconnection_timeout: Duration,
        timeline: &Timeline,
        uploads: &Uploads,
    ) -> Arc<HttpPostEndpoint> {
        let id = Uuid::new_v4().to_string();
        let sources = Sources::new(&element, timeline, "http-post");
        let this = Arc::new_cyclic(|this| HttpPostEndpoint {
            element,
            id,
            uploads: uploads.clone(),
            disconnection_timeout,
            timeline: timeline.clone(),
            sources,
            state: Mutex::default(),
            this: this.clone(),
            runtime: tokio::runtime::Handle::current(),
        });
        uploads.join(&this.id, this.this.clone());
        this
    }

    /// Where files are uploaded to.
    pub(super) fn url(&self) -> Result<String, Error> {
        self.uploads
            .url(&self.id)
            .ok_or_else(|| Error::new(Code::HttpRegistration, "The server takes no uploads yet"))
    }

    /// Begins an upload, if no other is under way.
    pub(super) fn begin(&self) -> Result<Upload, UploadError> {
        let (origin, room) = origin();
        let (end, ends) = watch::channel(None);
        let (before, news, number) = {
            let mut state = lock(&self.state);
            if state.released {
                return Err(UploadError::Unknown);
            }
            if state.upload.is_some() {
                return Err(UploadError::Busy);
            }
            state.number += 1;
            let listener: Weak<dyn Listener> = self.this.clone();
            let session = Session::new(state.number, origin, &self.timeline, listener).map_err(|error| {
                tracing::error!(detail = %error.detail, "an upload can't be played: {error}");
                UploadError::Failed
            })?;
            state.upload = Some(end);
            let before = state.session.replace(session);
            (before, !std::mem::replace(&mut state.started, true), state.number)
        };
        if before.is_some() {
            self.sources.stop(&self.element);
        }
        drop(before);
        if news {
            self.core().raise(&MediaSessionStarted {});
        }
        if let Some(session) = &lock(&self.state).session {
            session.go(gst::State::Playing);
        }
        let most = self.uploads.most_unindexed();
        Ok(Upload::new(self.this.clone(), number, room, ends, most))
    }

    /// The client is gone before its upload was complete. What has come is played, and then the session ends.
    pub(super) fn vanished(&self, session: u64) {
        let upload = {
            let mut state = lock(&self.state);
            if state.number == session {
                state.upload.take()
            } else {
                None
            }
        };
        if upload.is_some() {
            tracing::info!(
                endpoint = self.core().id(),
                "a client is gone before its upload was complete"
            );
            self.end_later(session);
        }
    }

    /// The upload is one that can't be played.
    pub(super) fn refuse(&self, session: u64, error: &UploadError) {
        if self.is_current(session) {
            let unplayable = gst::glib::Error::new(gst::StreamError::Demux, &error.to_string());
            self.failed(session, &unplayable, error.clone());
        }
    }

    fn failed(&self, session: u64, error: &gst::glib::Error, end: UploadError) {
        let (number, name) = error_name(error);
        let description = end.to_string();
        let Some(upload) = lock(&self.state).upload.take() else {
            // It failed after its client had gone, which is no surprise.
            return;
        };
        self.sources.stop(&self.element);
        self.core().raise(&ErrorEvent {
            description,
            error_code: number,
            error_type: name,
        });
        upload.send_replace(Some(Err(end)));
        self.end_later(session);
    }

    fn played(&self, session: u64) {
        self.sources
            .ended(&self.element, || self.core().raise(&EndOfStream {}));
        if let Some(upload) = lock(&self.state).upload.take() {
            upload.send_replace(Some(Ok(())));
            self.end_later(session);
        }
    }

    /// Ends the session after the timeout, unless another upload begins first.
    fn end_later(&self, session: u64) {
        let (this, timeout) = (self.this.clone(), self.disconnection_timeout);
        self.runtime.spawn(async move {
            tokio::time::sleep(timeout).await;
            let Some(this) = this.upgrade().filter(|t| t.is_current(session)) else {
                return;
            };
            let before = {
                let mut state = lock(&this.state);
                state.number += 1;
                state.started = false;
                state.session.take()
            };
            this.sources.stop(&this.element);
            drop(before);
            this.core().raise(&MediaSessionTerminated {});
        });
    }
}

impl Listener for HttpPostEndpoint {
    fn is_current(&self, session: u64) -> bool {
        lock(&self.state).number == session
    }

    fn sources(&self) -> &Sources {
        &self.sources
    }

    fn began(&self, session: u64, kind: MediaType) {
        if self.is_current(session) {
            self.element.set_producing(kind, true);
        }
    }

    fn reported(&self, session: u64, report: Report) {
        if !self.is_current(session) {
            return;
        }
        match report {
            Report::State(_) => {}
            Report::EndOfStream => self.played(session),
            Report::Failed {
                element,
                error,
                detail,
            } => {
                tracing::warn!(
                    endpoint = self.core().id(),
                    element,
                    detail,
                    "an upload can't be played: {error}"
                );
                let end = match error.is::<gst::StreamError>() {
                    true => UploadError::NotPlayable(error.message().to_owned()),
                    false => UploadError::Failed,
                };
                self.failed(session, &error, end);
            }
        }
    }
}

impl Object for HttpPostEndpoint {
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
        self.uploads.leave(&self.id);
        let (session, upload) = {
            let mut state = lock(&self.state);
            state.number += 1;
            state.released = true;
            (state.session.take(), state.upload.take())
        };
        self.sources.stop(&self.element);
        drop(session);
        if let Some(upload) = upload {
            upload.send_replace(Some(Err(UploadError::Released)));
        }
        self.element.leave();
    }
}

impl Element for HttpPostEndpoint {
    fn element(&self) -> &ElementCore {
        &self.element
    }
    fn source(&self, media: MediaType) -> Option<Arc<Source>> {
        self.sources.of(media).cloned()
    }
    fn is_endpoint(&self) -> bool {
        true
    }
}
