//! Filters: elements that change media on its way.

use kms_core::Registry;

/// Registers module `filters`. Official clients refuse a server that does not have it.
pub fn register(registry: &mut Registry) {
    registry.module("filters", "Filters that change media on its way.");
}
