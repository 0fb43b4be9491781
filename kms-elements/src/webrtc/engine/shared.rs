//! Whose packet is it, where peers share a UDP port or a TCP listener?
//!
//! An ICE check names the peer by its user name fragment. The address it came from is then remembered, and what else comes
//! from there goes to the same peer. The transport decides for itself what it accepts: a check without the right password
//! gets nowhere, wherever it came from.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// Addresses remembered for a peer: a remote has a few, and what it has more of pushes the oldest out.
const MOST_ADDRESSES: usize = 32;

#[derive(Default)]
struct Known {
    ufrag: String,
    addresses: VecDeque<SocketAddr>,
}

/// Which fragments and remote addresses are whose.
#[derive(Default)]
pub(super) struct Shared {
    peers: HashMap<u64, Known>,
    by_ufrag: HashMap<String, u64>,
    by_address: HashMap<SocketAddr, u64>,
}

impl Shared {
    /// A peer negotiated; its user name fragment may be another one than before (ICE restart).
    pub(super) fn know(&mut self, peer: u64, ufrag: Option<String>) {
        let Some(ufrag) = ufrag else { return };
        let known = self.peers.entry(peer).or_default();
        if known.ufrag != ufrag {
            self.by_ufrag.remove(&known.ufrag);
            self.by_ufrag.insert(ufrag.clone(), peer);
            known.ufrag = ufrag;
        }
    }

    /// A peer is gone.
    pub(super) fn forget(&mut self, peer: u64) {
        let Some(known) = self.peers.remove(&peer) else {
            return;
        };
        self.by_ufrag.remove(&known.ufrag);
        for address in known.addresses {
            if self.by_address.get(&address) == Some(&peer) {
                self.by_address.remove(&address);
            }
        }
    }

    /// The peer a check is for; `None` for all other packets.
    pub(super) fn peer_checked(&self, bytes: &[u8]) -> Option<u64> {
        self.by_ufrag.get(local_ufrag(bytes)?).copied()
    }

    /// Whose packet it is that arrived on a port that all share.
    pub(super) fn peer_of(&mut self, remote: SocketAddr, bytes: &[u8]) -> Option<u64> {
        let Some(peer) = self.peer_checked(bytes) else {
            return self.by_address.get(&remote).copied();
        };
        if self.by_address.insert(remote, peer) != Some(peer)
            && let Some(known) = self.peers.get_mut(&peer)
        {
            known.addresses.push_back(remote);
            if known.addresses.len() > MOST_ADDRESSES
                && let Some(oldest) = known.addresses.pop_front()
                && self.by_address.get(&oldest) == Some(&peer)
            {
                self.by_address.remove(&oldest);
            }
        }
        Some(peer)
    }
}

/// The part of a STUN binding request's USERNAME before the colon: the fragment of the side it is sent to (RFC 8445,
/// section 7.2.2). `None` for all other packets.
fn local_ufrag(bytes: &[u8]) -> Option<&str> {
    const BINDING_REQUEST: [u8; 2] = [0, 1];
    const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
    const USERNAME: u16 = 6;
    if bytes.get(..2)? != BINDING_REQUEST || bytes.get(4..8)? != MAGIC_COOKIE {
        return None;
    }
    let mut attributes = bytes.get(20..)?;
    while let [t0, t1, l0, l1, rest @ ..] = attributes {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == USERNAME {
            return std::str::from_utf8(rest.get(..length)?).ok()?.split(':').next();
        }
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(username: &str) -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
        bytes.extend([7; 12]);
        // An attribute of odd length before it: the padding is skipped.
        bytes.extend([0x80, 0x22, 0, 3, b'k', b'm', b's', 0]);
        bytes.extend([0, 6, 0, username.len() as u8]);
        bytes.extend(username.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn a_check_tells_whose_packets_come_from_an_address() {
        let mut shared = Shared::default();
        let (a, b) = (
            SocketAddr::from(([10, 0, 0, 1], 1)),
            SocketAddr::from(([10, 0, 0, 2], 1)),
        );
        shared.know(20, Some("left".into()));
        shared.know(21, Some("right".into()));
        let media = [0x80; 40];
        assert_eq!(shared.peer_of(a, &media), None);
        assert_eq!(shared.peer_of(a, &check("left:remote")), Some(20));
        assert_eq!(shared.peer_of(b, &check("right:remote")), Some(21));
        assert_eq!(shared.peer_of(a, &media), Some(20));
        assert_eq!(
            shared.peer_of(a, &check("unknown:remote")),
            Some(20),
            "an answer-like packet goes where it did"
        );
        shared.know(20, Some("restarted".into()));
        assert_eq!(
            shared.peer_of(b, &check("left:remote")),
            Some(21),
            "the old fragment is gone"
        );
        shared.forget(20);
        assert_eq!(shared.peer_of(a, &media), None);
    }

    #[test]
    fn a_remote_of_many_addresses_takes_no_more_than_its_share() {
        let mut shared = Shared::default();
        shared.know(20, Some("u".into()));
        for port in 1..1000 {
            shared.peer_of(SocketAddr::from(([10, 0, 0, 1], port)), &check("u:r"));
        }
        assert_eq!(shared.by_address.len(), MOST_ADDRESSES);
    }

    #[test]
    fn cut_off_checks_are_nobodys() {
        let whole = check("left:remote");
        for end in 0..whole.len() - 4 {
            assert_eq!(local_ufrag(&whole[..end]).filter(|u| *u != "left"), None, "{end}");
        }
    }
}
