//! The daemon from its start to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use kms::edge;
use kms_core::media::Timeline;
use kms_core::{Reach, Registry, Room, Server, Settings, Tenant};
use kms_elements::Engines;
use kms_elements::http_post::Uploads;
use kms_elements::recorder::Recordings;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::headroom::Headroom;
use crate::prompt::Prompt;
use crate::{tls, watchdog};

/// An end in good order takes a second or two. After this, something hangs.
const LONGEST_END: Duration = Duration::from_secs(10);

/// How long the header of a request may take to come.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// Recorded files that are being finished are waited for this long.
const LONGEST_FINALISING: Duration = Duration::from_secs(5);

/// The classes of this server, and what their media is carried by.
pub(crate) fn registry(config: &Config, reach: &[Reach; 2]) -> Result<(Registry, Engines), String> {
    let webrtc = kms_elements::webrtc::engine::Engine::start(config.webrtc.engine_settings());
    let engines = Engines {
        webrtc: webrtc.map_err(|e| format!("the WebRTC engine can't start: {e}"))?,
        rtp: Arc::default(),
        timeline: Timeline::start()
            .map_err(|e| e.to_string())?
            .with_hardware_encoders(config.media.hardware_encoders),
        recordings: Recordings::start(config.recorder.storage(reach))
            .map_err(|e| format!("recorders can't start: {e}"))?,
        uploads: Uploads::new(config.uploads.max_unindexed_bytes),
        images: kms_filters::images(),
    };
    let defaults = kms_elements::Defaults {
        webrtc: kms_elements::webrtc::Defaults {
            gather: config.webrtc.gather_settings(),
            mtu: config.webrtc.mtu,
            pem_rsa: config.webrtc.pem_certificate_rsa.clone(),
            pem_ecdsa: config.webrtc.pem_certificate_ecdsa.clone(),
        },
        rtp: config.webrtc.rtp_settings(),
        player: kms_elements::player::Defaults {
            verify_certificates: config.player.verify_certificates,
        },
    };
    let mut registry = Registry::new();
    kms_elements::register(&mut registry, &engines, defaults).map_err(|e| e.to_string())?;
    let models = kms_filters::Models::load(&config.filters.models())?;
    kms_filters::register(
        &mut registry,
        &engines.timeline,
        &models,
        &config.filters.tenant_gstreamer_elements.0,
    );
    Ok((registry, engines))
}

/// What the control plane is told by the configuration.
fn core_settings(config: &Config, [reach, tenants_reach]: [Reach; 2], headroom: Arc<Headroom>) -> Settings {
    Settings {
        request_cache: Duration::from_secs(config.session.request_cache_s),
        metadata: String::new(),
        build_time: env!("KMS_BUILD_TIME").to_owned(),
        limits: config.limits.of_clients(),
        room: Room(Arc::new(move || headroom.ask())),
        reach,
        tenants_reach,
    }
}

/// What the edge is told by the configuration.
fn edge_settings(config: &Config) -> edge::Settings {
    edge::Settings {
        path: config.server.path.as_str().to_owned(),
        queue_messages: config.server.event_queue_messages,
        queue_bytes: config.server.event_queue_bytes,
        max_message: config.server.max_message_bytes,
        max_connections: config.server.max_connections,
        max_connections_per_tenant: config.limits.connections_per_tenant,
        max_requests_per_second: config.limits.requests_per_second,
        console: config.has_console(),
    }
}

/// Serves clients until the daemon is told to end.
pub(crate) async fn run(config: Config) -> Result<(), String> {
    // Before anybody is served: until then a signal ends the daemon at once.
    let mut signals = Signals::listen()?;
    let reach = config.reach();
    for each in &reach {
        each.open_gateway()
            .await
            .map_err(|e| format!("the gateway to other hosts can't be opened: {e}"))?;
    }
    let (registry, engines) = registry(&config, &reach)?;
    let headroom = Headroom::new(config.limits.headroom());
    tokio::spawn(headroom.clone().watch());
    let server = Server::new(registry, core_settings(&config, reach, headroom));
    let listener = TcpListener::bind(config.server.listen).await.map_err(|e| {
        format!(
            "can't listen on {}: {e}. Is another server running there? Choose another with --listen",
            config.server.listen
        )
    })?;
    let (end, ending) = watch::channel(false);
    let handle = Handle::new();
    let access = edge::Access::new(
        &config.access.tokens.0,
        config.access.signed()?,
        &config.access.origins.0,
    )
    .map_err(|e| format!("access.jwt_public_keys {e}"))?;
    let tls = config.server.tls_files();
    let certificate = match &tls {
        Some(files) => Some(files.load()?),
        None => None,
    };
    let router = edge::router(
        server.clone(),
        engines.clone(),
        &edge_settings(&config),
        access,
        ending,
    );
    tokio::spawn(collect(
        server.clone(),
        Duration::from_secs(config.session.garbage_collector_period_s),
    ));
    // Not the configured address: with port 0 the system chose one.
    let address = listener
        .local_addr()
        .map_err(|e| format!("the address listened on can't be read: {e}"))?;
    let uploads = format!("{}{}", config.public_url(address), edge::UPLOAD_PATH);
    engines.uploads.serve_at(uploads);
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    tracing::info!("listening on {scheme}://{address}{}", config.server.path.as_str());
    if config.is_open_to_others() {
        tracing::warn!("access.allow_anonymous: everybody who can reach {address} may use this server");
    }
    let http = tokio::spawn(listen(listener, router, handle.clone(), tls.zip(certificate))?);
    let watchdog = tokio::spawn(watchdog::watch(engines.webrtc.clone(), server.clone()));
    watchdog::tell(&[NotifyState::Ready]);
    let longest = told_to_end(&server, &config, &mut signals).await;
    watchdog::tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
    drain(&server, longest, &mut signals).await;
    watchdog.abort();
    finish(&server, engines, http, &handle, end).await
}

/// Waits until somebody tells the server to end: how long pipelines may go on.
async fn told_to_end(server: &Server, config: &Config, signals: &mut Signals) -> Duration {
    let mut drains = server.drains();
    tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "told to end");
            server.drain(Duration::from_secs(config.server.drain_s));
        }
        _ = drains.wait_for(Option::is_some) => tracing::info!("told by a client to end"),
    }
    drains.borrow().unwrap_or_default()
}

/// Ends everything in good order: clients are told, and recordings are closed.
async fn finish(
    server: &Server,
    engines: Engines,
    http: JoinHandle<()>,
    handle: &Handle<SocketAddr>,
    end: watch::Sender<bool>,
) -> Result<(), String> {
    tracing::info!("ending: no new objects, releasing all there are");
    std::thread::spawn(|| {
        std::thread::park_timeout(LONGEST_END);
        tracing::error!("the server did not end in time, and is ended");
        std::process::exit(1);
    });
    server.shut_down();
    let _ = end.send(true);
    handle.graceful_shutdown(None);
    // Clients are told and get a moment to close; those that don't answer don't delay the end.
    let closed = async {
        let _ = http.await;
        // Websockets outlive the HTTP server; each holds a receiver until its client was told.
        end.closed().await;
    };
    let _ = tokio::time::timeout(Duration::from_secs(3), closed).await;
    let stopped = tokio::task::spawn_blocking(move || {
        engines.webrtc.stop();
        engines.recordings.wait_until_closed(LONGEST_FINALISING)
    });
    let open = stopped
        .await
        .map_err(|e| format!("the server did not stop: {e}"))?;
    if open > 0 {
        tracing::error!(open, "files that are recorded could not be finished in time");
    }
    tracing::info!("ended");
    Ok(())
}

/// Serves HTTP and websockets, with TLS if there is a certificate.
fn listen(
    listener: TcpListener,
    router: axum::Router,
    handle: Handle<SocketAddr>,
    tls: Option<(tls::Files, RustlsConfig)>,
) -> Result<impl Future<Output = ()> + Send + 'static, String> {
    let listener = listener.into_std().and_then(axum_server::from_tcp);
    let mut server = listener
        .map_err(|e| format!("the address can't be listened on: {e}"))?
        .handle(handle)
        // Said before the acceptor is chosen: said of the server as it then is, it would take the websockets away (axum-server 0.8).
        .http1_only();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        // Who sends no request holds no connection.
        .header_read_timeout(LONGEST_REQUEST);
    // An answer is one small write, and the next request waits for it: Nagle's algorithm would add 40 ms to each.
    let server = server.acceptor(NoDelayAcceptor::new());
    Ok(async move {
        let service = router.into_make_service();
        let served = match tls {
            Some((files, config)) => {
                tokio::spawn(files.watch(config.clone()));
                server
                    .map(|plain| Prompt::new(RustlsAcceptor::new(config).acceptor(plain), LONGEST_REQUEST))
                    .serve(service)
                    .await
            }
            None => {
                let prompt = |plain| Prompt::new(plain, LONGEST_REQUEST);
                server.map(prompt).serve(service).await
            }
        };
        if let Err(error) = served {
            tracing::error!(%error, "the server can no longer be connected to");
        }
    })
}

/// Ends sessions of clients that went away.
async fn collect(server: Server, period: Duration) {
    let mut sweep = tokio::time::interval(period);
    sweep.tick().await;
    loop {
        sweep.tick().await;
        server.collect(Instant::now());
    }
}

/// Waits until all pipelines were ended by their clients, for so long at most, or until it is told once more.
async fn drain(server: &Server, longest: Duration, signals: &mut Signals) {
    const LOOK: Duration = Duration::from_millis(200);
    let pipelines = || {
        server
            .objects_of(&Tenant::Operator, "kurento.MediaPipeline")
            .len()
    };
    if longest.is_zero() || pipelines() == 0 {
        return;
    }
    tracing::info!(
        pipelines = pipelines(),
        longest_s = longest.as_secs(),
        "draining: no new pipelines; those that run may end by themselves. Once more, and it ends at once"
    );
    let all_ended = async {
        while pipelines() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        () = all_ended => tracing::info!("all pipelines have ended"),
        () = tokio::time::sleep(longest) => tracing::warn!(pipelines = pipelines(), "pipelines that run still are ended"),
        signal = signals.next() => tracing::warn!(signal, pipelines = pipelines(), "pipelines that run still are ended"),
    }
}

/// What tells the daemon to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("signals can't be listened for: {e}"));
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
