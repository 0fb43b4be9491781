//! The queue of what a client has yet to read.

use std::collections::VecDeque;
use std::sync::Mutex;

use kms_core::EventSink;
use kms_core::object::lock;
use tokio::sync::{Notify, watch};

/// Bounds of a queue. When either is reached the client is cut off: it can reconnect to its session, and memory stays flat.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Messages that may wait.
    pub(crate) messages: usize,
    /// Their size together, bytes.
    pub(crate) bytes: usize,
}

#[derive(Default)]
struct Queue {
    /// Ready to be sent.
    ready: VecDeque<String>,
    /// Events raised while a request is being carried out: they are sent after its answer.
    held: VecDeque<String>,
    in_request: bool,
    bytes: usize,
}

/// One connection's queue of answers and events.
pub(crate) struct Outbox {
    bounds: Bounds,
    /// Filled by the connection's reader (answers) and by any thread that raises events; emptied by its writer.
    queue: Mutex<Queue>,
    /// Wakes the writer: there is something to send, or the queue was closed.
    wake: Notify,
    /// Turns true once, when a bound is reached.
    overflowed: watch::Sender<bool>,
}

impl Outbox {
    /// An empty queue.
    pub(crate) fn new(bounds: Bounds) -> Outbox {
        Outbox {
            bounds,
            queue: Mutex::default(),
            wake: Notify::new(),
            overflowed: watch::Sender::new(false),
        }
    }

    /// A request is being carried out: what it causes is said after its answer.
    pub(crate) fn begin_request(&self) {
        lock(&self.queue).in_request = true;
    }

    /// The request was answered (`None`: it asked for no answer); events held back follow.
    pub(crate) fn end_request(&self, answer: Option<String>) {
        let mut queue = lock(&self.queue);
        if let Some(answer) = answer {
            self.push(&mut queue, answer, false);
        }
        queue.in_request = false;
        let Queue { ready, held, .. } = &mut *queue;
        ready.append(held);
        drop(queue);
        self.wake.notify_one();
    }

    /// What to send next; waits until there is something. `None`: the client was too slow and is to be cut off.
    pub(crate) async fn next(&self) -> Option<String> {
        loop {
            if self.overflowed() {
                return None;
            }
            {
                let mut queue = lock(&self.queue);
                if let Some(text) = queue.ready.pop_front() {
                    queue.bytes -= text.len();
                    return Some(text);
                }
            }
            self.wake.notified().await;
        }
    }

    /// Waits until the client turns out to be too slow.
    pub(crate) async fn overflow(&self) {
        // The sender lives as long as `self`, so waiting can't fail.
        let _ = self
            .overflowed
            .subscribe()
            .wait_for(|overflowed| *overflowed)
            .await;
    }

    /// Whether a bound was reached.
    pub(crate) fn overflowed(&self) -> bool {
        *self.overflowed.borrow()
    }

    fn push(&self, queue: &mut Queue, text: String, event: bool) {
        if self.overflowed() {
            return;
        }
        let waiting = queue.ready.len() + queue.held.len();
        if waiting >= self.bounds.messages || queue.bytes + text.len() > self.bounds.bytes {
            self.overflowed.send_replace(true);
            *queue = Queue::default();
            return;
        }
        queue.bytes += text.len();
        if event && queue.in_request {
            queue.held.push_back(text);
        } else {
            queue.ready.push_back(text);
        }
    }
}

impl EventSink for Outbox {
    fn deliver(&self, text: &str) {
        self.push(&mut lock(&self.queue), text.to_owned(), true);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(Bounds {
            messages: 4,
            bytes: 100,
        })
    }

    #[tokio::test]
    async fn events_a_request_causes_come_after_its_answer() {
        let outbox = outbox();
        outbox.begin_request();
        outbox.deliver("event");
        outbox.end_request(Some("answer".into()));
        outbox.deliver("later");
        assert_eq!(outbox.next().await.as_deref(), Some("answer"));
        assert_eq!(outbox.next().await.as_deref(), Some("event"));
        assert_eq!(outbox.next().await.as_deref(), Some("later"));
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_cut_off_at_either_bound() {
        let by_count = outbox();
        (0..5).for_each(|_| by_count.deliver("x"));
        assert_eq!(by_count.next().await, None);
        let by_size = outbox();
        by_size.deliver(&"x".repeat(101));
        assert_eq!(by_size.next().await, None);
        assert_eq!(lock(&by_size.queue).bytes, 0, "what waited is dropped");
    }

    #[tokio::test]
    async fn a_client_that_reads_is_never_cut_off() {
        let outbox = outbox();
        for _ in 0..100 {
            outbox.deliver(&"x".repeat(90));
            assert!(outbox.next().await.is_some());
        }
    }
}
