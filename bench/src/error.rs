//! What can go wrong in a measurement.

/// A measurement failed; there are no numbers then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line asks for something that doesn't exist.
    #[error("{0}; see kms-bench --help")]
    Usage(String),
    /// The system refused something.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// The server under test can't be used.
    #[error("{0}")]
    Server(String),
    /// The server answered a request with an error.
    #[error("the server answered: {0}")]
    Request(#[from] kms_client::Error),
    /// A peer of the load generator.
    #[error("peer: {0}")]
    Peer(String),
    /// Something did not happen in time.
    #[error("{0} within {1} s")]
    Late(String, u64),
}

/// What measurements answer.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Says what was tried when the system refused it.
pub(crate) trait Context<T> {
    /// Names what was tried.
    fn context(self, what: &str) -> Result<T>;
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: &str) -> Result<T> {
        self.map_err(|e| Error::Io(what.to_owned(), e))
    }
}
