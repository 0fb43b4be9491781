//! Whether media that leaves an element is converted on its way, as clients are told.

use std::sync::{Arc, Mutex, Weak};

use crate::events::MediaTranscodingStateChanged;
use crate::object::lock;
use crate::server::{Inner, Server};
use crate::tenant::Tenant;
use crate::types::{MediaTranscodingState, MediaType};

/// Counts the conversions of an element's media and raises `MediaTranscodingStateChanged` with the first and the last of them.
pub struct Transcoding {
    server: Weak<Inner>,
    /// The element's.
    id: String,
    /// Changed where conversions begin and end, on any thread and under any lock but the server's. Held while an event is
    /// raised, for the last one has to be true.
    kinds: Mutex<[Kind; 2]>,
}

#[derive(Default)]
struct Kind {
    conversions: usize,
    /// What clients were told last; before that, nothing.
    told: Option<MediaTranscodingState>,
}

impl Kind {
    fn state(&self) -> MediaTranscodingState {
        match self.conversions {
            0 => MediaTranscodingState::NotTranscoding,
            _ => MediaTranscodingState::Transcoding,
        }
    }
}

impl Transcoding {
    pub(crate) fn new(server: &Server, id: &str) -> Arc<Transcoding> {
        Arc::new(Transcoding {
            server: Arc::downgrade(&server.inner),
            id: id.to_owned(),
            kinds: Mutex::default(),
        })
    }

    /// Whether media of this kind is converted now.
    pub fn is_on(&self, kind: MediaType) -> bool {
        place(kind).is_some_and(|place| lock(&self.kinds)[place].conversions > 0)
    }

    /// Media of this kind begins to leave the element: clients hear whether it is converted.
    pub(crate) fn flows(&self, kind: MediaType) {
        self.change(kind, |_| {});
    }

    /// A conversion begins, and lasts as long as what is returned.
    pub(super) fn begin(self: &Arc<Self>, kind: MediaType) -> Conversion {
        self.change(kind, |kind| kind.conversions += 1);
        Conversion {
            of: self.clone(),
            kind,
        }
    }

    fn change(&self, media_type: MediaType, change: impl FnOnce(&mut Kind)) {
        let Some(place) = place(media_type) else { return };
        let mut kinds = lock(&self.kinds);
        let kind = &mut kinds[place];
        change(kind);
        let state = kind.state();
        if kind.told == Some(state) {
            return;
        }
        kind.told = Some(state);
        let server = self.server.upgrade().map(|inner| Server { inner });
        // Released meanwhile: nobody listens any more.
        if let Some(Ok((element, _))) = server.map(|s| s.find(&Tenant::Operator, &self.id)) {
            element.core().raise(&MediaTranscodingStateChanged {
                state,
                bin_name: format!("default_{}", media_type.lower()),
                media_type,
            });
        }
    }
}

fn place(kind: MediaType) -> Option<usize> {
    match kind {
        MediaType::Audio => Some(0),
        MediaType::Video => Some(1),
        MediaType::Data => None,
    }
}

/// A conversion that is going on.
pub(super) struct Conversion {
    of: Arc<Transcoding>,
    kind: MediaType,
}

impl Drop for Conversion {
    fn drop(&mut self) {
        self.of.change(self.kind, |kind| {
            kind.conversions = kind.conversions.saturating_sub(1)
        });
    }
}
