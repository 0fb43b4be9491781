//! The transport engine: sockets, ICE, DTLS, SRTP and forwarding, on a few dedicated threads.
//!
//! Each worker thread owns its peers and their sockets. The peers of one pipeline share a worker, so that forwarding a
//! packet from one to another takes no lock and no queue. The rest of the program talks to workers by commands and hears
//! from them through [`PeerEvents`].

mod channels;
mod command;
mod feed;
mod inbound;
mod keyframe;
mod layers;
mod listener;
mod negotiate;
mod out_track;
mod outbound;
mod peer;
mod rtc;
mod shared;
mod tap;
mod throttle;
mod transport;
mod udp;
mod worker;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kms_core::object::lock;
use tokio::sync::oneshot;

use super::api::{
    DataChannelOptions, EngineSettings, GatherSettings, Kind, Limits, NegotiationError, OfferOptions,
    PeerEvents, PeerSettings, PeerStats,
};
use super::ice::{CandidateError, RemoteCandidate, parse_candidate};
use command::{Command, Commands};

pub use channels::DataChannelError;
pub use feed::{FedPacket, Feed};
pub use tap::{Tap, TapPacket};

/// Counters of all workers, for logs and metrics.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) peers: AtomicU64,
    pub(super) sockets: AtomicU64,
    pub(super) packets_in: AtomicU64,
    pub(super) packets_out: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// RTP packets that never came, as receivers find out.
    pub(super) lost_in: AtomicU64,
    /// RTP packets that remotes say never came.
    pub(super) lost_out: AtomicU64,
    /// Requests for keyframes that were sent to remotes.
    pub(super) keyframes_asked: AtomicU64,
    /// Requests for keyframes that remotes sent.
    pub(super) keyframes_wanted: AtomicU64,
    /// Packets that were asked for again, by either side.
    pub(super) nacks: AtomicU64,
    /// Nanoseconds that each worker was at work.
    pub(super) busy: Vec<AtomicU64>,
    /// When each worker began its last turn, nanoseconds since `started`.
    pub(super) turns: Vec<AtomicU64>,
    pub(super) started: Instant,
}

impl Counters {
    fn new(workers: usize) -> Counters {
        let each = || (0..workers).map(|_| AtomicU64::new(0)).collect();
        let none = || AtomicU64::new(0);
        Counters {
            peers: none(),
            sockets: none(),
            packets_in: none(),
            packets_out: none(),
            bytes_in: none(),
            bytes_out: none(),
            dropped: none(),
            lost_in: none(),
            lost_out: none(),
            keyframes_asked: none(),
            keyframes_wanted: none(),
            nacks: none(),
            busy: each(),
            turns: each(),
            started: Instant::now(),
        }
    }
}

/// What the engine carries now and has carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineLoad {
    /// Worker threads.
    pub workers: usize,
    /// Peers that exist.
    pub peers: u64,
    /// Sockets that are open.
    pub sockets: u64,
    /// Datagrams received since the start.
    pub packets_in: u64,
    /// Datagrams sent since the start.
    pub packets_out: u64,
    /// Bytes received since the start.
    pub bytes_in: u64,
    /// Bytes sent since the start.
    pub bytes_out: u64,
    /// Packets and messages dropped because a socket or channel had no room.
    pub dropped: u64,
    /// RTP packets since the start that never came here.
    pub lost_in: u64,
    /// RTP packets since the start that remotes say never came there.
    pub lost_out: u64,
    /// Keyframes that were asked for since the start.
    pub keyframes_asked: u64,
    /// Keyframes that remotes asked for since the start.
    pub keyframes_wanted: u64,
    /// Packets that either side asked for again since the start.
    pub nacks: u64,
    /// How long each worker was at work since the start.
    pub busy: Vec<Duration>,
}

/// Where the peers of a pipeline live, and how many they are.
struct Placement {
    worker: usize,
    peers: usize,
}

struct Inner {
    workers: Vec<Commands>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Pipelines that have peers. Changed when a peer is made or dropped.
    placements: Mutex<HashMap<u64, Placement>>,
    next_peer: AtomicU64,
    counters: Arc<Counters>,
}

/// The transport engine. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

impl Engine {
    /// Starts the worker threads. Fails if the system gives no threads or sockets.
    pub fn start(settings: EngineSettings) -> io::Result<Engine> {
        let count = settings.workers.max(1);
        let counters = Arc::new(Counters::new(count));
        let (mut workers, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count {
            let (commands, thread) = worker::start(index, settings.clone(), counters.clone())?;
            workers.push(commands);
            threads.push(thread);
        }
        let inner = Inner {
            workers,
            threads: Mutex::new(threads),
            placements: Mutex::default(),
            next_peer: AtomicU64::new(worker::FIRST_PEER),
            counters,
        };
        Ok(Engine {
            inner: Arc::new(inner),
        })
    }

    /// Closes all peers (the remotes are told) and ends the threads. Further calls do nothing.
    pub fn stop(&self) {
        for worker in &self.inner.workers {
            worker.send(Command::Stop);
        }
        for thread in std::mem::take(&mut *lock(&self.inner.threads)) {
            if thread.join().is_err() {
                tracing::error!("a transport worker ended by a panic");
            }
        }
    }

    /// Makes a peer. It costs no socket and next to no memory until it negotiates. Peers of one `affinity` (a pipeline)
    /// share a worker; a new pipeline goes to the worker with the fewest peers.
    pub fn add_peer(&self, affinity: u64, settings: PeerSettings, events: Arc<dyn PeerEvents>) -> Peer {
        let worker = self.place(affinity);
        let id = self.inner.next_peer.fetch_add(1, Ordering::Relaxed);
        self.inner.workers[worker].send(Command::Add {
            peer: id,
            settings,
            events,
        });
        Peer {
            handle: Arc::new(Handle {
                engine: self.clone(),
                worker,
                id,
                affinity,
            }),
        }
    }

    fn place(&self, affinity: u64) -> usize {
        let mut placements = lock(&self.inner.placements);
        if let Some(placement) = placements.get_mut(&affinity) {
            placement.peers += 1;
            return placement.worker;
        }
        let mut load = vec![0; self.inner.workers.len()];
        placements.values().for_each(|p| load[p.worker] += p.peers);
        let worker = load
            .iter()
            .enumerate()
            .min_by_key(|(_, peers)| **peers)
            .map_or(0, |(worker, _)| worker);
        placements.insert(affinity, Placement { worker, peers: 1 });
        worker
    }

    fn leave(&self, affinity: u64) {
        let mut placements = lock(&self.inner.placements);
        if let Some(placement) = placements.get_mut(&affinity) {
            placement.peers -= 1;
            if placement.peers == 0 {
                placements.remove(&affinity);
            }
        }
    }

    /// Makes `sink` send what `source` receives of a kind, or nothing. Both must have the same affinity. Takes effect at
    /// once; video switches at the next keyframe, which is asked for.
    pub fn set_source(&self, sink: &Peer, kind: Kind, source: Option<&Peer>) {
        let source = source.map(|s| s.handle.id);
        sink.send(Command::SetSource {
            sink: sink.handle.id,
            kind,
            source,
        });
    }

    /// Numbers of workers that have begun no turn for so long.
    pub fn stuck_workers(&self, longest: Duration) -> Vec<usize> {
        let counters = &self.inner.counters;
        let now = counters.started.elapsed();
        let turns = counters.turns.iter().enumerate();
        let began = |turn: &AtomicU64| Duration::from_nanos(turn.load(Ordering::Relaxed));
        let stuck = turns.filter(|(_, turn)| now.saturating_sub(began(turn)) > longest);
        stuck.map(|(index, _)| index).collect()
    }

    /// What the engine carries.
    pub fn load(&self) -> EngineLoad {
        let counters = &self.inner.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        EngineLoad {
            workers: self.inner.workers.len(),
            peers: get(&counters.peers),
            sockets: get(&counters.sockets),
            packets_in: get(&counters.packets_in),
            packets_out: get(&counters.packets_out),
            bytes_in: get(&counters.bytes_in),
            bytes_out: get(&counters.bytes_out),
            dropped: get(&counters.dropped),
            lost_in: get(&counters.lost_in),
            lost_out: get(&counters.lost_out),
            keyframes_asked: get(&counters.keyframes_asked),
            keyframes_wanted: get(&counters.keyframes_wanted),
            nacks: get(&counters.nacks),
            busy: counters
                .busy
                .iter()
                .map(|busy| Duration::from_nanos(get(busy)))
                .collect(),
        }
    }
}

struct Handle {
    engine: Engine,
    worker: usize,
    id: u64,
    affinity: u64,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.engine.inner.workers[self.worker].send(Command::Remove { peer: self.id });
        self.engine.leave(self.affinity);
    }
}

/// A peer of the engine: the near end of one WebRTC connection. Dropping the last clone closes it and frees its socket.
#[derive(Clone)]
pub struct Peer {
    handle: Arc<Handle>,
}

impl Peer {
    fn send(&self, command: Command) {
        self.handle.engine.inner.workers[self.handle.worker].send(command);
    }

    fn try_send(&self, command: Command) -> bool {
        self.handle.engine.inner.workers[self.handle.worker].try_send(command)
    }

    async fn ask<T>(&self, command: impl FnOnce(u64, oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.send(command(self.handle.id, reply));
        answer.await.ok()
    }

    /// Takes an offer and answers it. On a live peer this is a renegotiation; new ICE credentials restart ICE.
    pub async fn process_offer(&self, offer: String, limits: Limits) -> Result<String, NegotiationError> {
        let answer = self
            .ask(|peer, reply| Command::ProcessOffer {
                peer,
                offer,
                limits,
                reply,
            })
            .await;
        answer.unwrap_or(Err(NegotiationError::Closed))
    }

    /// Makes an offer: the first, or one that renegotiates.
    pub async fn generate_offer(
        &self,
        options: OfferOptions,
        limits: Limits,
    ) -> Result<String, NegotiationError> {
        let offer = self
            .ask(|peer, reply| Command::GenerateOffer {
                peer,
                options,
                limits,
                reply,
            })
            .await;
        offer.unwrap_or(Err(NegotiationError::Closed))
    }

    /// Takes the answer to the offer made last; `None`: the remote wants nothing of it.
    pub async fn process_answer(&self, answer: Option<String>) -> Result<(), NegotiationError> {
        let done = self
            .ask(|peer, reply| Command::ProcessAnswer { peer, answer, reply })
            .await;
        done.unwrap_or(Err(NegotiationError::Closed))
    }

    /// Gathers candidates. They are reported one by one, then that all are there.
    pub fn gather(&self, settings: GatherSettings) {
        self.send(Command::Gather {
            peer: self.handle.id,
            settings,
        });
    }

    /// Closes the connection and frees its socket now, even while clones of this handle live on.
    pub fn close(&self) {
        self.send(Command::Remove { peer: self.handle.id });
    }

    /// Takes a candidate of the remote. An empty text ends its candidates; a host name under `.local` is left to be found
    /// by the checks that come from there.
    pub fn add_remote_candidate(&self, candidate: &str) -> Result<(), CandidateError> {
        if let RemoteCandidate::Address(candidate) = parse_candidate(candidate)? {
            self.send(Command::RemoteCandidate {
                peer: self.handle.id,
                candidate: Box::new(candidate),
            });
        }
        Ok(())
    }

    /// Hands what is received of a kind to a tap as well, or to none any more.
    pub fn set_tap(&self, kind: Kind, tap: Option<Arc<dyn Tap>>) {
        self.send(Command::SetTap {
            peer: self.handle.id,
            kind,
            tap,
        });
    }

    /// Asks the remote for a keyframe.
    pub fn request_keyframe(&self) {
        self.send(Command::RequestKeyframe { peer: self.handle.id });
    }

    /// Changes limits.
    pub fn set_limits(&self, limits: Limits) {
        self.send(Command::SetLimits {
            peer: self.handle.id,
            limits,
        });
    }

    /// Opens a data channel; answers its SCTP stream id, or `None` while the association is still being set up.
    pub async fn create_data_channel(
        &self,
        options: DataChannelOptions,
    ) -> Result<Option<u16>, DataChannelError> {
        let id = self
            .ask(|peer, reply| Command::CreateChannel { peer, options, reply })
            .await;
        id.unwrap_or(Err(DataChannelError::NotNegotiated))
    }

    /// Closes a data channel.
    pub async fn close_data_channel(&self, id: u16) -> Result<(), DataChannelError> {
        let done = self
            .ask(|peer, reply| Command::CloseChannel { peer, id, reply })
            .await;
        done.unwrap_or(Err(DataChannelError::NotNegotiated))
    }

    /// Counters; `None` before the first negotiation.
    pub async fn stats(&self) -> Option<PeerStats> {
        self.ask(|peer, reply| Command::Stats { peer, reply })
            .await
            .flatten()
    }

    /// Codecs negotiated for a kind, preferred first.
    pub async fn codecs(&self, kind: Kind) -> Vec<String> {
        self.ask(|peer, reply| Command::Codecs { peer, kind, reply })
            .await
            .unwrap_or_default()
    }
}
