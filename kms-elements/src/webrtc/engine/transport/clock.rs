//! The clock of the STUN and TURN crates, which counts from a moment of our choice.

use std::time::Instant;

use turn_client_proto::stun::Instant as StunInstant;

/// Their time for ours and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    zero: Instant,
}

impl Clock {
    /// A clock that begins now.
    pub(super) fn new(now: Instant) -> Clock {
        Clock { zero: now }
    }

    /// Their time.
    pub(super) fn of(&self, now: Instant) -> StunInstant {
        let nanos = now.saturating_duration_since(self.zero).as_nanos();
        StunInstant::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Our time.
    pub(super) fn instant(&self, at: StunInstant) -> Instant {
        at.to_std(self.zero)
    }
}
