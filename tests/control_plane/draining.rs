//! Ending without ending what runs, and telling systemd how it goes.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Connection, code};
use crate::daemon::Daemon;
use crate::tokens::{OPERATOR, token};

const MANAGER: &str = "manager_ServerManager";
const IN_TIME: Duration = Duration::from_secs(5);

/// That the daemon drains: what runs may be worked on, and nothing new begins.
async fn drains(daemon: &Daemon, connection: &mut Connection, pipeline: &str) {
    daemon.logged("draining: no new pipelines").await;
    let refused = connection
        .request("create", json!({"type": "MediaPipeline"}))
        .await
        .unwrap_err();
    assert_eq!(refused.code, 40009);
    assert!(refused.message.contains("draining"), "{refused}");
    connection.element("WebRtcEndpoint", pipeline).await;
    let (status, why) = daemon.get("/readyz", "").await;
    assert_eq!(status, 503);
    assert!(why.contains("draining"), "{why}");
    assert_eq!(daemon.get("/healthz", "").await.0, 200);
    // Who has lost its connection comes back to what it had.
    let mut back = Connection::resume(daemon, &connection.session).await;
    assert!(back.exists(pipeline).await);
}

#[tokio::test]
async fn pipelines_that_run_end_by_themselves() {
    let mut daemon = Daemon::with_config("[server]\ndrain_s = 60\n");
    let mut connection = Connection::open(&daemon).await;
    let pipeline = connection.pipeline().await;
    daemon.terminate();
    drains(&daemon, &mut connection, &pipeline).await;
    let begun = Instant::now();
    connection
        .request("release", json!({"object": pipeline}))
        .await
        .unwrap();
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0), "{}", daemon.log());
    assert!(begun.elapsed() < IN_TIME);
}

#[tokio::test]
async fn after_the_time_or_when_told_again_it_ends() {
    for (seconds, again) in [(2, false), (60, true)] {
        let mut daemon = Daemon::with_config(&format!("[server]\ndrain_s = {seconds}\n"));
        let mut connection = Connection::open(&daemon).await;
        let pipeline = connection.pipeline().await;
        daemon.terminate();
        drains(&daemon, &mut connection, &pipeline).await;
        if again {
            daemon.terminate();
        }
        assert_eq!(connection.closed().await.unwrap().0, 1001);
        assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0), "{}", daemon.log());
        assert!(daemon.log().contains("pipelines that run still are ended"));
    }
}

#[tokio::test]
async fn the_operator_may_call_for_it() {
    let mut daemon = crate::tokens::daemon("");
    let mut acme = Connection::with_token(&daemon, &token("acme", 3600)).await;
    let mut operator = Connection::with_token(&daemon, OPERATOR).await;
    let pipeline = acme.pipeline().await;
    let refused = acme.invoke(MANAGER, "drain", json!({"timeout": 0})).await;
    assert_eq!(code(refused), 40111);
    operator
        .invoke(MANAGER, "drain", json!({"timeout": 60}))
        .await
        .unwrap();
    daemon.logged("draining: no new pipelines").await;
    assert_eq!(
        code(acme.request("create", json!({"type": "MediaPipeline"})).await),
        40009
    );
    acme.request("release", json!({"object": pipeline}))
        .await
        .unwrap();
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0), "{}", daemon.log());
}

#[tokio::test]
async fn systemd_is_told() {
    let path = std::env::temp_dir().join(format!("kms-notify-{}", std::process::id()));
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let variables = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "600000"),
    ];
    let mut daemon = Daemon::with_variables(&variables, "");
    let next = || {
        let mut buffer = [0; 1024];
        let length = socket.recv(&mut buffer).expect("something is told");
        String::from_utf8_lossy(&buffer[..length]).trim().to_owned()
    };
    let mut told = Vec::new();
    while told.iter().filter(|said| *said == "WATCHDOG=1").count() < 4 {
        told.push(next());
    }
    assert!(told.contains(&"READY=1".to_owned()), "{told:?}");
    daemon.terminate();
    let mut last = next();
    while last == "WATCHDOG=1" {
        last = next();
    }
    assert!(last.starts_with("STOPPING=1"), "{last}");
    assert_eq!(daemon.ended(IN_TIME).await.code(), Some(0));
    std::fs::remove_file(path).unwrap();
}
