//! Programs that are started for a measurement.

use std::process::{Child, Command, Stdio};

use crate::error::{Context, Result};
use crate::procfs::{self, Usage};

/// A program that runs; killed when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, silent.
    pub(crate) fn start(command: &mut Command) -> Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        child.context(&format!("starting {name}")).map(Process)
    }

    /// One that was started by other means.
    pub(crate) fn of(child: Child) -> Process {
        Process(child)
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        procfs::usage(self.0.id()).context("reading a process")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What several processes have used together.
pub(crate) fn together(processes: &[Process]) -> Result<Usage> {
    let mut sum = Usage::default();
    for process in processes {
        let usage = process.usage()?;
        sum.cpu += usage.cpu;
        sum.rss += usage.rss;
        sum.threads += usage.threads;
        sum.fds += usage.fds;
    }
    Ok(sum)
}
