//! Sessions: who is still there, what they hold, and answers they may ask for again. Plain structures; `now` is passed in.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Weak;
use std::time::{Duration, Instant};

use crate::limits::Place;
use crate::server::EventSink;
use crate::tenant::SessionKey;

/// Answers kept a session; the oldest goes first. Clients repeat a request within seconds, not thousands of requests later.
const MOST_CACHED: usize = 256;
/// Answers longer than this are not kept.
const LARGEST_CACHED: usize = 64 * 1024;

struct Cached {
    request: String,
    answer: String,
    expires: Instant,
}

/// One session.
struct Session {
    seen: bool,
    held: HashSet<String>,
    /// Where its events go now: the connection of its last request.
    sink: Option<Weak<dyn EventSink>>,
    cache: VecDeque<Cached>,
    /// What bounds how many there are.
    _place: Place,
}

/// All sessions of a server.
#[derive(Default)]
pub struct Sessions {
    sessions: HashMap<SessionKey, Session>,
    cache_time: Duration,
}

impl Sessions {
    /// No sessions yet. `cache_time`: how long an answer can be asked for again.
    pub fn new(cache_time: Duration) -> Sessions {
        Sessions {
            sessions: HashMap::new(),
            cache_time,
        }
    }

    /// Whether the session exists.
    pub fn exists(&self, id: &SessionKey) -> bool {
        self.sessions.contains_key(id)
    }

    /// Begins a session, unless it exists.
    pub fn begin(&mut self, id: &SessionKey, place: Place) {
        self.sessions.entry(id.clone()).or_insert_with(|| Session {
            seen: true,
            held: HashSet::new(),
            sink: None,
            cache: VecDeque::new(),
            _place: place,
        });
    }

    /// Notes that the session is alive, and where its events go from now on. False if there is no such session.
    pub fn touch(&mut self, id: &SessionKey, sink: Option<Weak<dyn EventSink>>) -> bool {
        let Some(session) = self.sessions.get_mut(id) else {
            return false;
        };
        session.seen = true;
        if sink.is_some() {
            session.sink = sink;
        }
        true
    }

    /// Where the session's events go.
    pub fn sink(&self, id: &SessionKey) -> Option<Weak<dyn EventSink>> {
        self.sessions.get(id)?.sink.clone()
    }

    /// Notes that the session holds an object. False if there is no such session.
    pub fn hold(&mut self, id: &SessionKey, object: &str) -> bool {
        match self.sessions.get_mut(id) {
            Some(session) => {
                session.held.insert(object.to_owned());
                true
            }
            None => false,
        }
    }

    /// Notes that the session no longer holds an object.
    pub fn unhold(&mut self, id: &SessionKey, object: &str) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.held.remove(object);
        }
    }

    /// Ends a session and returns what it held.
    pub fn remove(&mut self, id: &SessionKey) -> Option<HashSet<String>> {
        self.sessions.remove(id).map(|s| s.held)
    }

    /// Collects: returns the sessions not seen since the last sweep. Called every period, so that a silent session is
    /// gone after one to two periods.
    pub fn sweep(&mut self, now: Instant) -> Vec<SessionKey> {
        let mut silent = Vec::new();
        for (id, session) in &mut self.sessions {
            session.cache.retain(|c| c.expires > now);
            if !std::mem::take(&mut session.seen) {
                silent.push(id.clone());
            }
        }
        silent
    }

    /// The answer to a request of the same id, if it is still kept.
    pub fn cached(&self, id: &SessionKey, request: &str, now: Instant) -> Option<String> {
        let session = self.sessions.get(id)?;
        session
            .cache
            .iter()
            .find(|c| c.request == request && c.expires > now)
            .map(|c| c.answer.clone())
    }

    /// Keeps an answer for a while.
    pub fn cache(&mut self, id: &SessionKey, request: String, answer: &str, now: Instant) {
        let expires = now + self.cache_time;
        let Some(session) = self.sessions.get_mut(id) else {
            return;
        };
        while session.cache.front().is_some_and(|c| c.expires <= now) || session.cache.len() >= MOST_CACHED {
            session.cache.pop_front();
        }
        if answer.len() <= LARGEST_CACHED {
            session.cache.push_back(Cached {
                request,
                answer: answer.to_owned(),
                expires,
            });
        }
    }

    /// All sessions, sorted.
    pub fn keys(&self) -> Vec<SessionKey> {
        let mut keys: Vec<SessionKey> = self.sessions.keys().cloned().collect();
        keys.sort();
        keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{Kind, Ledger};
    use crate::tenant::Tenant;

    fn with(ids: [&str; 2]) -> (Sessions, [SessionKey; 2]) {
        let (mut sessions, ledger) = (Sessions::new(Duration::from_secs(20)), Ledger::default());
        let keys = ids.map(|id| SessionKey::new(&Tenant::Operator, id));
        for key in &keys {
            sessions.begin(key, ledger.take(Kind::Session, key).expect("no bounds"));
        }
        (sessions, keys)
    }

    #[test]
    fn a_silent_session_is_collected_within_two_periods_and_a_seen_one_is_kept() {
        let (mut s, [quiet, alive]) = with(["quiet", "alive"]);
        let now = Instant::now();
        assert!(s.sweep(now).is_empty(), "both were seen in the first period");
        assert!(s.touch(&alive, None));
        assert_eq!(s.sweep(now), [quiet]);
    }

    #[test]
    fn an_answer_is_kept_for_its_time_and_for_its_session_only() {
        let (mut s, [a, b]) = with(["a", "b"]);
        let now = Instant::now();
        s.cache(&a, "1".into(), "answer", now);
        assert_eq!(
            s.cached(&a, "1", now + Duration::from_secs(19)).as_deref(),
            Some("answer")
        );
        assert_eq!(s.cached(&a, "1", now + Duration::from_secs(20)), None);
        assert_eq!(s.cached(&b, "1", now), None);
        for i in 0..10_000 {
            s.cache(&a, i.to_string(), "x", now);
        }
        assert!(s.sessions[&a].cache.len() <= MOST_CACHED);
    }
}
