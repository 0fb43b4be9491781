//! Logs, and traces of requests.

use std::io::IsTerminal;

use kms::edge::REQUEST_SPANS;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::{Config, LogFormat};

/// Libraries that log every packet or session at the level `info`. Whoever wants to see that names them.
const TALKATIVE: [&str; 3] = ["turn_client_proto", "stun_proto", "retina"];

/// What is ours. `debug` and `trace` are of these alone: libraries log at those levels what comes and goes, with all passwords in it.
const OURS: [&str; 4] = ["kms", "kms_core", "kms_elements", "kms_filters"];

/// The directives of a filter, with what is said of everything kept from libraries that say too much.
fn directives(level: &str) -> String {
    let mut directives = Vec::new();
    for directive in level.split(',').map(str::trim) {
        if directive.eq_ignore_ascii_case("debug") || directive.eq_ignore_ascii_case("trace") {
            directives.push("info".to_owned());
            directives.extend(OURS.iter().map(|part| format!("{part}={directive}")));
        } else {
            directives.push(directive.to_owned());
        }
    }
    let named = |library: &&&str| !level.contains(**library);
    directives.extend(
        TALKATIVE
            .iter()
            .filter(named)
            .map(|library| format!("{library}=warn")),
    );
    directives.join(",")
}

/// What sends traces: what waits is sent when it is dropped.
pub(crate) struct Traces(Option<SdkTracerProvider>);

impl Drop for Traces {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Begins to log, and to trace if that is wanted. To be called outside of the async runtime: traces are sent by a thread of their own.
pub(crate) fn start(config: &Config) -> Result<Traces, String> {
    let text = tracing_subscriber::fmt::layer()
        // Colours are for terminals: in a file or a journal they are control characters between the words.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let logs = match config.log.format {
        LogFormat::Text => text.boxed(),
        LogFormat::Json => text.json().boxed(),
    };
    let provider = provider(config)?;
    let traces = provider.as_ref().map(|provider| {
        // Requests alone: what libraries say within them is for logs.
        let requests = Targets::new().with_target(REQUEST_SPANS, LevelFilter::TRACE);
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("kms"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(requests)
    });
    tracing_subscriber::registry()
        .with(logs.with_filter(EnvFilter::new(directives(config.log.level.as_str()))))
        .with(traces)
        .init();
    Ok(Traces(provider))
}

/// What makes spans and sends them, if that is wanted.
fn provider(config: &Config) -> Result<Option<SdkTracerProvider>, String> {
    let Some(url) = &config.telemetry.traces_url else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(reqwest::blocking::Client::new())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url.as_str())
        .build()
        .map_err(|e| format!("telemetry.traces_url ({}): {e}", url.as_str()))?;
    let part = config.telemetry.traces_percent as f64 / 100.0;
    let server = Resource::builder()
        .with_service_name("kms")
        .with_attribute(opentelemetry::KeyValue::new(
            "service.version",
            env!("CARGO_PKG_VERSION"),
        ));
    // The SDK's queue holds 2,048 spans; what comes when it is full is dropped, and counted in its own log.
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::TraceIdRatioBased(part))
        .with_resource(server.build());
    Ok(Some(provider.build()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_asked_by_name_for_what_they_would_rather_not_say() {
        assert_eq!(
            directives("info"),
            "info,turn_client_proto=warn,stun_proto=warn,retina=warn"
        );
        let trace = directives("trace");
        assert!(trace.starts_with("info,kms=trace,kms_core=trace,"), "{trace}");
        let named = directives("warn, retina=debug,tungstenite=trace");
        assert_eq!(
            named,
            "warn,retina=debug,tungstenite=trace,turn_client_proto=warn,stun_proto=warn"
        );
    }
}
