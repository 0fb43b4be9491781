//! What the fuzz target `frame` (`fuzz/`) and a test do with messages: send them through the protocol to a server with
//! sessions and elements, and check what must always hold.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use kms_core::{Registry, Server, Settings, Tenant};
use serde_json::{Value, json};

use super::metrics::Metrics;
use super::outbox::{Bounds, Outbox};
use super::pace::Pace;
use super::rpc::{Peer, Rpc};

/// Names of classes live as long as the process, so they are made once.
static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// One connection's messages, a line each: the server must answer each that wants an answer, once and in order, and be
/// well afterwards.
pub fn frames(text: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        let rpc = Rpc::new(
            Server::new(REGISTRY.clone(), Settings::default()),
            Metrics::default(),
        );
        let bounds = Bounds {
            messages: 4096,
            bytes: 64 << 20,
        };
        let outbox = Arc::new(Outbox::new(bounds));
        let mut peer = Peer::new(Tenant::Operator, Pace::new(0), &outbox);
        for line in text.lines() {
            let handled = rpc.handle(&mut peer, line);
            // A release that waits for a client to come back would take for ever here.
            let _ = tokio::time::timeout(Duration::from_secs(1), handled).await;
            check(line, &waiting(&outbox).await);
        }
        rpc.handle(&mut peer, r#"{"jsonrpc":"2.0","id":"last","method":"ping"}"#)
            .await;
        let last = waiting(&outbox).await;
        assert!(
            last.iter()
                .any(|m| m["id"] == "last" && m["result"]["value"] == "pong"),
            "{last:?}"
        );
    });
}

/// All that waits to be sent.
async fn waiting(outbox: &Outbox) -> Vec<Value> {
    let mut messages = Vec::new();
    while let Ok(Some(text)) = tokio::time::timeout(Duration::ZERO, outbox.next()).await {
        messages.push(serde_json::from_str(&text).expect("the server sends JSON"));
    }
    messages
}

fn check(line: &str, sent: &[Value]) {
    let answers: Vec<&Value> = sent.iter().filter(|m| m.get("method").is_none()).collect();
    assert!(answers.len() <= 1, "{line}: {answers:?}");
    for message in sent {
        assert_eq!(message["jsonrpc"], "2.0", "{line}: {message}");
    }
    for answer in answers {
        let (result, error) = (answer.get("result"), answer.get("error"));
        assert!(result.is_some() != error.is_some(), "{line}: {answer}");
        let known = serde_json::from_str::<Value>(line).ok();
        let id = known.as_ref().and_then(|m| m.get("id")).unwrap_or(&Value::Null);
        // What is no id is answered as if there was none.
        let expected = if id.is_string() || id.is_u64() {
            id.clone()
        } else {
            json!(null)
        };
        assert!(answer["id"] == expected || error.is_some(), "{line}: {answer}");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn corpus() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/frame");
        let texts: Vec<_> = std::fs::read_dir(folder)
            .expect("a corpus")
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert!(!texts.is_empty());
        for path in texts {
            eprintln!("{}", path.display());
            let text = std::fs::read(path).expect("a file");
            super::frames(&String::from_utf8_lossy(&text));
        }
    }
}
