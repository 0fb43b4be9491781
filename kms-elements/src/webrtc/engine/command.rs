//! What the rest of the program asks of a worker.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use mio::Waker;
use str0m::Candidate;
use tokio::sync::oneshot::Sender;

use super::channels::DataChannelError;
use super::feed::FedPacket;
use super::tap::Tap;
use crate::webrtc::api::{
    DataChannelOptions, GatherSettings, Kind, Limits, NegotiationError, OfferOptions, PeerEvents,
    PeerSettings, PeerStats,
};

/// Commands that may wait for a worker. When there are more, the caller waits: a worker takes all of them every turn.
const MOST_WAITING: usize = 4096;

/// A command; `peer` is the number of the peer it is for.
pub(super) enum Command {
    Add {
        peer: u64,
        settings: PeerSettings,
        events: Arc<dyn PeerEvents>,
    },
    Remove {
        peer: u64,
    },
    SetSource {
        sink: u64,
        kind: Kind,
        source: Option<u64>,
    },
    SetTap {
        peer: u64,
        kind: Kind,
        tap: Option<Arc<dyn Tap>>,
    },
    /// A packet for `sink`, from the feed `source`.
    Media {
        sink: u64,
        source: u64,
        packet: FedPacket,
    },
    ProcessOffer {
        peer: u64,
        offer: String,
        limits: Limits,
        reply: Sender<Result<String, NegotiationError>>,
    },
    GenerateOffer {
        peer: u64,
        options: OfferOptions,
        limits: Limits,
        reply: Sender<Result<String, NegotiationError>>,
    },
    ProcessAnswer {
        peer: u64,
        answer: Option<String>,
        reply: Sender<Result<(), NegotiationError>>,
    },
    Gather {
        peer: u64,
        settings: GatherSettings,
    },
    RemoteCandidate {
        peer: u64,
        candidate: Box<Candidate>,
    },
    RequestKeyframe {
        peer: u64,
    },
    SetLimits {
        peer: u64,
        limits: Limits,
    },
    CreateChannel {
        peer: u64,
        options: DataChannelOptions,
        reply: Sender<Result<Option<u16>, DataChannelError>>,
    },
    CloseChannel {
        peer: u64,
        id: u16,
        reply: Sender<Result<(), DataChannelError>>,
    },
    Stats {
        peer: u64,
        reply: Sender<Option<PeerStats>>,
    },
    Codecs {
        peer: u64,
        kind: Kind,
        reply: Sender<Vec<String>>,
    },
    Stop,
}

/// The sending end: puts a command into the queue and wakes the worker.
pub(super) struct Commands {
    queue: SyncSender<Command>,
    waker: Arc<Waker>,
}

impl Commands {
    /// A queue to a worker that is woken by `waker`.
    pub(super) fn new(waker: Arc<Waker>) -> (Commands, Receiver<Command>) {
        let (queue, receiver) = sync_channel(MOST_WAITING);
        (Commands { queue, waker }, receiver)
    }

    /// Sends a command if there is room. False: there is none, and it is dropped.
    pub(super) fn try_send(&self, command: Command) -> bool {
        let sent = self.queue.try_send(command).is_ok();
        if sent {
            let _ = self.waker.wake();
        }
        sent
    }

    /// Sends a command. A worker that has ended takes none: what waits for an answer is told so by its dropped reply.
    pub(super) fn send(&self, command: Command) {
        if self.queue.send(command).is_ok() {
            // Waking fails only if the worker's poll is gone.
            let _ = self.waker.wake();
        }
    }
}
