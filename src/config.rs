//! The daemon's configuration: one documented struct, read from a TOML file and the environment.
//!
//! Each key is written once, in [`schema`]: its doc, type, default, range and environment variables. From that one
//! table come the struct, the reader with its error messages, what `kms config` prints and `docs/configuration.md`.
//!
//! What wins, weakest first: the default, the file, the variable of Kurento's Docker image (`KMS_MIN_PORT`), the
//! variable named after section and key (`KMS_WEBRTC_MIN_PORT`), the command line.

mod engine;
mod entering;
mod printed;
mod public_url;
#[cfg(test)]
mod reference;
mod schema;
mod setting;
mod turn_url;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::{DeTable, DeValue};

pub(crate) use schema::{Config, Filters, Recorder, WebRtc};
use schema::{Key, SECTIONS, Section};
pub(crate) use setting::LogFormat;

/// Why the configuration was refused. The text names the place (file and line, or variable) and what is allowed there.
/// It never holds the value of a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The file can't be read.
    #[error("{file}: {source}")]
    Read {
        /// The file, as given on the command line.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something at one place is wrong: syntax, an unknown key, a value.
    #[error("{place}: {message}")]
    At {
        /// `kms.toml:7`, or `environment variable KMS_MTU`.
        place: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// Values that are fine alone contradict each other.
    #[error("{0}")]
    Conflict(String),
}

impl Config {
    /// Reads the file, if there is one, and then the environment's `KMS_*` variables over it, and the command line's address over both.
    ///
    /// An empty variable counts as not set, as in Kurento's Docker image. Variables that name no key are left alone
    /// (Kubernetes sets `KMS_PORT` and the like for a service called `kms`): see [`unknown_variables`].
    pub(crate) fn load(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
        listen: Option<SocketAddr>,
    ) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        if let Some(path) = file {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
                file: name.clone(),
                source,
            })?;
            config.read_toml(&name, &text)?;
        }
        config.read_environment(environment)?;
        config.server.listen = listen.unwrap_or(config.server.listen);
        config.check()?;
        Ok(config)
    }

    fn read_toml(&mut self, file: &str, text: &str) -> Result<(), ConfigError> {
        let at = |offset: usize, message: String| ConfigError::At {
            place: format!("{file}:{}", line_of(text, offset)),
            message,
        };
        // Only the error's own sentence: its full text would quote the line, and with it a password.
        let document = DeTable::parse(text)
            .map_err(|e| at(e.span().map_or(0, |span| span.start), e.message().to_owned()))?;
        for (section_name, table) in document.get_ref() {
            let offset = section_name.span().start;
            let DeValue::Table(keys) = table.get_ref() else {
                let message = format!(
                    "unknown key `{}` outside of a section; {}",
                    section_name.get_ref(),
                    sections()
                );
                return Err(at(offset, message));
            };
            let section = SECTIONS
                .iter()
                .find(|section| section.name == section_name.get_ref())
                .ok_or_else(|| {
                    at(
                        offset,
                        format!("unknown section [{}]; {}", section_name.get_ref(), sections()),
                    )
                })?;
            for (name, value) in keys {
                let key = section.key(name.get_ref()).ok_or_else(|| {
                    let known = section
                        .keys
                        .iter()
                        .map(|key| key.name)
                        .collect::<Vec<_>>()
                        .join(", ");
                    let message = format!(
                        "unknown key `{}` in [{}]; known keys: {known}",
                        name.get_ref(),
                        section.name
                    );
                    at(name.span().start, message)
                })?;
                (key.set_toml)(self, value.get_ref()).map_err(|message| {
                    at(
                        value.span().start,
                        format!("[{}] {}: {message}", section.name, key.name),
                    )
                })?;
            }
        }
        Ok(())
    }

    fn read_environment(
        &mut self,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let variables: BTreeMap<String, String> = environment
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        for (section, key) in keys() {
            // Weakest first, so that the strongest has the last word; each must be valid.
            for variable in key.variables(section).iter().rev() {
                let Some(value) = variables.get(variable) else {
                    continue;
                };
                (key.set_text)(self, value).map_err(|message| ConfigError::At {
                    place: format!("environment variable {variable}"),
                    message,
                })?;
            }
        }
        Ok(())
    }

    /// The checks that need more than one value.
    fn check(&self) -> Result<(), ConfigError> {
        let WebRtc {
            min_port,
            max_port,
            shared_port,
            ice_tcp,
            ice_tcp_port,
            ..
        } = self.webrtc;
        let conflict = |text: String| Err(ConfigError::Conflict(text));
        if self.is_open_to_others() && !self.access.allow_anonymous {
            let listen = self.server.listen;
            return conflict(format!(
                "server.listen ({listen}) can be reached from other machines, and nobody is asked for a token: set access.tokens (make one with \
                 `openssl rand -hex 32`), access.jwt_secret or access.jwt_public_keys; or access.allow_anonymous = true if something else \
                 guards this address"
            ));
        }
        if self.server.tls_certificate.is_some() != self.server.tls_private_key.is_some() {
            return conflict("server.tls_certificate and server.tls_private_key need each other".into());
        }
        if max_port != 0 && min_port > max_port {
            return conflict(format!(
                "webrtc.min_port ({min_port}) is above webrtc.max_port ({max_port})"
            ));
        }
        if shared_port != 0 {
            if min_port != 0 || max_port != 0 {
                return conflict(format!(
                    "webrtc.shared_port ({shared_port}) puts all endpoints on one port: leave webrtc.min_port and webrtc.max_port at 0"
                ));
            }
            let last = usize::from(shared_port) + self.webrtc.worker_count() - 1;
            if last > usize::from(u16::MAX) {
                return conflict(format!(
                    "webrtc.shared_port ({shared_port}) needs one port for each of {} workers, and {last} is above 65535",
                    self.webrtc.worker_count()
                ));
            }
        }
        if ice_tcp && ice_tcp_port != 0 && ice_tcp_port == self.server.listen.port() {
            return conflict(format!(
                "webrtc.ice_tcp_port ({ice_tcp_port}) is the port of server.listen"
            ));
        }
        Ok(())
    }
}

impl Config {
    /// Whether everybody on a network may enter.
    pub(crate) fn is_open_to_others(&self) -> bool {
        let access = &self.access;
        let asks =
            !access.tokens.0.is_empty() || access.jwt_secret.is_some() || access.jwt_public_keys.is_some();
        !asks && !self.server.listen.ip().is_loopback()
    }
}

/// The process's variables, without those that aren't Unicode (`std::env::vars` would panic on them).
pub(crate) fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// Variables that look like ours, by their section (`KMS_WEBRTC_MINPORT`), but name no key: worth a warning in the log.
pub(crate) fn unknown_variables(environment: impl IntoIterator<Item = (String, String)>) -> Vec<String> {
    let known: Vec<String> = keys().flat_map(|(section, key)| key.variables(section)).collect();
    environment
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| {
            SECTIONS
                .iter()
                .any(|section| name.starts_with(&section.variable_prefix()))
        })
        .filter(|name| !known.contains(name))
        .collect()
}

/// Every key with its section, in the order of the schema.
fn keys() -> impl Iterator<Item = (&'static Section, &'static Key)> {
    SECTIONS
        .iter()
        .flat_map(|section| section.keys.iter().map(move |key| (section, key)))
}

fn sections() -> String {
    let names: Vec<String> = SECTIONS
        .iter()
        .map(|section| format!("[{}]", section.name))
        .collect();
    format!("known sections: {}", names.join(", "))
}

/// The line, counted from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
