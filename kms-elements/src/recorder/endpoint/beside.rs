//! What a recorder does beside recording: old files go, new ones go to servers, pictures are taken.

use kms_core::media::guarded;

use super::*;

impl RecorderEndpoint {
    pub(super) fn hear_of_uploads(&self) {
        let (this, recordings) = (self.this.clone(), self.recordings.clone());
        self.options.naming.on_outcome(Arc::new(move |place, outcome| {
            let (this, uri) = (this.clone(), place.to_string());
            recordings.soon(move || {
                let Some(this) = this.upgrade() else { return };
                match outcome {
                    Outcome::Stored(size) => this.core().raise(&FileUploaded {
                        uri,
                        size: i64::try_from(size).unwrap_or(i64::MAX),
                    }),
                    Outcome::Delayed(why) => {
                        let message =
                            format!("'{uri}' can't be stored: {why}. It is tried again until it is");
                        this.fail(Code::UriPathFileNotFound, &MediaError::new(message));
                    }
                }
            });
        }));
    }

    /// Removes recordings that are too old or too many, now and every [`TIDY`] as long as the recorder exists.
    pub(super) fn tidy_now_and_then(&self) {
        let clock = self.timeline.clock();
        let tick = clock.new_periodic_id(clock.time() + TIDY, TIDY);
        let this = self.this.clone();
        #[expect(clippy::disallowed_methods, reason = "it is guarded")]
        let waits = tick.wait_async(move |_, _, _| {
            if let Some(this) = this.upgrade() {
                guarded(None, || this.tidy());
            }
        });
        match waits {
            Ok(_) => *lock(&self.tidied) = Some(tick),
            Err(error) => {
                tracing::error!(%error, "recordings that grow old are removed only when new ones are made")
            }
        }
        self.tidy();
    }

    /// Removes recordings that are too old or too many, beside all media.
    pub(super) fn tidy(&self) {
        let Ok(retention) = self.changeable().retention() else {
            return;
        };
        if retention.is_none() {
            return;
        }
        let (naming, name) = (self.options.naming.clone(), self.core().name());
        let in_use = self.recordings.in_use().clone();
        self.recordings.when_there_is_time(move || {
            let in_use = lock(&in_use).clone();
            let Some(pattern) = naming.local_pattern() else {
                return;
            };
            let removed = retention.sweep(pattern, &name, &in_use);
            if removed > 0 {
                tracing::info!(recorder = %name, removed, "old recordings were removed");
            }
        });
    }

    /// What carries files to servers.
    pub(in super::super) fn uploads(&self) -> &Uploads {
        self.recordings.uploads()
    }

    /// A picture of what the source of video shows now.
    pub(in super::super) async fn take_picture(
        self: &Arc<Self>,
        format: SnapshotFormat,
    ) -> Result<Vec<u8>, Error> {
        let refused = |why: &str| Error::new(Code::OperationNotSupported, format!("No picture: {why}"));
        let source = lock(&self.state).sources[index(MediaType::Video)].clone();
        let source = source.ok_or_else(|| refused("no source of video is connected"))?;
        let (done, picture) = oneshot::channel();
        let (taken, taking) = oneshot::channel();
        self.soon(move |this| {
            // Kept by whoever waits, or dropped with them.
            let _ = taken.send(Snapshot::take(&this.timeline, &source, format, done));
        });
        let _taking = taking.await;
        match tokio::time::timeout(PATIENCE, picture).await {
            Ok(Ok(picture)) => picture,
            Ok(Err(_)) => Err(refused("the recorder has ended")),
            Err(_) => Err(refused("none came within 10 s")),
        }
    }
}
