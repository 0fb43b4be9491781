use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tenant::TenantName;

fn acme() -> Tenant {
    Tenant::Named(TenantName::new("acme").unwrap())
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn files_lie_beneath_the_roots_whatever_links_say() {
    let top = std::env::temp_dir().join(format!("kms-reach-{}", std::process::id()));
    let own = top.join("tenants/acme");
    for directory in [&own, &top.join("tenants/other"), &top.join("tenants/acme-2")] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("film.webm"), "x").unwrap();
    }
    std::os::unix::fs::symlink(top.join("tenants/other"), own.join("out")).unwrap();
    std::os::unix::fs::symlink(top.join("nowhere-yet"), own.join("later")).unwrap();
    std::os::unix::fs::symlink(own.join("film.webm"), own.join("in")).unwrap();
    let reach = Reach::new(Rules {
        roots: Some(vec![top.join("tenants/{tenant}")]),
        keys: ["files.tenant_roots", ""],
        ..Rules::default()
    })
    .of(&acme());
    let real = own.canonicalize().unwrap();
    for (path, found) in [
        ("film.webm", "film.webm"),
        ("in", "film.webm"),
        ("new/one.mp4", "new/one.mp4"),
        ("new.mp4", "new.mp4"),
        ("../acme/film.webm", "film.webm"),
    ] {
        assert_eq!(reach.file(&own.join(path)).unwrap(), real.join(found), "{path}");
    }
    for path in [
        "out/film.webm",
        "out/new.webm",
        "later",
        "../other/film.webm",
        "../acme-2/film.webm",
        "new/../../other/film.webm",
        "../../../../../../../etc/passwd",
        "/etc/passwd",
        "/etc/no-such-file",
    ] {
        let refused = reach.file(&own.join(path)).unwrap_err();
        assert_eq!(refused.code, Code::IllegalParam);
        assert!(refused.message.contains("files.tenant_roots"), "{refused}");
    }
    assert!(reach.file(Path::new("film.webm")).is_err(), "not absolute");
    std::fs::remove_dir_all(top).unwrap();
}

#[test]
fn addresses_are_denied_in_whatever_form_and_allowed_by_exception() {
    let reach = Reach::new(Rules {
        deny: nets(&["127.0.0.0/8", "::1/128", "169.254.0.0/16", "10.0.0.0/8"]),
        allow: nets(&["10.1.0.0/16"]),
        ..Rules::default()
    });
    for allowed in ["192.0.2.1", "10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"] {
        assert!(reach.allows(allowed.parse().unwrap()), "{allowed}");
    }
    for denied in [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "169.254.169.254",
        "10.2.0.1",
    ] {
        assert!(!reach.allows(denied.parse().unwrap()), "{denied}");
    }
    assert!(Reach::new(Rules::default()).allows("127.0.0.1".parse().unwrap()));
    assert_eq!(Reach::new(Rules::default()).proxy(), None);
    assert!(
        reach.proxy().unwrap().contains("invalid"),
        "closed until it is opened"
    );
}

/// Sends a request through the gateway to a server that answers with what it got.
async fn through(reach: &Reach, request: &str) -> String {
    let address = reach.proxy().unwrap().replace("http://", "");
    let mut gateway = TcpStream::connect(address).await.unwrap();
    gateway.write_all(request.as_bytes()).await.unwrap();
    gateway.shutdown().await.unwrap();
    let mut answer = String::new();
    gateway.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn the_gateway_connects_to_what_may_be_reached_and_nothing_else() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = server.accept().await {
            let mut got = Vec::new();
            client.read_to_end(&mut got).await.unwrap();
            client.write_all(b"got ").await.unwrap();
            client.write_all(&got).await.unwrap();
        }
    });
    let rules = |allow: &[&str]| Rules {
        allow: nets(allow),
        deny: nets(&["127.0.0.0/8", "::1/128"]),
        keys: ["", "network.tenant_deny"],
        ..Rules::default()
    };
    let (open, closed) = (Reach::new(rules(&["127.0.0.1/32"])), Reach::new(rules(&[])));
    for reach in [&open, &closed] {
        reach.open_gateway().await.unwrap();
    }
    let get = format!(
        "GET http://127.0.0.1:{port}/a HTTP/1.1\r\nHost: x\r\nProxy-Connection: Keep-Alive\r\n\r\nbody"
    );
    assert_eq!(
        through(&open, &get).await,
        "got GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nbody"
    );
    let connect = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\nhello");
    assert_eq!(
        through(&open, &connect).await,
        "HTTP/1.1 200 Connection established\r\n\r\ngot hello"
    );
    for request in [&get, &connect, &get.replace("127.0.0.1", "localhost")] {
        let answer = through(&closed, request).await;
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.contains("network.tenant_deny"),
            "{answer}"
        );
    }
    for junk in [
        "",
        "GET\r\n",
        "GET /path HTTP/1.1\r\n\r\n",
        "\u{1}\u{2}\n",
        &"x".repeat(10_000),
    ] {
        assert!(through(&open, junk).await.starts_with("HTTP/1.1 400"));
    }
}
