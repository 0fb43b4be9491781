//! Work that takes longer than a picture lasts: done on a thread beside the stream, with the newest picture. The stream never waits.
//! What has failed is begun anew after a while.

use std::sync::{Arc, Condvar, Mutex};

use kms_core::object::lock;

/// Pictures go in, the newest one counts; what was seen in them comes out, the newest counts as well.
pub(crate) struct Beside<P, S> {
    desk: Arc<Desk<P, S>>,
}

struct Desk<P, S> {
    /// Held for moments, by the stream too.
    papers: Mutex<Papers<P, S>>,
    news: Condvar,
}

struct Papers<P, S> {
    /// Waits for the worker. A newer one takes its place: this queue has one place.
    picture: Option<P>,
    seen: Option<S>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Works,
    /// The worker is gone, after a panic.
    Broken,
    /// Nobody asks any more.
    Closed,
}

impl<P: Send + 'static, S: Send + 'static> Beside<P, S> {
    /// Begins with the first picture, on a thread of this name: `prepare` is called there, and what it gives for each picture.
    pub(crate) fn new<L>(name: &str, prepare: impl FnOnce() -> L + Send + 'static) -> std::io::Result<Self>
    where
        L: FnMut(P) -> S,
    {
        let desk = Arc::new(Desk {
            papers: Mutex::new(Papers {
                picture: None,
                seen: None,
                state: State::Works,
            }),
            news: Condvar::new(),
        });
        let worker = Leaves(desk.clone());
        std::thread::Builder::new().name(name.into()).spawn(move || {
            let mut look = None;
            let mut prepare = Some(prepare);
            while let Some(picture) = worker.0.next() {
                if let Some(prepare) = prepare.take() {
                    look = Some(prepare());
                }
                let seen = look.as_mut().map(|look| look(picture));
                lock(&worker.0.papers).seen = seen;
            }
        })?;
        Ok(Beside { desk })
    }

    /// A newer picture to look at. False: nobody looks any more, for the worker has failed.
    pub(crate) fn show(&self, picture: P) -> bool {
        let mut papers = lock(&self.desk.papers);
        papers.picture = Some(picture);
        self.desk.news.notify_one();
        papers.state == State::Works
    }

    /// What was seen since this was asked last, if something was.
    pub(crate) fn seen(&self) -> Option<S> {
        lock(&self.desk.papers).seen.take()
    }
}

impl<P, S> Drop for Beside<P, S> {
    fn drop(&mut self) {
        lock(&self.desk.papers).state = State::Closed;
        self.desk.news.notify_one();
    }
}

impl<P, S> Desk<P, S> {
    /// Waits for a picture; `None`: there will be none.
    fn next(&self) -> Option<P> {
        let mut papers = lock(&self.papers);
        loop {
            if papers.state == State::Closed {
                return None;
            }
            if let Some(picture) = papers.picture.take() {
                return Some(picture);
            }
            papers = self
                .news
                .wait(papers)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// The worker's end of it, which tells when the worker goes.
struct Leaves<P, S>(Arc<Desk<P, S>>);

impl<P, S> Drop for Leaves<P, S> {
    fn drop(&mut self) {
        let mut papers = lock(&self.0.papers);
        if papers.state == State::Works {
            papers.state = State::Broken;
        }
    }
}

/// What has failed is tried again after so long.
const AGAIN: gst::ClockTime = gst::ClockTime::from_seconds(5);

/// Whether work beside a stream has failed, in the stream's time.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    since: Option<gst::ClockTime>,
    told: bool,
}

impl Failing {
    /// It fails. Whether that is news: it worked before.
    pub(crate) fn fails(&mut self, at: gst::ClockTime) -> bool {
        self.since = Some(at);
        !std::mem::replace(&mut self.told, true)
    }

    /// Whether it has failed, and is not to be tried again yet. A stream that was set back doesn't wait longer for it.
    pub(crate) fn waits(&mut self, at: gst::ClockTime) -> bool {
        let waits = self.since.is_some_and(|since| since <= at && at < since + AGAIN);
        if !waits {
            self.since = None;
        }
        waits
    }

    /// It has done something: the next failure is news.
    pub(crate) fn works(&mut self) {
        self.told = false;
    }

    /// Whether it has failed, and was not begun anew.
    pub(crate) fn has_failed(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::*;

    fn wait_for<P: Send + 'static, S: Send + 'static>(beside: &Beside<P, S>) -> S {
        for _ in 0..1_000 {
            if let Some(seen) = beside.seen() {
                return seen;
            }
            let (_keep, never) = sync_channel::<()>(0);
            let _ = never.recv_timeout(Duration::from_millis(5));
        }
        panic!("nothing was seen");
    }

    #[test]
    fn what_fails_is_told_once_and_tried_again() {
        let at = gst::ClockTime::from_seconds;
        let mut failing = Failing::default();
        assert!(!failing.waits(at(10)));
        assert!(failing.fails(at(10)) && failing.has_failed());
        assert!(failing.waits(at(14)));
        assert!(!failing.waits(at(15)) && !failing.has_failed());
        assert!(!failing.fails(at(15)), "nothing has worked since");
        assert!(!failing.waits(at(3)), "set back");
        failing.works();
        assert!(failing.fails(at(4)));
    }

    #[test]
    fn the_newest_picture_is_looked_at() {
        let (go, gate) = sync_channel::<()>(0);
        let beside = Beside::new("test", move || {
            move |picture: u32| {
                gate.recv().expect("the test goes on");
                picture * 10
            }
        })
        .expect("a thread");
        beside.show(1);
        go.send(()).expect("the worker looks");
        assert_eq!(wait_for(&beside), 10);
        beside.show(2);
        // It looks at 2, or soon at 3; 4 and 5 take the place of what waits.
        for picture in [3, 4, 5] {
            beside.show(picture);
        }
        go.send(()).expect("the worker looks");
        let mut seen = wait_for(&beside);
        if seen != 50 {
            go.send(()).expect("the worker looks");
            seen = wait_for(&beside);
        }
        assert_eq!(seen, 50);
        assert!(beside.seen().is_none(), "it is told once");
    }

    #[test]
    fn a_worker_that_fails_is_noticed_and_one_that_is_not_wanted_ends() {
        let beside = Beside::new("test", || |(): ()| panic!("as the test wants")).expect("a thread");
        let mut works = beside.show(());
        for _ in 0..1_000 {
            let (_keep, never) = sync_channel::<()>(0);
            let _ = never.recv_timeout(Duration::from_millis(5));
            works = beside.show(());
            if !works {
                break;
            }
        }
        assert!(!works);

        let (ended, end) = sync_channel::<()>(0);
        let beside: Beside<(), ()> = Beside::new("test", move || {
            let _ended = ended;
            |()| ()
        })
        .expect("a thread");
        beside.show(());
        drop(beside);
        assert!(end.recv().is_err(), "the thread has ended");
    }
}
