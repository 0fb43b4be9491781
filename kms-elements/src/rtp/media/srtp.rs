//! SRTP (RFC 3711) around rtpbin.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use kms_core::media::MediaError;
use kms_core::object::lock;
use kms_core::types::MediaType;

use super::{Told, missing};
use crate::rtp::crypto::Key;

/// Streams that a key is given for. Each costs memory before its packets are known to be authentic.
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
        told.key_soft_limit(kind);
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

/// Decrypts what enters the two pads; answers where it is to go in.
pub(super) fn decrypter(
    pipeline: &gst::Pipeline,
    key: &Key,
    kind: MediaType,
    told: &Arc<dyn Told>,
    rtp: &gst::Pad,
    rtcp: &gst::Pad,
) -> Result<(gst::Pad, gst::Pad), MediaError> {
    let decrypter = gst::ElementFactory::make("srtpdec").build().map_err(missing)?;
    pipeline.add(&decrypter).map_err(missing)?;
    let caps = gst::Caps::builder("application/x-srtp")
        .field("srtp-key", gst::Buffer::from_slice(key.bytes.clone()))
        .field("srtp-cipher", key.suite.cipher())
        .field("srtp-auth", key.suite.authentication())
        .field("srtcp-cipher", key.suite.cipher())
        .field("srtcp-auth", RTCP_AUTHENTICATION)
        .build();
    let streams = Mutex::new(HashSet::new());
    decrypter.connect("request-key", false, move |values| {
        let ssrc = values.get(1)?.get::<u32>().ok()?;
        let mut streams = lock(&streams);
        let known = streams.contains(&ssrc) || (streams.len() < MOST_STREAMS && streams.insert(ssrc));
        Some(known.then(|| caps.clone()).to_value())
    });
    let told = told.clone();
    decrypter.connect("soft-limit", false, move |_| {
        told.key_soft_limit(kind);
        // No new key: it goes on with this one until it is used up.
        Some(None::<gst::Caps>.to_value())
    });
    let through = |entry: &str, exit: &str, to: &gst::Pad| {
        let pads = (decrypter.static_pad(entry), decrypter.static_pad(exit));
        let (Some(entry), Some(exit)) = pads else {
            return Err(missing("srtpdec lacks a pad"));
        };
        exit.link(to).map_err(missing)?;
        Ok(entry)
    };
    Ok((
        through("rtp_sink", "rtp_src", rtp)?,
        through("rtcp_sink", "rtcp_src", rtcp)?,
    ))
}
