//! What clients may change of a recorder.

use protocol::{Code, Error};

use super::naming::Naming;
use super::retention::Retention;
use super::segments::{GapsFixMethod, Segments};

/// What clients may change; it applies from the next `record` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Changeable {
    /// How long files may be, milliseconds; 0: without a bound.
    pub(super) segment_duration: i64,
    /// How large files may be, bytes; 0: without a bound.
    pub(super) segment_size: i64,
    /// What is done about gaps.
    pub(super) gaps: GapsFixMethod,
    /// How old recordings may become, seconds; 0: without a bound. At once.
    pub(super) retention_age: i64,
    /// How large all recordings may be together, bytes; 0: without a bound. At once.
    pub(super) retention_size: i64,
}

impl Changeable {
    /// When a new file begins.
    pub(super) fn segments(&self) -> Result<Segments, Error> {
        Segments::new(self.segment_duration, self.segment_size)
    }

    /// What is kept.
    pub(super) fn retention(&self) -> Result<Retention, Error> {
        Retention::new(self.retention_age, self.retention_size)
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self, naming: &Naming) -> Result<(), Error> {
        self.segments()?;
        if naming.local_pattern().is_none() && !self.retention()?.is_none() {
            let message = "retentionAge and retentionSize are for files on this machine; servers have rules of their own";
            return Err(Error::new(Code::IllegalParam, message));
        }
        self.retention().map(drop)
    }
}
