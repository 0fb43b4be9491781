//! DTLS certificates: from the operator's files, or self-signed and made once a process, as Kurento does.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use super::api::Certificate;
use super::types::CertificateKeyType;

/// Validity of certificates made here. Peers pin the fingerprint; the dates matter to none of them.
const DAYS_VALID: u32 = 365;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file can't be read.
    #[error("certificate file {0} can't be read: {1}")]
    Read(PathBuf, std::io::Error),
    /// It does not hold what is needed.
    #[error("certificate file {0} must hold a certificate and its private key, both in PEM: {1}")]
    Content(PathBuf, ErrorStack),
    /// Making one failed.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] ErrorStack),
}

/// The certificates of a process, one a kind of key.
#[derive(Default)]
pub(super) struct Certificates {
    rsa: OnceLock<Arc<Certificate>>,
    ecdsa: OnceLock<Arc<Certificate>>,
}

impl Certificates {
    /// Takes the operator's certificates; those that are not given are made when they are first needed.
    pub(super) fn load(rsa: Option<&Path>, ecdsa: Option<&Path>) -> Result<Certificates, CertificateError> {
        let certificates = Certificates::default();
        for (path, cell) in [(rsa, &certificates.rsa), (ecdsa, &certificates.ecdsa)] {
            if let Some(path) = path {
                let _ = cell.set(Arc::new(read_pem(path)?));
            }
        }
        Ok(certificates)
    }

    /// The certificate of a kind. The first RSA one takes some 100 ms to make.
    pub(super) fn get(&self, kind: CertificateKeyType) -> Result<Arc<Certificate>, CertificateError> {
        let cell = match kind {
            CertificateKeyType::Rsa => &self.rsa,
            CertificateKeyType::Ecdsa => &self.ecdsa,
        };
        if let Some(certificate) = cell.get() {
            return Ok(certificate.clone());
        }
        let made = Arc::new(make(kind)?);
        Ok(cell.get_or_init(|| made).clone())
    }
}

fn read_pem(path: &Path) -> Result<Certificate, CertificateError> {
    let pem = std::fs::read(path).map_err(|e| CertificateError::Read(path.to_owned(), e))?;
    let content = |e| CertificateError::Content(path.to_owned(), e);
    let certificate = X509::from_pem(&pem).and_then(|c| c.to_der()).map_err(content)?;
    let private_key = PKey::private_key_from_pem(&pem)
        .and_then(|k| k.private_key_to_pkcs8())
        .map_err(content)?;
    Ok(Certificate {
        certificate,
        private_key,
    })
}

fn make(kind: CertificateKeyType) -> Result<Certificate, ErrorStack> {
    let key: PKey<Private> = match kind {
        CertificateKeyType::Rsa => PKey::from_rsa(Rsa::generate(2048)?)?,
        CertificateKeyType::Ecdsa => PKey::from_ec_key(EcKey::generate(&*EcGroup::from_curve_name(
            Nid::X9_62_PRIME256V1,
        )?)?)?,
    };
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "kms")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(128, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(DAYS_VALID)?)?;
    builder.set_pubkey(&key)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok(Certificate {
        certificate: builder.build().to_der()?,
        private_key: key.private_key_to_pkcs8()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_differs_by_kind() {
        let certificates = Certificates::load(None, None).expect("no files are given");
        let get = |kind| certificates.get(kind).expect("a certificate can be made");
        assert!(Arc::ptr_eq(
            &get(CertificateKeyType::Ecdsa),
            &get(CertificateKeyType::Ecdsa)
        ));
        assert_ne!(
            get(CertificateKeyType::Rsa).certificate,
            get(CertificateKeyType::Ecdsa).certificate
        );
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let path = std::env::temp_dir().join(format!("kms-no-certificate-{}.pem", std::process::id()));
        std::fs::write(&path, "nonsense").expect("the temporary folder can be written to");
        let error = Certificates::load(Some(&path), None)
            .err()
            .expect("it is refused")
            .to_string();
        std::fs::remove_file(&path).expect("it was just written");
        assert!(
            error.contains("kms-no-certificate") && error.contains("PEM"),
            "{error}"
        );
        assert!(Certificates::load(None, Some(Path::new("/nonexistent.pem"))).is_err());
    }
}
