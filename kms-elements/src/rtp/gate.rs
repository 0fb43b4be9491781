//! Whose packets are taken: those of one sender at a time. Sans I/O.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A sender that sent nothing for so long may be followed by another.
const SILENCE: Duration = Duration::from_secs(2);

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) address: SocketAddr,
    pub(super) ssrc: u32,
}

/// Locks on the first sender. Another one, by its address or its SSRC, is let in only when the one before has been silent for 2 s:
/// otherwise anybody could push his media between, or have ours sent to him. Where packets are authenticated only the SSRC counts:
/// whoever has the key may move.
#[derive(Debug)]
pub(super) struct Gate {
    authenticated: bool,
    current: Option<(Sender, Instant)>,
    /// When it sent media last, and not only what keeps a NAT open.
    media: Option<Instant>,
}

impl Gate {
    /// Nobody has sent yet.
    pub(super) fn new(authenticated: bool) -> Gate {
        Gate {
            authenticated,
            current: None,
            media: None,
        }
    }

    /// Whether a packet of this sender is taken. `media`: whether it has media that is wanted.
    pub(super) fn admit(&mut self, sender: Sender, media: bool, now: Instant) -> bool {
        let is_other = |current: Sender| {
            current.ssrc != sender.ssrc || (!self.authenticated && current.address != sender.address)
        };
        if let Some((current, last)) = self.current
            && is_other(current)
            && now < last + SILENCE
        {
            return false;
        }
        self.current = Some((sender, now));
        if media {
            self.media = Some(now);
        }
        true
    }

    /// Whether RTCP may come from there. That of the sender may come from another port, but not from another host.
    pub(super) fn admits_rtcp(&self, from: SocketAddr, described: Option<SocketAddr>) -> bool {
        let same = |address: SocketAddr| address.ip() == from.ip();
        self.authenticated
            || self.current.is_some_and(|(s, _)| same(s.address))
            || described.is_some_and(same)
    }

    /// The SSRC that is listened to.
    pub(super) fn current(&self) -> Option<u32> {
        self.current.map(|(sender, _)| sender.ssrc)
    }

    /// Whether media comes: there was some less than 2 s ago.
    pub(super) fn is_receiving(&self, now: Instant) -> bool {
        self.media.is_some_and(|last| now < last + SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(port: u16, ssrc: u32) -> Sender {
        Sender {
            address: SocketAddr::from(([192, 0, 2, 1], port)),
            ssrc,
        }
    }

    #[test]
    fn the_first_sender_is_kept_while_it_sends() {
        let (mut gate, mut now) = (Gate::new(false), Instant::now());
        assert!(!gate.is_receiving(now));
        for _ in 0..10 {
            assert!(gate.admit(sender(1000, 1), true, now));
            assert!(!gate.admit(sender(1001, 1), true, now), "another address");
            assert!(!gate.admit(sender(1000, 2), true, now), "another stream");
            now += SILENCE - Duration::from_millis(1);
        }
        assert!(gate.admits_rtcp(sender(1000, 1).address, None));
    }

    #[test]
    fn another_follows_one_that_is_silent() {
        let (mut gate, now) = (Gate::new(false), Instant::now());
        assert!(gate.admit(sender(1000, 1), true, now));
        assert!(gate.is_receiving(now + SILENCE / 2));
        assert!(!gate.is_receiving(now + SILENCE));
        assert!(gate.admit(sender(1001, 2), true, now + SILENCE));
        assert!(!gate.admit(sender(1000, 1), true, now + SILENCE));
    }

    #[test]
    fn whoever_has_the_key_may_move() {
        let (mut gate, now) = (Gate::new(true), Instant::now());
        assert!(gate.admit(sender(1000, 1), true, now));
        assert!(gate.admit(sender(1001, 1), true, now));
        assert!(gate.is_receiving(now));
        assert!(
            !gate.admit(sender(1001, 2), true, now),
            "but streams are taken one at a time"
        );
    }

    #[test]
    fn rtcp_comes_from_the_host_of_the_sender_or_of_the_description() {
        let (mut gate, now) = (Gate::new(false), Instant::now());
        let described = SocketAddr::from(([198, 51, 100, 7], 5001));
        assert!(!gate.admits_rtcp(sender(1001, 1).address, Some(described)));
        assert!(gate.admits_rtcp(described, Some(described)));
        assert!(gate.admit(sender(1000, 1), true, now));
        assert!(gate.admits_rtcp(sender(1001, 1).address, Some(described)));
        assert!(!gate.admits_rtcp(SocketAddr::from(([203, 0, 113, 1], 1000)), Some(described)));
    }

    #[test]
    fn what_keeps_a_nat_open_is_no_media() {
        let (mut gate, now) = (Gate::new(false), Instant::now());
        assert!(gate.admit(sender(1000, 1), false, now));
        assert!(!gate.is_receiving(now));
        assert!(gate.admits_rtcp(sender(1001, 1).address, None));
    }
}
