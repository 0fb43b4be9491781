//! The packets of an endpoint: from its sockets into its pipeline and back. One thread an endpoint receives; whoever makes a packet
//! sends it.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kms_core::object::lock;
use kms_core::types::MediaType;
use mio::net::UdpSocket;
use mio::{Events, Interest, Poll, Token, Waker};

use super::gate::{Gate, Sender};
use super::ports::Ports;

/// How often it is looked whether media still comes.
const CHECK: Duration = Duration::from_millis(250);
/// A datagram's largest content.
const LARGEST: usize = 65_536;
/// Packets read from a socket before the next has its turn.
const BATCH: usize = 64;
const WAKE: Token = Token(usize::MAX);

/// What a line's packets are given to. Called on the receiving thread.
pub(super) trait Receiver: Send {
    /// An RTP or SRTP packet.
    fn rtp(&mut self, packet: &[u8]);
    /// An RTCP or SRTCP packet.
    fn rtcp(&mut self, packet: &[u8]);
}

/// Where packets of a line go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination {
    /// Where RTP and RTCP go. None: not known yet, nothing is sent.
    pub(super) rtp: Option<SocketAddr>,
    pub(super) rtcp: Option<SocketAddr>,
    /// They go where packets of the remote come from, once some came.
    pub(super) follows: bool,
}

/// The sockets of an m-line, and who is at their other end.
pub(super) struct Line {
    pub(super) kind: MediaType,
    ports: Ports,
    state: Mutex<State>,
}

/// Used with each packet, by the receiving thread and by those that send.
struct State {
    gate: Gate,
    destination: Destination,
    /// Where the packet came from that is on its way through the pipeline.
    arriving: Option<SocketAddr>,
    receiving: bool,
}

impl Line {
    /// A line whose packets may begin to come.
    pub(super) fn new(kind: MediaType, ports: Ports, secure: bool, destination: Destination) -> Line {
        Line {
            kind,
            ports,
            state: Mutex::new(State {
                gate: Gate::new(secure),
                destination,
                arriving: None,
                receiving: false,
            }),
        }
    }

    /// Whether the RTP packet that is on its way, and authentic if that can be known, is one of the sender that is listened to.
    /// `media`: whether it has media that is wanted.
    pub(super) fn admit(&self, ssrc: u32, media: bool) -> bool {
        let mut state = lock(&self.state);
        let Some(address) = state.arriving else {
            return false;
        };
        let admitted = state.gate.admit(Sender { address, ssrc }, media, Instant::now());
        if admitted && state.destination.follows {
            state.destination.rtp = Some(address);
            if self.ports.rtcp.is_none() {
                state.destination.rtcp = Some(address);
            }
        }
        admitted
    }

    /// The stream that is listened to.
    pub(super) fn current(&self) -> Option<u32> {
        lock(&self.state).gate.current()
    }

    /// Notes that RTCP which is on its way is authentic, or from the host that it should be from.
    pub(super) fn admit_rtcp(&self) {
        let mut state = lock(&self.state);
        if let (Some(from), true) = (state.arriving, state.destination.follows) {
            state.destination.rtcp = Some(from);
        }
    }

    /// Sends a packet. What the kernel has no room for is lost, as on a network.
    pub(super) fn send_rtp(&self, packet: &[u8]) {
        if let Some(to) = lock(&self.state).destination.rtp {
            let _ = self.ports.rtp.send_to(packet, to);
        }
    }

    /// Sends a packet of RTCP.
    pub(super) fn send_rtcp(&self, packet: &[u8]) {
        let socket = self.ports.rtcp.as_ref().unwrap_or(&self.ports.rtp);
        if let Some(to) = lock(&self.state).destination.rtcp {
            let _ = socket.send_to(packet, to);
        }
    }

    fn arrived(&self, from: SocketAddr, packet: &[u8], receiver: &mut dyn Receiver) {
        // Version 2 (RFC 3550), and what tells RTCP from RTP on one port (RFC 5761, section 4).
        let (Some(first), Some(second)) = (packet.first(), packet.get(1)) else {
            return;
        };
        if first >> 6 != 2 {
            return;
        }
        let is_rtcp = (192..=223).contains(second);
        {
            let mut state = lock(&self.state);
            if is_rtcp && !state.gate.admits_rtcp(from, state.destination.rtcp) {
                return;
            }
            state.arriving = Some(from);
        }
        match is_rtcp {
            true => receiver.rtcp(packet),
            false => receiver.rtp(packet),
        }
        lock(&self.state).arriving = None;
    }

    /// Whether media comes, if that is news.
    fn news(&self, now: Instant) -> Option<bool> {
        let mut state = lock(&self.state);
        let receiving = state.gate.is_receiving(now);
        (std::mem::replace(&mut state.receiving, receiving) != receiving).then_some(receiving)
    }

    fn sockets(&mut self) -> impl Iterator<Item = &mut UdpSocket> {
        [Some(&mut self.ports.rtp), self.ports.rtcp.as_mut()]
            .into_iter()
            .flatten()
    }

    fn socket(&self, rtcp: bool) -> Option<&UdpSocket> {
        if rtcp {
            self.ports.rtcp.as_ref()
        } else {
            Some(&self.ports.rtp)
        }
    }
}

/// Told when media of a kind begins or ceases to come; on the receiving thread.
pub(super) type News = Box<dyn Fn(MediaType, bool) + Send>;

/// Receives until it is dropped.
pub(super) struct Transport {
    ended: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

/// Registers the sockets of lines, before they are shared.
pub(super) struct Reading {
    poll: Poll,
    waker: Arc<Waker>,
}

impl Reading {
    /// Prepares to read these.
    pub(super) fn of(lines: &mut [Line]) -> io::Result<Reading> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        for (index, line) in lines.iter_mut().enumerate() {
            for (place, socket) in line.sockets().enumerate() {
                poll.registry()
                    .register(socket, Token(2 * index + place), Interest::READABLE)?;
            }
        }
        Ok(Reading { poll, waker })
    }

    /// Begins.
    pub(super) fn start(
        self,
        lines: Vec<(Arc<Line>, Box<dyn Receiver>)>,
        news: News,
    ) -> io::Result<Transport> {
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, waker) = (ended.clone(), self.waker.clone());
        let mut worker = Worker {
            lines,
            news,
            buffer: vec![0; LARGEST],
        };
        let mut poll = self.poll;
        std::thread::Builder::new()
            .name("rtp".into())
            .spawn(move || worker.run(&mut poll, &stop))?;
        Ok(Transport { ended, waker })
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Not waited for: this may be that very thread.
        self.ended.store(true, Ordering::Release);
        let _ = self.waker.wake();
    }
}

struct Worker {
    lines: Vec<(Arc<Line>, Box<dyn Receiver>)>,
    news: News,
    buffer: Vec<u8>,
}

impl Worker {
    fn run(&mut self, poll: &mut Poll, ended: &AtomicBool) {
        let mut events = Events::with_capacity(8);
        let mut checked = Instant::now();
        let mut ready: Vec<usize> = Vec::new();
        loop {
            // A socket that had more than its share is read on without waiting.
            let wait = if ready.is_empty() { CHECK } else { Duration::ZERO };
            if let Err(error) = poll.poll(&mut events, Some(wait))
                && error.kind() != ErrorKind::Interrupted
            {
                tracing::error!(%error, "RTP is not received any more");
                return;
            }
            if ended.load(Ordering::Acquire) {
                return;
            }
            ready.extend(
                events
                    .iter()
                    .map(|e| e.token())
                    .filter(|t| *t != WAKE)
                    .map(|t| t.0),
            );
            ready.sort_unstable();
            ready.dedup();
            ready.retain(|place| self.read(*place));
            // At once, when media begins.
            let now = Instant::now();
            if !events.is_empty() || now >= checked + CHECK {
                checked = now;
                for (line, _) in &self.lines {
                    if let Some(receiving) = line.news(now) {
                        (self.news)(line.kind, receiving);
                    }
                }
            }
        }
    }

    /// Reads a socket's share. False: it has no more for now.
    fn read(&mut self, place: usize) -> bool {
        let Some((line, receiver)) = self.lines.get_mut(place / 2) else {
            return false;
        };
        let Some(socket) = line.socket(place % 2 == 1) else {
            return false;
        };
        for _ in 0..BATCH {
            match socket.recv_from(&mut self.buffer) {
                Ok((length, from)) => {
                    let packet = self.buffer.get(..length).unwrap_or_default();
                    line.arrived(from, packet, receiver.as_mut());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                // What an ICMP error told about a packet that was sent.
                Err(_) => {}
            }
        }
        true
    }
}
