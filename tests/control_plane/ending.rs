//! How the daemon ends, and how it says that it can't start.

use std::net::TcpListener;
use std::time::Duration;

use futures_util::SinkExt;
use serde_json::json;

use crate::client::{Connection, websocket};
use crate::daemon::{ConfigFile, Daemon, kms};

/// More than the three seconds clients get to close.
const IN_TIME: Duration = Duration::from_secs(5);

#[tokio::test]
async fn clients_are_told_that_the_server_goes_away() {
    let mut daemon = Daemon::start();
    let mut connections = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(&daemon).await;
        let pipeline = connection.pipeline().await;
        let endpoint = connection.element("WebRtcEndpoint", &pipeline).await;
        connection
            .invoke(&endpoint, "generateOffer", json!({}))
            .await
            .unwrap();
        connection
            .invoke(&endpoint, "gatherCandidates", json!({}))
            .await
            .unwrap();
        connections.push(connection);
    }
    daemon.terminate();
    for connection in &mut connections {
        let (code, reason) = connection.closed().await.expect("a close frame");
        assert_eq!(code, 1001);
        assert!(reason.contains("shutting down"), "{reason}");
    }
    let status = daemon.ended(IN_TIME).await;
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn a_client_that_waits_for_an_answer_is_told_too() {
    let mut daemon = Daemon::start();
    let mut waiting = Connection::open(&daemon).await;
    let minute = json!({
        "object": "manager_ServerManager", "operation": "getUsedCpu", "operationParams": {"interval": 60_000},
    });
    waiting.feed("invoke", minute).await;
    waiting.socket.flush().await.unwrap();
    // Answered on another connection: the request above has begun.
    Connection::open(&daemon).await;
    daemon.terminate();
    let (code, _) = waiting.closed().await.expect("a close frame");
    assert_eq!(code, 1001);
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0));
}

/// A client with so many answers to read that the server can't tell it anything more.
async fn deaf_client(daemon: &Daemon) -> Connection {
    let mut deaf = Connection::open(daemon).await;
    let get_kmd = json!({
        "object": "manager_ServerManager", "operation": "getKmd", "operationParams": {"moduleName": "core"},
    });
    // The sockets' buffers take some 3 MB; with the queue's bound of 64 MiB the connection stays.
    for _ in 0..400 {
        deaf.feed("invoke", get_kmd.clone()).await;
    }
    deaf.socket.flush().await.unwrap();
    deaf
}

#[tokio::test]
async fn neither_a_client_that_does_not_read_nor_a_second_sigterm_changes_the_end() {
    let mut daemon = Daemon::with_config("[server]\nevent_queue_bytes = 67108864\n");
    let _deaf = deaf_client(&daemon).await;
    let _silent = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let mut reading = Connection::open(&daemon).await;
    daemon.terminate();
    assert_eq!(reading.closed().await.expect("a close frame").0, 1001);
    daemon.terminate();
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0));
    daemon.logged("kms::serve: ended").await;
}

#[tokio::test]
async fn nobody_gets_in_after_the_end_began() {
    let mut daemon = Daemon::start();
    daemon.terminate();
    daemon.ended(IN_TIME).await;
    assert!(tokio::net::TcpStream::connect(daemon.address).await.is_err());
}

#[test]
fn a_port_in_use_is_explained() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = kms().args(["--listen", &address]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&address) && said.contains("Choose another with --listen"),
        "{said}"
    );
}

#[test]
fn an_unusable_configuration_is_refused_with_its_place() {
    let cases = [
        (
            "[server]\n\nlisten_on = \"127.0.0.1:1\"\n",
            ":3: unknown key `listen_on` in [server]; known keys: listen,",
        ),
        (
            "\n[srever]\n",
            ":2: unknown section [srever]; known sections: [server],",
        ),
        ("[server]\npath = 7\n", ":2: [server] path: "),
        ("[server]\nlisten = \n", ":2: "),
        ("[webrtc]\nmin_port = 70000\n", ":2: [webrtc] min_port: "),
    ];
    for (toml, expected) in cases {
        let file = ConfigFile::new(toml);
        let output = kms().arg("--config").arg(&file.0).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{toml}: {said}");
        assert!(
            said.contains(&format!("{}{expected}", file.0.display())),
            "{toml}: {said}"
        );
    }
}

#[tokio::test]
async fn the_configured_path_is_the_only_one() {
    let daemon = Daemon::with_config("[server]\npath = \"/other\"\n");
    let refused = websocket(&daemon).await.unwrap_err();
    assert!(refused.to_string().contains("404"), "{refused}");
}
