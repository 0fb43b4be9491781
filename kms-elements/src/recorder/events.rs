//! What a recorder tells its clients.

use protocol::event;

event! { "elements"
    /// The recording began, or goes on.
    pub struct Recording: Media {}

    /// The recording waits to go on.
    pub struct Paused: Media {}

    /// The recording ended, and its file is closed.
    pub struct Stopped: Media {}

    /// A file of the recording is complete: a segment, the last of them, or the only one. Not in Kurento.
    pub struct FileRecorded: Media {
        /// The file, as a URI; where it goes, if that is a server: FileUploaded tells when it is there.
        uri "uri": String,
        /// When it begins, milliseconds since 1970, UTC.
        start "start": i64,
        /// How long it is, milliseconds.
        duration "duration": i64,
        /// How large it is, bytes.
        size "size": i64,
    }

    /// A file of a recording that goes to a server is there. Not in Kurento.
    pub struct FileUploaded: Media {
        /// Where it is.
        uri "uri": String,
        /// How large it is, bytes.
        size "size": i64,
    }
}
