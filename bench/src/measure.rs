//! Measuring a server that carries media.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::error::{Context, Result};
use crate::load::Load;
use crate::media::Pacing;
use crate::procfs::{self, Usage};
use crate::server::Server;
use crate::tally::Tally;

/// Time before anything is counted: keyframes are asked for, buffers grow to their size.
pub(crate) const WARM_UP: Duration = Duration::from_secs(3);
/// Time that packets get to arrive after the window.
const STRAGGLERS: Duration = Duration::from_secs(1);
/// Share of one core that other processes may take: system services do.
const TOLERABLE_OTHERS: f64 = 0.1;
/// A load generator that sends 1 packet of 100 later than this measures itself too.
const TOLERABLE_LAG: Duration = Duration::from_millis(10);

/// A load of media.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) scenario: &'static str,
    /// One sender, and these many viewers; otherwise these many peers, each looped back.
    pub(crate) one_to_many: bool,
    /// Peers, or viewers.
    pub(crate) peers: usize,
    /// How packets follow each other.
    pub(crate) pacing: Pacing,
}

impl Plan {
    /// Peers that each get back what they send.
    pub(crate) fn loopback(peers: usize, pacing: Pacing) -> Plan {
        Plan {
            scenario: "loopback",
            one_to_many: false,
            peers,
            pacing,
        }
    }

    /// One sender and many viewers.
    pub(crate) fn one_to_many(viewers: usize, pacing: Pacing) -> Plan {
        Plan {
            scenario: "one-to-many",
            one_to_many: true,
            peers: viewers,
            pacing,
        }
    }

    /// How often a packet that is sent should be received.
    fn copies(&self) -> u64 {
        if self.one_to_many { self.peers as u64 } else { 1 }
    }
}

/// What a server did with the load over a window of time.
#[derive(Debug)]
pub(crate) struct Measured {
    /// Name of the server.
    pub(crate) server: &'static str,
    /// What it had to do.
    pub(crate) scenario: &'static str,
    /// Peers, or viewers.
    pub(crate) peers: usize,
    /// How often a packet that is sent should be received.
    pub(crate) copies: u64,
    /// Length of the window.
    pub(crate) window: Duration,
    /// CPU time of the server in the window.
    pub(crate) cpu: Duration,
    /// The server at the end of the window.
    pub(crate) usage: Usage,
    /// CPU time of the load generator in the window.
    pub(crate) own_cpu: Duration,
    /// CPU time of all other processes in the window.
    pub(crate) others_cpu: Duration,
    /// What the load generator counted.
    pub(crate) tally: Tally,
}

/// Lets the peers send, and measures for this long.
pub(crate) async fn measure(
    name: &'static str,
    plan: Plan,
    server: &Server,
    load: &Load,
    window: Duration,
) -> Result<Measured> {
    load.start_media(plan.pacing).await?;
    tokio::time::sleep(WARM_UP).await;
    let own = || procfs::usage(std::process::id()).context("reading our own process");
    let machine = || procfs::machine_cpu().context("reading the machine's CPU time");
    let (machine_before, own_before, before) = (machine()?, own()?, server.usage()?);
    load.begin().await?;
    let begun = Instant::now();
    tokio::time::sleep(window).await;
    load.end().await?;
    let window = begun.elapsed();
    let (usage, own_cpu) = (server.usage()?, own()?.cpu - own_before.cpu);
    let (cpu, machine_cpu) = (usage.cpu - before.cpu, machine()? - machine_before);
    tokio::time::sleep(STRAGGLERS).await;
    Ok(Measured {
        server: name,
        scenario: plan.scenario,
        peers: plan.peers,
        copies: plan.copies(),
        window,
        cpu,
        usage,
        own_cpu,
        others_cpu: machine_cpu.saturating_sub(cpu + own_cpu),
        tally: load.tally().await?,
    })
}

impl Measured {
    /// CPU time of the server, in milliseconds, for 1,000 packets that it received or sent.
    pub(crate) fn cpu_per_1000(&self) -> f64 {
        let packets = self.tally.sent + self.tally.received;
        self.cpu.as_secs_f64() * 1_000.0 / (packets.max(1) as f64 / 1_000.0)
    }

    /// Median and 99th percentile of the time from sending to receiving, in milliseconds.
    pub(crate) fn latency_ms(&self) -> Option<(f64, f64)> {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        self.tally.latency.p50_p99().map(|(p50, p99)| (ms(p50), ms(p99)))
    }

    /// Other processes took more of the machine than is good for the numbers.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.others_cpu > self.window.mul_f64(TOLERABLE_OTHERS)
    }

    fn lag_p99(&self) -> Duration {
        Duration::from_micros(self.tally.lag.quantile(0.99).unwrap_or_default())
    }

    /// The load generator could not keep up, so the numbers tell of it as much as of the server.
    pub(crate) fn is_saturated(&self) -> bool {
        self.lag_p99() > TOLERABLE_LAG
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let latency = self.latency_ms().unzip();
        json!({
            "server": self.server,
            "scenario": self.scenario,
            "peers": self.peers,
            "seconds": self.window.as_secs_f64(),
            "packetsIn": self.tally.sent,
            "packetsOut": self.tally.received,
            "cpuMs": self.cpu.as_millis() as u64,
            "cpuMsPer1000Packets": self.cpu_per_1000(),
            "loss": self.tally.loss(self.copies),
            "latencyMsP50": latency.0,
            "latencyMsP99": latency.1,
            "rssBytes": self.usage.rss,
            "threads": self.usage.threads,
            "fds": self.usage.fds,
            "othersCpuMs": self.others_cpu.as_millis() as u64,
            "disturbed": self.is_disturbed(),
            "loadGenerator": {
                "cpuMs": self.own_cpu.as_millis() as u64,
                "busyShare": self.busy_share(),
                "lagMsP99": self.lag_p99().as_secs_f64() * 1_000.0,
                "saturated": self.is_saturated(),
            },
        })
    }

    fn busy_share(&self) -> f64 {
        self.tally.busy.as_secs_f64() / self.window.as_secs_f64()
    }

    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        let seconds = self.window.as_secs_f64();
        let share = |part: f64| format!("{:.0}%", part * 100.0);
        let (p50, p99) = self.latency_ms().unwrap_or_default();
        [
            format!("{} {} {}", self.server, self.scenario, self.peers),
            format!("{:.0}", self.tally.sent as f64 / seconds),
            format!("{:.0}", self.tally.received as f64 / seconds),
            share(self.cpu.as_secs_f64() / seconds),
            format!("{:.2}", self.cpu_per_1000()),
            format!("{:.3}%", self.tally.loss(self.copies) * 100.0),
            format!("{p50:.2}"),
            format!("{p99:.2}"),
            format!("{:.1}", self.usage.rss as f64 / (1 << 20) as f64),
            self.usage.threads.to_string(),
            self.usage.fds.to_string(),
            share(self.own_cpu.as_secs_f64() / seconds),
            share(self.busy_share()),
            share(self.others_cpu.as_secs_f64() / seconds),
            format!("{:.2}", self.lag_p99().as_secs_f64() * 1_000.0),
        ]
    }
}

/// Columns of the table of measurements.
pub(crate) const HEADER: [&str; 15] = [
    "",
    "in/s",
    "out/s",
    "CPU",
    "ms/1000",
    "loss",
    "p50 ms",
    "p99 ms",
    "RSS MiB",
    "threads",
    "fds",
    "load CPU",
    "load busy",
    "others",
    "lag p99",
];
