//! How many filters stand in a row, where one asks or tells the next.

use std::cell::Cell;

/// So many filters may stand in a row. Each asks the one before it for media, on one stack; and a circle has to end somewhere.
pub(super) const LONGEST_ROW: u32 = 32;

thread_local! {
    static LEVEL: Cell<u32> = const { Cell::new(0) };
}

/// How many filters this thread is in, one called by the other.
pub(super) struct Level;

impl Level {
    /// One more; `None`: so many are too many.
    pub(super) fn enter() -> Option<Level> {
        LEVEL.with(|level| {
            let deep = level.get() < LONGEST_ROW;
            deep.then(|| {
                level.set(level.get() + 1);
                Level
            })
        })
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        LEVEL.with(|level| level.set(level.get().saturating_sub(1)));
    }
}
