//! What the configuration means for who may enter, and how much they may take.

use kms::edge::Signed;
use kms_core::Reach;
use kms_core::limits::{Bound, Limits};
use kms_core::reach::Rules;

use super::schema::{Access, Server};
use super::setting::{Console, Directories, Networks};
use crate::headroom::Needs;
use crate::tls::Files;

impl Access {
    /// Whose signed tokens are taken. The error names a file that can't be read.
    pub(crate) fn signed(&self) -> Result<Signed, String> {
        let read = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|e| format!("access.jwt_public_keys ({}): {e}", path.display()))
        };
        Ok(Signed {
            secret: self.jwt_secret.as_ref().map(|secret| secret.0.clone()),
            public_keys: self.jwt_public_keys.as_ref().map(read).transpose()?,
            tenant_claim: self.jwt_tenant_claim.clone(),
            issuer: self.jwt_issuer.clone(),
            audience: self.jwt_audience.clone(),
        })
    }
}

impl Server {
    /// The files of the certificate, if there is one.
    pub(crate) fn tls_files(&self) -> Option<Files> {
        Some(Files {
            certificate: self.tls_certificate.clone()?,
            private_key: self.tls_private_key.clone()?,
        })
    }
}

impl super::Config {
    /// What may be reached on behalf of the operator, and of tenants.
    pub(crate) fn reach(&self) -> [Reach; 2] {
        let (files, network) = (&self.files, &self.network);
        let rules = |roots: Option<&Directories>, deny: &[&Networks], keys| Rules {
            roots: roots.map(|roots| roots.0.clone()),
            allow: network.allow.0.clone(),
            deny: deny.iter().flat_map(|networks| networks.0.clone()).collect(),
            keys,
        };
        let own = Some(&files.roots).filter(|roots| !roots.0.is_empty());
        [
            rules(own, &[&network.deny], ["files.roots", "network.deny"]),
            rules(
                Some(&files.tenant_roots),
                &[&network.deny, &network.tenant_deny],
                ["files.tenant_roots", "network.tenant_deny"],
            ),
        ]
        .map(Reach::new)
    }
}

impl super::Config {
    /// Whether there is the page to look at pipelines.
    pub(crate) fn has_console(&self) -> bool {
        match self.console.enabled {
            Console::Auto => self.server.listen.ip().is_loopback(),
            Console::On => true,
            Console::Off => false,
        }
    }
}

impl super::schema::Limits {
    /// What must be left of the machine.
    pub(crate) fn headroom(&self) -> Needs {
        Needs {
            files: self.min_free_files,
            memory_mib: self.min_free_memory_mib,
            cpu_percent: self.max_cpu_percent,
        }
    }

    /// What clients may take.
    pub(crate) fn of_clients(&self) -> Limits {
        Limits {
            sessions: Bound {
                all: self.sessions,
                tenant: self.sessions_per_tenant,
                session: 0,
            },
            pipelines: Bound {
                all: self.pipelines,
                tenant: self.pipelines_per_tenant,
                session: self.pipelines_per_session,
            },
            objects: Bound {
                all: self.objects,
                tenant: self.objects_per_tenant,
                session: self.objects_per_session,
            },
            subscriptions: Bound {
                all: self.subscriptions,
                tenant: self.subscriptions_per_tenant,
                session: self.subscriptions_per_session,
            },
        }
    }
}
