//! What can go wrong between an application and the media server.

use jsonrpsee::core::client::Error as RpcError;
use serde_json::Value;

/// Short for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// A request failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The server answered with an error.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// There is no connection to be had: wrong address, nobody listens, or the attempts to reconnect were given up.
    #[error("can't reach the media server: {0}")]
    Unreachable(String),
    /// The connection broke while the request was under way. The server may have carried it out or not.
    #[error("the connection to the media server broke before the answer came: {0}")]
    Interrupted(String),
    /// No answer in time ([`Options::request_timeout`](crate::Options::request_timeout)).
    #[error("the media server did not answer in time")]
    Timeout,
    /// The answer is not what the description of the operation says.
    #[error("unexpected answer to {request}: {reason}")]
    Answer {
        /// The verb or operation that was asked for.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// An argument can't be written as JSON.
    #[error("argument '{name}' can't be sent: {reason}")]
    Argument {
        /// Name of the argument.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// The server's error code, where the server answered and the code is one of the table.
    pub fn code(&self) -> Option<protocol::Code> {
        match self {
            Error::Server(e) => e.known_code(),
            _ => None,
        }
    }

    pub(crate) fn answer(request: &str, reason: impl ToString) -> Error {
        Error::Answer {
            request: request.to_owned(),
            reason: reason.to_string(),
        }
    }
}

/// An error as the server sent it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ServerError {
    /// The number, e.g. 40101.
    pub code: i32,
    /// The name of the code, e.g. "MEDIA_OBJECT_NOT_FOUND". Empty for JSON-RPC's own errors.
    pub kind: String,
    /// One sentence for people.
    pub message: String,
}

impl ServerError {
    /// The code by name, when it is one of the table.
    pub fn known_code(&self) -> Option<protocol::Code> {
        protocol::Code::ALL
            .iter()
            .copied()
            .find(|c| c.number() == self.code)
    }

    /// Reads the `error` member of an answer.
    pub(crate) fn from_json(error: &Value) -> ServerError {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        ServerError {
            code: error["code"]
                .as_i64()
                .and_then(|c| i32::try_from(c).ok())
                .unwrap_or_default(),
            kind: text(&error["data"]["type"]),
            message: text(&error["message"]),
        }
    }
}

impl From<RpcError> for Error {
    fn from(error: RpcError) -> Error {
        match error {
            RpcError::Call(e) => {
                let data: Value = e
                    .data()
                    .and_then(|d| serde_json::from_str(d.get()).ok())
                    .unwrap_or_default();
                let kind = data["type"].as_str().unwrap_or_default().to_owned();
                Error::Server(ServerError {
                    code: e.code(),
                    kind,
                    message: e.message().to_owned(),
                })
            }
            RpcError::RequestTimeout => Error::Timeout,
            RpcError::ParseError(e) => Error::answer("request", e),
            other => Error::Interrupted(other.to_string()),
        }
    }
}
