//! ICE candidates (RFC 8839): which addresses to offer, and candidate lines of remotes. Sans I/O.

use std::net::{IpAddr, SocketAddr};

use str0m::Candidate;

use super::api::GatherSettings;

/// Candidate lines are below 200 bytes; host names may be longer.
const LONGEST: usize = 1024;

/// Why a candidate can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Not an ICE candidate (RFC 8839): {0}")]
pub struct CandidateError(String);

/// A candidate of a remote.
#[derive(Debug, Clone)]
pub enum RemoteCandidate {
    /// An address to check.
    Address(Candidate),
    /// A name under `.local` (mDNS) or another host name. It is not looked up: the remote's own checks reveal its address.
    Name,
    /// A candidate that is not used: RTCP apart from RTP, TCP, or an address that is no single host's.
    Unused,
    /// The remote has no more candidates.
    End,
}

/// Reads a candidate line: "candidate:...", with or without "a=" before it.
pub fn parse_candidate(text: &str) -> Result<RemoteCandidate, CandidateError> {
    let text = text.trim();
    if text.is_empty() || text == "a=end-of-candidates" || text == "end-of-candidates" {
        return Ok(RemoteCandidate::End);
    }
    if text.len() > LONGEST {
        return Err(CandidateError(format!("longer than {LONGEST} bytes")));
    }
    let line = text.strip_prefix("a=").unwrap_or(text);
    let fields: Vec<&str> = line
        .strip_prefix("candidate:")
        .unwrap_or(line)
        .split_whitespace()
        .collect();
    let [
        foundation,
        component,
        transport,
        priority,
        address,
        port,
        typ,
        kind,
        rest @ ..,
    ] = fields.as_slice()
    else {
        return Err(CandidateError("fields are missing".into()));
    };
    let number = |name: &str, value: &str| {
        value
            .parse::<u32>()
            .map_err(|_| CandidateError(format!("{name} is no number")))
    };
    let (component, priority) = (number("component", component)?, number("priority", priority)?);
    let port = port
        .parse::<u16>()
        .map_err(|_| CandidateError("port is no number from 0 to 65535".into()))?;
    if *typ != "typ" || !matches!(*kind, "host" | "srflx" | "prflx" | "relay") {
        return Err(CandidateError(
            "the type is none of host, srflx, prflx, relay".into(),
        ));
    }
    let transport = transport.to_ascii_lowercase();
    if !matches!(transport.as_str(), "udp" | "tcp") {
        return Ok(RemoteCandidate::Unused);
    }
    let Ok(ip) = address.parse::<IpAddr>() else {
        let plausible = address
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        return plausible
            .then_some(RemoteCandidate::Name)
            .ok_or(CandidateError("the address is none".into()));
    };
    // With rtcp-mux there is one component. A remote's TCP candidates are active or not for a server to connect to.
    if component != 1 || port == 0 || transport == "tcp" || !is_of_a_host(ip) {
        return Ok(RemoteCandidate::Unused);
    }
    let related = related_address(rest).unwrap_or_else(|| SocketAddr::new(ip, port));
    let foundation: String = foundation
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'))
        .take(32)
        .collect();
    if foundation.is_empty() {
        return Err(CandidateError("the foundation has no valid character".into()));
    }
    let related = if *kind == "host" {
        String::new()
    } else {
        format!(" raddr {} rport {}", related.ip(), related.port())
    };
    let line = format!("candidate:{foundation} 1 udp {priority} {ip} {port} typ {kind}{related}");
    Candidate::from_sdp_string(&line)
        .map(RemoteCandidate::Address)
        .map_err(|e| CandidateError(e.to_string()))
}

/// Connectivity checks go to one host: not to none, and not to many.
fn is_of_a_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

fn related_address(rest: &[&str]) -> Option<SocketAddr> {
    let value = |name: &str| rest.windows(2).find(|w| w[0] == name).map(|w| w[1]);
    Some(SocketAddr::new(
        value("raddr")?.parse().ok()?,
        value("rport")?.parse().ok()?,
    ))
}

/// A host candidate to offer, and the address its packets really arrive at.
#[derive(Debug, Clone)]
pub struct HostCandidate {
    /// What the remote is told: "candidate:...".
    pub line: String,
    /// Where packets arrive.
    pub base: SocketAddr,
}

/// Host candidates for a socket bound to `port` on all addresses. With an external address set, it is announced in place
/// of the host's own (static NAT), once a family.
pub fn host_candidates(settings: &GatherSettings, port: u16) -> Vec<HostCandidate> {
    let mut candidates: Vec<HostCandidate> = Vec::new();
    for (index, ip) in host_addresses(settings).into_iter().enumerate() {
        let external = match ip {
            IpAddr::V4(_) => settings.external_ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => settings.external_ipv6.map(IpAddr::V6),
        };
        let announced = external.unwrap_or(ip);
        if candidates
            .iter()
            .any(|c| c.line.contains(&format!(" {announced} ")))
        {
            continue;
        }
        // RFC 8445, section 5.1.2.1: host candidates have type preference 126; IPv6 and the order of interfaces decide
        // among them.
        let family = if announced.is_ipv6() { 1 << 15 } else { 0 };
        let local_preference = 16_383 + family - index as u32;
        let priority = (126 << 24) + (local_preference << 8) + 255;
        let line = format!(
            "candidate:{} 1 UDP {priority} {announced} {port} typ host",
            index + 1
        );
        candidates.push(HostCandidate {
            line,
            base: SocketAddr::new(ip, port),
        });
    }
    candidates
}

/// Addresses of this host to offer: of the interfaces named, or of all that are up. Loopback only where it is named or
/// nothing else is there; link-local IPv6 never, for it means nothing without a scope.
pub fn host_addresses(settings: &GatherSettings) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "network interfaces can't be listed");
        Vec::new()
    });
    let named = |name: &String| settings.network_interfaces.iter().any(|n| n.trim() == name);
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_unicast_link_local(),
    };
    let all = interfaces
        .iter()
        .filter(|i| settings.network_interfaces.is_empty() || named(&i.name));
    let (loopback, others): (Vec<IpAddr>, Vec<IpAddr>) = all
        .map(if_addrs::Interface::ip)
        .filter(usable)
        .partition(IpAddr::is_loopback);
    let mut addresses = if others.is_empty() || !settings.network_interfaces.is_empty() {
        [others, loopback].concat()
    } else {
        others
    };
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_of_browsers_and_of_old_clients_are_read() {
        let address = |text: &str| match parse_candidate(text) {
            Ok(RemoteCandidate::Address(c)) => c.addr().to_string(),
            other => panic!("{text}: {other:?}"),
        };
        let chrome = "candidate:842163049 1 udp 1677729535 203.0.113.7 46154 typ srflx raddr 10.0.0.2 rport 50000 \
                      generation 0 ufrag abcd network-cost 999";
        assert_eq!(address(chrome), "203.0.113.7:46154");
        assert_eq!(
            address("a=candidate:1 1 UDP 2015364095 127.0.0.1 48614 typ host"),
            "127.0.0.1:48614"
        );
        assert_eq!(
            address("candidate:0 1 udp 2122252543 2001:db8::1 5000 typ host"),
            "[2001:db8::1]:5000"
        );
        assert!(matches!(
            parse_candidate("candidate:1 1 udp 2113937151 0e2d7c2c-1b7d.local 51234 typ host"),
            Ok(RemoteCandidate::Name)
        ));
        assert!(matches!(parse_candidate(""), Ok(RemoteCandidate::End)));
        assert!(matches!(
            parse_candidate("candidate:1 2 udp 1 127.0.0.1 5000 typ host"),
            Ok(RemoteCandidate::Unused)
        ));
        let tcp = "candidate:1 1 tcp 1518280447 10.0.0.2 9 typ host tcptype active";
        assert!(matches!(parse_candidate(tcp), Ok(RemoteCandidate::Unused)));
        assert_eq!(
            address("candidate:+/ 1 udp 1 10.0.0.2 5000 typ host"),
            "10.0.0.2:5000"
        );
    }

    #[test]
    fn an_address_that_is_no_single_hosts_is_not_used() {
        for ip in ["0.0.0.0", "::", "224.0.0.251", "ff02::fb", "255.255.255.255"] {
            let text = format!("candidate:1 1 udp 1 {ip} 5000 typ host");
            assert!(
                matches!(parse_candidate(&text), Ok(RemoteCandidate::Unused)),
                "{ip}"
            );
        }
    }

    #[test]
    fn what_is_no_candidate_is_refused() {
        let long = "x".repeat(5000);
        for text in [
            "garbage",
            "candidate:1 1 udp",
            "candidate:1 x udp 1 1.2.3.4 5 typ host",
            long.as_str(),
            "candidate:1 1 udp 1 1.2.3.4 70000 typ host",
            "candidate:1 1 udp 1 1.2.3.4 5 typ moon",
            "candidate:1 1 udp 1 a\"b 5 typ host",
            "candidate:\u{e9} 1 udp 1 1.2.3.4 5 typ host",
        ] {
            assert!(parse_candidate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_external_address_replaces_the_hosts_own() {
        let settings = GatherSettings {
            network_interfaces: vec!["lo".into()],
            external_ipv4: Some("198.51.100.1".parse().expect("an address")),
            ..GatherSettings::default()
        };
        let candidates = host_candidates(&settings, 5000);
        let v4 = candidates
            .iter()
            .find(|c| c.base.is_ipv4())
            .expect("loopback has an IPv4 address");
        assert!(v4.line.contains(" 198.51.100.1 5000 typ host"), "{}", v4.line);
        assert_eq!(v4.base, "127.0.0.1:5000".parse().expect("an address"));
    }
}
