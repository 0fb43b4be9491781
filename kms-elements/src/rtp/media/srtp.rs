//! SRTP (RFC 3711) around rtpbin.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use kms_core::media::{MediaError, guarded};
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::{Told, missing};
use crate::rtp::crypto::Key;
use crate::rtp::transport::Line;

/// Streams that are decrypted with a key at once. Anybody's packet makes one, before it is known not to be authentic: with more, the
/// oldest is forgotten that is not listened to.
const MOST_STREAMS: usize = 64;
/// RTCP is authenticated by 80 bits whatever the suite (RFC 4568, section 6.2.2).
const RTCP_AUTHENTICATION: &str = "hmac-sha1-80";

/// Encrypts what leaves the two pads; answers where it comes out.
pub(super) fn encrypter(
    pipeline: &gst::Pipeline,
    key: &Key,
    kind: MediaType,
    told: &Arc<dyn Told>,
    rtp: &gst::Pad,
    rtcp: &gst::Pad,
) -> Result<(gst::Pad, gst::Pad), MediaError> {
    let encrypter = gst::ElementFactory::make("srtpenc")
        .property("key", gst::Buffer::from_slice(key.bytes.clone()))
        .property_from_str("rtp-cipher", key.suite.cipher())
        .property_from_str("rtp-auth", key.suite.authentication())
        .property_from_str("rtcp-cipher", key.suite.cipher())
        .property_from_str("rtcp-auth", RTCP_AUTHENTICATION)
        .build()
        .map_err(missing)?;
    pipeline.add(&encrypter).map_err(missing)?;
    let told = told.clone();
    encrypter.connect("soft-limit", false, move |_| {
        guarded(None, || told.key_soft_limit(kind));
        None
    });
    let through = |from: &gst::Pad, entry: &str, exit: &str| {
        let entry = encrypter.request_pad_simple(entry);
        let entry = entry.ok_or_else(|| missing("srtpenc takes nothing"))?;
        from.link(&entry).map_err(missing)?;
        encrypter
            .static_pad(exit)
            .ok_or_else(|| missing("srtpenc gives nothing"))
    };
    Ok((
        through(rtp, "rtp_sink_0", "rtp_src_0")?,
        through(rtcp, "rtcp_sink_0", "rtcp_src_0")?,
    ))
}

/// Decrypts what enters two pads.
pub(super) struct Decrypter {
    /// Where packets enter.
    pub(super) rtp: gst::Pad,
    pub(super) rtcp: gst::Pad,
    element: gst::Element,
    /// Streams to be forgotten when the packet that is on its way has passed: it is busy with it. At most one a packet.
    leaving: Arc<Mutex<Vec<u32>>>,
}

impl Decrypter {
    /// One whose packets go into these pads.
    pub(super) fn new(
        pipeline: &gst::Pipeline,
        key: &Key,
        line: &Arc<Line>,
        told: &Arc<dyn Told>,
        rtp: &gst::Pad,
        rtcp: &gst::Pad,
    ) -> Result<Decrypter, MediaError> {
        let element = gst::ElementFactory::make("srtpdec").build().map_err(missing)?;
        pipeline.add(&element).map_err(missing)?;
        let caps = gst::Caps::builder("application/x-srtp")
            .field("srtp-key", gst::Buffer::from_slice(key.bytes.clone()))
            .field("srtp-cipher", key.suite.cipher())
            .field("srtp-auth", key.suite.authentication())
            .field("srtcp-cipher", key.suite.cipher())
            .field("srtcp-auth", RTCP_AUTHENTICATION)
            .build();
        let leaving: Arc<Mutex<Vec<u32>>> = Arc::default();
        let (known, current, left) = (Mutex::new(VecDeque::new()), line.clone(), leaving.clone());
        element.connect("request-key", false, move |values| {
            let noted = guarded(None, || {
                let ssrc = values.get(1)?.get::<u32>().ok()?;
                lock(&left).extend(note(&mut lock(&known), ssrc, current.current()));
                Some(caps.clone())
            });
            // Caps or none: to answer nothing at all is a panic of the bindings.
            Some(noted.flatten().to_value())
        });
        let (told, kind) = (told.clone(), line.kind);
        element.connect("soft-limit", false, move |_| {
            guarded(None, || told.key_soft_limit(kind));
            // No new key: it goes on with this one until it is used up.
            Some(None::<gst::Caps>.to_value())
        });
        let through = |entry: &str, exit: &str, to: &gst::Pad| {
            let pads = (element.static_pad(entry), element.static_pad(exit));
            let (Some(entry), Some(exit)) = pads else {
                return Err(missing("srtpdec lacks a pad"));
            };
            exit.link(to).map_err(missing)?;
            Ok(entry)
        };
        Ok(Decrypter {
            rtp: through("rtp_sink", "rtp_src", rtp)?,
            rtcp: through("rtcp_sink", "rtcp_src", rtcp)?,
            element,
            leaving,
        })
    }

    /// Forgets the streams that are too many. Called after each packet.
    pub(super) fn tidy(&self) {
        for ssrc in std::mem::take(&mut *lock(&self.leaving)) {
            self.element.emit_by_name::<()>("remove-key", &[&ssrc]);
        }
    }
}

/// Notes a stream; answers one that is to be forgotten.
fn note(known: &mut VecDeque<u32>, ssrc: u32, current: Option<u32>) -> Option<u32> {
    if !known.contains(&ssrc) {
        known.push_back(ssrc);
    }
    if known.len() <= MOST_STREAMS {
        return None;
    }
    let oldest = known.iter().position(|s| Some(*s) != current)?;
    known.remove(oldest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_make_no_more_streams_than_there_may_be_and_none_forget_the_one_that_is_heard() {
        let mut known = VecDeque::new();
        assert_eq!(note(&mut known, 7, None), None);
        for stranger in 1_000..2_000 {
            let forgotten = note(&mut known, stranger, Some(7));
            assert_ne!(forgotten, Some(7));
            assert!(known.len() <= MOST_STREAMS && known.contains(&stranger));
        }
        assert!(known.contains(&7));
    }
}
