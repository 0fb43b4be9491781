//! One upload: bytes that come, are held back to the pace at which they are played, and what became of them.

use std::sync::{Arc, Weak};

use gst::prelude::*;
use gst_app::{AppSrc, AppSrcCallbacks};
use tokio::sync::watch;

use super::endpoint::HttpPostEndpoint;
use super::mp4::BoxOrder;
use crate::player::session::Origin;

/// What may wait to be played, bytes: a second of very good video. Whoever uploads waits while there is more.
const MOST_WAITING: u64 = 1024 * 1024;

/// Why an upload was not played. The text is one clear sentence for whoever uploads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    /// No endpoint has this id, or not any more.
    #[error("Nothing can be uploaded here: the address is wrong, or its HttpPostEndpoint was released")]
    Unknown,
    /// Another upload is not over.
    #[error("Something is being uploaded to this address already; try again when it was played")]
    Busy,
    /// It isn't media, or none that can be played.
    #[error("This can't be played: {0}")]
    NotPlayable(String),
    /// An MP4 file with its index at its end, too large to be kept until then.
    #[error(
        "This MP4 has its index at its end, after more than {most} bytes of media. Move it to the beginning (ffmpeg -i in.mp4 -c copy \
         -movflags +faststart out.mp4), or write fragments"
    )]
    IndexTooLate {
        /// How many bytes could be kept.
        most: u64,
    },
    /// The endpoint was released meanwhile.
    #[error("The HttpPostEndpoint was released before the upload was played")]
    Released,
    /// Something failed that should not have.
    #[error("The media server can't play this now; its log says why")]
    Failed,
}

/// What became of an upload; nothing while it plays.
pub(super) type End = Option<Result<(), UploadError>>;

/// An upload that is under way. Dropped before [`Upload::finish`] it counts as one whose client is gone.
pub struct Upload {
    endpoint: Weak<HttpPostEndpoint>,
    session: u64,
    /// GStreamer's source, once it wants bytes. Changes whenever it has room again.
    room: watch::Receiver<Option<Room>>,
    end: watch::Receiver<End>,
    order: BoxOrder,
    most_unindexed: u64,
    /// All bytes were handed on.
    complete: bool,
}

/// Weak: the source itself holds what announces its room.
type Room = gst::glib::WeakRef<AppSrc>;

/// The origin of a session that plays what is uploaded, and what announces that more is wanted.
pub(super) fn origin() -> (Origin, watch::Receiver<Option<Room>>) {
    let (sender, room) = watch::channel(None);
    let sender = Arc::new(sender);
    let set_up = move |source: &gst::Element| {
        let Some(source) = source.downcast_ref::<AppSrc>() else {
            return;
        };
        source.set_max_bytes(MOST_WAITING);
        source.set_property("min-percent", 50_u32);
        let sender = sender.clone();
        let wants = move |source: &AppSrc, _: u32| {
            sender.send_replace(Some(source.downgrade()));
        };
        source.set_callbacks(AppSrcCallbacks::builder().need_data(wants).build());
    };
    let origin = Origin {
        uri: "appsrc://".into(),
        live: false,
        camera: None,
        leads_on: false,
        set_up: Box::new(set_up),
    };
    (origin, room)
}

impl Upload {
    pub(super) fn new(
        endpoint: Weak<HttpPostEndpoint>,
        session: u64,
        room: watch::Receiver<Option<Room>>,
        end: watch::Receiver<End>,
        most_unindexed: u64,
    ) -> Upload {
        Upload {
            endpoint,
            session,
            room,
            end,
            order: BoxOrder::new(most_unindexed),
            most_unindexed,
            complete: false,
        }
    }

    /// Hands on the next bytes, as soon as there is room for them. False: the media has come to its end, and what follows is not
    /// wanted.
    pub async fn push(&mut self, bytes: impl AsRef<[u8]> + Send + 'static) -> Result<bool, UploadError> {
        if bytes.as_ref().is_empty() {
            return Ok(true);
        }
        if self.order.see(bytes.as_ref()).is_err() {
            let error = UploadError::IndexTooLate {
                most: self.most_unindexed,
            };
            if let Some(endpoint) = self.endpoint.upgrade() {
                endpoint.refuse(self.session, &error);
            }
            return Err(error);
        }
        match self.has_room().await {
            // What it does not take any more was stopped; why, is about to be told.
            Some(source) if source.push_buffer(gst::Buffer::from_slice(bytes)).is_ok() => Ok(true),
            _ => self.over().await.map(|()| false),
        }
    }

    /// All bytes were handed on: waits until they are played.
    pub async fn finish(mut self) -> Result<(), UploadError> {
        if let Some(source) = self.has_room().await {
            // It may have been stopped just now, which `over` tells.
            let _ = source.end_of_stream();
        }
        self.complete = true;
        self.over().await
    }

    /// The source, once it has room for more; nothing once the upload is over.
    async fn has_room(&mut self) -> Option<AppSrc> {
        loop {
            if self.end.borrow().is_some() {
                return None;
            }
            let source = self.room.borrow_and_update().as_ref().map(Room::upgrade);
            match source {
                Some(None) => return None,
                Some(Some(source)) if source.current_level_bytes() < MOST_WAITING => return Some(source),
                _ => {}
            }
            tokio::select! {
                changed = self.room.changed() => changed.ok()?,
                _ = self.end.wait_for(Option::is_some) => return None,
            }
        }
    }

    async fn over(&mut self) -> Result<(), UploadError> {
        match self.end.wait_for(Option::is_some).await {
            Ok(end) => end.clone().unwrap_or(Ok(())),
            Err(_) => Err(UploadError::Released),
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(endpoint) = self.endpoint.upgrade()
            && !self.complete
        {
            endpoint.vanished(self.session);
        }
    }
}
