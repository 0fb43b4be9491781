//! Where clients reach this server over HTTP.

use std::net::{IpAddr, SocketAddr};

use kms_elements::webrtc::ice::host_addresses;

use super::Config;

impl Config {
    /// What URLs of this server begin with, without a slash at the end. `listening`: where it really listens.
    pub(crate) fn public_url(&self, listening: SocketAddr) -> String {
        if let Some(url) = &self.uploads.public_url {
            return url.as_str().to_owned();
        }
        let ip = match listening.ip() {
            ip if !ip.is_unspecified() => ip,
            any => self.announced(any),
        };
        let scheme = if self.server.tls_certificate.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", SocketAddr::new(ip, listening.port()))
    }

    /// For a server that listens on `any` address of this machine.
    fn announced(&self, any: IpAddr) -> IpAddr {
        let external = self.webrtc.external_ipv4.map(IpAddr::V4);
        let own = || {
            let addresses = host_addresses(&self.webrtc.gather_settings());
            // One that listens on all of IPv6 listens on IPv4 too.
            addresses.into_iter().find(|ip| ip.is_ipv4() || any.is_ipv6())
        };
        external.or_else(own).unwrap_or(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_what_clients_can_reach() {
        let mut config = Config::default();
        let url = |config: &Config, address: &str| config.public_url(address.parse().unwrap());
        assert_eq!(url(&config, "127.0.0.1:8888"), "http://127.0.0.1:8888");
        assert_eq!(url(&config, "[::1]:80"), "http://[::1]:80");
        let found = url(&config, "0.0.0.0:8888");
        assert!(found.ends_with(":8888") && !found.contains("0.0.0.0"), "{found}");
        config.webrtc.external_ipv4 = Some([198, 51, 100, 7].into());
        assert_eq!(url(&config, "0.0.0.0:8888"), "http://198.51.100.7:8888");
        assert_eq!(url(&config, "10.0.0.1:8888"), "http://10.0.0.1:8888");
    }
}
