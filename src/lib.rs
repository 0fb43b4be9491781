//! The daemon's edge, apart from the process around it: what clients send, and fuzz targets with it.

pub mod edge;
