//! Request ids that go on counting over reconnects.
//!
//! A server answers an id that it has seen in the same session within the last 20 s from its cache, and executes
//! nothing. jsonrpsee counts from zero on each connection: after a reconnect the first requests would get the answers of
//! the session's first ones. So each request is renumbered on its way out.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jsonrpsee::core::client::IdKind;
use jsonrpsee::core::middleware::{Batch, Notification, Request, RpcServiceT};

/// The next id of a session.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ids(Arc<AtomicU64>);

/// jsonrpsee's middleware that gives requests their ids.
#[derive(Debug, Clone)]
pub(crate) struct Numbered<S> {
    service: S,
    ids: Ids,
}

impl<S> Numbered<S> {
    pub(crate) fn new(service: S, ids: Ids) -> Self {
        Numbered { service, ids }
    }
}

impl<S: RpcServiceT> RpcServiceT for Numbered<S> {
    type MethodResponse = S::MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(&self, mut request: Request<'a>) -> impl Future<Output = Self::MethodResponse> + Send + 'a {
        request.id = IdKind::Number.into_id(self.ids.0.fetch_add(1, Ordering::Relaxed));
        self.service.call(request)
    }

    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        self.service.batch(requests)
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.service.notification(notification)
    }
}
