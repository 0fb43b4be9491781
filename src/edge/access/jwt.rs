//! Signed tokens (JWT, RFC 7519): who signs them is trusted to say which tenant somebody is, and until when.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use kms_core::Tenant;
use kms_core::tenant::TenantName;
use serde_json::{Map, Value};

/// Clocks of those who sign and of this machine may differ by so much, either way.
const LEEWAY: Duration = Duration::from_secs(60);

/// The longest token that is looked at, bytes: a header of HTTP holds no more.
const LONGEST: usize = 8 * 1024;

/// Whose signed tokens are taken, and what they have to say.
#[derive(Default)]
pub struct Signed {
    /// The secret that tokens are signed with (HS256).
    pub secret: Option<String>,
    /// PEM with public keys, RSA (RS256) or P-256 (ES256), one after the other.
    pub public_keys: Option<String>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// What `iss` must be.
    pub issuer: Option<String>,
    /// What `aud` must be, or hold.
    pub audience: Option<String>,
}

/// Checks signed tokens.
pub(super) struct Verifier {
    /// A key is used with its own algorithm alone: a token can't have its signature checked in another way than was meant.
    keys: Vec<(Algorithm, DecodingKey)>,
    tenant_claim: String,
    issuer: Option<String>,
    audience: Option<String>,
}

/// Who somebody is, by a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) tenant: Tenant,
    /// Since 1970.
    pub(super) until: Duration,
}

/// Why a signed token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It isn't one, or nobody known has signed it.
    Unknown,
    /// It is no longer valid.
    Expired,
    /// It is well signed, and meant for something else, or not yet valid.
    NotForUs,
    /// It names no tenant.
    NoTenant,
}

impl Verifier {
    /// None if no keys are given. The error says what is wrong with a key, without the key.
    pub(super) fn new(signed: Signed) -> Result<Option<Verifier>, String> {
        let mut keys = Vec::new();
        if let Some(secret) = &signed.secret {
            keys.push((Algorithm::HS256, DecodingKey::from_secret(secret.as_bytes())));
        }
        for pem in signed
            .public_keys
            .as_deref()
            .map(blocks)
            .transpose()?
            .unwrap_or_default()
        {
            let rsa = || DecodingKey::from_rsa_pem(pem.as_bytes()).map(|key| (Algorithm::RS256, key));
            let p256 = || DecodingKey::from_ec_pem(pem.as_bytes()).map(|key| (Algorithm::ES256, key));
            let key = rsa().or_else(|_| p256());
            keys.push(key.map_err(|_| "holds a key that is neither RSA nor P-256".to_owned())?);
        }
        Ok((!keys.is_empty()).then_some(Verifier {
            keys,
            tenant_claim: signed.tenant_claim,
            issuer: signed.issuer,
            audience: signed.audience,
        }))
    }

    pub(super) fn check(&self, token: &str) -> Result<Known, Flaw> {
        let header = (token.len() <= LONGEST).then(|| decode_header(token).ok());
        let algorithm = header.flatten().ok_or(Flaw::Unknown)?.alg;
        let mut flaw = Flaw::Unknown;
        for (_, key) in self.keys.iter().filter(|(of, _)| *of == algorithm) {
            match decode::<Map<String, Value>>(token, key, &self.validation(algorithm)) {
                Ok(token) => return self.known(&token.claims),
                Err(error) => flaw = found(error.kind(), flaw),
            }
        }
        Err(flaw)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        let mut required = HashSet::from(["exp".to_owned()]);
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.insert("aud".to_owned());
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.insert("iss".to_owned());
        }
        validation.required_spec_claims = required;
        validation
    }

    fn known(&self, claims: &Map<String, Value>) -> Result<Known, Flaw> {
        let name = claims.get(&self.tenant_claim).and_then(Value::as_str);
        let name = name.and_then(TenantName::new).ok_or(Flaw::NoTenant)?;
        // A number of seconds, maybe with a fraction (RFC 7519, section 2).
        let expires = claims.get("exp").and_then(Value::as_f64).unwrap_or_default();
        Ok(Known {
            tenant: Tenant::Named(name),
            until: Duration::try_from_secs_f64(expires)
                .unwrap_or(Duration::MAX)
                .saturating_add(LEEWAY),
        })
    }
}

impl Known {
    /// How long it is still valid.
    pub(super) fn left(&self) -> Duration {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.until.saturating_sub(now)
    }
}

/// What an error says of a token, if it says more than what was known.
fn found(error: &jsonwebtoken::errors::ErrorKind, known: Flaw) -> Flaw {
    use jsonwebtoken::errors::ErrorKind;
    match error {
        ErrorKind::ExpiredSignature => Flaw::Expired,
        ErrorKind::InvalidIssuer
        | ErrorKind::InvalidAudience
        | ErrorKind::ImmatureSignature
        | ErrorKind::MissingRequiredClaim(_) => Flaw::NotForUs,
        _ => known,
    }
}

/// The blocks of a PEM file, each from its BEGIN to its END.
fn blocks(pem: &str) -> Result<Vec<&str>, String> {
    const END: &str = "-----END PUBLIC KEY-----";
    let mut blocks = Vec::new();
    let mut rest = pem;
    while let Some(begin) = rest.find("-----BEGIN ") {
        let block = &rest[begin..];
        let end = block.find(END).map(|at| at + END.len());
        let end = end.ok_or("holds something else than public keys (BEGIN PUBLIC KEY)")?;
        blocks.push(&block[..end]);
        rest = &block[end..];
    }
    match blocks.is_empty() {
        true => Err("holds no public key (BEGIN PUBLIC KEY)".into()),
        false => Ok(blocks),
    }
}

#[cfg(test)]
mod tests;
