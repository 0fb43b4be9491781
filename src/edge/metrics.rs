//! What operators see: counters and gauges in the text format of OpenMetrics, which Prometheus reads.
//!
//! Nothing is measured for this alone but requests: the rest is asked for when somebody reads it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kms_core::verbs::VERBS;
use kms_elements::Engines;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use protocol::Code;

use super::Edge;

/// What the text is (OpenMetrics 1.0).
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of a request's time, seconds: most take less than a millisecond, and some wait on purpose.
const TIMES: [f64; 14] = [
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0,
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// What the edge counts.
#[derive(Clone)]
pub(super) struct Metrics {
    requests: Family<RequestLabels, Counter>,
    times: Family<VerbLabel, Histogram, fn() -> Histogram>,
    refused: Family<ReasonLabel, Counter>,
    accepted: Counter,
    cut_off: Counter,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Family::default(),
            times: Family::new_with_constructor(|| Histogram::new(TIMES)),
            refused: Family::default(),
            accepted: Counter::default(),
            cut_off: Counter::default(),
        }
    }
}

impl Metrics {
    /// A request was answered, with this error or with none.
    pub(super) fn answered(&self, method: &str, error: Option<i32>, took: Duration) {
        let verb = verb(method);
        let outcome = error.map_or("ok", name_of);
        self.requests
            .get_or_create(&RequestLabels { verb, outcome })
            .inc();
        self.times
            .get_or_create(&VerbLabel { verb })
            .observe(took.as_secs_f64());
    }

    /// A connection was refused.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// A connection was opened.
    pub(super) fn accepted(&self) {
        self.accepted.inc();
    }

    /// A client that reads too slowly was cut off.
    pub(super) fn cut_off(&self) {
        self.cut_off.inc();
    }

    /// Everything, as text.
    pub(super) fn text(&self, edge: &Arc<Edge>) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("kms");
        registry.register("requests", "Requests that were answered", self.requests.clone());
        registry.register(
            "request_seconds",
            "Time from request to answer",
            self.times.clone(),
        );
        registry.register(
            "connections_refused",
            "Websockets that were refused",
            self.refused.clone(),
        );
        registry.register(
            "connections_accepted",
            "Websockets that were opened",
            self.accepted.clone(),
        );
        registry.register(
            "connections_cut_off",
            "Websockets that were closed because their client read too slowly",
            self.cut_off.clone(),
        );
        registry.register_collector(Box::new(Now(edge.clone())));
        let mut page = String::new();
        text::encode(&mut page, &registry)?;
        Ok(page)
    }
}

/// The verb, if it is one: what clients call others is theirs, and there would be no end of it.
pub(super) fn verb(method: &str) -> &'static str {
    let at_the_edge = ["connect", "ping", "transaction"].into_iter();
    let mut known = VERBS.iter().map(|verb| verb.name).chain(at_the_edge);
    known.find(|name| *name == method).unwrap_or("unknown")
}

fn name_of(error: i32) -> &'static str {
    let code = Code::ALL.iter().find(|code| code.number() == error);
    match code {
        Some(code) if !code.name().is_empty() => code.name(),
        Some(Code::Parse) => "PARSE_ERROR",
        Some(Code::MethodNotFound) => "METHOD_NOT_FOUND",
        Some(Code::ServerError) => "SERVER_ERROR",
        Some(Code::Internal) => "INTERNAL_ERROR",
        _ => "INVALID_REQUEST",
    }
}

/// What there is at the moment.
struct Now(Arc<Edge>);

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now")
    }
}

/// One figure, or several that differ in one label.
struct Figures<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Figures<'_, '_> {
    fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.write(name, help, &ConstGauge::new(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.write(name, help, &ConstCounter::new(value))
    }

    fn write(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = self.0.encode_descriptor(name, help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    fn gauges<V: AsRef<str>>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(V, f64)],
    ) -> fmt::Result {
        let metrics = values
            .iter()
            .map(|(value, figure)| (value, ConstGauge::new(*figure)));
        self.each(name, help, label, metrics)
    }

    fn counters<V: AsRef<str>, N: Copy>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &[(V, N)],
    ) -> fmt::Result
    where
        ConstCounter<N>: EncodeMetric,
    {
        let metrics = values
            .iter()
            .map(|(value, figure)| (value, ConstCounter::new(*figure)));
        self.each(name, help, label, metrics)
    }

    fn each<V: AsRef<str>, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        metrics: impl Iterator<Item = (V, M)>,
    ) -> fmt::Result {
        let mut metrics = metrics.peekable();
        let Some((_, first)) = metrics.peek() else {
            return Ok(());
        };
        let mut family = self.0.encode_descriptor(name, help, None, first.metric_type())?;
        for (value, metric) in metrics {
            metric.encode(family.encode_family(&[(label, value.as_ref())])?)?;
        }
        Ok(())
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut figures = Figures(&mut encoder);
        let edge = &self.0;
        figures.gauge(
            "connections",
            "Websockets that are open",
            edge.open_connections() as f64,
        )?;
        figures.gauge("sessions", "Sessions", edge.server.session_count() as f64)?;
        let classes: Vec<(String, f64)> = edge
            .server
            .objects_by_class()
            .into_iter()
            .map(|(class, count)| (class, count as f64))
            .collect();
        figures.gauges("objects", "Objects", "class", &classes)?;
        let ready = f64::from(u8::from(edge.readiness().is_ok()));
        figures.gauge("ready", "1 if new objects can be made, 0 if not", ready)?;
        carried(&mut figures, &edge.engines)?;
        carried_plain(&mut figures, &edge.engines.rtp)?;
        converted(&mut figures, &edge.engines)
    }
}

/// What WebRTC carries.
fn carried(figures: &mut Figures<'_, '_>, engines: &Engines) -> fmt::Result {
    let load = engines.webrtc.load();
    figures.gauge("webrtc_peers", "WebRTC peers", load.peers as f64)?;
    figures.gauge(
        "webrtc_sockets",
        "UDP sockets of WebRTC peers",
        load.sockets as f64,
    )?;
    let (received, sent) = ("received", "sent");
    figures.counters(
        "webrtc_packets",
        "Packets of WebRTC",
        "direction",
        &[(received, load.packets_in), (sent, load.packets_out)],
    )?;
    figures.counters(
        "webrtc_bytes",
        "Bytes of WebRTC, without headers of UDP and below",
        "direction",
        &[(received, load.bytes_in), (sent, load.bytes_out)],
    )?;
    figures.counters(
        "webrtc_packets_lost",
        "RTP packets that did not arrive: here (received), or at remotes, as they say (sent)",
        "direction",
        &[(received, load.lost_in), (sent, load.lost_out)],
    )?;
    figures.counters(
        "webrtc_keyframe_requests",
        "Requests for keyframes (PLI, FIR): of remotes (received), and of this server (sent)",
        "direction",
        &[(received, load.keyframes_wanted), (sent, load.keyframes_asked)],
    )?;
    figures.counter(
        "webrtc_nacks",
        "Requests for packets to be sent again, of either side",
        load.nacks,
    )?;
    figures.counter(
        "webrtc_dropped",
        "Packets and messages that were dropped because a socket or a data channel was full",
        load.dropped,
    )?;
    let busy: Vec<(String, f64)> = load
        .busy
        .iter()
        .enumerate()
        .map(|(index, busy)| (index.to_string(), busy.as_secs_f64()))
        .collect();
    let help = "Time that a worker was at work: its rate is the worker's load, 1 is all it can";
    figures.counters("webrtc_worker_busy_seconds", help, "worker", &busy)
}

/// What RTP endpoints carry.
fn carried_plain(figures: &mut Figures<'_, '_>, rtp: &kms_elements::rtp::Counters) -> fmt::Result {
    let ways = [("received", &rtp.received), ("sent", &rtp.sent)];
    let direction = "direction";
    let packets = ways.map(|(way, carried)| (way, carried.packets()));
    figures.counters("rtp_packets", "Packets of RTP endpoints", direction, &packets)?;
    let bytes = ways.map(|(way, carried)| (way, carried.bytes()));
    figures.counters(
        "rtp_bytes",
        "Bytes of RTP endpoints, with headers of RTP",
        direction,
        &bytes,
    )?;
    let lost = "Packets that did not arrive at RTP endpoints";
    figures.counter("rtp_packets_lost", lost, rtp.received.lost())?;
    let requests = ways.map(|(way, carried)| (way, carried.keyframe_requests()));
    let help = "Requests for keyframes: of remotes of RTP endpoints (received), and of this server (sent)";
    figures.counters("rtp_keyframe_requests", help, direction, &requests)
}

/// What is converted and recorded.
fn converted(figures: &mut Figures<'_, '_>, engines: &Engines) -> fmt::Result {
    let media = engines.timeline.counters();
    let [software, hardware, decoders] = media.converters();
    let kinds = [("software", software), ("hardware", hardware)];
    let kinds = kinds.map(|(kind, count)| (kind, count as f64));
    figures.gauges("encoders", "Encoders at work", "kind", &kinds)?;
    figures.gauge("decoders", "Decoders at work", decoders as f64)?;
    figures.counter(
        "media_dropped",
        "Buffers that were dropped because what was to take them was too slow",
        media.dropped(),
    )?;
    let [files, bytes, failures] = engines.recordings.done();
    figures.gauge(
        "recordings",
        "Files that are being written",
        engines.recordings.open() as f64,
    )?;
    figures.counter("recorded_files", "Files of recordings that were completed", files)?;
    figures.counter("recorded_bytes", "Their bytes", bytes)?;
    figures.counter("recording_failures", "Errors of recorders", failures)
}
