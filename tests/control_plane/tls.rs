//! wss, and a certificate that changes while clients are connected.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslStream};
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::daemon::{ConfigFile, Daemon, kms};

/// A directory that is removed with this value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("kms-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a certificate for localhost that vouches for itself, and its key.
fn write_certificate(directory: &Path) -> X509 {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key: PKey<Private> = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    certificate
        .set_not_after(&Asn1Time::days_from_now(2).unwrap())
        .unwrap();
    let names = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&certificate.x509v3_context(None, None))
        .unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = certificate.build();
    std::fs::write(directory.join("key.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    std::fs::write(directory.join("certificate.pem"), certificate.to_pem().unwrap()).unwrap();
    certificate
}

/// Connects to the daemon, if its certificate is this one.
fn connect(daemon: &Daemon, trusted: &X509) -> Option<SslStream<TcpStream>> {
    let mut connector = SslConnector::builder(SslMethod::tls()).unwrap();
    connector.cert_store_mut().add_cert(trusted.clone()).unwrap();
    let stream = TcpStream::connect(daemon.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    connector.build().connect("localhost", stream).ok()
}

fn ping(socket: &mut WebSocket<SslStream<TcpStream>>) {
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {}});
    socket.send(Message::text(ping.to_string())).unwrap();
    let answer: Value = serde_json::from_str(socket.read().unwrap().to_text().unwrap()).unwrap();
    assert_eq!(answer["result"]["value"], "pong");
}

fn config(directory: &Path) -> String {
    format!(
        "[server]\ntls_certificate = \"{0}/certificate.pem\"\ntls_private_key = \"{0}/key.pem\"\n",
        directory.display()
    )
}

#[test]
fn a_new_certificate_is_taken_without_a_restart() {
    let directory = Directory::new("tls");
    let first = write_certificate(&directory.0);
    let daemon = Daemon::with_config(&config(&directory.0));
    assert!(daemon.log().contains("listening on wss://"));
    let stream = connect(&daemon, &first).expect("the certificate");
    let (mut socket, _) = tungstenite::client("wss://localhost/kurento", stream).unwrap();
    ping(&mut socket);
    let mut http = connect(&daemon, &first).expect("the certificate");
    http.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"),
        "{answer}"
    );

    let second = write_certificate(&directory.0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while connect(&daemon, &second).is_none() {
        assert!(Instant::now() < deadline, "the new certificate is not taken");
        std::thread::park_timeout(Duration::from_millis(200));
    }
    assert!(connect(&daemon, &first).is_none(), "the old one is gone");
    ping(&mut socket);

    // What can't be used is said, and the one before stays.
    std::fs::write(directory.0.join("certificate.pem"), "nonsense").unwrap();
    daemon.hang_up();
    while !daemon.log().contains("can't be used") {
        assert!(Instant::now() < deadline + Duration::from_secs(20));
        std::thread::park_timeout(Duration::from_millis(100));
    }
    assert!(connect(&daemon, &second).is_some());
    // Who speaks no TLS is answered nothing, and who says nothing holds nobody up.
    let _silent = TcpStream::connect(daemon.address).unwrap();
    let mut plain = TcpStream::connect(daemon.address).unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    assert!(connect(&daemon, &second).is_some());
    ping(&mut socket);
}

#[test]
fn a_certificate_that_cannot_be_used_keeps_the_daemon_from_starting() {
    let directory = Directory::new("no-tls");
    let config = ConfigFile::new(&config(&directory.0));
    let output = kms().arg("--config").arg(&config.0).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        said.contains("server.tls_certificate") && said.contains("No such file"),
        "{said}"
    );
}
