use jsonwebtoken::{EncodingKey, Header, encode};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use serde_json::json;

use super::*;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// Takes what is signed with the secret.
fn by_secret() -> Signed {
    Signed {
        secret: Some(SECRET.into()),
        tenant_claim: "tenant".into(),
        ..Signed::default()
    }
}

fn check(signed: Signed, claims: &Value) -> Result<Known, Flaw> {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::new(Algorithm::HS256), claims, &key).expect("signed");
    verifier(signed).check(&token)
}

fn verifier(signed: Signed) -> Verifier {
    Verifier::new(signed).expect("good keys").expect("keys")
}

fn acme() -> Tenant {
    Tenant::Named(TenantName::new("acme").expect("a name"))
}

#[test]
fn who_signs_says_who_somebody_is_and_until_when() {
    let expires = now() + 100;
    let known = check(by_secret(), &json!({"tenant": "acme", "exp": expires})).expect("well signed");
    assert_eq!(known.tenant, acme());
    assert_eq!(known.until, Duration::from_secs(expires) + LEEWAY);
    assert!(known.left() > Duration::from_secs(150) && known.left() <= Duration::from_secs(160));
    let fraction = json!({"tenant": "acme", "exp": expires as f64 + 0.5});
    assert!(check(by_secret(), &fraction).is_ok());
}

#[test]
fn each_flaw_is_told_from_the_others() {
    let later = now() + 100;
    for (claims, flaw) in [
        (json!({"tenant": "acme", "exp": now() - 70}), Flaw::Expired),
        (json!({"tenant": "acme"}), Flaw::NotForUs),
        (
            json!({"tenant": "acme", "exp": later, "nbf": now() + 90}),
            Flaw::NotForUs,
        ),
        (json!({"exp": later}), Flaw::NoTenant),
        (json!({"tenant": "", "exp": later}), Flaw::NoTenant),
        (json!({"tenant": "a/b", "exp": later}), Flaw::NoTenant),
        (json!({"tenant": ["acme"], "exp": later}), Flaw::NoTenant),
        (json!({"tenant": "x".repeat(9000), "exp": later}), Flaw::Unknown),
    ] {
        assert_eq!(check(by_secret(), &claims).map(|_| ()), Err(flaw));
    }
    let strict = || Signed {
        issuer: Some("https://id.example.org".into()),
        audience: Some("kms".into()),
        tenant_claim: "org".into(),
        ..by_secret()
    };
    let right = json!({"org": "acme", "exp": later, "iss": "https://id.example.org", "aud": ["kms", "x"]});
    assert_eq!(check(strict(), &right).map(|known| known.tenant), Ok(acme()));
    for claim in ["iss", "aud"] {
        for wrong in [json!("other"), Value::Null] {
            let mut claims = right.clone();
            claims[claim] = wrong;
            assert_eq!(
                check(strict(), &claims).map(|_| ()),
                Err(Flaw::NotForUs),
                "{claims}"
            );
        }
    }
}

#[test]
fn each_key_is_used_with_its_own_algorithm() {
    let rsa = PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key");
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let p256 = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let public = [&rsa, &p256].map(|key| key.public_key_to_pem().expect("PEM"));
    let pem = public.map(|pem| String::from_utf8(pem).expect("text")).concat();
    let both = verifier(Signed {
        public_keys: Some(format!("Keys of 2026\n{pem}")),
        tenant_claim: "tenant".into(),
        ..Signed::default()
    });
    let claims = json!({"tenant": "acme", "exp": now() + 100});
    let signed =
        |algorithm, key: &EncodingKey| encode(&Header::new(algorithm), &claims, key).expect("signed");
    let rsa_key = EncodingKey::from_rsa_pem(&rsa.private_key_to_pem_pkcs8().expect("PEM")).expect("a key");
    let p256_key = EncodingKey::from_ec_pem(&p256.private_key_to_pem_pkcs8().expect("PEM")).expect("a key");
    for token in [
        signed(Algorithm::RS256, &rsa_key),
        signed(Algorithm::ES256, &p256_key),
    ] {
        assert_eq!(both.check(&token).map(|known| known.tenant), Ok(acme()));
        // Another's signature, none, and half of one.
        let (rest, signature) = token.rsplit_once('.').expect("three parts");
        let mut turned: Vec<char> = signature.chars().collect();
        turned.reverse();
        for forged in [
            format!("{rest}.{}", turned.iter().collect::<String>()),
            format!("{rest}."),
            rest.to_owned(),
            format!("{rest}.{}", &signature[..20]),
        ] {
            assert_eq!(both.check(&forged).map(|_| ()), Err(Flaw::Unknown));
        }
    }
    // A public key is no secret, so it must not be taken for one.
    let confused = signed(Algorithm::HS256, &EncodingKey::from_secret(pem.as_bytes()));
    assert_eq!(both.check(&confused).map(|_| ()), Err(Flaw::Unknown));
    let unsigned = "eyJhbGciOiJub25lIn0.eyJ0ZW5hbnQiOiJhY21lIn0.";
    for junk in [unsigned, "", ".", "..", "a.b.c", "\u{0}"] {
        assert_eq!(both.check(junk).map(|_| ()), Err(Flaw::Unknown), "{junk:?}");
    }
}

#[test]
fn what_is_no_public_key_is_refused_at_the_start() {
    let with = |pem: &str| {
        let keys = Signed {
            public_keys: Some(pem.into()),
            ..Signed::default()
        };
        Verifier::new(keys).map(|_| ()).expect_err("no key")
    };
    assert!(with("").contains("no public key"));
    assert!(with("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----").contains("something else"));
    assert!(
        with("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----").contains("neither RSA nor P-256")
    );
}
