//! A thousand rounds of connecting, and of making and releasing, leave nothing behind.

use std::time::{Duration, Instant};

use kms_client::ObjectId;

use super::scene::{Receiver, Scene};
use super::{Class, classes};

/// Rounds that are measured. A tenth of them goes before, by which all is made that stays.
const ROUNDS: usize = 1_000;
/// The same of elements at work, which have threads and sockets of their own.
const ROUNDS_AT_WORK: usize = 200;
/// How much memory may grow over the rounds (KiB).
const MEMORY: u64 = 4 * 1024;
/// Threads and descriptors come and go by a few while media flows.
const FEW: u64 = 3;

/// Memory, threads and descriptors of the daemon.
fn held(scene: &Scene) -> (u64, u64, u64) {
    let daemon = &scene.daemon;
    (daemon.rss(), daemon.threads(), daemon.descriptors() as u64)
}

/// Waits until threads and descriptors have been as few for a second; GStreamer keeps an idle thread for a while.
async fn settled(scene: &Scene) -> (u64, u64, u64) {
    let (mut least, mut since) = (held(scene), Instant::now());
    let deadline = Instant::now() + Duration::from_secs(25);
    while since.elapsed() < Duration::from_secs(3) && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = held(scene);
        if now.1 < least.1 || now.2 < least.2 {
            since = Instant::now();
        }
        least = (now.0, least.1.min(now.1), least.2.min(now.2));
    }
    least
}

/// Runs rounds, and holds that the daemon has no more than after the first of them.
async fn leave_nothing(scene: &Scene, what: &str, rounds: usize, mut round: impl AsyncFnMut()) {
    for _ in 0..rounds / 10 {
        round().await;
    }
    let before = settled(scene).await;
    let begun = Instant::now();
    for _ in 0..rounds {
        round().await;
    }
    let took = begun.elapsed();
    let after = settled(scene).await;
    println!(
        "{what}: {rounds} rounds in {took:?}; KiB, threads, descriptors: {before:?} before, {after:?} after"
    );
    let grown = after.0.saturating_sub(before.0);
    assert!(grown < MEMORY, "{what}: {grown} KiB more than {} KiB", before.0);
    assert!(
        after.1 <= before.1 + FEW,
        "{what}: {} threads, {} before",
        after.1,
        before.1
    );
    assert!(
        after.2 <= before.2 + FEW,
        "{what}: {} descriptors, {} before",
        after.2,
        before.2
    );
}

#[tokio::test]
async fn a_thousand_connections_leave_nothing_behind() {
    let scene = Scene::new(120).await;
    let source = scene.player().await;
    let receiver = Receiver::new(&scene).await;
    let mut elements = Vec::new();
    for class in classes(&scene) {
        elements.push(scene.create(&class).await);
    }
    leave_nothing(&scene, "connecting", ROUNDS, async || {
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
    let scene = Scene::new(120).await;
    let source = scene.player().await;
    let receiver = Receiver::new(&scene).await;
    let classes = classes(&scene);
    leave_nothing(&scene, "making and releasing", ROUNDS, async || {
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
    let scene = Scene::new(120).await;
    let source = scene.player().await;
    let receiver = Receiver::new(&scene).await;
    for class in classes(&scene) {
        let Some((operation, params)) = &class.begin else {
            continue;
        };
        leave_nothing(&scene, class.name, ROUNDS_AT_WORK, async || {
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
