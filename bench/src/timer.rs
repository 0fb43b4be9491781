//! A timer of the kernel that epoll waits for, to the microsecond: epoll's own timeout is rounded up to milliseconds, and
//! packets of all peers would leave in clumps.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// The shortest time a timer can be set to; zero would stop it.
const SHORTEST: Duration = Duration::from_nanos(1);

/// Goes off once each time it is set.
pub(crate) struct Timer {
    fd: OwnedFd,
    set_to: Option<Instant>,
}

impl Timer {
    /// A timer that is not set.
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Timer> {
        let fd = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Timer { fd, set_to: None })
    }

    /// Lets it go off at a time, instead of the one it was set to before.
    pub(crate) fn set(&mut self, at: Instant) -> io::Result<()> {
        let now = Instant::now();
        // Setting it again also takes back that it went off; so a time that is past must be set anew.
        if self.set_to == Some(at) && at > now {
            return Ok(());
        }
        self.set_to = Some(at);
        let wait = at.saturating_duration_since(now).max(SHORTEST);
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: Timespec {
                tv_sec: wait.as_secs() as i64,
                tv_nsec: i64::from(wait.subsec_nanos()),
            },
        };
        timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn it_goes_off_when_its_time_has_come_and_every_time_it_is_set() {
        let mut poll = Poll::new().expect("epoll");
        let mut timer = Timer::new(poll.registry(), Token(1)).expect("timerfd");
        let mut events = Events::with_capacity(4);
        for _ in 0..2 {
            let at = Instant::now() + Duration::from_micros(300);
            timer.set(at).expect("it can be set");
            poll.poll(&mut events, Some(Duration::from_secs(10)))
                .expect("epoll");
            assert_eq!(events.iter().count(), 1);
            assert!(Instant::now() >= at);
        }
        timer
            .set(Instant::now())
            .expect("it can be set to a time that is past");
        poll.poll(&mut events, Some(Duration::from_secs(10)))
            .expect("epoll");
        assert_eq!(events.iter().count(), 1);
    }
}
