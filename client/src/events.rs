//! Events: from one stream of notifications to a bounded queue for each subscriber.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::client::{Client, ObjectId};

/// An event as it comes over the wire.
#[derive(Debug, Clone, Deserialize)]
pub struct RawEvent {
    /// The object it was subscribed on.
    pub object: ObjectId,
    /// Name of the event, e.g. "IceCandidateFound".
    #[serde(rename = "type")]
    pub kind: String,
    /// The event's properties.
    #[serde(default)]
    pub data: Value,
}

/// The `params` of an `onEvent` notification.
#[derive(Debug, Deserialize)]
pub(crate) struct Notification {
    pub(crate) value: RawEvent,
}

/// The events of one kind from one object, in the order they were raised.
///
/// At most [`Options::event_buffer`](crate::Options::event_buffer) events wait here. When a reader is slower than that, the
/// oldest is dropped and counted in [`missed`](Self::missed): the newest state is what a late reader needs, and neither
/// the connection nor other readers ever wait for one.
///
/// The stream ends when the session is gone (the server was restarted, or collected it) or the client was closed; a
/// connection that comes back in time goes unnoticed. Dropping the stream unsubscribes.
#[derive(Debug)]
pub struct EventStream {
    queue: Arc<Queue>,
    key: Key,
    client: Client,
}

impl EventStream {
    /// Waits for the next event. `None`: the session is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<RawEvent> {
        std::future::poll_fn(|cx| self.queue.poll(cx)).await
    }

    /// How many events were dropped because this reader was too slow.
    pub fn missed(&self) -> u64 {
        self.queue.lock().missed
    }
}

impl Stream for EventStream {
    type Item = RawEvent;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        self.queue.poll(cx)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        let Some(subscription) = self.client.router().remove(&self.key, &self.queue) else {
            return;
        };
        // Best effort: outside a runtime nobody is left to send, and the session's end removes it anyway.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (client, object) = (self.client.clone(), self.key.0.clone());
            runtime.spawn(async move {
                if let Err(error) = client.unsubscribe(&object, &subscription).await {
                    tracing::debug!(%object, %error, "could not unsubscribe");
                }
            });
        }
    }
}

/// An object and the name of an event.
type Key = (ObjectId, String);

/// Who gets which event.
#[derive(Debug, Default)]
pub(crate) struct Router {
    // A std mutex: held for a few map operations, never across an await.
    topics: Mutex<HashMap<Key, Topic>>,
}

/// Subscribers of one kind of event from one object: however many there are, the server is asked once, or each event
/// would come once for each of them.
#[derive(Debug, Default)]
struct Topic {
    subscription: Arc<OnceCell<String>>,
    queues: Vec<Arc<Queue>>,
}

impl Router {
    /// Subscribes: the queue stands ready before the server is asked, so that no event can slip through between.
    pub(crate) async fn subscribe(
        &self,
        client: &Client,
        object: &ObjectId,
        kind: &str,
    ) -> crate::Result<EventStream> {
        let key = (object.clone(), kind.to_owned());
        let queue = Arc::new(Queue::new(client.options().event_buffer));
        let subscription = {
            let mut topics = self.lock();
            let topic = topics.entry(key.clone()).or_default();
            topic.queues.push(queue.clone());
            topic.subscription.clone()
        };
        let stream = EventStream {
            queue,
            key,
            client: client.clone(),
        }; // from here on, drop cleans up
        subscription
            .get_or_try_init(|| client.request_subscription(object, kind))
            .await?;
        Ok(stream)
    }

    /// Hands an event to its subscribers.
    pub(crate) fn dispatch(&self, event: RawEvent) {
        let topics = self.lock();
        let Some(topic) = topics.get(&(event.object.clone(), event.kind.clone())) else {
            return;
        };
        topic.queues.iter().for_each(|q| q.push(event.clone()));
    }

    /// Ends all streams: their session is gone.
    pub(crate) fn end_all(&self) {
        for topic in self.lock().drain().map(|(_, t)| t) {
            topic.queues.iter().for_each(|q| q.end());
        }
    }

    /// Removes a subscriber. With the last one the server's id of the subscription comes back, to unsubscribe with.
    fn remove(&self, key: &Key, queue: &Arc<Queue>) -> Option<String> {
        let mut topics = self.lock();
        let topic = topics.get_mut(key)?;
        topic.queues.retain(|q| !Arc::ptr_eq(q, queue));
        if !topic.queues.is_empty() {
            return None;
        }
        topics.remove(key)?.subscription.get().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that wait for one subscriber.
#[derive(Debug)]
struct Queue {
    bound: usize,
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<RawEvent>,
    missed: u64,
    ended: bool,
    reader: Option<Waker>,
}

impl Queue {
    fn new(bound: usize) -> Queue {
        Queue {
            bound: bound.max(1),
            state: Mutex::default(),
        }
    }

    fn push(&self, event: RawEvent) {
        let mut state = self.lock();
        if state.events.len() == self.bound {
            state.events.pop_front();
            state.missed += 1;
        }
        state.events.push_back(event);
        state.wake();
    }

    fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.wake();
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<RawEvent>> {
        let mut state = self.lock();
        if let Some(event) = state.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn wake(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64) -> RawEvent {
        RawEvent {
            object: ObjectId::from("o"),
            kind: "K".into(),
            data: n.into(),
        }
    }

    #[test]
    fn a_slow_reader_loses_the_oldest_events_and_can_tell() {
        let queue = Queue::new(2);
        (0..5).for_each(|n| queue.push(event(n)));
        let mut cx = Context::from_waker(Waker::noop());
        for expected in [3, 4] {
            assert!(matches!(queue.poll(&mut cx), Poll::Ready(Some(e)) if e.data == expected));
        }
        assert!(queue.poll(&mut cx).is_pending());
        assert_eq!(queue.lock().missed, 3);
    }

    #[test]
    fn what_came_before_the_end_is_still_read() {
        let queue = Queue::new(2);
        queue.push(event(1));
        queue.end();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(matches!(queue.poll(&mut cx), Poll::Ready(Some(_))));
        assert!(matches!(queue.poll(&mut cx), Poll::Ready(None)));
    }
}
