//! The certificate that clients see, which is read again when it changes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// The files of a certificate.
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) private_key: PathBuf,
}

impl Files {
    /// Reads them. The error names the files.
    pub(crate) fn load(&self) -> Result<RustlsConfig, String> {
        // Two cryptography libraries are linked in by what we use, so rustls must be told which.
        let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
        self.read().map(RustlsConfig::from_config)
    }

    fn read(&self) -> Result<Arc<ServerConfig>, String> {
        let explain = |error: &dyn std::fmt::Display| self.explain(error);
        let certificates = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|e| explain(&e))?;
        let key = PrivateKeyDer::from_pem_file(&self.private_key).map_err(|e| explain(&e))?;
        let config = ServerConfig::builder().with_no_client_auth();
        let mut config = config
            .with_single_cert(certificates, key)
            .map_err(|e| explain(&e))?;
        // What is spoken, and no more: websockets begin in HTTP/1.1.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn explain(&self, error: &dyn std::fmt::Display) -> String {
        format!(
            "server.tls_certificate ({}) and server.tls_private_key ({}) can't be used: {error}",
            self.certificate.display(),
            self.private_key.display()
        )
    }

    /// Reads them again when they change or SIGHUP comes, for as long as the daemon runs.
    pub(crate) async fn watch(self, tls: RustlsConfig) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return tracing::error!("SIGHUP can't be listened for: certificates are not read again");
        };
        let mut look = tokio::time::interval(LOOK);
        let mut known = self.changed_at();
        // Who renews writes two files, one after the other: they are read once both have lain still.
        let mut seen = known;
        loop {
            let asked = tokio::select! {
                _ = look.tick() => false,
                _ = hangup.recv() => true,
            };
            let now = self.changed_at();
            let still = std::mem::replace(&mut seen, now) == now;
            if !asked && (now == known || !still) {
                continue;
            }
            known = now;
            match self.read() {
                Ok(config) => {
                    tls.reload_from_config(config);
                    tracing::info!(certificate = %self.certificate.display(), "the certificate was read again")
                }
                Err(error) => tracing::error!("{error}; the one before stays"),
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let at = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        [at(&self.certificate), at(&self.private_key)]
    }
}
