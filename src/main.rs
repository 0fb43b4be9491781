//! `kms`: a media server that speaks the Kurento Protocol.

mod config;
mod headroom;
mod logs;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::Handle;
use axum_server::accept::NoDelayAcceptor;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use config::Config;
use headroom::Headroom;
use hyper_util::rt::TokioTimer;
use kms::edge;
use kms_core::media::Timeline;
use kms_core::{Reach, Registry, Room, Server, Settings};
use kms_elements::Engines;
use kms_elements::http_post::Uploads;
use kms_elements::recorder::Recordings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Every forwarded packet is a handful of small allocations: 5% less CPU than with the C library's (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Makes the C library, which GStreamer takes its memory from, give back pictures at once. By default it keeps what is freed, in pools of
/// its own for each thread, the more the larger the pieces are that were freed before: with mixers and conversions that come and go
/// the daemon grew to twice its size (docs/benchmarks.md).
#[cfg(target_env = "gnu")]
fn give_back_memory() {
    /// Bytes; glibc's own value at the start, which stays as it is once it was set.
    const LARGE: i32 = 128 * 1024;
    // SAFETY: mallopt takes two numbers, and is called before there are other threads. No crate we use offers it.
    #[allow(unsafe_code)]
    // Should it be refused, the daemon is larger; nothing else.
    let _done = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE) };
}

#[cfg(not(target_env = "gnu"))]
fn give_back_memory() {}

const HELP: &str = "\
kms, a media server that speaks the Kurento Protocol

Usage: kms [--config FILE] [--listen ADDR:PORT]
       kms [--config FILE] config     print the configuration in force, with each key explained
       kms describe [--json]          print the API reference, or the description it is made from

Options:
  --config FILE        configuration file (TOML); without one, defaults and environment variables KMS_*
  --listen ADDR:PORT   address of the websocket, default 127.0.0.1:8888
  -h, --help           this text
  -V, --version        the version

Application servers connect to ws://ADDR:PORT/kurento. SIGTERM and Ctrl-C end the server in an orderly way.
";

/// What the command line asks for.
enum Command {
    Serve,
    PrintConfig,
    Describe { json: bool },
    Help,
    Version,
}

fn main() -> ExitCode {
    give_back_memory();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("kms: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    let (command, config) = read_command_line()?;
    match command {
        Command::Help => print!("{HELP}"),
        Command::Version => println!("kms {}", env!("CARGO_PKG_VERSION")),
        Command::PrintConfig => print!("{}", config.to_documented_toml()),
        Command::Describe { json } => {
            let (registry, _engines) = registry(&config, &config.reach())?;
            let api = registry.api();
            match json {
                true => println!("{:#}", api.to_json()),
                false => print!("{}", protocol::reference::markdown(&api)),
            }
        }
        Command::Serve => {
            let _traces = logs::start(&config)?;
            raise_descriptor_limit();
            for name in config::unknown_variables(config::process_environment()) {
                tracing::warn!(
                    name,
                    "environment variable names no configuration key and is ignored"
                );
            }
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
            runtime
                .map_err(|e| format!("the async runtime can't start: {e}"))?
                .block_on(serve(config))?;
        }
    }
    Ok(())
}

fn read_command_line() -> Result<(Command, Config), String> {
    let (mut command, mut file, mut listen) = (Command::Serve, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = |what: &str| {
            arguments
                .next()
                .ok_or(format!("{argument} needs {what}; see kms --help"))
        };
        match argument.as_str() {
            "--config" => file = Some(PathBuf::from(value("a file")?)),
            "--listen" => {
                let text = value("ADDR:PORT")?;
                let address = text
                    .parse()
                    .map_err(|_| format!("--listen {text}: should be ADDR:PORT, such as 0.0.0.0:8888"));
                listen = Some(address?);
            }
            "config" => command = Command::PrintConfig,
            "describe" => command = Command::Describe { json: false },
            "--json" if matches!(command, Command::Describe { .. }) => {
                command = Command::Describe { json: true }
            }
            "-h" | "--help" => command = Command::Help,
            "-V" | "--version" => command = Command::Version,
            other => return Err(format!("unknown argument {other}; see kms --help")),
        }
    }
    if matches!(command, Command::Help | Command::Version) {
        return Ok((command, Config::default()));
    }
    let config = Config::load(file.as_deref(), config::process_environment(), listen);
    Ok((command, config.map_err(|e| e.to_string())?))
}

/// An end in good order takes a second or two. After this, something hangs.
const LONGEST_END: Duration = Duration::from_secs(10);

/// How long the header of a request may take to come.
const LONGEST_REQUEST: Duration = Duration::from_secs(10);

/// Recorded files that are being finished are waited for this long.
const LONGEST_FINALISING: Duration = Duration::from_secs(5);

/// Every endpoint takes a file descriptor, and the usual soft limit of 1024 ends a server at as many.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = limit.current, "the limit of open files can't be raised to its maximum");
    }
}

/// The classes of this server, and what their media is carried by.
fn registry(config: &Config, reach: &[Reach; 2]) -> Result<(Registry, Engines), String> {
    let webrtc = kms_elements::webrtc::engine::Engine::start(config.webrtc.engine_settings());
    let engines = Engines {
        webrtc: webrtc.map_err(|e| format!("the WebRTC engine can't start: {e}"))?,
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

async fn serve(config: Config) -> Result<(), String> {
    let reach = config.reach();
    for each in &reach {
        each.open_gateway()
            .await
            .map_err(|e| format!("the gateway to other hosts can't be opened: {e}"))?;
    }
    let (registry, engines) = registry(&config, &reach)?;
    let [reach, tenants_reach] = reach;
    let headroom = Headroom::new(config.limits.headroom());
    tokio::spawn(headroom.clone().watch());
    let room = headroom.clone();
    let settings = Settings {
        request_cache: Duration::from_secs(config.session.request_cache_s),
        metadata: String::new(),
        build_time: env!("KMS_BUILD_TIME").to_owned(),
        limits: config.limits.of_clients(),
        room: Room(Arc::new(move || room.ask())),
        reach,
        tenants_reach,
    };
    let server = Server::new(registry, settings);
    let listener = TcpListener::bind(config.server.listen).await.map_err(|e| {
        format!(
            "can't listen on {}: {e}. Is another server running there? Choose another with --listen",
            config.server.listen
        )
    })?;
    let (end, ending) = watch::channel(false);
    let handle = Handle::new();
    let settings = edge::Settings {
        path: config.server.path.as_str().to_owned(),
        queue_messages: config.server.event_queue_messages,
        queue_bytes: config.server.event_queue_bytes,
        max_message: config.server.max_message_bytes,
        max_connections: config.server.max_connections,
        max_connections_per_tenant: config.limits.connections_per_tenant,
        max_requests_per_second: config.limits.requests_per_second,
    };
    let access = edge::Access::new(
        &config.access.tokens.0,
        config.access.signed()?,
        &config.access.origins.0,
    )
    .map_err(|e| format!("access.jwt_public_keys {e}"))?;
    let tls = config.server.tls_files();
    let certificate = match &tls {
        Some(files) => Some(files.load().await?),
        None => None,
    };
    let router = edge::router(server.clone(), engines.clone(), &settings, access, ending);
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
    let signal = wait_for_signal().await?;
    tracing::info!(signal, "ending: no new objects, releasing all there are");
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
        .handle(handle);
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
                    .map(|plain| RustlsAcceptor::new(config).acceptor(plain))
                    .serve(service)
                    .await
            }
            None => server.serve(service).await,
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

async fn wait_for_signal() -> Result<&'static str, String> {
    let listen = |kind| signal(kind).map_err(|e| format!("signals can't be listened for: {e}"));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}
