//! How the daemon ends, and how it says that it can't start.

use std::net::TcpListener;
use std::time::Duration;

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
async fn clients_that_do_not_read_or_wait_for_an_answer_do_not_delay_the_end() {
    let mut daemon = Daemon::start();
    let mut waiting = Connection::open(&daemon).await;
    let minute = json!({
        "object": "manager_ServerManager", "operation": "getUsedCpu", "operationParams": {"interval": 60_000},
    });
    let request = json!({"jsonrpc": "2.0", "id": 9, "method": "invoke", "params": minute});
    waiting.send(request.to_string()).await;
    let _deaf = Connection::open(&daemon).await;
    let _silent = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    daemon.terminate();
    let (code, _) = waiting.closed().await.expect("a close frame");
    assert_eq!(code, 1001);
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0));
}

#[tokio::test]
async fn a_second_sigterm_changes_nothing() {
    let mut daemon = Daemon::start();
    // A TCP connection without a request keeps the server waiting for as long as it is willing to.
    let _silent = tokio::net::TcpStream::connect(daemon.address).await.unwrap();
    let _connection = Connection::open(&daemon).await;
    daemon.terminate();
    daemon.terminate();
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0));
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
