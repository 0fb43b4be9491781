//! What the server opens on somebody's behalf: files beneath some directories, hosts at some addresses.
//!
//! Names are looked up and connected to in one place, the [`gateway`], so that a name can't mean one address when it is checked and another
//! when it is used, and a server can't redirect to where its client may not go.

mod gateway;

use std::net::{IpAddr, SocketAddr};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ipnet::IpNet;
use protocol::error::clip;
use protocol::{Code, Error};

use crate::tenant::Tenant;

/// What may be reached. By default everything.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Directories that files have to lie in; none: everywhere. `{tenant}` in them stands for the tenant's name.
    pub roots: Option<Vec<PathBuf>>,
    /// Addresses that may be reached, whatever `deny` says.
    pub allow: Vec<IpNet>,
    /// Addresses that may not be reached.
    pub deny: Vec<IpNet>,
    /// What the configuration calls `roots` and `deny`, for errors.
    pub keys: [&'static str; 2],
}

/// What may be reached on somebody's behalf. By default everything.
#[derive(Clone)]
pub struct Reach {
    tenant: Tenant,
    rules: Arc<Rules>,
    /// Where the gateway listens, once it does.
    gateway: Arc<OnceLock<SocketAddr>>,
}

impl Default for Reach {
    fn default() -> Reach {
        Reach::new(Rules::default())
    }
}

impl Reach {
    /// With these rules.
    pub fn new(rules: Rules) -> Reach {
        Reach {
            tenant: Tenant::Operator,
            rules: Arc::new(rules),
            gateway: Arc::default(),
        }
    }

    /// The same for a tenant.
    pub(crate) fn of(&self, tenant: &Tenant) -> Reach {
        Reach {
            tenant: tenant.clone(),
            ..self.clone()
        }
    }

    /// Whether it is a tenant's.
    pub fn is_a_tenants(&self) -> bool {
        self.tenant != Tenant::Operator
    }

    /// The file at an absolute path, with links followed as far as it exists. Error 40107 if it lies outside of the roots; whether it is
    /// there is not told.
    pub fn file(&self, path: &Path) -> Result<PathBuf, Error> {
        let Some(roots) = &self.rules.roots else {
            return Ok(path.to_owned());
        };
        let real = real_path(path);
        let name = self.tenant.name().unwrap_or_default();
        let within = |root: &PathBuf| {
            let root = PathBuf::from(root.to_string_lossy().replace("{tenant}", name));
            real.as_ref()
                .is_some_and(|real| real_path(&root).is_some_and(|root| real.starts_with(root)))
        };
        match real.as_ref().filter(|_| roots.iter().any(within)) {
            Some(real) => Ok(real.clone()),
            None => {
                let (shown, key) = (path.to_string_lossy(), self.rules.keys[0]);
                let message = format!(
                    "The file '{}' lies outside of the directories of {key}",
                    clip(&shown)
                );
                Err(Error::new(Code::IllegalParam, message))
            }
        }
    }

    /// Whether addresses are asked about at all.
    pub fn is_limited(&self) -> bool {
        !self.rules.deny.is_empty()
    }

    /// Whether an address may be reached.
    pub fn allows(&self, address: IpAddr) -> bool {
        // ::ffff:127.0.0.1 is 127.0.0.1.
        let address = address.to_canonical();
        let holds = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        holds(&self.rules.allow) || !holds(&self.rules.deny)
    }

    /// What to say of a host that may not be reached.
    pub fn denial(&self, host: &str) -> String {
        format!("{} may not be reached: see {}", clip(host), self.rules.keys[1])
    }

    /// The addresses of a host that may be reached. The error says why there are none.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|e| format!("{} is not found: {e}", clip(host)))?
            .collect();
        let allowed: Vec<SocketAddr> = found.iter().copied().filter(|a| self.allows(a.ip())).collect();
        match (found.first(), allowed.is_empty()) {
            (Some(_), true) => Err(self.denial(host)),
            (None, _) => Err(format!("{} has no address", clip(host))),
            _ => Ok(allowed),
        }
    }

    /// Where HTTP has to go through, `http://127.0.0.1:port`, if addresses are asked about: a proxy of this server's own, which connects to
    /// what may be reached.
    pub fn proxy(&self) -> Option<String> {
        // Without the gateway nothing is reached: no host is called so.
        let closed = || "http://gateway-not-open.invalid".to_owned();
        self.is_limited().then(|| {
            self.gateway
                .get()
                .map_or_else(closed, |address| format!("http://{address}"))
        })
    }

    /// Opens the gateway, if addresses are asked about. Call it once, in the runtime it is to run in.
    pub async fn open_gateway(&self) -> std::io::Result<()> {
        if self.is_limited() {
            let address = gateway::open(self.clone()).await?;
            let _once = self.gateway.set(address);
        }
        Ok(())
    }
}

/// An absolute path without links, as far as it exists; none if it isn't absolute, or what doesn't exist goes up again.
fn real_path(path: &Path) -> Option<PathBuf> {
    if !path.is_absolute() {
        return None;
    }
    for (depth, existing) in path.ancestors().enumerate() {
        if let Ok(real) = existing.canonicalize() {
            let rest: Vec<Component> = path.components().rev().take(depth).collect();
            let plain = rest.iter().all(|part| matches!(part, Component::Normal(_)));
            return plain.then(|| rest.iter().rev().fold(real, |path, part| path.join(part)));
        }
        // A link that leads nowhere yet would be followed once it does.
        if existing.is_symlink() {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests;
