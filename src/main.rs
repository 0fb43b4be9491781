//! `kms`: a media server that speaks the Kurento Protocol.

mod config;
mod headroom;
mod logs;
mod prompt;
mod serve;
mod tls;
mod watchdog;

use std::path::PathBuf;
use std::process::ExitCode;

use config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

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
            let (registry, _engines) = serve::registry(&config, &config.reach())?;
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
                .block_on(serve::run(config))?;
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
