//! TCP connections: of ICE over TCP (RFC 6544) with frames of RFC 4571, and to TURN servers with their own framing.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

/// Bytes that may wait for a slow connection. When there are more, further packets are dropped, as a router would.
const MOST_WAITING: usize = 256 * 1024;
/// Read at once, and how often before others get their turn.
const CHUNK: usize = 16 * 1024;
const CHUNKS_A_TURN: usize = 8;

/// A non-blocking connection with what waits to be written.
pub(in crate::webrtc::engine) struct Pipe {
    stream: TcpStream,
    waiting: Vec<u8>,
}

impl Pipe {
    /// A connection that is open or being opened.
    pub(in crate::webrtc::engine) fn new(stream: TcpStream) -> Pipe {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY can't be set");
        }
        Pipe {
            stream,
            waiting: Vec::new(),
        }
    }

    /// The connection, to be registered for events.
    pub(in crate::webrtc::engine) fn source(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Writes a packet made of parts, all of it or nothing. False: there was no room, and it is dropped.
    pub(super) fn write(&mut self, parts: &[&[u8]]) -> bool {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        if self.waiting.len() + length > MOST_WAITING {
            return false;
        }
        parts.iter().for_each(|p| self.waiting.extend_from_slice(p));
        // An error shows when the connection is read.
        let _ = self.flush();
        true
    }

    /// Writes what waits.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match self.stream.write(&self.waiting) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if pending(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived. True: there may be more. An error: the connection has ended.
    pub(super) fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        for _ in 0..CHUNKS_A_TURN {
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => take(&chunk[..read]),
                Err(error) if pending(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

fn pending(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::NotConnected
    )
}

/// A connection of a remote's ICE agent: packets in frames.
pub(in crate::webrtc::engine) struct Framed {
    pub(in crate::webrtc::engine) pipe: Pipe,
    pub(in crate::webrtc::engine) remote: SocketAddr,
    pub(in crate::webrtc::engine) local: SocketAddr,
    frames: Frames,
}

impl Framed {
    /// A connection that was just accepted.
    pub(in crate::webrtc::engine) fn new(stream: TcpStream, remote: SocketAddr, local: SocketAddr) -> Framed {
        Framed {
            pipe: Pipe::new(stream),
            remote,
            local,
            frames: Frames::default(),
        }
    }

    /// Sends a packet; false: it was dropped.
    pub(super) fn send(&mut self, packet: &[u8]) -> bool {
        match u16::try_from(packet.len()) {
            Ok(length) => self.pipe.write(&[&length.to_be_bytes(), packet]),
            Err(_) => false,
        }
    }

    /// Reads what has arrived; the packets are then had from [`Framed::next_packet`]. True: there may be more. An error: the
    /// connection has ended.
    pub(in crate::webrtc::engine) fn fill(&mut self) -> io::Result<bool> {
        self.pipe.flush()?;
        let frames = &mut self.frames;
        self.pipe.read(&mut |bytes| frames.bytes.extend_from_slice(bytes))
    }

    /// The next whole packet.
    pub(in crate::webrtc::engine) fn next_packet(&mut self) -> Option<Vec<u8>> {
        self.frames.next()
    }
}

/// Packets with their length in two bytes before each (RFC 4571, section 2).
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
}

impl Iterator for Frames {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let length = usize::from(u16::from_be_bytes(self.bytes.get(..2)?.try_into().ok()?));
        let packet = self.bytes.get(2..2 + length)?.to_vec();
        self.bytes.drain(..2 + length);
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_whatever_pieces_they_come_in() {
        let mut frames = Frames::default();
        let whole = [0, 3, b'a', b'b', b'c', 0, 0, 0, 1, b'd'];
        let mut found = Vec::new();
        for byte in whole {
            frames.bytes.push(byte);
            found.extend(frames.by_ref());
        }
        assert_eq!(found, [b"abc".to_vec(), b"".to_vec(), b"d".to_vec()]);
        assert!(frames.bytes.is_empty());
    }
}
