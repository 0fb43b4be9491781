//! A proxy for HTTP (RFC 9110, sections 7.2 and 9.3.6) on a port of this machine, which connects to what may be reached and to nothing else.
//!
//! It reads the header of one request. A tunnel (CONNECT) is connected and left alone; of other requests the first line is made one for a
//! server, and the connection is asked to be closed after it: what follows on it would be for another host, maybe. Bodies pass unread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::Reach;

/// Connections at a time; further ones wait.
const MOST: usize = 1024;
/// How long a request may take to come, and a host to be connected to.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes of a request's first line, and of its header.
const LONGEST_LINE: u64 = 16 * 1024;
const LONGEST_HEADER: usize = 64 * 1024;

/// Begins to listen; where, is returned.
pub(super) async fn open(reach: Reach) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let turns = Arc::new(Semaphore::new(MOST));
    tokio::spawn(async move {
        loop {
            let Ok(turn) = turns.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => {
                    let reach = reach.clone();
                    tokio::spawn(async move {
                        let _turn = turn;
                        pass_on(client, &reach).await;
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the gateway can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    });
    Ok(address)
}

async fn pass_on(client: TcpStream, reach: &Reach) {
    let mut client = BufReader::new(client);
    let begun = tokio::time::timeout(PATIENCE, begin(&mut client, reach)).await;
    let refusal = match begun {
        Ok(Ok(mut server)) => {
            // Either may end it; a server that sends nothing more is the reader's to give up.
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
        Ok(Err(refusal)) => refusal,
        Err(_) => Refusal {
            status: "504 Gateway Timeout",
            why: "it does not answer".into(),
        },
    };
    tracing::debug!(why = refusal.why, "the gateway refuses");
    let Refusal { status, why } = refusal;
    let length = why.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}");
    let _ = tokio::time::timeout(PATIENCE, client.get_mut().write_all(answer.as_bytes())).await;
}

struct Refusal {
    status: &'static str,
    why: String,
}

impl Refusal {
    fn of(status: &'static str) -> impl Fn(String) -> Refusal {
        move |why| Refusal { status, why }
    }
}

/// Connects to the host of a request. What was read and is for it, was written to it.
async fn begin(client: &mut BufReader<TcpStream>, reach: &Reach) -> Result<TcpStream, Refusal> {
    let bad = Refusal::of("400 Bad Request");
    let mut first = String::new();
    let mut line = (&mut *client).take(LONGEST_LINE);
    line.read_line(&mut first).await.map_err(|e| bad(e.to_string()))?;
    let mut words = first.split_ascii_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let tunnel = method.eq_ignore_ascii_case("CONNECT");
    let (host, port) = host_of(target, tunnel).ok_or_else(|| bad("the request names no host".into()))?;
    let addresses = reach
        .resolve(host, port)
        .await
        .map_err(Refusal::of("403 Forbidden"))?;
    let failed = Refusal::of("502 Bad Gateway");
    let mut server = TcpStream::connect(&*addresses)
        .await
        .map_err(|e| failed(e.to_string()))?;
    let header = rest_of_header(client).await.map_err(bad)?;
    if tunnel {
        let answer = client
            .get_mut()
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
        answer.await.map_err(|e| failed(e.to_string()))?;
    } else {
        let version = words.next().unwrap_or("HTTP/1.1");
        let request = format!(
            "{method} {} {version}\r\n{header}Connection: close\r\n\r\n",
            path_of(target)
        );
        server
            .write_all(request.as_bytes())
            .await
            .map_err(|e| failed(e.to_string()))?;
    }
    Ok(server)
}

/// Reads up to the empty line that ends a header, and gives what is not about the connection to this proxy (RFC 9110, section 7.6.1).
async fn rest_of_header(client: &mut BufReader<TcpStream>) -> Result<String, String> {
    const HOP_BY_HOP: [&str; 5] = [
        "connection",
        "proxy-connection",
        "keep-alive",
        "proxy-authorization",
        "te",
    ];
    let (mut read, mut header) = (0, String::new());
    while read < LONGEST_HEADER {
        let mut line = String::new();
        let mut bounded = (&mut *client).take(LONGEST_LINE);
        read += bounded.read_line(&mut line).await.map_err(|e| e.to_string())?;
        if line.trim_end().is_empty() {
            return Ok(header);
        }
        let name = line.split(':').next().unwrap_or_default().trim();
        if !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop)) {
            header.push_str(line.trim_end());
            header.push_str("\r\n");
        }
    }
    Err("the header is too long".into())
}

/// Path and query of `http://host/path?query`.
fn path_of(target: &str) -> String {
    let rest = target.split_once("://").map_or(target, |(_, rest)| rest);
    let target = rest.split('#').next().unwrap_or_default();
    match target.find(['/', '?']) {
        Some(at) if target[at..].starts_with('/') => target[at..].to_owned(),
        Some(at) => format!("/{}", &target[at..]),
        None => "/".to_owned(),
    }
}

/// Host and port of a request: `host:port` of CONNECT, or those of `http://host:port/path`.
fn host_of(target: &str, tunnel: bool) -> Option<(&str, u16)> {
    let authority = if tunnel {
        target
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let authority = rest.split(['/', '?', '#']).next()?;
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ if tunnel => return None,
        _ => (authority, 80),
    };
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found() {
        for (target, tunnel, expected) in [
            ("example.org:443", true, Some(("example.org", 443))),
            ("[::1]:443", true, Some(("[::1]", 443))),
            ("example.org", true, None),
            ("http://example.org/a:b", false, Some(("example.org", 80))),
            (
                "http://me:secret@example.org:8080/",
                false,
                Some(("example.org", 8080)),
            ),
            ("http://[::1]/", false, Some(("[::1]", 80))),
            ("http://a@127.0.0.1#@example.org/", false, Some(("127.0.0.1", 80))),
            ("https://example.org/", false, None),
            ("/path", false, None),
            ("http:///path", false, None),
            ("http://host:99999/", false, None),
        ] {
            assert_eq!(host_of(target, tunnel), expected, "{target}");
        }
    }

    #[test]
    fn paths_are_what_servers_are_asked_for() {
        for (target, path) in [
            ("http://host:1/a/b?c=http://d/e", "/a/b?c=http://d/e"),
            ("http://host", "/"),
            ("http://host?q", "/?q"),
            ("http://host/a#b", "/a"),
        ] {
            assert_eq!(path_of(target), path);
        }
    }
}
