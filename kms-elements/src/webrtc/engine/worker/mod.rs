//! A worker: one thread that owns peers and their sockets, and forwards between them.

mod passing;
mod reading;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use rustc_hash::FxHashMap;

use super::Counters;
use super::command::{Command, Commands};
use super::feed::is_feed;
use super::listener::Listener;
use super::peer::{Peer, slot};
use super::shared::Shared;
use super::tap::Tapped;
use super::transport::Surroundings;
use super::udp::{Buffers, Udp};
use crate::webrtc::api::{BandwidthEstimation, EngineSettings, GatherSettings, Kind, NegotiationError};

/// Tokens below are the worker's own; the token of a peer's socket is its number.
pub(super) const FIRST_PEER: u64 = 16;
const WAKER: Token = Token(0);
const SHARED: Token = Token(1);
const LISTENER: Token = Token(2);
/// Token of a peer's connection to its TURN server: this and its number.
const RELAY: usize = 1 << 62;
/// Tokens of accepted connections: this and a number.
const CONNECTION: usize = 1 << 61;

/// How often silence, layers and limits are looked at.
const TICK: Duration = Duration::from_millis(250);
/// A worker is woken this often at most, so that under load it finds several packets each time. A packet that comes
/// alone is never kept waiting.
const LEAST_BETWEEN_WAKES: Duration = Duration::from_millis(1);

/// Starts a worker.
pub(super) fn start(
    index: usize,
    settings: EngineSettings,
    counters: Arc<Counters>,
) -> io::Result<(Commands, JoinHandle<()>)> {
    let poll = Poll::new()?;
    let (commands, receiver) = Commands::new(Arc::new(Waker::new(poll.registry(), WAKER)?));
    let socket = bind_shared(&poll, index, &settings)?;
    let listener = listen(&poll, index, &settings);
    // Peers hold shared packets that never leave the thread, so the worker is made on it.
    let run = move || {
        let worker = Worker {
            index,
            poll,
            commands: receiver,
            settings,
            counters,
            peers: FxHashMap::default(),
            socket: socket.map(Rc::new),
            listener,
            shared: Shared::default(),
            timers: BinaryHeap::new(),
            ready: VecDeque::new(),
            dirty: Vec::new(),
            buffers: Buffers::new(),
            started: Instant::now(),
            next_tick: Instant::now() + TICK,
        };
        worker.run();
    };
    let thread = std::thread::Builder::new()
        .name(format!("webrtc-{index}"))
        .spawn(run)?;
    Ok((commands, thread))
}

/// The one socket of all peers of a worker, where configured.
fn bind_shared(poll: &Poll, index: usize, settings: &EngineSettings) -> io::Result<Option<Udp>> {
    let Some(first) = settings.shared_port else {
        return Ok(None);
    };
    let port = u16::try_from(index).ok().and_then(|i| first.checked_add(i));
    let port = port.ok_or_else(|| io::Error::other("shared_port leaves no port for every worker"))?;
    let mut udp = Udp::bind(port, port, true, None)?;
    poll.registry()
        .register(udp.source(), SHARED, Interest::READABLE)?;
    Ok(Some(udp))
}

/// Listens for ICE over TCP, where configured. Without it the server works, so a port in use is only worth a warning.
fn listen(poll: &Poll, index: usize, settings: &EngineSettings) -> Option<Listener> {
    let first = settings.ice_tcp_port?;
    let port = if first == 0 {
        0
    } else {
        first.checked_add(u16::try_from(index).ok()?)?
    };
    match Listener::bind(port, poll.registry(), LISTENER, CONNECTION) {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::warn!(port, %error, "no ICE over TCP: the port can't be bound");
            None
        }
    }
}

struct Worker {
    /// Which of the workers it is.
    index: usize,
    poll: Poll,
    commands: Receiver<Command>,
    settings: EngineSettings,
    counters: Arc<Counters>,
    peers: FxHashMap<u64, Peer>,
    /// The one socket of all peers, where configured.
    socket: Option<Rc<Udp>>,
    /// Where connections of ICE over TCP come in.
    listener: Option<Listener>,
    /// Whose packets arrive on what peers share.
    shared: Shared,
    /// Peers to be woken; entries that are out of date are skipped.
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Sockets that may have more to read.
    ready: VecDeque<Token>,
    /// Peers with something in their inbox or to be drained.
    dirty: Vec<u64>,
    buffers: Buffers,
    started: Instant,
    next_tick: Instant,
}

impl Worker {
    fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut woken = self.started;
        loop {
            let rest = LEAST_BETWEEN_WAKES.saturating_sub(woken.elapsed());
            if self.ready.is_empty() && !rest.is_zero() {
                std::thread::park_timeout(rest);
            }
            let timeout = self.next_wait();
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a transport worker can't wait for its sockets and ends");
                return;
            }
            woken = Instant::now();
            let since = woken.saturating_duration_since(self.counters.started);
            let since = u64::try_from(since.as_nanos()).unwrap_or_default();
            self.counters.turns[self.index].store(since, Ordering::Relaxed);
            for event in &events {
                if event.token() != WAKER && !self.ready.contains(&event.token()) {
                    self.ready.push_back(event.token());
                }
            }
            if !self.take_commands() {
                return;
            }
            self.read_sockets();
            self.settle();
            self.fire_timers();
            self.settle();
            let busy = u64::try_from(woken.elapsed().as_nanos()).unwrap_or_default();
            self.counters.busy[self.index].fetch_add(busy, Ordering::Relaxed);
        }
    }

    fn next_wait(&self) -> Duration {
        if !self.ready.is_empty() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let timer = self
            .timers
            .peek()
            .map_or(self.next_tick, |Reverse((at, _))| *at)
            .min(self.next_tick);
        timer.saturating_duration_since(now)
    }

    /// Carries out all commands there are. False: the worker is to end.
    fn take_commands(&mut self) -> bool {
        loop {
            match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => {
                    let now = Instant::now();
                    self.peers.values_mut().for_each(|p| p.close(now));
                    return false;
                }
                Ok(command) => self.carry_out(command),
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Add {
                peer,
                settings,
                events,
            } => {
                self.counters.peers.fetch_add(1, Ordering::Relaxed);
                self.peers
                    .insert(peer, Peer::new(peer, settings, events, self.counters.clone()));
            }
            Command::Remove { peer } => self.remove(peer, now),
            Command::SetSource { sink, kind, source } => self.set_source(sink, kind, source, now),
            Command::SetTap { peer, kind, tap } => self.with(peer, |p| {
                p.taps[slot(kind)] = tap.map(Tapped::new);
                p.request_keyframe(0, now);
            }),
            Command::Media { sink, source, packet } => self.take_fed(sink, source, packet),
            Command::ProcessOffer {
                peer,
                offer,
                limits,
                reply,
            } => {
                let answer = self.negotiate(peer, now, |p, estimate| {
                    p.process_offer(&offer, limits, estimate, now)
                });
                // Whoever asked may have gone; then nobody misses the answer.
                let _ = reply.send(answer);
            }
            Command::GenerateOffer {
                peer,
                options,
                limits,
                reply,
            } => {
                let offer = self.negotiate(peer, now, |p, estimate| {
                    p.generate_offer(&options, limits, estimate, now)
                });
                let _ = reply.send(offer);
            }
            Command::ProcessAnswer { peer, answer, reply } => {
                let done = self.negotiate(peer, now, |p, _| p.process_answer(answer.as_deref()));
                let _ = reply.send(done);
            }
            Command::Gather { peer, settings } => match self.bind(peer) {
                Ok(()) => self.gather(peer, &settings, now),
                Err(error) => self.with(peer, |p| p.fail(&format!("No port for media: {error}"))),
            },
            Command::RemoteCandidate { peer, candidate } => {
                self.with(peer, |p| p.add_remote_candidate(*candidate))
            }
            Command::RequestKeyframe { peer } => self.with(peer, |p| p.request_keyframe(0, now)),
            Command::SetLimits { peer, limits } => self.with(peer, |p| p.set_limits(limits)),
            Command::CreateChannel { peer, options, reply } => {
                self.with(peer, |p| drop(reply.send(p.create_channel(options))));
            }
            Command::CloseChannel { peer, id, reply } => {
                self.with(peer, |p| drop(reply.send(p.close_channel(id))))
            }
            Command::Stats { peer, reply } => drop(reply.send(self.peers.get(&peer).and_then(Peer::stats))),
            Command::Codecs { peer, kind, reply } => {
                drop(reply.send(self.peers.get(&peer).map(|p| p.codecs(kind)).unwrap_or_default()));
            }
            Command::Stop => {}
        }
    }

    fn with(&mut self, peer: u64, act: impl FnOnce(&mut Peer)) {
        if let Some(p) = self.peers.get_mut(&peer) {
            act(p);
            self.dirty.push(peer);
        }
    }

    fn negotiate<T>(
        &mut self,
        peer: u64,
        now: Instant,
        act: impl FnOnce(&mut Peer, bool) -> Result<T, NegotiationError>,
    ) -> Result<T, NegotiationError> {
        self.bind(peer)
            .map_err(|e| NegotiationError::NoPort(e.to_string()))?;
        let estimate = match self.settings.bandwidth_estimation {
            BandwidthEstimation::Always => true,
            BandwidthEstimation::Never => false,
            BandwidthEstimation::Auto => self.has_simulcast_near(peer),
        };
        let result = match self.peers.get_mut(&peer) {
            // Descriptions are hostile: should one make the parser panic, it is one remote's error.
            Some(p) => catch_unwind(AssertUnwindSafe(|| act(p, estimate))).unwrap_or_else(|_| {
                Err(NegotiationError::Offer(
                    "the description can't be processed".into(),
                ))
            }),
            None => Err(NegotiationError::Closed),
        };
        if let Some(p) = self.peers.get_mut(&peer) {
            self.shared.know(peer, p.ufrag());
        }
        self.dirty.push(peer);
        self.ask_for_keyframe(peer, now);
        result
    }

    /// Whether a peer of this worker that may feed `peer` sends in layers.
    fn has_simulcast_near(&self, peer: u64) -> bool {
        let source = self.peers.get(&peer).and_then(|p| p.sources[slot(Kind::Video)]);
        match source {
            Some(source) => self.peers.get(&source).is_some_and(|s| s.inbound.is_simulcast()),
            None => self.peers.values().any(|p| p.inbound.is_simulcast()),
        }
    }

    fn bind(&mut self, peer: u64) -> io::Result<()> {
        let Some(p) = self.peers.get_mut(&peer) else {
            return Ok(());
        };
        if p.transport.socket.is_some() {
            return Ok(());
        }
        if let Some(socket) = &self.socket {
            p.transport.socket = Some(socket.clone());
            p.transport.dscp = p.settings().dscp;
            return Ok(());
        }
        let mut udp = Udp::bind(
            self.settings.min_port,
            self.settings.max_port,
            false,
            p.settings().dscp,
        )?;
        self.poll
            .registry()
            .register(udp.source(), Token(peer as usize), Interest::READABLE)?;
        self.counters.sockets.fetch_add(1, Ordering::Relaxed);
        p.transport.socket = Some(Rc::new(udp));
        Ok(())
    }

    fn remove(&mut self, peer: u64, now: Instant) {
        let Some(mut removed) = self.peers.remove(&peer) else {
            return;
        };
        removed.close(now);
        self.counters.peers.fetch_sub(1, Ordering::Relaxed);
        if removed.transport.socket.is_some() && self.socket.is_none() {
            // Closing the descriptor ends its registration.
            self.counters.sockets.fetch_sub(1, Ordering::Relaxed);
        }
        for p in self.peers.values_mut() {
            p.sinks.iter_mut().for_each(|sinks| sinks.retain(|s| *s != peer));
            for kind in [Kind::Audio, Kind::Video, Kind::Data] {
                if p.sources[slot(kind)] == Some(peer) {
                    p.set_source(kind, None);
                }
            }
        }
        self.shared.forget(peer);
        if let Some(listener) = &mut self.listener {
            listener.forget(peer);
        }
    }

    fn set_source(&mut self, sink: u64, kind: Kind, source: Option<u64>, now: Instant) {
        let Some(p) = self.peers.get_mut(&sink) else {
            return;
        };
        let before = p.sources[slot(kind)];
        p.set_source(kind, source);
        if let Some(old) = before.and_then(|s| self.peers.get_mut(&s)) {
            old.sinks[slot(kind)].retain(|s| *s != sink);
        }
        if kind == Kind::Video && source.is_some_and(is_feed) {
            self.ask_for_keyframe(sink, now);
        }
        let Some(new) = source.and_then(|s| self.peers.get_mut(&s)) else {
            return;
        };
        new.sinks[slot(kind)].push(sink);
        if kind == Kind::Video {
            self.choose_layer(sink, now);
            self.ask_for_keyframe(sink, now);
        }
    }

    fn gather(&mut self, id: u64, settings: &GatherSettings, now: Instant) {
        let around = Surroundings {
            registry: self.poll.registry(),
            relay_token: Token(RELAY | id as usize),
            ice_tcp_port: self.listener.as_ref().map(Listener::port),
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.gather(settings, &around, now);
            self.dirty.push(id);
        }
    }
}

/// Runs a peer's code. A panic in it ends that peer, not the worker with all the others.
fn guarded(peer: &mut Peer, act: impl FnOnce(&mut Peer)) {
    if catch_unwind(AssertUnwindSafe(|| act(peer))).is_err() {
        tracing::error!(peer = peer.id, "a peer's transport panicked and is closed");
        peer.abandon("The transport failed unexpectedly and was closed; the server's log has more");
    }
}
