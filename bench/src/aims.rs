//! What kms is held to, and whether it was reached.

use serde_json::{Value, json};

use crate::engine::{Cost, MIX};
use crate::report::Report;

/// Peers and viewers that the aims for media are set for.
const PEERS: usize = 100;
const VIEWERS: usize = 200;

/// A bound and what was measured.
#[derive(Debug, PartialEq)]
pub(crate) struct Aim {
    /// What is bounded.
    pub(crate) what: String,
    /// The most it may be.
    pub(crate) most: f64,
    /// What it was.
    pub(crate) measured: f64,
}

impl Aim {
    fn new(what: impl Into<String>, most: f64, measured: f64) -> Aim {
        Aim {
            what: what.into(),
            most,
            measured,
        }
    }

    /// The bound was kept.
    pub(crate) fn is_met(&self) -> bool {
        self.measured <= self.most
    }

    /// A row of the table that [`HEADER`] begins.
    pub(crate) fn row(&self) -> [String; HEADER.len()] {
        let verdict = if self.is_met() { "met" } else { "missed" };
        [
            self.what.clone(),
            format!("{:.3}", self.measured),
            format!("{:.3}", self.most),
            verdict.to_owned(),
        ]
    }

    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        json!({"what": self.what, "most": self.most, "measured": self.measured, "met": self.is_met()})
    }
}

/// Columns of the table of aims.
pub(crate) const HEADER: [&str; 4] = ["aim", "measured", "at most", ""];

/// The aims that a report says something about.
pub(crate) fn aims(report: &Report) -> Vec<Aim> {
    let mut aims = Vec::new();
    for (scenario, peers, most, of_janus) in [
        ("loopback", PEERS, 11.0, 1.0 / 2.0),
        ("one-to-many", VIEWERS, 12.0, 1.0 / 3.0),
    ] {
        let cpu_of = |server| {
            let fits = |m: &&crate::measure::Measured| {
                m.server == server && m.scenario == scenario && m.peers == peers
            };
            report.media.iter().find(fits).map(|m| m.cpu_per_1000())
        };
        let Some(kms) = cpu_of("kms") else { continue };
        aims.push(Aim::new(
            format!("{scenario} {peers}, ms CPU for 1,000 packets"),
            most,
            kms,
        ));
        if let Some(janus) = cpu_of("janus") {
            aims.push(Aim::new(
                format!("{scenario} {peers}, share of Janus's CPU"),
                of_janus,
                kms / janus,
            ));
        }
    }
    let timings = report.control.iter().flat_map(|c| &c.timings);
    for (timing, most) in timings.zip([0.1, 0.2, 1.0]) {
        aims.push(Aim::new(
            format!("{}, p50 ms", timing.operation),
            most,
            timing.p50_ms,
        ));
    }
    for (footprint, most) in report.memory.iter().zip([100.0, 500.0, 500.0]) {
        aims.push(Aim::new(
            format!("endpoint {}, KiB", footprint.state),
            most,
            footprint.kib,
        ));
    }
    aims.extend(engine_aims(&report.engine));
    for cost in &report.filters {
        let what = |what: &str| format!("{}, {what}", cost.filter);
        if let Some(most) = cost.most_ms {
            aims.push(Aim::new(what("ms CPU a picture"), most, cost.stream_ms));
            // Less than a picture lasts.
            aims.push(Aim::new(what("ms later"), 1_000.0 / 30.0, cost.later_ms));
        }
    }
    for figure in &report.operations {
        aims.push(Aim::new(figure.what.to_owned(), figure.most, figure.value));
    }
    aims
}

/// Bounds for the media engine: shares of what the program beside it needed in the same run.
fn engine_aims(costs: &[Cost]) -> Vec<Aim> {
    let mut aims = Vec::new();
    for pair in costs.chunks_exact(2) {
        let [ours, theirs] = pair else { continue };
        let (cpu, memory) = match (theirs.by, ours.work) {
            ("ffmpeg", _) => (1.5, Some(0.2)),
            (_, MIX) => (1.3, None),
            _ => (1.15, None),
        };
        let what = |what: &str| format!("{}, {what} of {}", ours.work, theirs.by);
        aims.push(Aim::new(what("times the CPU"), cpu, ours.core() / theirs.core()));
        if let Some(most) = memory {
            let share = ours.usage.rss as f64 / theirs.usage.rss as f64;
            aims.push(Aim::new(what("share of the memory"), most, share));
        }
    }
    aims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Control, Timing};
    use crate::memory::Footprint;

    #[test]
    fn each_thing_measured_meets_its_own_bound() {
        let timing = |operation, p50_ms| Timing {
            operation,
            p50_ms,
            p99_ms: 9.0,
        };
        let control = Control {
            timings: vec![
                timing("ping", 0.09),
                timing("PassThrough", 0.21),
                timing("WebRtcEndpoint", 1.0),
            ],
            requests_per_second: 1.0,
            cpu_us_per_request: 1.0,
        };
        let footprint = |state, kib| Footprint {
            state,
            endpoints: 1,
            kib,
        };
        let report = Report {
            control: Some(control),
            memory: vec![footprint("not negotiated", 101.0), footprint("negotiated", 499.0)],
            ..Report::default()
        };
        let met: Vec<bool> = aims(&report).iter().map(Aim::is_met).collect();
        assert_eq!(met, [true, false, true, false, true]);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert_eq!(aims(&Report::default()), []);
    }
}
