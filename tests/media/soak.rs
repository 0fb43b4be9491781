//! Clients that come and go, one in and one out each second, in good order and not: nothing of them is left.
//!
//! KMS_SOAK_SECONDS says for how long, 40 unless it is set; `make soak` takes an hour.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Connection;
use crate::daemon::Daemon;
use crate::files::{Folder, make, uri};
use crate::player::WEBM;

/// How long a client stays.
const STAY: Duration = Duration::from_secs(4);
/// Clients before what there is, is counted: what is made once is made by then.
const FIRST: u64 = 12;
/// What may be more at the end, KiB. Seen: 1 to 3 MiB, in a minute as in an hour; an endpoint and a recording kept for each client
/// would be 1 MiB each.
const MEMORY: u64 = 12 * 1024;

/// How a client leaves.
#[derive(Debug, Clone, Copy)]
enum Leaving {
    /// Closes its recording and its session.
    InOrder,
    /// Is gone from one moment to the next.
    Vanishes,
    /// Stops reading, then is gone.
    Stalls,
    /// Is gone, and comes back on another connection to close its session.
    ComesBack,
}

const LEAVINGS: [Leaving; 4] = [
    Leaving::InOrder,
    Leaving::Vanishes,
    Leaving::Stalls,
    Leaving::ComesBack,
];

#[tokio::test]
async fn who_comes_and_goes_leaves_nothing_behind() {
    let seconds = std::env::var("KMS_SOAK_SECONDS").ok();
    let clients: u64 = seconds.map_or(40, |text| text.parse().expect("a number of seconds"));
    let folder = Arc::new(Folder::new());
    make(&folder.path("film.webm"), 20, &WEBM);
    let offer = include_str!("../../kms-elements/testdata/chromium_recvonly_offer.sdp");
    let config = "[session]\ngarbage_collector_period_s = 5\n";
    let daemon = Arc::new(Daemon::with_config(config));
    let mut before = None;
    let mut staying = Vec::new();
    let first = FIRST.max(clients / 20);
    for number in 0..first + clients {
        if number == first {
            before = Some(at_rest(&daemon, &mut staying, None).await);
        }
        let leaving = LEAVINGS[number as usize % LEAVINGS.len()];
        let (daemon, folder) = (daemon.clone(), folder.clone());
        staying.push(tokio::spawn(async move {
            stay(&daemon, &folder, number, offer, leaving).await;
        }));
        tokio::time::sleep(Duration::from_secs(1)).await;
        staying.retain(|client| !client.is_finished());
    }
    let before = before.expect("clients");
    let (memory, _) = at_rest(&daemon, &mut staying, Some(before.1)).await;
    println!("{clients} clients: {} KiB before, {memory} KiB after", before.0);
    let more = memory.saturating_sub(before.0);
    assert!(more < MEMORY, "{more} KiB more than after the first clients");
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

/// One client: plays a film, into a file and to a browser that never answers.
async fn stay(daemon: &Daemon, folder: &Folder, number: u64, offer: &str, leaving: Leaving) {
    let mut client = Connection::open(daemon).await;
    let pipeline = client.pipeline().await;
    let film = json!({"mediaPipeline": pipeline, "uri": uri(&folder.path("film.webm"))});
    let player = client.create("PlayerEndpoint", film).await;
    // The same few files again and again.
    let file = folder.path(&format!("{}.webm", number % 16));
    let recorder = json!({"mediaPipeline": pipeline, "uri": uri(&file)});
    let recorder = client.create("RecorderEndpoint", recorder).await;
    let browser = client.element("WebRtcEndpoint", &pipeline).await;
    for (object, operation, params) in [
        (&browser, "processOffer", json!({"offer": offer})),
        (&browser, "gatherCandidates", json!({})),
        (&player, "connect", json!({"sink": recorder})),
        (&player, "connect", json!({"sink": browser})),
        (&recorder, "record", json!({})),
        (&player, "play", json!({})),
    ] {
        let done = client.invoke(object, operation, params).await;
        done.unwrap_or_else(|error| panic!("{operation} of client {number}: {error}"));
    }
    for event in ["EndOfStream", "Error"] {
        client.subscribe(&player, event).await;
    }
    match leaving {
        Leaving::Stalls => {
            for _ in 0..200 {
                client.feed("describe", json!({"object": player})).await;
            }
        }
        Leaving::InOrder | Leaving::Vanishes | Leaving::ComesBack => {}
    }
    tokio::time::sleep(STAY).await;
    match leaving {
        Leaving::InOrder => {
            client.invoke(&recorder, "stopAndWait", json!({})).await.unwrap();
            client.request("closeSession", json!({})).await.unwrap();
        }
        Leaving::Vanishes | Leaving::Stalls => {}
        Leaving::ComesBack => {
            let session = client.session.clone();
            drop(client);
            let mut back = Connection::resume(daemon, &session).await;
            assert!(back.exists(&recorder).await, "its session has what it had");
            back.request("closeSession", json!({})).await.unwrap();
        }
    }
}

/// Waits until all clients have gone and all they had has ended: memory, and threads and files.
async fn at_rest(
    daemon: &Daemon,
    staying: &mut Vec<tokio::task::JoinHandle<()>>,
    before: Option<(u64, usize)>,
) -> (u64, (u64, usize)) {
    for client in staying.drain(..) {
        client.await.unwrap();
    }
    // Of sessions that were left, and of GStreamer's idle threads.
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut watcher = Connection::open(daemon).await;
    let manager = "manager_ServerManager";
    while watcher.invoke(manager, "getPipelines", json!({})).await.unwrap() != Value::Array(Vec::new()) {
        assert!(Instant::now() < deadline, "pipelines are left");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (mut last, mut since) = ((daemon.threads(), daemon.descriptors()), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        watcher.request("ping", json!({})).await.unwrap();
        let now = (daemon.threads(), daemon.descriptors());
        if now != last {
            (last, since) = (now, Instant::now());
        }
        let enough = before.is_none_or(|before| now.0 <= before.0 + 2 && now.1 <= before.1 + 2);
        if since.elapsed() > Duration::from_secs(5) && enough {
            return (daemon.rss(), now);
        }
        assert!(
            Instant::now() < deadline,
            "{now:?} threads and files, {before:?} before: {:?}",
            daemon.thread_names()
        );
    }
}
