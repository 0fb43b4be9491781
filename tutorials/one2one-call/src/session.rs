//! One browser: its person's name, and the call that person is in.

use std::sync::Arc;

use kms_client::api::events::IceCandidateFound;
use kms_client::api::types::IceCandidate;
use kms_client::api::*;
use kms_client::{Client, Result};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::app_server::{Browser, MediaServer};
use crate::people::{Leg, Mailbox, Note, People, What};

/// How many of a caller's candidates are kept until the call is accepted; a browser has some ten.
const MAX_EARLY: usize = 64;

/// What the page says.
#[derive(Deserialize)]
#[serde(tag = "id", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum FromPage {
    /// A name was chosen.
    Register { name: String },
    /// "Call" was pressed.
    Call { to: String, sdp_offer: String },
    /// "Accept" or "Reject" was pressed.
    IncomingCallResponse { accept: bool, sdp_offer: Option<String> },
    /// An address at which the browser may be reached.
    OnIceCandidate { candidate: IceCandidate },
    /// "Hang up" was pressed.
    Stop,
}

/// What the person is doing.
enum Doing {
    Nothing,
    /// Waiting for the other one to accept. The call's leg will want the candidates.
    Calling {
        peer: Mailbox,
        early: Vec<IceCandidate>,
    },
    /// Being called; the offer is the caller's.
    Ringing {
        peer: Mailbox,
        offer: String,
    },
    Talking {
        peer: Mailbox,
        leg: Leg,
    },
}

/// What comes from elsewhere than the page.
enum Incoming {
    Note(Note),
    Candidate(Option<IceCandidateFound>),
}

pub(crate) struct Session {
    browser: Browser,
    kms: Arc<MediaServer>,
    people: Arc<People>,
    me: Option<(Mailbox, mpsc::Receiver<Note>)>,
    doing: Doing,
}

impl Session {
    pub(crate) fn new(browser: Browser, kms: Arc<MediaServer>, people: Arc<People>) -> Session {
        Session {
            browser,
            kms,
            people,
            me: None,
            doing: Doing::Nothing,
        }
    }

    /// Serves the browser until it leaves.
    pub(crate) async fn run(mut self) {
        loop {
            let Session {
                browser, me, doing, ..
            } = &mut self;
            let done = tokio::select! {
                message = browser.receive() => match message {
                    Some(message) => self.handle(message).await,
                    None => break,
                },
                incoming = next(me, doing) => match incoming {
                    Incoming::Note(note) => self.receive(note).await,
                    Incoming::Candidate(found) => self.candidate(found).await,
                },
            };
            if let Err(error) = done {
                self.hang_up().await;
                self.browser.complain(error).await;
            }
        }
        self.hang_up().await;
        if let Some((mailbox, _)) = &self.me {
            self.people.remove(mailbox);
        }
    }

    async fn handle(&mut self, message: FromPage) -> Result<()> {
        match message {
            FromPage::Register { name } => self.register(&name).await,
            FromPage::Call { to, sdp_offer } => self.call(&to, sdp_offer).await,
            FromPage::IncomingCallResponse {
                accept: true,
                sdp_offer: Some(offer),
            } => return self.accept(&offer).await,
            FromPage::IncomingCallResponse { .. } | FromPage::Stop => self.hang_up().await,
            FromPage::OnIceCandidate { candidate } => match &mut self.doing {
                Doing::Talking { leg, .. } => leg.endpoint.add_ice_candidate(&candidate).await?,
                Doing::Calling { early, .. } if early.len() < MAX_EARLY => early.push(candidate),
                _ => {} // left over from a call that has ended
            },
        }
        Ok(())
    }

    async fn register(&mut self, name: &str) {
        let response = match &self.me {
            Some(_) => Err("You have a name already.".to_owned()),
            None => self.people.register(name).map(|me| self.me = Some(me)),
        };
        self.respond("registerResponse", response).await;
    }

    /// Rings at the other one.
    async fn call(&mut self, to: &str, offer: String) {
        self.hang_up().await;
        let ring = || {
            let (me, _) = self.me.as_ref().ok_or("Choose a name first.")?;
            let peer = self.people.find(to).ok_or(format!("“{to}” is not here."))?;
            if peer.is_same(me) {
                return Err("That is you.".to_owned());
            }
            match peer.put(me, What::Call { offer }) {
                true => Ok(peer),
                false => Err(format!("“{to}” can’t be reached.")),
            }
        };
        match ring() {
            Ok(peer) => {
                self.doing = Doing::Calling {
                    peer,
                    early: Vec::new(),
                }
            }
            Err(reason) => self.respond("callResponse", Err(reason)).await,
        }
    }

    /// Builds the call, and gives the caller the other half of it.
    async fn accept(&mut self, offer: &str) -> Result<()> {
        let Doing::Ringing {
            peer,
            offer: callers_offer,
        } = std::mem::replace(&mut self.doing, Doing::Nothing)
        else {
            return Ok(()); // the caller has hung up meanwhile, and the page was told
        };
        let built = match self.kms.client().await {
            Ok(client) => build(&client, &callers_offer, offer).await,
            Err(error) => Err(error),
        };
        let (callers, mine) = match built {
            Ok(legs) => legs,
            Err(error) => {
                self.tell(&peer, What::Rejected(error.to_string()));
                return Err(error);
            }
        };
        let answer = json!({"id": "startCommunication", "sdpAnswer": mine.answer});
        let endpoint = mine.endpoint.clone();
        let delivered = self.tell(&peer, What::Accepted(callers));
        self.doing = Doing::Talking { peer, leg: mine };
        if !delivered {
            self.hang_up().await;
            self.browser.send(json!({"id": "stopCommunication"})).await;
            return Ok(());
        }
        self.browser.send(answer).await;
        endpoint.gather_candidates().await
    }

    /// Takes what another session says.
    async fn receive(&mut self, Note { from, what }: Note) -> Result<()> {
        match (what, std::mem::replace(&mut self.doing, Doing::Nothing)) {
            (What::Call { offer }, Doing::Nothing) => {
                self.browser
                    .send(json!({"id": "incomingCall", "from": &*from.name}))
                    .await;
                self.doing = Doing::Ringing { peer: from, offer };
            }
            (What::Call { .. }, busy) => {
                self.doing = busy;
                self.tell(&from, What::Rejected("The line is busy.".into()));
            }
            (What::Accepted(leg), Doing::Calling { peer, early }) if peer.is_same(&from) => {
                return self.accepted(peer, leg, early).await;
            }
            // We hung up a moment before it was accepted.
            (What::Accepted(leg), doing) => {
                self.doing = doing;
                let _ = leg.pipeline.release().await;
            }
            (What::Rejected(reason), Doing::Calling { peer, .. }) if peer.is_same(&from) => {
                self.respond("callResponse", Err(reason)).await;
            }
            (What::HungUp, Doing::Ringing { peer, .. } | Doing::Talking { peer, .. })
                if peer.is_same(&from) =>
            {
                self.browser.send(json!({"id": "stopCommunication"})).await;
            }
            // About a call that has ended here already.
            (What::Rejected(_) | What::HungUp, doing) => self.doing = doing,
        }
        Ok(())
    }

    /// The other one accepted our call.
    async fn accepted(&mut self, peer: Mailbox, leg: Leg, early: Vec<IceCandidate>) -> Result<()> {
        let response = json!({"id": "callResponse", "response": "accepted", "sdpAnswer": leg.answer});
        let endpoint = leg.endpoint.clone();
        self.doing = Doing::Talking { peer, leg };
        self.browser.send(response).await;
        endpoint.gather_candidates().await?;
        for candidate in early {
            endpoint.add_ice_candidate(&candidate).await?;
        }
        Ok(())
    }

    async fn candidate(&mut self, found: Option<IceCandidateFound>) -> Result<()> {
        match found {
            Some(found) => {
                self.browser
                    .send(json!({"id": "iceCandidate", "candidate": found.candidate}))
                    .await
            }
            None => {
                self.doing = Doing::Nothing;
                self.browser
                    .complain("the media server was restarted; call again")
                    .await;
            }
        }
        Ok(())
    }

    /// Ends whatever the person is doing, and tells the other one.
    async fn hang_up(&mut self) {
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => {}
            Doing::Calling { peer, .. } => {
                self.tell(&peer, What::HungUp);
            }
            Doing::Ringing { peer, .. } => {
                self.tell(&peer, What::Rejected("The call was not accepted.".into()));
            }
            Doing::Talking { peer, leg } => {
                self.tell(&peer, What::HungUp);
                let _ = leg.pipeline.release().await; // an error means that it is gone already
            }
        }
    }

    /// Sends a note to another session. False: it could not be delivered.
    fn tell(&self, peer: &Mailbox, what: What) -> bool {
        self.me.as_ref().is_some_and(|(me, _)| peer.put(me, what))
    }

    async fn respond(&mut self, id: &str, result: std::result::Result<(), String>) {
        let message = match result {
            Ok(()) => json!({"id": id, "response": "accepted"}),
            Err(reason) => json!({"id": id, "response": "rejected", "message": reason}),
        };
        self.browser.send(message).await;
    }
}

/// The graph of a call: what comes in at one end goes out at the other.
async fn build(client: &Client, callers_offer: &str, my_offer: &str) -> Result<(Leg, Leg)> {
    let pipeline = MediaPipeline::create(client).await?;
    let built = async {
        let caller = WebRtcEndpoint::create(client, &pipeline).await?;
        let called = WebRtcEndpoint::create(client, &pipeline).await?;
        caller.connect(&called).await?;
        called.connect(&caller).await?;
        Ok((
            leg(&pipeline, caller, callers_offer).await?,
            leg(&pipeline, called, my_offer).await?,
        ))
    };
    let built = built.await;
    if built.is_err() {
        let _ = pipeline.release().await; // half a graph is of no use
    }
    built
}

async fn leg(pipeline: &MediaPipeline, endpoint: WebRtcEndpoint, offer: &str) -> Result<Leg> {
    let candidates = endpoint.on_ice_candidate_found().await?;
    let answer = endpoint.process_offer(offer).await?;
    Ok(Leg {
        pipeline: pipeline.clone(),
        endpoint,
        candidates,
        answer,
    })
}

async fn next(me: &mut Option<(Mailbox, mpsc::Receiver<Note>)>, doing: &mut Doing) -> Incoming {
    let note = async {
        match me {
            // Can't end: we hold a sender ourselves.
            Some((_, notes)) => notes.recv().await,
            None => None,
        }
    };
    let candidate = async {
        match doing {
            Doing::Talking { leg, .. } => leg.candidates.next().await,
            _ => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(note) = note => Incoming::Note(note),
        found = candidate => Incoming::Candidate(found),
    }
}
