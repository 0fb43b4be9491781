//! Places on servers: HTTP and S3.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{ObjectStoreExt, PutPayload, RetryConfig};

use super::{Proxies, S3};

/// How long reaching a server may take.
pub(super) const CONNECT: Duration = Duration::from_secs(10);
/// A server that takes less than so many bytes a second is given up, and tried again.
const SLOWEST: u64 = 64 * 1024;
/// How long S3 is tried again within one attempt.
const S3_RETRY: Duration = Duration::from_secs(20);

/// Where a file goes: an URI of the scheme http, https or s3. Shown without user, password and query, which may be secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub(in super::super) struct Place {
    uri: String,
    /// It is a tenant's, who reaches less than the operator.
    tenants: bool,
}

impl Place {
    /// From a URI; `None`: it is of another scheme, or names no server.
    pub(in super::super) fn parse(uri: &str) -> Option<Place> {
        let (scheme, rest) = uri.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest
            .split('/')
            .next()
            .filter(|a| !a.is_empty() && !a.ends_with('@'))?;
        let known = ["http", "https", "s3"].contains(&scheme.as_str());
        // A bucket has no user.
        let sound = scheme != "s3" || !authority.contains('@');
        (known && sound).then(|| Place {
            uri: format!("{scheme}://{rest}"),
            tenants: false,
        })
    }

    /// The same, on a tenant's behalf or not.
    pub(in super::super) fn of(self, tenants: bool) -> Place {
        Place { tenants, ..self }
    }

    /// Whether it is a tenant's.
    pub(super) fn is_a_tenants(&self) -> bool {
        self.tenants
    }

    /// The URI with all that is secret.
    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    /// Bucket and key, if it is of S3.
    fn bucket(&self) -> Option<(&str, &str)> {
        self.uri.strip_prefix("s3://")?.split_once('/')
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.uri.split_once("://").unwrap_or_default();
        let is_s3 = scheme == "s3";
        let rest = if is_s3 {
            rest
        } else {
            rest.split(['?', '#']).next().unwrap_or_default()
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(f, "{scheme}://{host}/{path}")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

/// Why something could not be stored, without secrets.
pub(super) type Failure = String;

/// What speaks HTTP, on whose behalf.
pub(super) struct Clients {
    operators: reqwest::Client,
    tenants: reqwest::Client,
}

impl Clients {
    pub(super) fn new(proxies: &Proxies) -> Result<Clients, reqwest::Error> {
        let client = |proxy: &Option<String>| {
            let mut client = reqwest::Client::builder().connect_timeout(CONNECT);
            if let Some(proxy) = proxy {
                client = client.proxy(reqwest::Proxy::all(proxy)?);
            }
            client.build()
        };
        Ok(Clients {
            operators: client(&proxies.operators)?,
            tenants: client(&proxies.tenants)?,
        })
    }

    fn of(&self, place: &Place) -> &reqwest::Client {
        match place.is_a_tenants() {
            true => &self.tenants,
            false => &self.operators,
        }
    }
}

/// The server of a place.
pub(super) enum Store {
    /// One request for all of a file.
    Http(Http),
    /// Parts, while the file grows.
    S3(Bucket),
    /// It can't be used at all.
    Unusable(Failure),
}

/// HTTP, by PUT.
pub(super) struct Http {
    client: reqwest::Client,
    uri: String,
}

/// A bucket of S3.
pub(super) struct Bucket {
    s3: Arc<AmazonS3>,
    key: object_store::path::Path,
}

impl Store {
    pub(super) fn new(place: &Place, clients: &Clients, proxy: Option<&String>, s3: &S3) -> Store {
        let Some((bucket, key)) = place.bucket() else {
            return Store::Http(Http {
                client: clients.of(place).clone(),
                uri: place.uri().to_owned(),
            });
        };
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
        if let Some(proxy) = proxy {
            builder = builder.with_proxy_url(proxy);
        }
        if let Some(endpoint) = &s3.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(region) = &s3.region {
            builder = builder.with_region(region);
        }
        if let Some(id) = &s3.access_key_id {
            builder = builder.with_access_key_id(id);
        }
        if let Some(key) = &s3.secret_access_key {
            builder = builder.with_secret_access_key(key);
        }
        // Whoever names such a service wants it.
        let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
        builder = builder.with_allow_http(endpoint.is_some_and(|e| e.starts_with("http://")));
        let retry = RetryConfig {
            max_retries: 3,
            retry_timeout: S3_RETRY,
            ..RetryConfig::default()
        };
        match (
            builder.with_retry(retry).build(),
            object_store::path::Path::parse(key),
        ) {
            (Ok(s3), Ok(key)) => Store::S3(Bucket {
                s3: Arc::new(s3),
                key,
            }),
            (Err(error), _) => Store::Unusable(error.to_string()),
            (_, Err(error)) => Store::Unusable(error.to_string()),
        }
    }
}

impl Http {
    /// Sends a whole file.
    pub(super) async fn put(&self, file: &Path) -> Result<u64, Failure> {
        let open = tokio::fs::File::open(file).await.map_err(|e| e.to_string())?;
        let size = open.metadata().await.map_err(|e| e.to_string())?.len();
        if size == 0 {
            return Ok(0);
        }
        let request = self
            .client
            .put(&self.uri)
            .header("content-length", size)
            .header("content-type", "application/octet-stream")
            .timeout(Duration::from_secs(60 + size / SLOWEST))
            .body(open);
        // Without the URI, which may hold a password.
        let failed = |error: reqwest::Error| plain(&error.without_url());
        let answer = request.send().await.map_err(failed)?;
        if answer.status().is_success() {
            Ok(size)
        } else {
            Err(format!("the server answered {}", answer.status()))
        }
    }
}

impl Bucket {
    /// Sends all of a file that is small.
    pub(super) async fn put(&self, bytes: Vec<u8>) -> Result<(), Failure> {
        let put = self.s3.put(&self.key, PutPayload::from(bytes)).await;
        put.map(drop).map_err(|e| plain(&e))
    }

    /// Begins to send a file in parts.
    pub(super) async fn begin(&self) -> Result<String, Failure> {
        self.s3.create_multipart(&self.key).await.map_err(|e| plain(&e))
    }

    /// Sends a part; in any order, and again if it has changed.
    pub(super) async fn part(
        &self,
        upload: &String,
        index: usize,
        bytes: Vec<u8>,
    ) -> Result<PartId, Failure> {
        let sent = self
            .s3
            .put_part(&self.key, upload, index, PutPayload::from(bytes))
            .await;
        sent.map_err(|e| plain(&e))
    }

    /// Makes parts a file.
    pub(super) async fn complete(&self, upload: &String, parts: Vec<PartId>) -> Result<(), Failure> {
        let done = self.s3.complete_multipart(&self.key, upload, parts).await;
        done.map(drop).map_err(|e| plain(&e))
    }

    /// Gives up what was sent in parts.
    pub(super) async fn abort(&self, upload: &String) {
        if let Err(error) = self.s3.abort_multipart(&self.key, upload).await {
            tracing::debug!(%error, "parts of a recording are left in its bucket");
        }
    }
}

/// An error with its causes, on one line.
fn plain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    protocol::error::clip(&text.replace('\n', " ")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_without_secrets() {
        for (uri, shown) in [
            (
                "https://me:secret@host:8443/a/b.mp4?sig=secret",
                "https://host:8443/a/b.mp4",
            ),
            ("HTTP://host/a", "http://host/a"),
            ("s3://bucket/a/b?.mp4", "s3://bucket/a/b?.mp4"),
        ] {
            let place = Place::parse(uri).expect(uri);
            assert_eq!(place.to_string(), shown);
            assert!(!format!("{place:?}").contains("secret"));
        }
        for uri in [
            "ftp://host/a",
            "s3:///key",
            "s3://me@bucket/a",
            "/tmp/a",
            "http://me@/a",
        ] {
            assert_eq!(Place::parse(uri), None, "{uri}");
        }
    }
}
