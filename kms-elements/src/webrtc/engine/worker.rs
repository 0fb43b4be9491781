//! A worker: one thread that owns peers and their sockets, and forwards between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
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
use super::channels::Message;
use super::command::{Command, Commands};
use super::listener::{Accepted, Listener};
use super::peer::{Outcome, Peer, slot};
use super::shared::Shared;
use super::transport::{Datagram, Surroundings};
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

/// Batches taken from one socket before others get their turn.
const BATCHES_A_TURN: usize = 4;
/// How often silence, layers and limits are looked at.
const TICK: Duration = Duration::from_millis(250);
/// Timers fire at multiples of this, those of all peers together: being woken costs more than what most of them do.
const TIMER_GRID: Duration = Duration::from_millis(4);
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
        let Some(new) = source.and_then(|s| self.peers.get_mut(&s)) else {
            return;
        };
        new.sinks[slot(kind)].push(sink);
        if kind == Kind::Video {
            self.choose_layer(sink, now);
            self.ask_for_keyframe(sink, now);
        }
    }

    /// Asks the source of a peer's video for a keyframe, if the peer can do nothing without.
    fn ask_for_keyframe(&mut self, sink: u64, now: Instant) {
        let Some(p) = self.peers.get(&sink).filter(|p| p.lacks_keyframe()) else {
            return;
        };
        let (source, layer) = (p.sources[slot(Kind::Video)], p.wanted_layer());
        if let Some(source) = source {
            self.with(source, |s| s.request_keyframe(layer, now));
        }
    }

    fn choose_layer(&mut self, sink: u64, now: Instant) {
        let Some(source) = self.peers.get(&sink).and_then(|p| p.sources[slot(Kind::Video)]) else {
            return;
        };
        let Some(bitrates) = self.peers.get(&source).map(|s| s.inbound.layer_bitrates()) else {
            return;
        };
        if bitrates.len() < 2 {
            return;
        }
        let wanted = self
            .peers
            .get_mut(&sink)
            .and_then(|p| p.choose_layer(&bitrates, now));
        if let Some(layer) = wanted {
            self.with(source, |s| s.request_keyframe(layer, now));
        }
    }

    /// Reads what has arrived, a few batches a socket, so that none starves the others.
    fn read_sockets(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else {
                break;
            };
            let more = match token {
                SHARED => self.read_shared(),
                LISTENER => self.accept(),
                Token(t) if t & RELAY != 0 => self.read_relay((t & !RELAY) as u64),
                Token(t) if t & CONNECTION != 0 => self.read_connection(token),
                Token(peer) => self.read_peer(peer as u64),
            };
            if more {
                self.ready.push_back(token);
            }
        }
    }

    fn read_peer(&mut self, id: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let Some(socket) = peer.transport.socket.clone() else {
            return false;
        };
        let now = Instant::now();
        let mut outcome = Outcome::default();
        let (mut packets, mut bytes_in, mut more) = (0, 0, true);
        for _ in 0..BATCHES_A_TURN {
            let received = socket.receive(&mut self.buffers, |remote, local, bytes| {
                packets += 1;
                bytes_in += bytes.len() as u64;
                guarded(peer, |p| p.receive((remote, local, bytes), &mut outcome, now));
            });
            more = match received {
                Ok(more) => more,
                Err(error) => {
                    peer.fail(&format!("The socket failed: {error}"));
                    false
                }
            };
            if !more {
                break;
            }
        }
        self.counters.packets_in.fetch_add(packets, Ordering::Relaxed);
        self.counters.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.route(id, outcome, now);
        self.finish(id, now);
        more
    }

    fn read_shared(&mut self) -> bool {
        let Some(socket) = self.socket.clone() else {
            return false;
        };
        let (shared, peers, now) = (&mut self.shared, &mut self.peers, Instant::now());
        let mut outcomes: HashMap<u64, Outcome> = HashMap::new();
        let (mut packets, mut bytes_in) = (0, 0);
        let received = socket.receive(&mut self.buffers, |remote, local, bytes| {
            packets += 1;
            bytes_in += bytes.len() as u64;
            let Some(id) = shared.peer_of(remote, bytes) else {
                return;
            };
            let Some(peer) = peers.get_mut(&id) else { return };
            let outcome = outcomes.entry(id).or_default();
            guarded(peer, |p| p.receive((remote, local, bytes), outcome, now));
        });
        self.counters.packets_in.fetch_add(packets, Ordering::Relaxed);
        self.counters.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        for (id, outcome) in outcomes {
            self.route(id, outcome, now);
            self.finish(id, now);
        }
        received.unwrap_or_else(|error| {
            tracing::error!(%error, "the shared port failed");
            false
        })
    }

    fn accept(&mut self) -> bool {
        if let Some(listener) = &mut self.listener {
            listener.accept(self.poll.registry(), Instant::now());
        }
        false
    }

    /// Reads a connection of ICE over TCP: its first packet tells whose it is.
    fn read_connection(&mut self, token: Token) -> bool {
        let Some(listener) = self.listener.as_mut() else {
            return false;
        };
        let shared = &self.shared;
        let (id, first) = match listener.read(token, |packet| shared.peer_checked(packet)) {
            Accepted::Unknown => return false,
            Accepted::Of(peer) => (peer, None),
            Accepted::Now(peer, connection) => (peer, Some(*connection)),
        };
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let mut packets = Vec::new();
        if let Some((connection, packet)) = first {
            let (remote, local) = (connection.remote, connection.local);
            packets.push(Datagram::tcp(remote, local, packet));
            peer.transport.adopt(token, connection);
        }
        let (more_packets, more) = peer.transport.read_connection(token);
        packets.extend(more_packets);
        self.take_in(id, packets);
        more
    }

    fn read_relay(&mut self, id: u64) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else {
            return false;
        };
        let (packets, more) = peer.transport.read_relay(Instant::now());
        self.take_in(id, packets);
        more
    }

    fn take_in(&mut self, id: u64, packets: Vec<Datagram>) {
        let (now, mut outcome) = (Instant::now(), Outcome::default());
        if let Some(peer) = self.peers.get_mut(&id) {
            guarded(peer, |p| p.take_in_all(packets, &mut outcome, now));
            self.route(id, outcome, now);
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

    /// Drains peers and passes on what they received, until nothing is left to do.
    fn settle(&mut self) {
        let now = Instant::now();
        while !self.dirty.is_empty() {
            let mut dirty = std::mem::take(&mut self.dirty);
            dirty.sort_unstable();
            dirty.dedup();
            for id in dirty {
                self.settle_peer(id, now);
            }
        }
    }

    /// Drains a peer that has received, unless its turn comes anyway because it is to send as well.
    fn finish(&mut self, id: u64, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id).filter(|p| p.inbox.is_empty()) else {
            return;
        };
        let mut outcome = Outcome::default();
        guarded(peer, |p| p.drain(&mut outcome, now));
        self.route(id, outcome, now);
    }

    fn settle_peer(&mut self, id: u64, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let mut outcome = Outcome::default();
        guarded(peer, |p| {
            if !p.inbox.is_empty() {
                p.write_inbox(now);
            }
            p.timeout(now);
            p.drain(&mut outcome, now);
        });
        self.route(id, outcome, now);
    }

    /// Passes on what came of a peer's turn to the peers it feeds, and to the one that feeds it.
    fn route(&mut self, id: u64, outcome: Outcome, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(at) = outcome.wake {
            let at = on_grid(self.started, at.max(now));
            if peer.wake_at.is_none_or(|w| at < w || w <= now) {
                peer.wake_at = Some(at);
                self.timers.push(Reverse((at, id)));
            }
        }
        if outcome.wants_keyframe
            && let (Some(source), layer) = (peer.sources[slot(Kind::Video)], peer.wanted_layer())
        {
            self.with(source, |s| s.request_keyframe(layer, now));
        }
        if outcome.packets.is_empty() && outcome.messages.is_empty() {
            return;
        }
        // Taken out and put back: the peers it feeds may be any of the same map, itself included.
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let sinks = std::mem::take(&mut peer.sinks);
        for packet in outcome.packets {
            let packet = Rc::new(packet);
            for sink in &sinks[slot(packet.kind)] {
                if let Some(p) = self.peers.get_mut(sink) {
                    if p.inbox.is_empty() {
                        self.dirty.push(*sink);
                    }
                    p.inbox.push((id, packet.clone()));
                }
            }
        }
        for message in outcome.messages {
            self.pass_on(&sinks[slot(Kind::Data)], &message);
        }
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.sinks = sinks;
        }
    }

    fn pass_on(&mut self, sinks: &[u64], message: &Message) {
        for sink in sinks {
            self.with(*sink, |p| p.send_message(message));
        }
    }

    fn fire_timers(&mut self) {
        let now = Instant::now();
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(peer) = self.peers.get_mut(&id)
                && peer.wake_at == Some(at)
            {
                peer.wake_at = None;
                self.dirty.push(id);
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            if let Some(listener) = &mut self.listener {
                listener.tick(now);
            }
            let ids: Vec<u64> = self.peers.keys().copied().collect();
            for id in ids {
                self.with(id, |p| p.tick(now));
                self.choose_layer(id, now);
                // The request or the keyframe may have been lost, and senders ignore requests that come too soon.
                self.ask_for_keyframe(id, now);
            }
        }
    }
}

/// The next multiple of the grid after a moment.
fn on_grid(zero: Instant, at: Instant) -> Instant {
    let grid = TIMER_GRID.as_nanos() as u64;
    let passed = at.saturating_duration_since(zero).as_nanos() as u64;
    zero + Duration::from_nanos((passed / grid + 1) * grid)
}

/// Runs a peer's code. A panic in it ends that peer, not the worker with all the others.
fn guarded(peer: &mut Peer, act: impl FnOnce(&mut Peer)) {
    if catch_unwind(AssertUnwindSafe(|| act(peer))).is_err() {
        tracing::error!(peer = peer.id, "a peer's transport panicked and is closed");
        peer.abandon("The transport failed unexpectedly and was closed; the server's log has more");
    }
}
