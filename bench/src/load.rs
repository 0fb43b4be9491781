//! The load generator: one thread with all peers.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Token, Waker};
use str0m::media::Direction;
use tokio::sync::oneshot;

use crate::error::{Context, Error, Result};
use crate::media::{AUDIO_INTERVAL, Pacing, VIDEO_INTERVAL};
use crate::peer::{Buffers, Peer};
use crate::tally::Tally;
use crate::timer::Timer;

const WAKER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// Jobs that wait for the thread; whoever has one more waits until there is room.
const JOBS: usize = 64;
/// Timers of str0m closer together than this fire together.
const TIMER_FLOOR: Duration = Duration::from_millis(2);
/// Longest wait; only so that a missed wake-up would be no standstill.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// The thread reads its sockets this often at most. Were it woken by each packet, the kernel would charge the waking to
/// the server that sends it. Packets that are due leave in between.
const REST: Duration = Duration::from_millis(1);

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// Number of a peer.
pub(crate) type PeerId = usize;

/// How the peers are doing.
#[derive(Debug)]
pub(crate) struct Status {
    /// Peers that there are.
    pub(crate) peers: usize,
    /// Of them, those that are connected.
    pub(crate) connected: usize,
    /// Why the first that failed did.
    pub(crate) failure: Option<String>,
}

/// A running load generator. Dropping it ends all peers.
pub(crate) struct Load {
    jobs: Option<SyncSender<Job>>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts the thread. Its peers will be at this address.
    pub(crate) fn start(ip: IpAddr) -> Result<Load> {
        let poll = Poll::new().context("creating an epoll instance")?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).context("creating a waker")?);
        let timer = Timer::new(poll.registry(), TIMER).context("creating a timer")?;
        let (jobs, receiver) = sync_channel(JOBS);
        let worker = Worker {
            ip,
            poll,
            timer,
            pacing: Pacing::Spread,
            peers: Vec::new(),
            due: BinaryHeap::new(),
            buffers: Buffers::new(),
            tally: Tally::new(Instant::now()),
            woke: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("load".into())
            .spawn(move || worker.run(&receiver))
            .context("starting a thread")?;
        Ok(Load {
            jobs: Some(jobs),
            waker,
            thread: Some(thread),
        })
    }

    /// Runs something on the thread.
    async fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut Worker) -> T + Send + 'static) -> Result<T> {
        let gone = || Error::Peer("the load generator's thread ended".into());
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |worker| drop(reply.send(job(worker))));
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job).map_err(|_| gone())?;
        self.waker.wake().context("waking the load generator")?;
        answer.await.map_err(|_| gone())
    }

    /// Makes a peer that offers audio and video.
    pub(crate) async fn offer(&self, direction: Direction) -> Result<(PeerId, String)> {
        self.run(move |w| w.add(|peer| peer.offer(direction))).await?
    }

    /// Gives a peer the answer to its offer.
    pub(crate) async fn answer(&self, peer: PeerId, answer: String) -> Result<()> {
        self.run(move |w| w.with(peer, |p| p.answer(&answer))).await?
    }

    /// Makes a peer that answers an offer, to receive only.
    pub(crate) async fn accept(&self, offer: String) -> Result<(PeerId, String)> {
        self.run(move |w| w.add(|peer| peer.accept(&offer))).await?
    }

    /// Gives a peer a candidate of the server.
    pub(crate) async fn candidate(&self, peer: PeerId, candidate: String) -> Result<()> {
        self.run(move |w| w.with(peer, |p| p.add_candidate(&candidate)))
            .await
    }

    /// How the peers are doing.
    pub(crate) async fn status(&self) -> Result<Status> {
        self.run(|w| w.status()).await
    }

    /// Waits until all peers are connected.
    pub(crate) async fn connected(&self) -> Result<()> {
        const LONGEST: u64 = 30;
        let deadline = Instant::now() + Duration::from_secs(LONGEST);
        loop {
            let status = self.status().await?;
            if let Some(failure) = status.failure {
                return Err(Error::Peer(failure));
            }
            if status.connected == status.peers {
                return Ok(());
            }
            if Instant::now() > deadline {
                let what = format!("{} of {} peers connected", status.connected, status.peers);
                return Err(Error::Late(what, LONGEST));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets all peers that can send begin, spread evenly over the time of a frame.
    pub(crate) async fn start_media(&self, pacing: Pacing) -> Result<()> {
        self.run(move |w| w.start_media(pacing)).await
    }

    /// Begins to count.
    pub(crate) async fn begin(&self) -> Result<()> {
        self.run(|w| w.tally.begin(Instant::now())).await
    }

    /// Ends what `begin` began.
    pub(crate) async fn end(&self) -> Result<()> {
        self.run(|w| w.tally.end(Instant::now())).await
    }

    /// What was counted.
    pub(crate) async fn tally(&self) -> Result<Tally> {
        self.run(|w| w.tally.clone()).await
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.jobs = None;
        // Without the wake-up it ends at its next turn.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something to do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Task {
    Video,
    Audio,
    Timer,
}

struct Worker {
    ip: IpAddr,
    poll: Poll,
    timer: Timer,
    pacing: Pacing,
    peers: Vec<Peer>,
    due: BinaryHeap<Reverse<(Instant, PeerId, Task)>>,
    buffers: Buffers,
    tally: Tally,
    /// When sockets were last read.
    woke: Instant,
}

impl Worker {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.wait(&mut events) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return,
                _ => {}
            }
            loop {
                match jobs.try_recv() {
                    Ok(job) => job(&mut self),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            for event in &events {
                self.read(event.token());
            }
            self.do_what_is_due();
            let now = Instant::now();
            self.tally.count_busy(now - self.woke, now);
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let now = Instant::now();
        let due = self.due.peek().map(|Reverse((at, ..))| *at);
        let rest = (self.woke + REST).min(due.unwrap_or(now + REST));
        if rest > now {
            std::thread::park_timeout(rest - now);
        }
        let mut longest = LONGEST_WAIT;
        if let Some(at) = due {
            match at <= Instant::now() {
                true => longest = Duration::ZERO,
                false => self.timer.set(at)?,
            }
        }
        let waited = self.poll.poll(events, Some(longest));
        self.woke = Instant::now();
        waited
    }

    fn read(&mut self, Token(id): Token) {
        let Some(peer) = self.peers.get_mut(id) else {
            return;
        };
        // epoll tells of every packet that comes after a read, so reading until one would block isn't needed.
        while peer.receive(&mut self.buffers, &mut self.tally, Instant::now()) {}
        let wake = peer.drain(&mut self.tally);
        self.wake(id, wake);
    }

    fn wake(&mut self, id: PeerId, at: Option<Instant>) {
        let (Some(at), Some(peer)) = (at, self.peers.get_mut(id)) else {
            return;
        };
        let at = at.max(Instant::now() + TIMER_FLOOR);
        if peer.wake_at.is_none_or(|w| at < w) {
            peer.wake_at = Some(at);
            self.due.push(Reverse((at, id, Task::Timer)));
        }
    }

    fn do_what_is_due(&mut self) {
        // What gets due meanwhile waits for the next turn: packets must be read too.
        let until = Instant::now();
        while let Some(Reverse((at, id, task))) = self.due.peek().copied()
            && at <= until
        {
            self.due.pop();
            let Some(peer) = self.peers.get_mut(id) else {
                continue;
            };
            let now = Instant::now();
            match task {
                Task::Video => {
                    let mut next = at;
                    while next <= at {
                        let packet = peer.write_video(&mut self.tally, at, now);
                        next += self.pacing.until_next(packet);
                    }
                    self.due.push(Reverse((next, id, task)));
                }
                Task::Audio => {
                    peer.write_audio(&mut self.tally, at, now);
                    self.due.push(Reverse((at + AUDIO_INTERVAL, id, task)));
                }
                Task::Timer if peer.wake_at != Some(at) => continue,
                Task::Timer => peer.wake_at = None,
            }
            let wake = peer.timeout(&mut self.tally, now);
            self.wake(id, wake);
        }
    }

    fn add<T>(&mut self, negotiate: impl FnOnce(&mut Peer) -> Result<T>) -> Result<(PeerId, T)> {
        let mut peer = Peer::bind(self.ip, Instant::now())?;
        let id = self.peers.len();
        self.poll
            .registry()
            .register(peer.source(), Token(id), Interest::READABLE)
            .context("watching a socket")?;
        let description = negotiate(&mut peer)?;
        self.peers.push(peer);
        Ok((id, description))
    }

    fn with<T>(&mut self, id: PeerId, act: impl FnOnce(&mut Peer) -> T) -> T {
        let result = act(&mut self.peers[id]);
        let wake = self.peers[id].timeout(&mut self.tally, Instant::now());
        self.wake(id, wake);
        result
    }

    fn status(&self) -> Status {
        Status {
            peers: self.peers.len(),
            connected: self.peers.iter().filter(|p| p.is_connected()).count(),
            failure: self.peers.iter().find_map(|p| p.failure().map(str::to_owned)),
        }
    }

    fn start_media(&mut self, pacing: Pacing) {
        self.pacing = pacing;
        let now = Instant::now();
        let senders: Vec<PeerId> = (0..self.peers.len())
            .filter(|id| self.peers[*id].sends())
            .collect();
        for (place, id) in senders.iter().enumerate() {
            let phase = VIDEO_INTERVAL * place as u32 / senders.len() as u32;
            self.due.push(Reverse((now + phase, *id, Task::Video)));
            let phase = AUDIO_INTERVAL * place as u32 / senders.len() as u32;
            self.due.push(Reverse((now + phase, *id, Task::Audio)));
        }
    }
}
