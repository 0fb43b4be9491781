//! The command line.

use crate::error::{Error, Result};
use crate::media::Pacing;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
kms-bench: what a media server costs, measured with real WebRTC peers

Usage: kms-bench [SCENARIO] [OPTIONS]

Scenarios:
  loopback      peers that each get back what they send
  one-to-many   one peer sends, all others receive
  control       ping, create and release through the websocket
  memory        memory of an endpoint, not negotiated and negotiated
  cameras       RTSP cameras into MP4 as they are, and ffmpeg beside it
  transcode     H.264 to VP8 for 20 viewers, and a bare pipeline of GStreamer beside it
  mix           four pictures into one, and a bare compositor of GStreamer beside it
  filters       what each filter of pictures costs
  operations    idle connections, clients that don't read, tokens, metrics
  all           all of them (default), Janus too if it is installed

Options:
  --peers N       peers of loopback (default 100)
  --viewers N     viewers of one-to-many (default 200)
  --cameras N     cameras of cameras (default 10)
  --seconds S     time that is measured, after 3 s of warm-up (default 10)
  --bursts        all packets of a frame at once; without, spread as a pacer does
  --janus         also put the same load of media on Janus, and print the ratio
  --json          print JSON instead of tables
  --url ws://...  a kms that runs already, with --pid; without: one is started for each scenario
  --pid N         its process
  -h, --help      this text

Environment: KMS_BIN, the kms to start (default target/release/kms).
";

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Peers that get back what they send.
    Loopback,
    /// One sender, many viewers.
    OneToMany,
    /// Requests through the websocket.
    Control,
    /// Memory of endpoints.
    Memory,
    /// Cameras into files.
    Cameras,
    /// Conversion.
    Transcode,
    /// A conference in one picture.
    Mix,
    /// Filters of pictures.
    Filters,
    /// What safety and being seen cost.
    Operations,
    /// All of it.
    All,
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// What to measure.
    pub(crate) scenario: Scenario,
    /// Peers of `loopback`.
    pub(crate) peers: usize,
    /// Viewers of `one-to-many`.
    pub(crate) viewers: usize,
    /// Cameras of `cameras`.
    pub(crate) cameras: usize,
    /// Seconds to measure.
    pub(crate) seconds: u64,
    /// How packets follow each other.
    pub(crate) pacing: Pacing,
    /// Measure Janus too.
    pub(crate) janus: bool,
    /// Print JSON.
    pub(crate) json: bool,
    /// URL and process of a server that runs already.
    pub(crate) running: Option<(String, u32)>,
    /// The kms to start.
    pub(crate) kms: String,
}

impl Args {
    /// Reads the command line, without the program's name. `None`: it asks for help.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Args>> {
        let mut args = Args {
            scenario: Scenario::All,
            peers: 100,
            viewers: 200,
            cameras: 10,
            seconds: 10,
            pacing: Pacing::Spread,
            janus: false,
            json: false,
            running: None,
            kms: std::env::var("KMS_BIN").unwrap_or_else(|_| "target/release/kms".into()),
        };
        let (mut url, mut pid) = (None, None);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "loopback" => args.scenario = Scenario::Loopback,
                "one-to-many" => args.scenario = Scenario::OneToMany,
                "control" => args.scenario = Scenario::Control,
                "memory" => args.scenario = Scenario::Memory,
                "cameras" => args.scenario = Scenario::Cameras,
                "transcode" => args.scenario = Scenario::Transcode,
                "mix" => args.scenario = Scenario::Mix,
                "filters" => args.scenario = Scenario::Filters,
                "operations" => args.scenario = Scenario::Operations,
                "all" => args.scenario = Scenario::All,
                "--peers" => args.peers = number(&argument, arguments.next())?,
                "--viewers" => args.viewers = number(&argument, arguments.next())?,
                "--cameras" => args.cameras = number(&argument, arguments.next())?,
                "--seconds" => args.seconds = number(&argument, arguments.next())?,
                "--pid" => pid = Some(number(&argument, arguments.next())?),
                "--url" => url = Some(arguments.next().ok_or_else(|| missing(&argument))?),
                "--bursts" => args.pacing = Pacing::Bursts,
                "--janus" => args.janus = true,
                "--json" => args.json = true,
                "-h" | "--help" => return Ok(None),
                other => return Err(Error::Usage(format!("unknown argument {other}"))),
            }
        }
        args.running = match (url, pid) {
            (Some(url), Some(pid)) => Some((url, pid)),
            (None, None) => None,
            _ => return Err(Error::Usage("--url and --pid go together".into())),
        };
        Ok(Some(args))
    }
}

fn number<T: std::str::FromStr + Default + PartialOrd>(name: &str, value: Option<String>) -> Result<T> {
    let value = value.ok_or_else(|| missing(name))?;
    match value.parse() {
        Ok(number) if number > T::default() => Ok(number),
        _ => Err(Error::Usage(format!(
            "{name} {value}: should be a number above 0"
        ))),
    }
}

fn missing(name: &str) -> Error {
    Error::Usage(format!("{name} needs a value"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Args>> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let args = parse("").expect("it is fine").expect("it is no call for help");
        assert_eq!(args.scenario, Scenario::All);
        for (option, default) in [
            ("--peers", args.peers),
            ("--viewers", args.viewers),
            ("--cameras", args.cameras),
            ("--seconds", args.seconds as usize),
        ] {
            let line = HELP.lines().find(|l| l.trim_start().starts_with(option));
            assert!(
                line.is_some_and(|l| l.contains(&format!("default {default}"))),
                "{option}"
            );
        }
    }

    #[test]
    fn what_it_does_not_know_is_refused() {
        for line in [
            "loopbak",
            "--peers",
            "--peers x",
            "--peers 0",
            "--peers -1",
            "--url ws://h:1/k",
            "--pid 3",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_server_that_runs_already_has_url_and_process() {
        let args = parse("control --url ws://h:1/k --pid 3").expect("it is fine");
        assert_eq!(args.and_then(|a| a.running), Some(("ws://h:1/k".into(), 3)));
    }
}
