//! What was measured, as tables and as JSON.

use serde_json::{Value, json};

use crate::aims::{self, aims};
use crate::control::{self, Control};
use crate::engine::{self, Cost};
use crate::filters::{self, FilterCost};
use crate::measure::{self, Measured};
use crate::memory::{self, Footprint};
use crate::operations::{self, Figure};
use crate::procfs;
use crate::table::table;

/// Everything that was measured in a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Servers under media load.
    pub(crate) media: Vec<Measured>,
    /// Requests.
    pub(crate) control: Option<Control>,
    /// Memory of endpoints.
    pub(crate) memory: Vec<Footprint>,
    /// Work of the media engine, and of what stands beside it.
    pub(crate) engine: Vec<Cost>,
    /// Filters.
    pub(crate) filters: Vec<FilterCost>,
    /// What safety and being seen cost.
    pub(crate) operations: Vec<Figure>,
}

impl Report {
    /// For machines.
    pub(crate) fn to_json(&self) -> Value {
        let (processor, cores) = procfs::machine();
        json!({
            "processor": processor,
            "cores": cores,
            "media": self.media.iter().map(Measured::to_json).collect::<Vec<_>>(),
            "control": self.control.as_ref().map(Control::to_json),
            "memory": self.memory.iter().map(Footprint::to_json).collect::<Vec<_>>(),
            "engine": self.engine.iter().map(Cost::to_json).collect::<Vec<_>>(),
            "filters": self.filters.iter().map(FilterCost::to_json).collect::<Vec<_>>(),
            "operations": self.operations.iter().map(Figure::to_json).collect::<Vec<_>>(),
            "aims": aims(self).iter().map(aims::Aim::to_json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let (processor, cores) = procfs::machine();
        let mut text = format!("{processor}, {cores} cores\n");
        if !self.media.is_empty() {
            let rows: Vec<_> = self.media.iter().map(Measured::row).collect();
            text += &format!("\n{}", table(measure::HEADER, &rows));
        }
        for measured in &self.media {
            let name = format!("{} {}", measured.server, measured.scenario);
            if measured.is_saturated() {
                text += &format!("{name}: the load generator lagged; latency and loss are partly its own\n");
            }
            if measured.is_disturbed() {
                text += &format!("{name}: other processes took CPU time; measure again on a quiet machine\n");
            }
        }
        if let Some(control) = &self.control {
            let rows: Vec<_> = control.timings.iter().map(control::Timing::row).collect();
            text += &format!("\n{}", table(control::HEADER, &rows));
            text += &format!(
                "many pings at once: {:.0} a second, {:.1} us CPU each\n",
                control.requests_per_second, control.cpu_us_per_request
            );
        }
        if !self.memory.is_empty() {
            let rows: Vec<_> = self.memory.iter().map(Footprint::row).collect();
            text += &format!("\n{}", table(memory::HEADER, &rows));
        }
        if !self.engine.is_empty() {
            let rows: Vec<_> = self.engine.iter().map(Cost::row).collect();
            text += &format!("\n{}", table(engine::HEADER, &rows));
        }
        if !self.filters.is_empty() {
            let rows: Vec<_> = self.filters.iter().map(FilterCost::row).collect();
            text += &format!("\n{}", table(filters::HEADER, &rows));
        }
        if !self.operations.is_empty() {
            let rows: Vec<_> = self.operations.iter().map(Figure::row).collect();
            text += &format!("\n{}", table(operations::HEADER, &rows));
        }
        let rows: Vec<_> = aims(self).iter().map(aims::Aim::row).collect();
        if !rows.is_empty() {
            text += &format!("\n{}", table(aims::HEADER, &rows));
        }
        text
    }
}
