//! Who may open a websocket: whose token is known, and whose page it comes from.

mod jwt;

use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use kms_core::Tenant;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

pub use jwt::Signed;
use jwt::{Flaw, Verifier};

/// Who is refused waits for the answer, so that guessing takes long.
const SLOW: Duration = Duration::from_secs(1);
/// So many are let wait; others are refused at once, with 503.
const MOST_WAITING: usize = 256;
/// Refusals are logged this often at most, with how many there were.
const LOGGED: Duration = Duration::from_secs(1);

/// Who may enter.
pub struct Access {
    /// Digests of tokens: they have one length, so comparing them tells nothing of a token's.
    tokens: Vec<[u8; 32]>,
    /// None, and no tokens: everybody may enter.
    signed: Option<Verifier>,
    /// Origins of pages; none: of all.
    origins: Vec<String>,
    waiting: Semaphore,
    refused: Mutex<Refusals>,
}

/// Refusals that were not logged yet.
#[derive(Default)]
struct Refusals {
    count: u64,
    logged: Option<Instant>,
}

/// Why somebody may not enter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    NoToken,
    WrongToken,
    Expired,
    NotForUs,
    NoTenant,
    Origin,
}

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Visitor {
    pub(super) tenant: Tenant,
    /// How long the token is valid; none: for good.
    pub(super) stays: Option<Duration>,
}

impl Visitor {
    const OPERATOR: Visitor = Visitor {
        tenant: Tenant::Operator,
        stays: None,
    };
}

impl Refusal {
    fn text(self) -> &'static str {
        match self {
            Refusal::NoToken => {
                "An access token is needed: in the query parameter access_token, or in a header Authorization: Bearer\n"
            }
            Refusal::WrongToken => "The access token is not known\n",
            Refusal::Expired => "The access token has expired: ask for a new one\n",
            Refusal::NotForUs => {
                "The access token is not for this server, or not yet: see access.jwt_issuer and access.jwt_audience\n"
            }
            Refusal::NoTenant => {
                "The access token names no tenant, 1 to 64 of a-z A-Z 0-9 . _ -: see access.jwt_tenant_claim\n"
            }
            Refusal::Origin => "Pages of this origin may not connect: see access.origins\n",
        }
    }
}

impl Access {
    /// Those who have one of these tokens, or a signed one, from pages of these origins; none: all. The error says what is wrong with a
    /// key of signed tokens.
    pub fn new(tokens: &[String], signed: Signed, origins: &[String]) -> Result<Access, String> {
        let origin = |origin: &String| origin.trim_end_matches('/').to_ascii_lowercase();
        Ok(Access {
            tokens: tokens.iter().map(|token| digest(token)).collect(),
            signed: Verifier::new(signed)?,
            origins: origins.iter().map(origin).collect(),
            waiting: Semaphore::new(MOST_WAITING),
            refused: Mutex::default(),
        })
    }

    /// Lets somebody in, or gives the answer that refuses it, after a while.
    pub(super) async fn admit(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Visitor, Response> {
        let refusal = match self.check(headers, query) {
            Ok(visitor) => return Ok(visitor),
            Err(refusal) => refusal,
        };
        self.note(refusal);
        let Ok(_waits) = self.waiting.try_acquire() else {
            return Err((
                StatusCode::SERVICE_UNAVAILABLE,
                "Too many were refused just now\n",
            )
                .into_response());
        };
        tokio::time::sleep(SLOW).await;
        let status = match refusal {
            Refusal::Origin => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        Err((status, [("www-authenticate", "Bearer")], refusal.text()).into_response())
    }

    fn check(&self, headers: &HeaderMap, query: Option<&str>) -> Result<Visitor, Refusal> {
        // Programs send no origin: it is browsers that pages are kept apart by.
        let origin = headers
            .get(ORIGIN)
            .map(|origin| origin.to_str().unwrap_or_default());
        if let Some(origin) = origin
            && !self.origins.is_empty()
            && !self.origins.contains(&origin.to_ascii_lowercase())
        {
            return Err(Refusal::Origin);
        }
        if self.tokens.is_empty() && self.signed.is_none() {
            return Ok(Visitor::OPERATOR);
        }
        let token = bearer(headers)
            .or_else(|| parameter(query?))
            .ok_or(Refusal::NoToken)?;
        let given = digest(&token);
        // All are compared, however early one is right.
        let known = self
            .tokens
            .iter()
            .fold(false, |known, token| known | bool::from(token.ct_eq(&given)));
        if known {
            return Ok(Visitor::OPERATOR);
        }
        let signed = self.signed.as_ref().ok_or(Refusal::WrongToken)?;
        let known = signed.check(&token).map_err(|flaw| match flaw {
            Flaw::Unknown => Refusal::WrongToken,
            Flaw::Expired => Refusal::Expired,
            Flaw::NotForUs => Refusal::NotForUs,
            Flaw::NoTenant => Refusal::NoTenant,
        })?;
        Ok(Visitor {
            stays: Some(known.left()),
            tenant: known.tenant,
        })
    }

    /// Counts a refusal, and logs it unless one was logged just now. Never with what was sent.
    fn note(&self, refusal: Refusal) {
        let mut refused = self
            .refused
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        refused.count += 1;
        if refused.logged.is_none_or(|at| at.elapsed() >= LOGGED) {
            tracing::warn!(?refusal, refused = refused.count, "connections were refused");
            *refused = Refusals {
                count: 0,
                logged: Some(Instant::now()),
            };
        }
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The token of a header `Authorization: Bearer ...` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim().to_owned())
}

/// The token of a query: `access_token=...`.
fn parameter(query: &str) -> Option<String> {
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs
        .find(|(name, _)| name == "access_token")
        .map(|(_, token)| token.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let name = axum::http::HeaderName::from_static(name);
            (name, value.parse().expect("a header"))
        };
        pairs.iter().map(pair).collect()
    }

    fn of(tokens: &[&str], origins: &[&str]) -> Access {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        Access::new(&owned(tokens), Signed::default(), &owned(origins)).expect("no keys")
    }

    #[test]
    fn who_has_a_token_enters() {
        let access = of(&["a-long-token-1", "b+long token&2"], &[]);
        let none = headers(&[]);
        for query in [
            "access_token=a-long-token-1",
            "x=1&access_token=b%2Blong+token%262",
        ] {
            assert_eq!(access.check(&none, Some(query)), Ok(Visitor::OPERATOR), "{query}");
        }
        for token in ["Bearer a-long-token-1", "bearer  b+long token&2"] {
            assert_eq!(
                access.check(&headers(&[("authorization", token)]), None),
                Ok(Visitor::OPERATOR),
                "{token}"
            );
        }
        for query in [None, Some(""), Some("token=a-long-token-1")] {
            assert_eq!(access.check(&none, query), Err(Refusal::NoToken), "{query:?}");
        }
        for query in [
            "access_token=",
            "access_token=a-long-token",
            "access_token=A-LONG-TOKEN-1",
        ] {
            assert_eq!(
                access.check(&none, Some(query)),
                Err(Refusal::WrongToken),
                "{query}"
            );
        }
        let basic = headers(&[("authorization", "Basic a-long-token-1")]);
        assert_eq!(access.check(&basic, None), Err(Refusal::NoToken));
        assert_eq!(of(&[], &[]).check(&none, None), Ok(Visitor::OPERATOR));
    }

    #[test]
    fn pages_of_other_origins_do_not() {
        let access = of(&[], &["https://Example.org/"]);
        let from = |origin: &str| access.check(&headers(&[("origin", origin)]), None);
        assert_eq!(from("https://example.org"), Ok(Visitor::OPERATOR));
        for other in ["http://example.org", "https://example.org.evil.test", "null", ""] {
            assert_eq!(from(other), Err(Refusal::Origin), "{other}");
        }
        assert!(access.check(&headers(&[]), None).is_ok(), "programs send none");
    }
}
