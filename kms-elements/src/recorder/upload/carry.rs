//! One file on its way, from its first bytes to its place.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::multipart::PartId;
use tokio::sync::{Semaphore, watch};

use super::spool::Entry;
use super::store::{Bucket, Failure, Store};
use super::{Outcome, Tell};

/// What is sent at once to S3, bytes: of the sizes that it takes, 5 MiB to 5 GiB and 10,000 parts, one that costs little memory and
/// makes files of 80 GB possible.
const PART: u64 = 8 * 1024 * 1024;
/// How often a growing file is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// After a failure it is tried again after so long, then twice that...
const FIRST_REST: Duration = Duration::from_secs(1);
/// ...and so on, up to this.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A part that was sent.
struct Sent {
    id: PartId,
    hash: u64,
}

/// What of a file is at S3 already. The first part comes last: muxers write their headers anew at the end.
#[derive(Default)]
struct Progress {
    upload: Option<String>,
    /// From the second on.
    parts: Vec<Sent>,
}

/// Stores a file, and tries again until it is stored.
pub(super) async fn carry(
    entry: Entry,
    store: Store,
    mut growing: watch::Receiver<()>,
    turns: Arc<Semaphore>,
    tell: Tell,
) {
    let mut progress = Progress::default();
    if let (Store::S3(bucket), Some(upload)) = (&store, &entry.begun) {
        bucket.abort(upload).await;
    }
    let (mut rest, mut told) = (FIRST_REST, false);
    loop {
        let attempt = match &store {
            Store::Http(http) => {
                while growing.changed().await.is_ok() {}
                let _turn = turns.acquire().await;
                http.put(&entry.media).await
            }
            Store::S3(bucket) => into_bucket(bucket, &entry, &mut growing, &turns, &mut progress).await,
            Store::Unusable(why) => Err(why.clone()),
        };
        match attempt {
            // Nothing was recorded, or somebody has removed it.
            Ok(0) => return entry.remove(),
            Err(_) if !entry.media.exists() => return entry.remove(),
            Ok(size) => {
                tracing::info!(place = %entry.place, size, "a recording is stored");
                entry.remove();
                return tell(&entry.place, Outcome::Stored(size));
            }
            Err(why) => {
                tracing::warn!(place = %entry.place, %why, again_in = ?rest, "a recording can't be stored, and waits in the spool");
                if !std::mem::replace(&mut told, true) {
                    tell(&entry.place, Outcome::Delayed(why));
                }
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(LONGEST_REST);
            }
        }
    }
}

/// Sends parts while the file grows, and the rest when it is complete.
async fn into_bucket(
    bucket: &Bucket,
    entry: &Entry,
    growing: &mut watch::Receiver<()>,
    turns: &Semaphore,
    progress: &mut Progress,
) -> Result<u64, Failure> {
    loop {
        let complete = growing.has_changed().is_err();
        let size = length(&entry.media).await?;
        // The last part may be of any size, so what has grown to one exactly waits.
        while (progress.parts.len() as u64 + 2) * PART < size {
            let index = progress.parts.len() + 1;
            let _turn = turns.acquire().await;
            let sent = send_part(bucket, entry, index, progress).await?;
            progress.parts.push(sent);
        }
        if complete && size == 0 {
            return Ok(0);
        }
        if complete {
            let _turn = turns.acquire().await;
            return finish(bucket, entry, size, progress).await;
        }
        let _ = tokio::time::timeout(LOOK, growing.changed()).await;
    }
}

async fn send_part(
    bucket: &Bucket,
    entry: &Entry,
    index: usize,
    progress: &mut Progress,
) -> Result<Sent, Failure> {
    let upload = match &progress.upload {
        Some(upload) => upload.clone(),
        None => {
            let upload = bucket.begin().await?;
            entry.remember(&upload);
            progress.upload = Some(upload.clone());
            upload
        }
    };
    let bytes = read(&entry.media, index as u64 * PART).await?;
    let hash = hash(&bytes);
    let id = bucket.part(&upload, index, bytes).await?;
    Ok(Sent { id, hash })
}

async fn finish(bucket: &Bucket, entry: &Entry, size: u64, progress: &mut Progress) -> Result<u64, Failure> {
    if progress.upload.is_none() && size <= PART {
        bucket.put(read(&entry.media, 0).await?).await?;
        return Ok(size);
    }
    let count = usize::try_from(size.div_ceil(PART)).unwrap_or(usize::MAX);
    for index in 1..count {
        match progress.parts.get(index - 1) {
            None => {
                let sent = send_part(bucket, entry, index, progress).await?;
                progress.parts.push(sent);
            }
            // What the muxer has written anew since.
            Some(sent) if sent.hash != hash(&read(&entry.media, index as u64 * PART).await?) => {
                let sent = send_part(bucket, entry, index, progress).await?;
                progress.parts[index - 1] = sent;
            }
            Some(_) => {}
        }
    }
    let first = send_part(bucket, entry, 0, progress).await?;
    let Some(upload) = progress.upload.clone() else {
        return Err("no upload was begun".into());
    };
    let ids = std::iter::once(first.id).chain(progress.parts.iter().map(|p| PartId {
        content_id: p.id.content_id.clone(),
    }));
    let done = bucket.complete(&upload, ids.collect()).await;
    if done.is_err() {
        // It may have been given up over there: all again.
        bucket.abort(&upload).await;
        *progress = Progress::default();
    }
    done.map(|()| size)
}

async fn length(media: &Path) -> Result<u64, Failure> {
    tokio::fs::metadata(media)
        .await
        .map(|m| m.len())
        .map_err(|e| e.to_string())
}

/// A part's bytes, or those that are there.
async fn read(media: &Path, from: u64) -> Result<Vec<u8>, Failure> {
    let media: PathBuf = media.to_owned();
    let read = tokio::task::spawn_blocking(move || -> io::Result<Vec<u8>> {
        let file = std::fs::File::open(media)?;
        let left = file.metadata()?.len().saturating_sub(from).min(PART);
        let mut bytes = vec![0; usize::try_from(left).unwrap_or_default()];
        file.read_exact_at(&mut bytes, from)?;
        Ok(bytes)
    });
    let bytes = read.await.map_err(|e| e.to_string())?;
    bytes.map_err(|e| e.to_string())
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
