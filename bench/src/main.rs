//! kms-bench
fn main() {}
