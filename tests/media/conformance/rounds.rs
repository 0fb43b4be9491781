//! A thousand rounds of connecting, and of making and releasing, leave nothing behind.

use std::time::{Duration, Instant};

use kms_client::ObjectId;

use super::scene::{Receiver, Scene};
use super::{Class, classes};

/// Rounds that are measured. A tenth of them goes before, by which all is made that stays.
const ROUNDS: usize = 1_000;
/// KiB that memory may grow by: it is up and down while media flows. Seen: 8 MiB.
const MEMORY: u64 = 12 * 1024;
/// Threads come and go by a few while media flows. Descriptors don't.
const FEW: u64 = 2;
/// Until what was released has ended; GStreamer keeps an idle thread for a while.
const PATIENCE: Duration = Duration::from_secs(40);

/// Memory, threads and descriptors of the daemon.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    memory: u64,
    threads: u64,
    descriptors: usize,
}

fn held(scene: &Scene) -> Held {
    Held {
        memory: scene.daemon.rss(),
        threads: scene.daemon.threads(),
        descriptors: scene.daemon.descriptors(),
    }
}

/// Waits until the number of descriptors has stayed the same for two seconds.
async fn settled(scene: &Scene) -> Held {
    let (mut before, mut since) = (held(scene), Instant::now());
    while since.elapsed() < Duration::from_secs(2) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = held(scene);
        if now.descriptors != before.descriptors {
            since = Instant::now();
        }
        before = now;
    }
    before
}

/// Runs rounds, and holds that the daemon has no more than after the first of them.
async fn leave_nothing(scene: &Scene, what: &str, mut round: impl AsyncFnMut()) {
    for _ in 0..ROUNDS / 10 {
        round().await;
    }
    let before = settled(scene).await;
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        round().await;
    }
    let (took, deadline) = (begun.elapsed(), Instant::now() + PATIENCE);
    loop {
        let now = held(scene);
        let flat = now.memory < before.memory + MEMORY
            && now.threads <= before.threads + FEW
            && now.descriptors <= before.descriptors;
        if flat {
            println!("{what}: {ROUNDS} rounds in {took:?}: {before:?} before, {now:?} after");
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{what}: {before:?} before, {now:?} after"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    let scene = Scene::new(900).await;
    let source = scene.player().await;
    let receiver = Receiver::new(&scene).await;
    let mut elements = Vec::new();
    for class in classes(&scene) {
        elements.push(scene.create(&class).await);
    }
    leave_nothing(&scene, "connecting", async || {
        for element in &elements {
            scene.connect(&source, element).await;
            scene.connect(element, &receiver.endpoint).await;
        }
        scene.connect(&source, &receiver.endpoint).await;
        for element in &elements {
            scene.disconnect(&source, element).await;
            scene.disconnect(element, &receiver.endpoint).await;
        }
    })
    .await;
    scene.connect(&source, &receiver.endpoint).await;
    receiver.receives("the last connection").await;
}

#[tokio::test]
async fn a_thousand_elements_leave_nothing_behind() {
    let scene = Scene::new(900).await;
    let source = scene.player().await;
    let receiver = Receiver::new(&scene).await;
    let classes = classes(&scene);
    leave_nothing(&scene, "making and releasing", async || {
        for class in &classes {
            let element = one(&scene, class, &source, &receiver).await;
            scene.client.release(&element).await.unwrap();
        }
    })
    .await;
    assert_eq!(scene.children().await, 2);
    scene.connect(&source, &receiver.endpoint).await;
    receiver.receives("the last connection").await;
}

#[tokio::test]
async fn elements_released_at_work_leave_nothing_behind() {
    let scene = Scene::new(900).await;
    let source = scene.player().await;
    let receiver = Receiver::new(&scene).await;
    for class in classes(&scene) {
        let Some((operation, params)) = &class.begin else {
            continue;
        };
        leave_nothing(&scene, class.name, async || {
            let element = one(&scene, &class, &source, &receiver).await;
            scene.invoke(&element, operation, params.clone()).await;
            scene.client.release(&element).await.unwrap();
        })
        .await;
        assert_eq!(scene.children().await, 2, "{}", class.name);
    }
}

async fn one(scene: &Scene, class: &Class, source: &ObjectId, receiver: &Receiver) -> ObjectId {
    let element = scene.create(class).await;
    scene.connect(source, &element).await;
    scene.connect(&element, &receiver.endpoint).await;
    element
}
