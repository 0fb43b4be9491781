//! kms-filters
