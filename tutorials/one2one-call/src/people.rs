//! Who is here, and how their sessions reach each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kms_client::api::events::IceCandidateFound;
use kms_client::api::{Events, MediaPipeline, WebRtcEndpoint};
use tokio::sync::mpsc;

/// How many messages may wait for a session. A session that is so far behind counts as not there.
const MAILBOX: usize = 8;
/// The longest name.
const MAX_NAME: usize = 32;

/// What one session says to another. The sender stands in each: a note may be about a call that has ended meanwhile.
pub(crate) struct Note {
    pub(crate) from: Mailbox,
    pub(crate) what: What,
}

pub(crate) enum What {
    /// I call you; the offer is for later, when you accept.
    Call { offer: String },
    /// I accept your call, and this is your leg of it.
    Accepted(Leg),
    /// Your call came to nothing, for this reason.
    Rejected(String),
    /// I hung up.
    HungUp,
}

/// One person's half of a call.
pub(crate) struct Leg {
    pub(crate) pipeline: MediaPipeline,
    pub(crate) endpoint: WebRtcEndpoint,
    pub(crate) candidates: Events<IceCandidateFound>,
    pub(crate) answer: String,
}

/// How a session is reached.
#[derive(Clone)]
pub(crate) struct Mailbox {
    pub(crate) name: Arc<str>,
    sender: mpsc::Sender<Note>,
}

impl Mailbox {
    /// Sends a note to the mailbox's owner. False: it could not be delivered, the session may be gone.
    pub(crate) fn put(&self, from: &Mailbox, what: What) -> bool {
        self.sender
            .try_send(Note {
                from: from.clone(),
                what,
            })
            .is_ok()
    }

    pub(crate) fn is_same(&self, other: &Mailbox) -> bool {
        self.sender.same_channel(&other.sender)
    }
}

/// Everybody who has registered a name.
#[derive(Default)]
pub(crate) struct People(Mutex<HashMap<Arc<str>, Mailbox>>);

impl People {
    /// Registers a name. The error is a sentence for the person who chose it.
    pub(crate) fn register(&self, name: &str) -> Result<(Mailbox, mpsc::Receiver<Note>), String> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME {
            return Err(format!("A name has 1 to {MAX_NAME} characters."));
        }
        let mut people = self.lock();
        if people.contains_key(name) {
            return Err(format!("Somebody called “{name}” is here already."));
        }
        let (sender, receiver) = mpsc::channel(MAILBOX);
        let mailbox = Mailbox {
            name: name.into(),
            sender,
        };
        people.insert(mailbox.name.clone(), mailbox.clone());
        Ok((mailbox, receiver))
    }

    pub(crate) fn find(&self, name: &str) -> Option<Mailbox> {
        self.lock().get(name.trim()).cloned()
    }

    pub(crate) fn remove(&self, mailbox: &Mailbox) {
        self.lock().remove(&mailbox.name);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Mailbox>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_until_its_owner_leaves() {
        let people = People::default();
        let (anna, _) = people.register(" Anna ").unwrap();
        assert!(people.register("Anna").is_err());
        assert!(people.find("Anna").is_some_and(|found| found.is_same(&anna)));
        people.remove(&anna);
        assert!(people.find("Anna").is_none() && people.register("Anna").is_ok());
        assert!(people.register("").is_err() && people.register(&"x".repeat(33)).is_err());
    }
}
