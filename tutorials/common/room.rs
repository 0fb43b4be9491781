//! A room in which one presents and all others watch, who may come late and leave early: what one2many-call and selective-mosaic
//! share.
//!
//! The presenter's pipeline holds an endpoint for the presenter and one for each viewer, connected to what is shown.

use std::sync::Arc;

use kms_client::api::events::IceCandidateFound;
use kms_client::api::*;
use kms_client::{Client, Result};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::app_server::Browser;

/// Empty, or somebody presents. Everybody in it is told when that changes. `S` is the element that viewers see.
pub(crate) type Room<S> = watch::Sender<Option<Stage<S>>>;

/// What viewers need of the presenter.
#[derive(Clone)]
pub(crate) struct Stage<S> {
    client: Client,
    pub(crate) pipeline: MediaPipeline,
    /// What is shown.
    shown: S,
    viewers: Arc<watch::Sender<usize>>,
}

/// What a browser takes part as.
pub(crate) struct Part<S> {
    pub(crate) stage: Stage<S>,
    pub(crate) endpoint: WebRtcEndpoint,
    candidates: Events<IceCandidateFound>,
    viewers: watch::Receiver<usize>,
    pub(crate) presents: bool,
}

impl<S: MediaElement + Clone> Stage<S> {
    /// A stage that nobody is told of yet.
    pub(crate) fn new(client: &Client, pipeline: &MediaPipeline, shown: &S) -> Stage<S> {
        Stage {
            client: client.clone(),
            pipeline: pipeline.clone(),
            shown: shown.clone(),
            viewers: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Takes the room, unless it is taken: looked at and taken in one step, for two may press "Present" at the same time.
    pub(crate) fn take(&self, room: &Room<S>) -> bool {
        room.send_if_modified(|room| match room {
            Some(_) => false,
            None => {
                *room = Some(self.clone());
                true
            }
        })
    }

    /// The presenter, at this endpoint.
    pub(crate) async fn presenter(self, endpoint: WebRtcEndpoint) -> Result<Part<S>> {
        let candidates = endpoint.on_ice_candidate_found().await?;
        Ok(self.part(endpoint, candidates, true))
    }

    /// One more viewer. Who comes late gets a picture at once: the media server asks for a keyframe.
    pub(crate) async fn viewer(self) -> Result<Part<S>> {
        let endpoint = WebRtcEndpoint::create(&self.client, &self.pipeline).await?;
        let connected = async {
            let candidates = endpoint.on_ice_candidate_found().await?;
            self.shown.connect(&endpoint).await?;
            Ok(candidates)
        };
        match connected.await {
            Ok(candidates) => {
                self.viewers.send_modify(|count| *count += 1);
                Ok(self.part(endpoint, candidates, false))
            }
            Err(error) => {
                let _ = endpoint.release().await; // one that sees nothing is of no use
                Err(error)
            }
        }
    }

    fn part(
        self,
        endpoint: WebRtcEndpoint,
        candidates: Events<IceCandidateFound>,
        presents: bool,
    ) -> Part<S> {
        Part {
            viewers: self.viewers.subscribe(),
            stage: self,
            endpoint,
            candidates,
            presents,
        }
    }
}

impl<S: MediaElement + Clone> Part<S> {
    /// Answers the browser's offer.
    pub(crate) async fn negotiate(&self, browser: &mut Browser, response: &str, offer: &str) -> Result<()> {
        let answer = self.endpoint.process_offer(offer).await?;
        browser
            .send(json!({"id": response, "response": "accepted", "sdpAnswer": answer}))
            .await;
        self.endpoint.gather_candidates().await
    }

    /// Leaves: a presenter takes the pipeline along, a viewer only the own endpoint. An error means that it is gone already.
    pub(crate) async fn leave(self, room: &Room<S>) {
        if self.presents {
            room.send_replace(None);
            let _ = self.stage.pipeline.release().await;
        } else {
            self.stage.viewers.send_modify(|count| *count -= 1);
            let _ = self.endpoint.release().await;
        }
    }

    /// Whether it watches somebody who presents no more: its endpoint went with the pipeline.
    pub(crate) fn is_orphaned(&self, room: &Room<S>) -> bool {
        let stage = room.borrow();
        let same = stage
            .as_ref()
            .is_some_and(|stage| stage.pipeline.id() == self.stage.pipeline.id());
        !self.presents && !same
    }

    async fn news(&mut self) -> Option<Value> {
        tokio::select! {
            found = self.candidates.next() => found.map(|found| json!({"id": "iceCandidate", "candidate": found.candidate})),
            // Can't fail: the part holds a sender.
            _ = self.viewers.changed() => Some(json!({"id": "viewers", "count": *self.viewers.borrow_and_update()})),
        }
    }
}

/// What the media server and the other browsers have for this one, as its page is told; nothing for who takes no part. `None`: the media
/// server has forgotten everything.
pub(crate) async fn next_news<S: MediaElement + Clone>(part: &mut Option<Part<S>>) -> Option<Value> {
    match part {
        Some(part) => part.news().await,
        None => std::future::pending().await,
    }
}
