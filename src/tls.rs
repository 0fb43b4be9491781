//! The certificate that clients see, which is read again when it changes.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;
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
    pub(crate) async fn load(&self) -> Result<RustlsConfig, String> {
        // Two cryptography libraries are linked in by what we use, so rustls must be told which.
        let _already = rustls::crypto::aws_lc_rs::default_provider().install_default();
        RustlsConfig::from_pem_file(&self.certificate, &self.private_key)
            .await
            .map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &std::io::Error) -> String {
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
            match tls
                .reload_from_pem_file(&self.certificate, &self.private_key)
                .await
            {
                Ok(()) => {
                    tracing::info!(certificate = %self.certificate.display(), "the certificate was read again")
                }
                Err(error) => tracing::error!("{}; the one before stays", self.explain(&error)),
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        let at = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        [at(&self.certificate), at(&self.private_key)]
    }
}
