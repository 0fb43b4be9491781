//! `MediaElement`: what can be connected.

use std::sync::Arc;

use protocol::{Code, Error, Ref, Wire, params};
use serde_json::Value;

use super::{MediaPipeline, media_object, names};
use crate::call::Call;
use crate::class::Class;
use crate::element::{Element, StatsMap};
use crate::graph::{DEFAULT_PAD, Pad};
use crate::media::{Codec, Leaving, Source};
use crate::object::{ObjectCore, unix_millis};
use crate::objects::media_pipeline::Dot;
use crate::types::{
    AudioCaps, AudioCodec, CONNECT_ORDER, ElementConnectionData, ElementStats, Fraction, MediaInput,
    MediaLatencyStat, MediaOutput, MediaType, StatsType, VideoCaps, VideoCodec,
};

params! {
    /// Parameters of `getSourceConnections` and `getSinkConnections`.
    pub struct Connections {
        /// Only connections of this kind.
        media_type "mediaType": Option<MediaType>,
        /// Only connections of the pad of this name.
        description "description": Option<String>,
    }

    /// Parameters of `connect` and `disconnect`.
    pub struct Connect {
        /// The element that is to receive, or no longer.
        sink "sink": Ref<names::MediaElement>,
        /// What to connect. Default: audio, video and data.
        media_type "mediaType": Option<MediaType>,
        /// Pad of this element. Default: "default".
        source_media_description "sourceMediaDescription": Option<String>,
        /// Pad of the sink. Default: "default".
        sink_media_description "sinkMediaDescription": Option<String>,
    }

    /// Parameters of `setAudioFormat`.
    pub struct SetAudioFormat {
        /// The format.
        caps "caps": AudioCaps,
    }

    /// Parameters of `setVideoFormat`.
    pub struct SetVideoFormat {
        /// The format.
        caps "caps": VideoCaps,
    }

    /// Parameters of `getStats`.
    pub struct GetStats {
        /// Only statistics of this kind of media.
        media_type "mediaType": Option<MediaType>,
    }

    /// Parameters of `isMediaFlowingIn`.
    pub struct FlowingIn {
        /// AUDIO or VIDEO.
        media_type "mediaType": MediaType,
        /// The pad.
        sink_media_description "sinkMediaDescription": String = "default",
    }

    /// Parameters of `isMediaFlowingOut`.
    pub struct FlowingOut {
        /// AUDIO or VIDEO.
        media_type "mediaType": MediaType,
        /// The pad.
        source_media_description "sourceMediaDescription": String = "default",
    }

    /// Parameters of `isMediaTranscoding`.
    pub struct Transcoding {
        /// AUDIO or VIDEO.
        media_type "mediaType": MediaType,
        /// Name of the conversion.
        bin_name "binName": String = "default",
    }
}

/// The class, for an element of type `T`.
pub fn class<T: Element>() -> Class<T> {
    let class = Class::<T>::new(
        "MediaElement",
        "core",
        "What can be connected: has sources and sinks for audio, video and data.",
    )
    .extends(media_object::class());
    flow(formats(connections(class)))
        .event::<crate::events::ElementConnected>()
        .event::<crate::events::ElementDisconnected>()
        .event::<crate::events::MediaFlowOutStateChanged>()
        .event::<crate::events::MediaFlowInStateChanged>()
        .event::<crate::events::MediaTranscodingStateChanged>()
}

fn connections<T: Element>(class: Class<T>) -> Class<T> {
    class
        .method("getSourceConnections", "Connections by which this element receives.", |this, _, p: Connections| {
            let all = pipeline(&**this)?.connections_to(this.element().node);
            let of_pad = |(_, _, _, sink): &(_, _, _, Pad)| p.description.as_ref().is_none_or(|d| *d == sink.name);
            Ok(all.into_iter().filter(of_pad).map(connection_data).filter(of_kind(p.media_type)).collect::<Vec<_>>())
        })
        .method("getSinkConnections", "Connections by which this element sends.", |this, _, p: Connections| {
            let all = pipeline(&**this)?.connections_from(this.element().node);
            let of_pad = |(_, source, _, _): &(_, Pad, _, _)| p.description.as_ref().is_none_or(|d| *d == source.name);
            Ok(all.into_iter().filter(of_pad).map(connection_data).filter(of_kind(p.media_type)).collect::<Vec<_>>())
        })
        .method(
            "connect",
            "Makes the sink receive what this element sends. A sink receives each kind of media from one source: an older \
             connection ends. Error 40004 if they are in different pipelines.",
            |this, call, p: Connect| {
                let ends = ends(this, call, &p)?;
                pipeline(&**this)?.connect(&ends.source, &ends.sink, &ends.media, &ends.source_pad, &ends.sink_pad)
            },
        )
        .method("disconnect", "Ends a connection. Nothing happens if there is none.", |this, call, p: Connect| {
            let ends = ends(this, call, &p)?;
            pipeline(&**this)?.disconnect(&ends.source, &ends.sink, &ends.media, &ends.source_pad, &ends.sink_pad);
            Ok(())
        })
}

fn formats<T: Element>(class: Class<T>) -> Class<T> {
    class
        .settable(
            "encoderBitrate",
            "Bitrate that video is encoded with for this element or of what it gives, bits a second; before its media flows. \
             Of the two elements the one that gives it has the last word. The default, 300000, is not a wish: then recordings have \
             2500000, WebRTC and RTP 1500000. A Composite's video is encoded for all of its ports: set it on what they feed.",
            |this| this.element().bitrates().target,
            |this, value: i32| {
                this.element().change_bitrates(|b| b.target = value);
                Ok(())
            },
        )
        .settable(
            "minEncoderBitrate",
            "Video is not encoded with less than that, bits a second; as encoderBitrate. Default: 0.",
            |this| this.element().bitrates().min,
            |this, value: i32| {
                this.element().change_bitrates(|b| b.min = value);
                Ok(())
            },
        )
        .settable(
            "maxEncoderBitrate",
            "Video is not encoded with more than that, bits a second; as encoderBitrate. 0: no bound. Default: 2147483647.",
            |this| this.element().bitrates().max,
            |this, value: i32| {
                this.element().change_bitrates(|b| b.max = value);
                Ok(())
            },
        )
        .method(
            "setAudioFormat",
            "Format that audio is to leave this element in: whoever can take it gets it so, encoded where it must be. \
             RAW: as it is, as before this was called.",
            |this, _, p: SetAudioFormat| {
                this.element().set_leaving(MediaType::Audio, p.caps.leaving());
                Ok(())
            },
        )
        .method(
            "setVideoFormat",
            "Format that video is to leave this element in: whoever can take it gets it so, encoded where it must be. \
             RAW: as it is, as before this was called. What browsers send to browsers in a codec that both have is passed on as it is.",
            |this, _, p: SetVideoFormat| {
                this.element().set_leaving(MediaType::Video, p.caps.leaving()?);
                Ok(())
            },
        )
        .method(
            "dumpGstreamerDot",
            "Writes the element's graph into the server's log.",
            |this, _, p: Dot| {
                let dot = pipeline(&**this)?.dot(Some(this.element().node), p.details);
                tracing::info!(element = this.core().id(), dot, "graph");
                Ok(())
            },
        )
        .method(
            "getGstreamerDot",
            "The element and its neighbours in DOT format (Graphviz).",
            |this, _, p: Dot| Ok(pipeline(&**this)?.dot(Some(this.element().node), p.details)),
        )
}

impl AudioCaps {
    /// A bitrate of 0 or less asks for the usual one.
    fn leaving(&self) -> Leaving {
        let codec = match self.codec {
            AudioCodec::Opus => Some(Codec::Opus),
            AudioCodec::Pcmu => Some(Codec::Pcmu),
            AudioCodec::Pcma => Some(Codec::Pcma),
            AudioCodec::Raw => None,
        };
        Leaving {
            codec,
            most_frames: None,
            audio_bits: u32::try_from(self.bitrate).ok().filter(|bits| *bits > 0),
        }
    }
}

impl VideoCaps {
    /// A frame rate of 0 asks for that of the source.
    fn leaving(&self) -> Result<Leaving, Error> {
        let codec = match self.codec {
            VideoCodec::Vp8 => Some(Codec::Vp8),
            VideoCodec::Vp9 => Some(Codec::Vp9),
            VideoCodec::H264 => Some(Codec::H264),
            VideoCodec::H265 => Some(Codec::H265),
            VideoCodec::Av1 => Some(Codec::Av1),
            VideoCodec::Raw => None,
        };
        let Fraction {
            numerator,
            denominator,
        } = self.framerate;
        let rate = u32::try_from(numerator).ok().zip(u32::try_from(denominator).ok());
        let Some((numerator, denominator @ 1..)) = rate else {
            return Err(Error::new(
                Code::IllegalParam,
                format!(
                    "A frame rate is a number of at least 0 over one of at least 1, not {numerator}/{denominator}"
                ),
            ));
        };
        Ok(Leaving {
            codec,
            most_frames: Some((numerator, denominator)).filter(|(frames, _)| *frames > 0),
            audio_bits: None,
        })
    }
}

fn flow<T: Element>(class: Class<T>) -> Class<T> {
    class
        .async_method(
            "getStats",
            "Statistics by id. Latencies are there when `latencyStats` of the pipeline is on.",
            |this: Arc<T>, _, p: GetStats| async move { get_stats(&*this, p.media_type).await },
        )
        .property(
            "mediaOutputs",
            "What media the element gives, in each format that somebody takes, with counts: two readings tell bitrate and frame \
             rate. From one WebRtcEndpoint to another packets go as they are, and stand in `getStats` alone. Not in Kurento.",
            |this| outputs(&**this),
        )
        .property(
            "mediaInputs",
            "The formats in which the element takes media, where that is not what it is given: filters and mixers take it raw, recorders \
             as their container needs it. What WebRTC and RTP send stands in `getStats`. Not in Kurento.",
            |this| inputs(&**this),
        )
        .method("isMediaFlowingIn", "Whether media enters the element from the graph.", |this, _, p: FlowingIn| {
            let media = audio_or_video(p.media_type, "MediaFlowingIn")?;
            let pad = Pad::new(this.element().node, media, &p.sink_media_description);
            Ok(pipeline(&**this)?.is_flowing_in(&pad))
        })
        .method("isMediaFlowingOut", "Whether media leaves the element into the graph.", |this, _, p: FlowingOut| {
            let media = audio_or_video(p.media_type, "MediaFlowingOut")?;
            let pad = Pad::new(this.element().node, media, &p.source_media_description);
            Ok(pipeline(&**this)?.is_flowing_out(&pad))
        })
        .method(
            "isMediaTranscoding",
            "Whether media that leaves the element is converted for any of those it goes to: decoded, or encoded, or both.",
            |this, _, p: Transcoding| {
                let media = audio_or_video(p.media_type, "MediaTranscoding")?;
                Ok(this.element().transcoding().is_on(media))
            },
        )
}

fn inputs(element: &dyn Element) -> Vec<MediaInput> {
    let kinds = [MediaType::Audio, MediaType::Video].into_iter();
    let of = |media_type| {
        let codec = element.taking(media_type)?.to_string();
        Some(MediaInput { media_type, codec })
    };
    kinds.filter_map(of).collect()
}

fn outputs(element: &dyn Element) -> Vec<MediaOutput> {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let of = |source: Arc<Source>| {
        let outputs = source.outputs().into_iter();
        outputs.map(move |output| MediaOutput {
            media_type: source.kind(),
            codec: output.format.to_string(),
            converted: output.converted,
            target_bitrate: output.bits_per_second.into(),
            frames: count(output.frames),
            bytes: count(output.bytes),
        })
    };
    element.flowing().into_iter().flat_map(of).collect()
}

struct Ends {
    source: Arc<dyn Element>,
    sink: Arc<dyn Element>,
    media: Vec<MediaType>,
    source_pad: String,
    sink_pad: String,
}

fn ends<T: Element>(this: &Arc<T>, call: &Call, p: &Connect) -> Result<Ends, Error> {
    let pad = |name: &Option<String>| {
        name.clone()
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| DEFAULT_PAD.to_owned())
    };
    Ok(Ends {
        source: this.clone(),
        sink: call.element(&p.sink)?,
        media: p.media_type.map_or_else(|| CONNECT_ORDER.to_vec(), |m| vec![m]),
        source_pad: pad(&p.source_media_description),
        sink_pad: pad(&p.sink_media_description),
    })
}

fn pipeline(element: &dyn Element) -> Result<Arc<MediaPipeline>, Error> {
    pipeline_of(element.core())
}

/// The pipeline of an object. Error 40101 if it was released.
pub(super) fn pipeline_of(object: &ObjectCore) -> Result<Arc<MediaPipeline>, Error> {
    object
        .pipeline()
        .ok_or_else(|| Error::object_not_found(object.id()))
}

fn of_kind(media: Option<MediaType>) -> impl Fn(&ElementConnectionData) -> bool {
    move |data| media.is_none_or(|m| m == data.media_type)
}

fn connection_data(edge: (Arc<dyn Element>, Pad, Arc<dyn Element>, Pad)) -> ElementConnectionData {
    let (source, source_pad, sink, sink_pad) = edge;
    ElementConnectionData {
        source: Ref::new(source.core().id()),
        sink: Ref::new(sink.core().id()),
        media_type: source_pad.media,
        source_description: source_pad.name,
        sink_description: sink_pad.name,
    }
}

fn audio_or_video(media: MediaType, what: &str) -> Result<MediaType, Error> {
    match media {
        MediaType::Data => Err(Error::new(
            Code::IllegalParam,
            format!("Media type DATA is not supported for {what}"),
        )),
        media => Ok(media),
    }
}

/// `None` on the wire: nothing is measured.
async fn get_stats(element: &dyn Element, media: Option<MediaType>) -> Result<Option<StatsMapWire>, Error> {
    let mut stats = element.stats(media).await;
    if pipeline(element)?.latency_stats() {
        let id = element.core().id().to_owned();
        let mut own = element_stats(element, media).encode().unwrap_or_default();
        if element.is_endpoint()
            && let Some(map) = own.as_object_mut()
        {
            map.insert("__type__".into(), "EndpointStats".into());
            map.insert("type".into(), StatsType::Endpoint.as_str().into());
            let latencies = end_to_end(element, media).encode().unwrap_or_default();
            map.insert("E2ELatency".into(), latencies);
        }
        stats.insert(id, own);
    }
    Ok((!stats.is_empty()).then_some(StatsMapWire(stats)))
}

/// From where media entered the server, or was captured as far as senders tell, to where it leaves at this element.
fn end_to_end(element: &dyn Element, media: Option<MediaType>) -> Vec<MediaLatencyStat> {
    let kinds = [MediaType::Audio, MediaType::Video];
    let measured = kinds.into_iter().filter(|kind| media.is_none_or(|m| m == *kind));
    measured
        .filter_map(|kind| {
            let mean = element.element().latency().mean(kind)?;
            Some(MediaLatencyStat {
                name: format!("sink_{}_default", kind.lower()),
                media_type: kind,
                avg: mean.as_nanos() as f64,
            })
        })
        .collect()
}

fn element_stats(element: &dyn Element, media: Option<MediaType>) -> ElementStats {
    // Packets are passed on in the receiving thread's same turn, so a routed element adds no latency to speak of.
    let latency = |m: &MediaType| MediaLatencyStat {
        name: format!("sink_{}_default", m.lower()),
        media_type: *m,
        avg: 0.0,
    };
    let kinds = [MediaType::Audio, MediaType::Video];
    let measured = if element.is_endpoint() {
        &kinds[..0]
    } else {
        &kinds[..]
    };
    ElementStats {
        id: element.core().id().to_owned(),
        stats_type: StatsType::Element,
        timestamp_millis: unix_millis() as i64,
        input_latency: measured
            .iter()
            .filter(|m| media.is_none_or(|k| k == **m))
            .map(latency)
            .collect(),
    }
}

/// Statistics on the wire: `Stats<>`.
pub struct StatsMapWire(pub StatsMap);

impl Wire for StatsMapWire {
    fn ty() -> protocol::Type {
        protocol::Type::Map(Box::new(crate::types::Stats::ty()))
    }
    fn decode(_: Option<&Value>, place: protocol::wire::Place<'_>) -> Result<Self, Error> {
        // Statistics are only ever answered.
        Err(place.wrong("object"))
    }
    fn encode(&self) -> Option<Value> {
        Some(Value::Object(
            self.0.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        ))
    }
}
