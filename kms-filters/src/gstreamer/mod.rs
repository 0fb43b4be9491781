//! `GStreamerFilter`: elements of GStreamer that a client names.
//!
//! The command is a client's text, and GStreamer has elements that read files, open sockets and never end. So the text is taken apart
//! here, never by GStreamer, and there is a rule for what it may name: see [`rules`].

mod chain;
mod class;
mod command;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use class::class;
