//! `RecorderEndpoint`: writes what it is fed into a file.
//!
//! | file | what |
//! |---|---|
//! | `class.rs` | the remote class: constructor, methods, events |
//! | `endpoint.rs`, `endpoint/beside.rs` | its states; and what it does beside recording |
//! | `events.rs` | what it tells |
//! | `changeable.rs` | what clients may change of it |
//! | `writer.rs` | a recording: what comes, and when it is written |
//! | `writer/sources.rs`, `writer/roll.rs` | where it comes from; the files that it goes into, one after the other |
//! | `file.rs` | one file from its first buffer to its last |
//! | `segments.rs` | when the next file begins |
//! | `naming.rs`, `pattern.rs` | what files are called |
//! | `retention.rs` | which files are removed |
//! | `snapshot.rs` | a picture of what is shown now |
//! | `keyframes.rs` | when a keyframe is asked for |
//! | `track.rs` | a track of that file: its queue, and what fills its silence |
//! | `file_time.rs` | which time in the file media gets |
//! | `profile.rs` | containers: their codecs, muxers, and frames that say nothing |
//! | `fragments.rs` | mends what the MP4 muxer writes wrong |
//! | `ingest.rs` | media of a source, in the form that muxers take |
//! | `placeholder.rs` | the beginning of a track whose media is not there yet |
//! | `recordings.rs` | the threads that recorders work on, and which files are open |
//! | `upload/` | recordings on their way to a server |
//! | `uri.rs` | where a URI points to |

mod changeable;
mod class;
mod endpoint;
mod events;
mod file;
mod file_time;
mod fragments;
mod ingest;
mod keyframes;
mod naming;
mod pattern;
mod placeholder;
mod profile;
mod recordings;
mod retention;
mod segments;
mod snapshot;
mod track;
mod upload;
mod uri;
mod writer;

pub use class::class;
pub use endpoint::RecorderEndpoint;
pub use recordings::Recordings;
pub use upload::{Proxies, S3, Storage};

#[cfg(test)]
mod tests;
