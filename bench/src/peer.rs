//! One WebRTC peer: what a browser would be, with a socket of its own.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mio::net::UdpSocket;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid, Pt};
use str0m::net::{Protocol, Receive};
use str0m::rtp::{ExtensionValues, RtpWrite};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};

use crate::error::{Context, Error, Result};
use crate::media::{self, AUDIO_BYTES, AUDIO_TICKS, PACKETS_PER_FRAME, VIDEO_BYTES, VIDEO_TICKS, Vp8Place};
use crate::tally::Tally;

/// Packets taken from a socket at once.
const BATCH: usize = 16;
/// The largest packet there can be.
const LARGEST: usize = 2_048;

/// Buffers to receive into, shared by all peers of a thread.
pub(crate) struct Buffers {
    data: Vec<Vec<u8>>,
    /// What came: length, and how long ago the kernel took it in.
    came: Vec<(SocketAddr, usize, Duration)>,
}

impl Buffers {
    /// Buffers for one batch.
    pub(crate) fn new() -> Buffers {
        Buffers {
            data: vec![vec![0; LARGEST]; BATCH],
            came: Vec::with_capacity(BATCH),
        }
    }

    fn receive(&mut self, socket: &UdpSocket) -> nix::Result<()> {
        self.came.clear();
        // New each time: a call shortens what it says of the room for timestamps.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, Some(cmsg_space!(TimeSpec)));
        let mut slices: Vec<[IoSliceMut<'_>; 1]> =
            self.data.iter_mut().map(|b| [IoSliceMut::new(b)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let packets = recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), flags, None)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        for packet in packets {
            let stamp = packet.cmsgs()?.find_map(|c| match c {
                ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                _ => None,
            });
            let age = stamp.map_or(Duration::ZERO, |at| now.saturating_sub(at));
            let from = packet.address.as_ref().and_then(address);
            self.came.extend(from.map(|from| (from, packet.bytes, age)));
        }
        Ok(())
    }
}

fn address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address
        .as_sockaddr_in()
        .map(|a| SocketAddr::from((a.ip(), a.port())));
    v4.or_else(|| {
        address
            .as_sockaddr_in6()
            .map(|a| SocketAddr::from((a.ip(), a.port())))
    })
}

/// A stream that is sent.
struct Track {
    mid: Mid,
    pt: Option<Pt>,
    sequence: u64,
    time: u32,
}

impl Track {
    fn new(mid: Mid) -> Track {
        Track {
            mid,
            pt: None,
            // str0m wants the first number below 65536.
            sequence: 1_000,
            time: 0,
        }
    }
}

/// A peer. It does nothing by itself: its thread hands it packets and time.
pub(crate) struct Peer {
    rtc: Rtc,
    socket: UdpSocket,
    local: SocketAddr,
    pending: Option<SdpPendingOffer>,
    video: Option<Track>,
    audio: Option<Track>,
    picture: u16,
    /// Number of the next packet in its frame.
    next_packet: usize,
    in_keyframe: bool,
    wants_keyframe: bool,
    connected: bool,
    failure: Option<String>,
    /// When the kernel took in the packet that is being looked at.
    came_at: Instant,
    /// When its thread will let time pass for it.
    pub(crate) wake_at: Option<Instant>,
}

impl Peer {
    /// A peer at a free port of an address of this machine.
    pub(crate) fn bind(ip: IpAddr, now: Instant) -> Result<Peer> {
        let socket = std::net::UdpSocket::bind((ip, 0)).context("binding a socket")?;
        // By these latency is measured: what this thread takes until it reads a packet is not the server's.
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true)
            .map_err(std::io::Error::from)
            .context("asking for timestamps")?;
        socket.set_nonblocking(true).context("setting up a socket")?;
        let local = socket.local_addr().context("binding a socket")?;
        let mut rtc = RtcConfig::new()
            .set_rtp_mode(true)
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .build(now);
        rtc.add_local_candidate(Candidate::host(local, "udp").map_err(peer_error)?);
        Ok(Peer {
            rtc,
            socket: UdpSocket::from_std(socket),
            local,
            pending: None,
            video: None,
            audio: None,
            picture: 0,
            next_packet: 0,
            in_keyframe: false,
            wants_keyframe: true,
            connected: false,
            failure: None,
            came_at: now,
            wake_at: None,
        })
    }

    /// The socket, to be registered for events.
    pub(crate) fn source(&mut self) -> &mut UdpSocket {
        &mut self.socket
    }

    /// ICE and DTLS are done.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Why it can't go on, if so.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// It was negotiated to send media.
    pub(crate) fn sends(&self) -> bool {
        self.video.is_some()
    }

    /// Offers audio and video.
    pub(crate) fn offer(&mut self, direction: Direction) -> Result<String> {
        let mut changes = self.rtc.sdp_api();
        let audio = changes.add_media(MediaKind::Audio, direction, None, None, None);
        let video = changes.add_media(MediaKind::Video, direction, None, None, None);
        let (offer, pending) = changes
            .apply()
            .ok_or_else(|| Error::Peer("there is nothing to offer".into()))?;
        self.pending = Some(pending);
        if direction != Direction::RecvOnly {
            self.audio = Some(Track::new(audio));
            self.video = Some(Track::new(video));
        }
        Ok(offer.to_sdp_string())
    }

    /// Takes the answer to its offer.
    pub(crate) fn answer(&mut self, answer: &str) -> Result<()> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(peer_error)?;
        let pending = self
            .pending
            .take()
            .ok_or_else(|| Error::Peer("it made no offer".into()))?;
        self.rtc
            .sdp_api()
            .accept_answer(pending, answer)
            .map_err(peer_error)?;
        self.choose_payload_types()
    }

    /// Takes an offer and answers it; sends nothing.
    pub(crate) fn accept(&mut self, offer: &str) -> Result<String> {
        let offer = SdpOffer::from_sdp_string(offer).map_err(peer_error)?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(peer_error)?;
        Ok(answer.to_sdp_string())
    }

    fn choose_payload_types(&mut self) -> Result<()> {
        for (track, codec) in [(&mut self.audio, Codec::Opus), (&mut self.video, Codec::Vp8)] {
            let Some(track) = track else { continue };
            let params = self.rtc.codec_config().find(|p| p.spec().codec == codec);
            let pt = params.map(|p| p.pt());
            let remote = self.rtc.media(track.mid).map(|m| m.remote_pts());
            track.pt = pt.filter(|pt| remote.is_some_and(|r| r.contains(pt)));
            if track.pt.is_none() {
                return Err(Error::Peer(format!("the server takes no {codec:?}")));
            }
        }
        Ok(())
    }

    /// Takes a candidate of the server, if it can be reached from here.
    pub(crate) fn add_candidate(&mut self, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate)
            && candidate.proto() == Protocol::Udp
            && candidate.addr().is_ipv4() == self.local.is_ipv4()
        {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Receives a batch of packets. False: there is no more for now.
    pub(crate) fn receive(&mut self, buffers: &mut Buffers, tally: &mut Tally, now: Instant) -> bool {
        match buffers.receive(&self.socket) {
            Ok(()) => {}
            Err(Errno::EAGAIN) => return false,
            // An ICMP error about an earlier packet; ICE finds out by itself.
            Err(Errno::ECONNREFUSED) => return true,
            Err(error) => {
                self.fail(error.to_string());
                return false;
            }
        }
        for ((from, length, age), data) in buffers.came.iter().zip(&buffers.data) {
            self.came_at = now.checked_sub(*age).unwrap_or(now);
            self.receive_one(*from, &data[..*length], tally, now);
        }
        buffers.came.len() == BATCH
    }

    fn receive_one(&mut self, from: SocketAddr, bytes: &[u8], tally: &mut Tally, now: Instant) {
        let Ok(receive) = Receive::new(Protocol::Udp, from, self.local, bytes) else {
            return;
        };
        if let Err(error) = self.rtc.handle_input(Input::Receive(now, receive)) {
            return self.fail(error.to_string());
        }
        // At once: str0m has room for one received packet.
        self.drain(tally);
    }

    /// Lets time pass.
    pub(crate) fn timeout(&mut self, tally: &mut Tally, now: Instant) -> Option<Instant> {
        if let Err(error) = self.rtc.handle_input(Input::Timeout(now)) {
            self.fail(error.to_string());
            return None;
        }
        self.drain(tally)
    }

    /// Sends what waits to be sent and counts what was received. Answers when it wants time to pass.
    pub(crate) fn drain(&mut self, tally: &mut Tally) -> Option<Instant> {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => return Some(at),
                Ok(Output::Transmit(packet)) => {
                    // What the kernel has no room for is lost, and shows up as loss.
                    let _ = self.socket.send_to(&packet.contents, packet.destination);
                }
                Ok(Output::Event(event)) => self.event(event, tally),
                Err(error) => {
                    self.fail(error.to_string());
                    return None;
                }
            }
        }
    }

    fn event(&mut self, event: Event, tally: &mut Tally) {
        match event {
            Event::RtpPacket(packet) => {
                // In audio it is set behind silence alone (RFC 3551, section 4.1), which nobody sends here.
                if packet.header.marker {
                    tally.count_picture(self.came_at);
                }
                if let Some(sent_at) = media::sent_at(&packet.payload) {
                    tally.count_received(sent_at, self.came_at);
                }
            }
            Event::KeyframeRequest(_) => self.wants_keyframe = true,
            Event::Connected => self.connected = true,
            Event::Closed => self.fail("the server closed the connection".into()),
            _ => {}
        }
    }

    fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }

    /// Writes the next packet of video; it leaves when time passes. Answers its number in its frame.
    pub(crate) fn write_video(&mut self, tally: &mut Tally, due: Instant, now: Instant) -> usize {
        let packet = self.next_packet;
        self.next_packet = (packet + 1) % PACKETS_PER_FRAME;
        let Some((track, pt)) = self.video.as_mut().and_then(|t| t.pt.map(|pt| (t, pt))) else {
            return packet;
        };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(track.mid, None) else {
            return packet;
        };
        if packet == 0 {
            self.in_keyframe = std::mem::take(&mut self.wants_keyframe);
        }
        let place = Vp8Place {
            picture: self.picture,
            packet,
            keyframe: self.in_keyframe,
        };
        let mut payload = [0; VIDEO_BYTES];
        media::write_vp8(&mut payload, place, tally.nanos(now));
        let last = packet + 1 == PACKETS_PER_FRAME;
        let write = RtpWrite::new(pt, track.sequence.into(), track.time, now, &payload[..]);
        stream.write_rtp(write.marker(last).nackable(true));
        tally.count_sent(due, now);
        track.sequence += 1;
        if last {
            self.picture = self.picture.wrapping_add(1);
            track.time = track.time.wrapping_add(VIDEO_TICKS);
        }
        packet
    }

    /// Writes a packet of audio; it leaves when time passes.
    pub(crate) fn write_audio(&mut self, tally: &mut Tally, due: Instant, now: Instant) {
        let Some((track, pt)) = self.audio.as_mut().and_then(|t| t.pt.map(|pt| (t, pt))) else {
            return;
        };
        let mut api = self.rtc.direct_api();
        let Some(stream) = api.stream_tx_by_mid(track.mid, None) else {
            return;
        };
        let mut payload = [0; AUDIO_BYTES];
        media::write_audio(&mut payload, tally.nanos(now));
        let extensions = ExtensionValues {
            audio_level: Some(-30),
            voice_activity: Some(true),
            ..ExtensionValues::default()
        };
        let write = RtpWrite::new(pt, track.sequence.into(), track.time, now, &payload[..]);
        stream.write_rtp(write.ext_vals(extensions));
        track.sequence += 1;
        track.time = track.time.wrapping_add(AUDIO_TICKS);
        tally.count_sent(due, now);
    }
}

fn peer_error(error: impl std::fmt::Display) -> Error {
    Error::Peer(error.to_string())
}
