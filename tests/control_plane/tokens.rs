//! A daemon with tenants, and their tokens.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use crate::daemon::Daemon;

const SECRET: &str = "a secret of these tests, long enough";

/// The token of the operator.
pub(crate) const OPERATOR: &str = "the-token-of-the-operator";

/// A daemon that asks for tokens. `more`: further sections of the configuration.
pub(crate) fn daemon(more: &str) -> Daemon {
    Daemon::with_config(&format!(
        "[access]\njwt_secret = \"{SECRET}\"\ntokens = \"{OPERATOR}\"\n{more}"
    ))
}

/// A tenant's token, valid for some seconds.
pub(crate) fn token(tenant: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let claims = json!({"tenant": tenant, "exp": now + seconds});
    encode(
        &Header::default(),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap()
}
