//! Connections on which nothing is said are closed: until something is, the HTTP library waits without an end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Accepts as the acceptor within does; who then says nothing for so long is sent away.
#[derive(Clone)]
pub(crate) struct Prompt<A> {
    acceptor: A,
    patience: Duration,
}

impl<A> Prompt<A> {
    pub(crate) fn new(acceptor: A, patience: Duration) -> Prompt<A> {
        Prompt { acceptor, patience }
    }
}

impl<A, I, S> Accept<I, S> for Prompt<A>
where
    A: Accept<I, S>,
    A::Future: Send + 'static,
{
    type Stream = FirstWord<A::Stream>;
    type Service = A::Service;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let deadline = Instant::now() + self.patience;
        let accepted = self.acceptor.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let deadline = Some(Box::pin(sleep_until(deadline)));
            let first = FirstWord {
                stream,
                deadline,
                read: 0,
            };
            Ok((first, service))
        })
    }
}

/// Bytes by which HTTP/2 is told from HTTP/1.1 (RFC 9113, section 3.4): the library waits for as many while they are alike. No request that
/// opens a websocket is shorter.
const PREFACE: usize = 24;

/// A connection whose first bytes have to come before a moment.
pub(crate) struct FirstWord<I> {
    stream: I,
    /// None once they have come.
    deadline: Option<Pin<Box<Sleep>>>,
    read: usize,
}

impl<I: AsyncRead + Unpin> AsyncRead for FirstWord<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if self.deadline.is_some() {
            self.read += buffer.filled().len() - before;
            self.deadline = self.deadline.take().filter(|_| self.read < PREFACE);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for FirstWord<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
