//! The error table: name, number and meaning of every error are written here and nowhere else.

use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $code:literal, $wire:literal;)*) => {
        /// What went wrong, as clients of the Kurento Protocol see it: a number, and a name in `data.type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])* $name),* }

        impl Code {
            /// All codes, in the order of the table.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The number sent as `error.code`.
            pub fn number(self) -> i32 { match self { $(Code::$name => $code),* } }

            /// The name sent as `error.data.type`; empty where JSON-RPC's own errors carry none.
            pub fn name(self) -> &'static str { match self { $(Code::$name => $wire),* } }

            /// What the code means, for the reference.
            pub fn meaning(self) -> &'static str { match self { $(Code::$name => concat!($($doc),*)),* } }
        }
    };
}

codes! {
    /// The text is not JSON (JSON-RPC 2.0).
    Parse = -32700, "";
    /// The JSON is not a request (JSON-RPC 2.0).
    InvalidRequest = -32600, "";
    /// The verb does not exist (JSON-RPC 2.0).
    MethodNotFound = -32601, "";
    /// The verb needs `params` (JSON-RPC 2.0).
    InvalidParams = -32602, "INVALID_PARAMS";
    /// The request could not be carried out, or an object of the wrong class was given to a constructor (JSON-RPC 2.0).
    Internal = -32603, "";
    /// A member of `params` is missing or has the wrong type.
    ServerError = -32000, "";
    /// A parameter is missing, has the wrong type or is out of range.
    Marshall = 40001, "MARSHALL_ERROR";
    /// Something failed that should not have.
    Unexpected = 40003, "UNEXPECTED_ERROR";
    /// Two elements can't be connected.
    Connect = 40004, "CONNECT_ERROR";
    /// The media type is not supported here.
    UnsupportedMediaType = 40005, "UNSUPPORTED_MEDIA_TYPE";
    /// The operation is described but not available.
    NotImplemented = 40006, "NOT_IMPLEMENTED";
    /// The session does not exist (any more).
    InvalidSession = 40007, "INVALID_SESSION";
    /// A transaction is malformed, or the operation does not exist in the object's class.
    MalformedTransaction = 40008, "MALFORMED_TRANSACTION";
    /// The server has reached a limit.
    NotEnoughResources = 40009, "NOT_ENOUGH_RESOURCES";
    /// The class of the object is unknown.
    TypeNotFound = 40100, "MEDIA_OBJECT_TYPE_NOT_FOUND";
    /// No object has this id.
    ObjectNotFound = 40101, "MEDIA_OBJECT_NOT_FOUND";
    /// The class can't be created.
    ConstructorNotFound = 40104, "MEDIA_OBJECT_CONSTRUCTOR_NOT_FOUND";
    /// The object has no such method.
    ObjectMethodNotFound = 40105, "MEDIA_OBJECT_METHOD_NOT_FOUND";
    /// The object raises no such event.
    EventNotSupported = 40106, "MEDIA_OBJECT_EVENT_NOT_SUPPORTED";
    /// A parameter's value is not acceptable.
    IllegalParam = 40107, "MEDIA_OBJECT_ILLEGAL_PARAM_ERROR";
    /// The class is not available on this server.
    ObjectNotAvailable = 40108, "MEDIA_OBJECT_NOT_AVAILABLE";
    /// The object belongs to a transaction that was not committed.
    ObjectNotFoundNoCommit = 40109, "MEDIA_OBJECT_NOT_FOUND_TRANSACTION_NO_COMMIT";
    /// The object has no tag with this key.
    TagKeyNotFound = 40110, "MEDIA_OBJECT_TAG_KEY_NOT_FOUND";
    /// The object can't do this in its present state.
    OperationNotSupported = 40111, "MEDIA_OBJECT_OPERATION_NOT_SUPPORTED";
    /// The session description could not be made.
    SdpCreate = 40200, "SDP_CREATE_ERROR";
    /// The text is not SDP (RFC 8866).
    SdpParse = 40201, "SDP_PARSE_ERROR";
    /// The endpoint has no local session description yet.
    SdpNoLocal = 40202, "SDP_END_POINT_NO_LOCAL_SDP_ERROR";
    /// The endpoint has no remote session description yet.
    SdpNoRemote = 40203, "SDP_END_POINT_NO_REMOTE_SDP_ERROR";
    /// The offer could not be generated.
    SdpGenerateOffer = 40204, "SDP_END_POINT_GENERATE_OFFER_ERROR";
    /// The offer can't be accepted.
    SdpProcessOffer = 40205, "SDP_END_POINT_PROCESS_OFFER_ERROR";
    /// The answer can't be accepted.
    SdpProcessAnswer = 40206, "SDP_END_POINT_PROCESS_ANSWER_ERROR";
    /// The session description asks for something that can't be configured.
    SdpConfiguration = 40207, "SDP_CONFIGURATION_ERROR";
    /// A negotiation is under way or done already.
    SdpAlreadyNegotiated = 40208, "SDP_END_POINT_ALREADY_NEGOTIATED";
    /// There is no offer that this could be the answer to.
    SdpNoOffer = 40209, "SDP_END_POINT_NOT_OFFER_GENERATED";
    /// The answer was processed already.
    SdpAnswerProcessed = 40210, "SDP_END_POINT_ANSWER_ALREADY_PROCCESED";
    /// The session could not be created.
    SdpCannotCreateSession = 40211, "SDP_END_POINT_CANNOT_CREATE_SESSON";
    /// The HTTP end point could not be registered.
    HttpRegistration = 40300, "HTTP_END_POINT_REGISTRATION_ERROR";
    /// Gathering ICE candidates could not start.
    IceGather = 40400, "ICE_GATHER_CANDIDATES_ERROR";
    /// The ICE candidate can't be added.
    IceAddCandidate = 40401, "ICE_ADD_CANDIDATE_ERROR";
    /// The module asked for does not exist.
    ModuleNotFound = 40500, "UNDEFINED";
    /// No file at that URI.
    UriPathFileNotFound = 40600, "URI_PATH_FILE_NOT_FOUND";
    /// The player can't seek there.
    PlayerSeek = 40700, "PLAYER_SEEK_FAIL";
}

/// An error to answer a client with: a stable code and one clear sentence. Causes belong in the log, not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of error.
    pub code: Code,
    /// One sentence for people: what is wrong and, where it helps, what to do.
    pub message: String,
}

impl Error {
    /// An error with this code and sentence.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error {
            code,
            message: message.into(),
        }
    }

    /// No object has this id.
    pub fn object_not_found(id: &str) -> Error {
        Error::new(Code::ObjectNotFound, format!("Object '{}' not found", clip(id)))
    }

    /// A parameter is missing or has the wrong type. `kind` is "parameter" or "property", `expected` a type's name.
    pub fn wrong_type(name: &str, kind: &str, expected: &str) -> Error {
        Error::new(Code::Marshall, format!("'{name}' {kind} should be a {expected}"))
    }
}

/// Shortens a remote string that is quoted in an error: nobody's megabyte comes back to them.
pub fn clip(text: &str) -> &str {
    const MOST: usize = 200;
    if text.len() <= MOST {
        return text;
    }
    let mut end = MOST;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code.number())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_and_no_name_stands_twice() {
        let mut numbers = std::collections::HashSet::new();
        let mut names = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(
                numbers.insert(code.number()),
                "{code:?}: {} is used twice",
                code.number()
            );
            assert!(
                code.name().is_empty() || names.insert(code.name()),
                "{code:?}: {} is used twice",
                code.name()
            );
            assert!(!code.meaning().is_empty());
        }
    }

    #[test]
    fn quoted_text_is_cut_at_a_character() {
        assert_eq!(clip("short"), "short");
        assert!(clip(&"é".repeat(500)).len() <= 200);
    }
}
